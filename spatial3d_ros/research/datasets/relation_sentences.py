"""Sentences like those of Sr3D, generated on annotated rooms: one target, one or two anchors.

The target's class has two to six objects in the room, and an anchor is the only one of its class.
One object fits strictly and no other of its class fits even loosely, so the target depends on no
threshold (geometry/relations.py). Metres. An anchor has a front if its `front_point` is in no
doubt.

    closest, farthest   by distance of centres, and by free space between the boxes as well; wins by
                        20 % and 0.25 m between centres
    above, below        footprints overlap by 30 % of the smaller (loosely: at all), 0.1 m free
                        between them (loosely: higher or lower)
    supported by        stands within 6 cm of the anchor's top (loosely: 30 cm), half of it inside
                        the footprint (loosely: any)
    between             two anchors, 0.5 to 5 m apart, footprints of the three apart: along the line
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

from spatial3d_ros.english import singular
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry import relations as geometry
from spatial3d_ros.geometry.relations import BoxPairs
from spatial3d_ros.research.datasets.boxes_only import BoxObject, BoxRoom

MAX_CANDIDATES = 6
CLEAR_RATIO, CLEAR_METRES = 1.2, 0.25
Mix = Literal["sr3d", "equal"]
_NO_TARGETS = {"wall", "floor", "ceiling", "object", "objects", "doorframe"}
_NO_FRONT = (
    "table", "stool", "ottoman", "can", "bin", "basket", "hamper", "bathtub", "lamp", "box",
    "bag", "book", "pillow", "blanket", "curtain", "plant", "bottle", "cup", "pipe",
)  # fmt: skip
"""Last words of labels whose objects have no front for users, though a 3D model may have one."""
_DEEP = ("bed", "toilet", "cabinet", "chair", "printer", "copier", "machine", "dryer", "tower")
"""Last words of labels whose objects may be deeper than wide."""
_SENTENCES = ("the {target} {relation}", "show me the {target} {relation}",
           "go to the {target} that {be} {relation}", "i mean the {target} {relation}",
           "find the {target} that {be} {relation}")  # fmt: skip
_VIEW_SENTENCES = ("when you look at the {anchor} from the front, the {target} {relation} {it}",
         "facing the {anchor}, go to the {target} that {be} {relation} {it}",
         "the {target} {relation} the {anchor}, as you see {it} from the front",
         "seen from in front of the {anchor}, the {target} {relation} {it}")  # fmt: skip
RELATION_TEMPLATES = {
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
"""References of each family in Sr3D (ReferIt3D, ECCV 2020, table 1; two sentences for each)."""


@dataclass(frozen=True)
class RelationSentence:
    """`target_id` is the one object of `room` that fits `text`, `relation` a key of
    RELATION_TEMPLATES.
    """

    room: BoxRoom
    target_id: int
    text: str
    relation: str


def relation_sentences(
    rooms: Iterable[BoxRoom], count: int, seed: int = 0, mix: Mix = "sr3d"
) -> list[RelationSentence]:
    """Up to `count` sentences, at most one of a relation in a room.

    mix: `sr3d` has the families of relations in the proportions of Sr3D (81 % closest and
    farthest), the relations of a family equally often; `equal` has all ten equally often. A
    relation that is rare in the rooms has fewer. The same rooms and seed give the same sentences.
    Raises ConfigError for another mix.
    """
    if mix not in get_args(Mix):
        raise ConfigError(f"mix: '{mix}' is unknown; use {' or '.join(get_args(Mix))}")
    rng = np.random.default_rng(seed)
    found: dict[str, list[RelationSentence]] = defaultdict(list)
    for room in rooms:
        options: dict[str, list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
        for relation, target, anchors in _unambiguous(room):
            options[relation].append((target, anchors))
        for relation in sorted(options):
            target, anchors = options[relation][rng.integers(len(options[relation]))]
            text = _sentence(room, relation, target, anchors, rng)
            found[relation].append(RelationSentence(room, room.objects[target].id, text, relation))
    chosen = []
    for relation, share in _shares(mix).items():
        some = found[relation]
        picked = rng.permutation(len(some))[: round(count * share)]
        chosen += [some[k] for k in sorted(picked)]
    return chosen


def _shares(mix: Mix) -> dict[str, float]:
    """The share of each relation, in the order of RELATION_TEMPLATES."""
    if mix == "equal":
        return dict.fromkeys(RELATION_TEMPLATES, 1 / len(RELATION_TEMPLATES))
    total = sum(number for _, number in _SR3D)
    of = {name: number / total / len(family) for family, number in _SR3D for name in family}
    return {relation: of[relation] for relation in RELATION_TEMPLATES}


def _unambiguous(room: BoxRoom) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """All (relation, target, anchors) of a room, as indices, that exactly one object fits."""
    of_class: dict[str, list[int]] = defaultdict(list)
    spelled = Counter(singular(label) for label in set(room.labels))
    for k, label in enumerate(room.labels):
        # "the boxes" may mean the object "boxes" or each "box".
        if label not in _NO_TARGETS and spelled[singular(label)] == 1:
            of_class[label].append(k)
    anchors = [members[0] for members in of_class.values() if len(members) == 1]
    fronts = np.array([_front(room.objects[k]) for k in anchors]).reshape(-1, 2)
    pairs = np.array(list(combinations(anchors, 2)))
    for members in of_class.values():
        if not anchors or not 2 <= len(members) <= MAX_CANDIDATES:
            continue
        boxes = room.boxes[members]
        for relation, strict, loose in _relations(boxes, room.boxes[anchors], fronts):
            for a in np.flatnonzero((strict.sum(0) == 1) & (loose.sum(0) == 1)):
                yield relation, members[int(strict[:, a].argmax())], (anchors[a],)
        if len(pairs):
            strict, loose = _between(boxes, *room.boxes[pairs.T])
            for pair in np.flatnonzero((strict.sum(1) == 1) & (loose.sum(1) == 1)):
                yield "between", members[strict[pair].argmax()], tuple(pairs[pair])


def _relations(
    boxes: np.ndarray, anchors: np.ndarray, fronts: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """For each relation to one anchor, which candidates (M, 6) fit which anchors (A, 6) strictly
    and loosely: (M, A) bool. `fronts` (A, 2): unit vectors, NaN for anchors without a front.
    """
    pairs = BoxPairs(boxes, anchors)
    for relation, farthest in (("closest", False), ("farthest", True)):
        wins = np.zeros(pairs.gap.shape, dtype=bool)
        for a, (distances, gaps) in enumerate(zip(pairs.distance.T, pairs.gap.T, strict=True)):
            close = geometry.contenders(
                distances.tolist(), largest=farthest, ratio=CLEAR_RATIO, margin=CLEAR_METRES
            )
            if len(close) == 1 and geometry.contenders(gaps.tolist(), largest=farthest) == close:
                wins[close[0], a] = True
        yield relation, wins, wins

    covers, touches = geometry.overlapping(pairs, 0.3), geometry.overlapping(pairs)
    rise = pairs.offset[..., 2]
    yield "above", geometry.above(pairs, clearance=0.1, over=covers), touches & (rise > 0)
    yield "below", geometry.below(pairs, clearance=0.1, over=covers), touches & (rise < 0)
    resting = geometry.resting_on(pairs, tolerance=0.06, min_share=0.5)
    yield "supported by", resting, geometry.resting_on(pairs, tolerance=0.3)

    offset = pairs.offset[..., :2]
    away = np.linalg.norm(offset, axis=-1)
    ahead, left = geometry.view_coordinates(offset, -fronts)  # a viewer who looks at the front
    for side in geometry.SIDES:
        along, across = geometry.side_coordinates(side, ahead, left)
        strict = ~touches & geometry.in_sector(along, across, np.pi / 6) & (away <= 3)
        yield side, strict, geometry.in_sector(along, across, np.pi / 3)


def _between(boxes: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which candidates (M, 6) are strictly and loosely between each pair of anchors: (P, M)."""
    points, start, end = boxes[None, :, :3], a[:, None, :3], b[:, None, :3]
    length = np.linalg.norm(end - start, axis=-1)
    fair = (length >= 0.5) & (length <= 5) & _disjoint(a, b)[:, None]
    alone = _disjoint(boxes[None], a[:, None]) & _disjoint(boxes[None], b[:, None])
    strict = geometry.between(points, start, end, half_span=0.2, max_off=0.2)
    loose = geometry.between(points, start, end, half_span=0.55, max_off=0.8)
    return fair & alone & strict, fair & loose


