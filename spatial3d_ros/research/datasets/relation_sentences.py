"""Sentences in the manner of Sr3D, made on annotated rooms: one target, one or two anchors.

The target's class has two to six objects in the room, an anchor is the only one of its class, and
one object fits clearly (`strict`) while no other of its class fits even loosely, so the truth hangs
on no threshold. Metres. An anchor has a front if its `front_point` tells it beyond doubt.

    closest, farthest   by distance of centres, and by free space between the boxes as well; wins by
                        20 % and 0.25 m between centres
    above, below        outlines overlap by 30 % of the smaller (loosely: at all), 0.1 m free
                        between them (loosely: higher or lower)
    supported by        stands within 6 cm of the anchor's top (loosely: 30 cm), half of it inside
                        the outline (loosely: any)
    between             two anchors, 0.5 to 5 m apart, outlines of the three apart: along the line
                        from 0.3 to 0.7 of it (-0.05 to 1.05), off the line by at most 0.2 (0.8) of
                        its length
    left, right, front, behind
                        as seen when standing in front of the anchor and looking at it: within 30
                        (60) degrees of that direction, at most 3 m off (at any distance)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.datasets.boxes_only import BoxObject, BoxRoom

FITS_MOST = 6
Mix = Literal["sr3d", "equal"]
_NO_THINGS = {"wall", "floor", "ceiling", "object", "objects", "doorframe"}
_NO_FRONT = (
    "table", "stool", "ottoman", "can", "bin", "basket", "hamper", "bathtub", "lamp", "box",
    "bag", "book", "pillow", "blanket", "curtain", "plant", "bottle", "cup", "pipe",
)  # fmt: skip
"""Last words of labels whose things people give no front, though a scanned model may have one."""
_DEEP = ("bed", "toilet", "cabinet", "chair", "printer", "copier", "machine", "dryer", "tower")
"""Last words of labels whose things may be deeper than wide."""
_ORDERS = ("the {target} {relation}", "show me the {target} {relation}",
           "go to the {target} that {be} {relation}", "i mean the {target} {relation}",
           "find the {target} that {be} {relation}")  # fmt: skip
_SEEN = ("when you look at the {anchor} from the front, the {target} {relation} {it}",
         "facing the {anchor}, go to the {target} that {be} {relation} {it}",
         "the {target} {relation} the {anchor}, as you see {it} from the front",
         "seen from in front of the {anchor}, the {target} {relation} {it}")  # fmt: skip
WORDINGS = {
    "closest": ("closest to the {anchor}", "nearest to the {anchor}", "nearest the {anchor}"),
    "farthest": ("farthest from the {anchor}", "furthest from the {anchor}",
                 "furthest away from the {anchor}"),
    "above": ("above the {anchor}", "over the {anchor}"),
    "below": ("below the {anchor}", "under the {anchor}", "beneath the {anchor}"),
    "supported by": ("on top of the {anchor}", "on the {anchor}", "supported by the {anchor}"),
    "between": ("between the {anchor} and the {second}",
                "in the middle between the {anchor} and the {second}"),
    "left": ("to the left of", "on the left of"),
    "right": ("to the right of", "on the right of"),
    "front": ("in front of the {anchor}",),
    "behind": ("behind", "at the back of"),
}  # fmt: skip
_SR3D = (
    (("closest", "farthest"), 34_001),
    (("above", "below"), 1_589),
    (("supported by",), 747),
    (("left", "right", "front", "behind"), 1_880),
    (("between",), 3_569),
)
"""References of each family in Sr3D (ReferIt3D, ECCV 2020, table 1; each worded twice)."""
_TURNED = {"left": 1.5, "right": 0.5, "front": 0.0, "behind": 1.0}
"""Half turns from an anchor's front, counter-clockwise from above, to each side as it is seen."""


@dataclass(frozen=True)
class RelationSentence:
    """`target_id` is the one object of `room` that fits `text`; `relation` a key of WORDINGS."""

    room: BoxRoom
    target_id: int
    text: str
    relation: str


