"""Sentences in the manner of Sr3D, made on annotated rooms: one target, one or two anchors.

The target's class has two to six objects in the room, an anchor is the only one of its class, and
one object fits clearly (`strict`) while no other of its class fits even loosely, so the truth hangs
on no threshold. Metres; f is an anchor's front, from its centre to its `front_point`, on the floor.

    closest, farthest   distance of centres; wins by 20 % and 0.25 m
    above, below        outlines overlap by 30 % of the smaller (loosely: at all), 0.1 m free
                        between them (loosely: higher or lower)
    supported by        stands within 6 cm of the anchor's top (loosely: 30 cm), half of it inside
                        the outline (loosely: any)
    between             two anchors, 0.5 to 5 m apart: along the line from 0.3 to 0.7 of it (0.1 to
                        0.9), off the line by at most 0.2 (0.5) of its length
    left, right, front, behind
                        as seen when standing in front of the anchor and looking at it: within 30
                        (60) degrees of that direction, at most 3 (5) m off
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from spatial3d_ros.data.benchmarks.boxes_only import BoxRoom

FITS_MOST = 6
_NO_THINGS = {"wall", "floor", "ceiling", "object", "objects", "doorframe"}
_ORDERS = ("the {target} {relation}", "find the {target} that is {relation}",
           "choose the {target} that is {relation}", "pick the {target} {relation}")  # fmt: skip
_SEEN = ("looking at the front of the {anchor}, choose the {target} that is {relation}",
         "facing the front of the {anchor}, pick the {target} {relation}")  # fmt: skip
WORDINGS = {
    "closest": ("closest to the {anchor}", "nearest to the {anchor}", "nearest the {anchor}"),
    "farthest": ("farthest from the {anchor}", "furthest from the {anchor}",
                 "far away from the {anchor}"),
    "above": ("above the {anchor}", "over the {anchor}"),
    "below": ("below the {anchor}", "under the {anchor}", "beneath the {anchor}"),
    "supported by": ("on top of the {anchor}", "on the {anchor}", "supported by the {anchor}"),
    "between": ("between the {anchor} and the {second}",
                "in the middle of the {anchor} and the {second}"),
    "left": ("on the left of it", "to its left"),
    "right": ("on the right of it", "to its right"),
    "front": ("in front of the {anchor}",),
    "behind": ("behind it", "at the back of it"),
}  # fmt: skip
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
    rooms: Iterable[BoxRoom], count: int, seed: int = 0
) -> list[RelationSentence]:
    """Up to `count` sentences, as many of each relation, at most one of a relation in a room.

    A relation that the rooms do not have often enough has fewer. The same rooms and seed give the
    same sentences.
    """
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
    for relation in WORDINGS:
        some = found[relation]
        picked = rng.permutation(len(some))[: count // len(WORDINGS)]
        chosen += [some[k] for k in sorted(picked)]
    return chosen


def _clear(room: BoxRoom) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """All (relation, target, anchors) of a room, as slots, that exactly one object fits."""
    of_class: dict[str, list[int]] = defaultdict(list)
    for k, label in enumerate(room.labels):
        if label not in _NO_THINGS:
            of_class[label].append(k)
    single = [slots[0] for slots in of_class.values() if len(slots) == 1]
    pairs = np.array(list(combinations(single, 2)))
    for slots in of_class.values():
        if not 2 <= len(slots) <= FITS_MOST:
            continue
        boxes = room.boxes[slots]
        for anchor in single:
            front = room.objects[anchor].front_point
            for relation, strict, loose in _fits(boxes, room.boxes[anchor], front):
                if strict.sum() == 1 and loose.sum() == 1:
                    yield relation, slots[int(strict.argmax())], (anchor,)
        if len(pairs):
            strict, loose = _between(boxes, *room.boxes[pairs.T])
            for pair in np.flatnonzero((strict.sum(1) == 1) & (loose.sum(1) == 1)):
                yield "between", slots[strict[pair].argmax()], tuple(pairs[pair])


def _fits(
    boxes: np.ndarray, anchor: np.ndarray, front: tuple[float, float, float] | None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """For each relation to one anchor (6,), which candidates (M, 6) fit strictly and loosely."""
    gaps = np.linalg.norm(boxes[:, :3] - anchor[:3], axis=1)
    order = np.argsort(gaps)
    for relation, (first, second) in (("closest", order[:2]), ("farthest", order[:-3:-1])):
        near, far = sorted((gaps[first], gaps[second]))
        wins = (np.arange(len(boxes)) == first) & (far >= max(1.2 * near, near + 0.25))
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
    offset, ahead = boxes[:, :2] - anchor[:2], np.subtract(front[:2], anchor[:2])
    turn = np.arctan2(offset[:, 1], offset[:, 0]) - np.arctan2(ahead[1], ahead[0])
    away = np.linalg.norm(offset, axis=1)
    for side, half_turns in _TURNED.items():
        off = np.abs((turn - half_turns * np.pi + np.pi) % (2 * np.pi) - np.pi)
        strict = ~touches & (off <= np.pi / 6) & (away <= 3)
        yield side, strict, (off <= np.pi / 3) & (away <= 5)


def _between(boxes: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which candidates (M, 6) are strictly and loosely between each pair of anchors: (P, M)."""
    line = (b - a)[:, None, :3]
    length = np.linalg.norm(line, axis=-1)
    offset = boxes[None, :, :3] - a[:, None, :3]
    along = (offset * line).sum(-1) / np.maximum(length, 1e-6) ** 2
    off = np.linalg.norm(offset - along[..., None] * line, axis=-1) / np.maximum(length, 1e-6)
    middle, fair = np.abs(along - 0.5), (length >= 0.5) & (length <= 5)
    return fair & (middle <= 0.2) & (off <= 0.2), fair & (middle <= 0.4) & (off <= 0.5)


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

    frame = one(_SEEN if relation in ("left", "right", "behind") else _ORDERS)
    names = [room.labels[k] for k in anchors]
    wording = one(WORDINGS[relation]).format(anchor=names[0], second=names[-1])
    return frame.format(anchor=names[0], target=room.labels[target], relation=wording)