def _disjoint(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether footprints on the floor plan do not overlap; boxes (..., 6)."""
    reach = (one[..., 3:5] + other[..., 3:5]) / 2
    return (np.abs(one[..., :2] - other[..., :2]) >= reach).any(-1)


def _front(item: BoxObject) -> np.ndarray:
    """Unit vector (2,) of an object's front. NaN without a front, or where its front point is in
    doubt: 25 degrees or more off the box's sides, or on a narrow side of a wide object.
    """
    word = singular(item.label.split()[-1].lower())
    if item.front_point is None or word in _NO_FRONT:
        return np.full(2, np.nan)
    ahead = np.subtract(item.front_point[:2], item.center[:2])
    along, across = np.argsort(-np.abs(ahead))
    oblique = abs(ahead[across]) >= np.tan(np.pi * 25 / 180) * abs(ahead[along])
    narrow = item.size[along] > 1.3 * item.size[across] and word not in _DEEP
    return np.full(2, np.nan) if oblique or narrow else ahead / np.linalg.norm(ahead)


def _sentence(
    room: BoxRoom, relation: str, target: int, anchors: tuple[int, ...], rng: np.random.Generator
) -> str:
    def choose(options: tuple[str, ...]) -> str:
        return options[rng.integers(len(options))]

    names = [room.labels[k] for k in anchors]
    phrase = choose(RELATION_TEMPLATES[relation]).format(anchor=names[0], second=names[-1])
    template = choose(_VIEW_SENTENCES if relation in ("left", "right", "behind") else _SENTENCES)
    label = room.labels[target]
    return template.format(
        anchor=names[0], target=label, relation=phrase,
        be="is" if singular(label) == label else "are",
        it="it" if singular(names[0]) == names[0] else "them",
    )  # fmt: skip