def relation_sentences(
    rooms: Iterable[BoxRoom], count: int, seed: int = 0, mix: Mix = "sr3d"
) -> list[RelationSentence]:
    """Up to `count` sentences, at most one of a relation in a room.

    mix: `sr3d` has the families of relations as often as Sr3D has them (81 % closest and farthest),
    the relations of a family equally often; `equal` has all ten equally often. A relation that the
    rooms do not have often enough has fewer. The same rooms and seed give the same sentences.
    Raises ConfigError for another mix.
    """
    if mix not in get_args(Mix):
        raise ConfigError(f"mix: '{mix}' is unknown; use {' or '.join(get_args(Mix))}")
    rng = np.random.default_rng(seed)
    found: dict[str, list[RelationSentence]] = defaultdict(list)
    for room in rooms:
        options: dict[str, list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
        for relation, target, anchors in _clear(room):
            options[relation].append((target, anchors))
        for relation in sorted(options):
            target, anchors = options[relation][rng.integers(len(options[relation]))]
            text = _worded(room, relation, target, anchors, rng)
            found[relation].append(RelationSentence(room, room.objects[target].id, text, relation))
    chosen = []
    for relation, share in _shares(mix).items():
        some = found[relation]
        picked = rng.permutation(len(some))[: round(count * share)]
        chosen += [some[k] for k in sorted(picked)]
    return chosen


def _shares(mix: Mix) -> dict[str, float]:
    """The share of each relation, in the order of WORDINGS."""
    if mix == "equal":
        return dict.fromkeys(WORDINGS, 1 / len(WORDINGS))
    total = sum(number for _, number in _SR3D)
    of = {name: number / total / len(family) for family, number in _SR3D for name in family}
    return {relation: of[relation] for relation in WORDINGS}


def _clear(room: BoxRoom) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """All (relation, target, anchors) of a room, as slots, that exactly one object fits."""
    of_class: dict[str, list[int]] = defaultdict(list)
    spelled = Counter(_singular(label) for label in set(room.labels))
    for k, label in enumerate(room.labels):
        # "the boxes" may mean the object "boxes" or each "box".
        if label not in _NO_THINGS and spelled[_singular(label)] == 1:
            of_class[label].append(k)
    single = [slots[0] for slots in of_class.values() if len(slots) == 1]
    pairs = np.array(list(combinations(single, 2)))
    for slots in of_class.values():
        if not 2 <= len(slots) <= FITS_MOST:
            continue
        boxes = room.boxes[slots]
        for anchor in single:
            front = _front(room.objects[anchor])
            for relation, strict, loose in _fits(boxes, room.boxes[anchor], front):
                if strict.sum() == 1 and loose.sum() == 1:
                    yield relation, slots[int(strict.argmax())], (anchor,)
        if len(pairs):
            strict, loose = _between(boxes, *room.boxes[pairs.T])
            for pair in np.flatnonzero((strict.sum(1) == 1) & (loose.sum(1) == 1)):
                yield "between", slots[strict[pair].argmax()], tuple(pairs[pair])


def _fits(
    boxes: np.ndarray, anchor: np.ndarray, front: np.ndarray | None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """For each relation to one anchor (6,), which candidates (M, 6) fit strictly and loosely.
    `front` (2,): where it looks.
    """
    offset = boxes[:, :3] - anchor[:3]
    gaps = np.linalg.norm(offset, axis=1)
    free = (np.abs(offset) - (boxes[:, 3:] + anchor[3:]) / 2).clip(min=0)
    spaces = np.linalg.norm(free, axis=1)
    order = np.argsort(gaps)
    ends = (("closest", order[:2], spaces.min()), ("farthest", order[:-3:-1], spaces.max()))
    for relation, (first, second), space in ends:
        near, far = sorted((gaps[first], gaps[second]))
        clear = far >= max(1.2 * near, near + 0.25) and (spaces == space).sum() == 1
        wins = (np.arange(len(boxes)) == first) & clear & (spaces == space)
        yield relation, wins, wins

    share_of_smaller, share_of_own = _overlap(boxes, anchor)
    bottom, top = boxes[:, 2] - boxes[:, 5] / 2, boxes[:, 2] + boxes[:, 5] / 2
    low, high = anchor[2] - anchor[5] / 2, anchor[2] + anchor[5] / 2
    covers, touches = share_of_smaller >= 0.3, share_of_smaller > 0
    yield "above", covers & (bottom >= high + 0.1), touches & (boxes[:, 2] > anchor[2])
    yield "below", covers & (top <= low - 0.1), touches & (boxes[:, 2] < anchor[2])
    off = np.abs(bottom - high)
    yield "supported by", (share_of_own >= 0.5) & (off <= 0.06), touches & (off <= 0.3)
    if front is None:
        return
    offset = offset[:, :2]
    turn = np.arctan2(offset[:, 1], offset[:, 0]) - np.arctan2(front[1], front[0])
    away = np.linalg.norm(offset, axis=1)
    for side, half_turns in _TURNED.items():
        off = np.abs((turn - half_turns * np.pi + np.pi) % (2 * np.pi) - np.pi)
        strict = ~touches & (off <= np.pi / 6) & (away <= 3)
        yield side, strict, off <= np.pi / 3


def _between(boxes: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which candidates (M, 6) are strictly and loosely between each pair of anchors: (P, M)."""
    line = (b - a)[:, None, :3]
    length = np.linalg.norm(line, axis=-1)
    offset = boxes[None, :, :3] - a[:, None, :3]
    along = (offset * line).sum(-1) / np.maximum(length, 1e-6) ** 2
    off = np.linalg.norm(offset - along[..., None] * line, axis=-1) / np.maximum(length, 1e-6)
    middle, fair = np.abs(along - 0.5), (length >= 0.5) & (length <= 5)
    fair = fair & _apart(a, b)[:, None]
    alone = _apart(boxes[None], a[:, None]) & _apart(boxes[None], b[:, None])
    return fair & alone & (middle <= 0.2) & (off <= 0.2), fair & (middle <= 0.55) & (off <= 0.8)


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether outlines on the floor plan do not overlap; boxes (..., 6)."""
    reach = (one[..., 3:5] + other[..., 3:5]) / 2
    return (np.abs(one[..., :2] - other[..., :2]) >= reach).any(-1)


def _front(thing: BoxObject) -> np.ndarray | None:
    """Where a thing looks, (2,). None without a front, or where its front point is in doubt: 25
    degrees or more off the box's sides, or on a narrow side of something wide.
    """
    word = _singular(thing.label.split()[-1].lower())
    if thing.front_point is None or word in _NO_FRONT:
        return None
    ahead = np.subtract(thing.front_point[:2], thing.center[:2])
    along, across = np.argsort(-np.abs(ahead))
    if abs(ahead[across]) >= np.tan(np.pi * 25 / 180) * abs(ahead[along]):
        return None
    narrow = thing.size[along] > 1.3 * thing.size[across]
    return None if narrow and word not in _DEEP else ahead


def _overlap(boxes: np.ndarray, anchor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shared area on the floor plan over the smaller outline, and over each box's own."""
    low = np.maximum(boxes[:, :2] - boxes[:, 3:5] / 2, anchor[:2] - anchor[3:5] / 2)
    high = np.minimum(boxes[:, :2] + boxes[:, 3:5] / 2, anchor[:2] + anchor[3:5] / 2)
    shared = np.maximum(high - low, 0).prod(axis=1)
    own = np.maximum(boxes[:, 3:5].prod(axis=1), 1e-9)
    return shared / np.minimum(own, max(anchor[3:5].prod(), 1e-9)), shared / own


def _worded(
    room: BoxRoom, relation: str, target: int, anchors: tuple[int, ...], rng: np.random.Generator
) -> str:
    def one(options: tuple[str, ...]) -> str:
        return options[rng.integers(len(options))]

    names = [room.labels[k] for k in anchors]
    wording = one(WORDINGS[relation]).format(anchor=names[0], second=names[-1])
    frame = one(_SEEN if relation in ("left", "right", "behind") else _ORDERS)
    label = room.labels[target]
    return frame.format(
        anchor=names[0], target=label, relation=wording,
        be="is" if _singular(label) == label else "are",
        it="it" if _singular(names[0]) == names[0] else "them",
    )  # fmt: skip


def _singular(label: str) -> str:
    """ "kitchen cabinet" of "kitchen cabinets", "box" of "boxes"; "glass" stays."""
    if label.endswith("ss"):
        return label
    return label.removesuffix("es" if label.endswith(("xes", "shes", "ches", "sses")) else "s")
