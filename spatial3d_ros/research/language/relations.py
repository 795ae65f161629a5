"""Relations of the objects of a generated room, as bit masks for the question generators.

A relation is a pair of (N, N) bool matrices indexed [target, anchor]: `strict`, where every
annotator agrees, and `loose`, where some annotator might (strict is a part of it). A question is
only asked if the one object that fits strictly is also the only one that fits loosely.

    on        supported by the anchor; loose: also through other objects, or boxes that touch
    under     it supports the anchor, or stands on the floor tucked under it; loose: lower at all
              and overlapping on the floor plan
    above     free over the anchor, its centre at most 0.15 m outside the anchor's footprint;
              loose: 0.5 m outside, or supported by it
    below     the reverse of above; loose: as for under, because the words are used alike
    next_to   on the same support and level with it, surfaces at most a reach apart (0.4 m on the
              floor, 0.2 m on furniture, 0.6 m on a wall); loose: twice that and 0.1 m, anywhere
    between   two anchors, near the middle of the line between their centres: `Relations.between`

`closest` and `farthest` compare distances of box centres in 3D and win by 20 % and 0.25 m.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spatial3d_ros.geometry import relations as geometry
from spatial3d_ros.geometry.relations import BoxPairs, contenders
from spatial3d_ros.research.rooms.catalog import FLOOR, WALL

if TYPE_CHECKING:
    from spatial3d_ros.research.rooms.generator import RoomObject

BOOLEAN = ("on", "under", "above", "below", "next_to")
NEARNESS = ("closest", "farthest")
SIZES = {"largest": 1, "smallest": -1, "tallest": 1, "shortest": -1, "longest": 1}
CLEAR_RATIO, CLEAR_METRES = 1.2, 0.25
SIZE_RATIO = {"largest": 1.3, "smallest": 1.3, "tallest": 1.15, "shortest": 1.15, "longest": 1.15}

Masks = tuple[int, ...]


class Relations:
    """The relations of N objects. Sets of objects are int masks, bit i for object i.

    stacked: (N, N) bool, the target is supported by the anchor, directly or through others.
    """

    def __init__(self, objects: Sequence[RoomObject]) -> None:
        self.count = len(objects)
        boxes = np.array([o.box.array() for o in objects], dtype=float).reshape(-1, 6)
        self.center, self.size = boxes[:, :3], boxes[:, 3:]
        self.ids = np.array([o.id for o in objects], dtype=int)
        self.support = np.array([o.support for o in objects], dtype=int)
        self.low, self.high = self.center - self.size / 2, self.center + self.size / 2
        pairs = BoxPairs(boxes)
        self.distances: list[list[float]] = pairs.distance.tolist()
        self.measures = self._measures()
        supported = self.support[:, None] == self.ids[None]
        stacked = supported | (supported @ supported)
        self.stacked = stacked | (supported @ stacked)
        self.strict, self.loose = self._predicates(pairs, supported)
        self.strict_columns = {name: _columns(matrix) for name, matrix in self.strict.items()}
        self.loose_columns = {name: _columns(matrix) for name, matrix in self.loose.items()}

    def _measures(self) -> dict[str, list[float]]:
        """Volume, height and longest horizontal side, by the superlative that compares them."""
        volume, height = self.size.prod(1).tolist(), self.size[:, 2].tolist()
        length = self.size[:, :2].max(1).tolist() if self.count else []
        return {
            "largest": volume, "smallest": volume, "tallest": height, "shortest": height,
            "longest": length,
        }  # fmt: skip

    def _predicates(
        self, pairs: BoxPairs, supported: np.ndarray
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        others = ~np.eye(self.count, dtype=bool)
        stacked, floor = self.stacked, self.support == FLOOR
        touching = geometry.resting_on(pairs, tolerance=0.03)
        tucked = geometry.tucked_under(pairs, min_share=0.6, top_below=0.05)
        tucked = tucked & floor[:, None] & floor[None] & others
        higher = (pairs.offset[..., 2] > 0) & others
        over = geometry.centered_over(pairs, 0.15)
        above = geometry.above(pairs, clearance=0.05, over=over) & ~stacked
        around = higher & geometry.centered_over(pairs, 0.5)
        beneath = stacked.T | touching.T | tucked | around.T
        beneath |= (higher & geometry.overlapping(pairs)).T

        reach = np.where(floor, 0.4, np.where(self.support == WALL, 0.6, 0.2))
        reach = np.minimum(reach[:, None], reach[None])
        apart = others & ~stacked & ~stacked.T
        level = (self.support[:, None] == self.support[None]) & (pairs.overlap[..., 2] > 0)
        next_to = geometry.near(pairs, reach) & level & ~geometry.overlapping(pairs, 0.2) & apart
        strict = {
            "on": supported,
            "under": supported.T | tucked,
            "above": above,
            "below": above.T,
            "next_to": next_to,
        }
        loose = {
            "on": stacked | touching,
            "under": beneath,
            "above": around | stacked,
            "below": beneath,
            "next_to": geometry.near(pairs, 2 * reach + 0.1) & apart,
        }
        return strict, {name: loose[name] | strict[name] for name in BOOLEAN}

    @cached_property
    def between(self) -> tuple[np.ndarray, np.ndarray]:
        """(strict, loose), each (N, N, N) bool [target, anchor, anchor], on the floor plan.

        Strict: at 25-75 % of the line between two anchors 0.8 m apart or more, off it by at most
        20 % of its length, all three on the same support. Loose: at 5-95 %, at most 50 % off.
        """
        plan = self.center[:, :2]
        points, start, end = plan[:, None, None], plan[None, :, None], plan[None, None]
        length = np.linalg.norm(end - start, axis=-1)
        different = ~np.eye(self.count, dtype=bool)
        distinct = different[:, :, None] & different[:, None, :] & different[None]
        same = self.support[:, None] == self.support[None]
        same = same[:, :, None] & same[:, None, :] & (length > 0.8)
        loose = distinct & geometry.between(points, start, end, half_span=0.45, max_off=0.5)
        strict = loose & same & geometry.between(points, start, end, half_span=0.25, max_off=0.2)
        return strict, loose

    @cached_property
    def between_pairs(self) -> list[tuple[int, int]]:
        """The pairs of anchors, first below second, that strictly have an object between them."""
        first, second = np.nonzero(np.triu(self.between[0].any(0)))
        return list(zip(first.tolist(), second.tolist(), strict=True))

    def between_masks(self, a: int, b: int) -> tuple[int, int]:
        """(strict mask, loose mask) of what is between two objects."""
        strict, loose = self.between
        return pack(strict[:, a, b]), pack(loose[:, a, b])

    def nearest(self, candidates: int, anchor: int, farthest: bool) -> tuple[int, int]:
        """The candidate closest to (or farthest from) the anchor: (strict mask, loose mask)."""
        members = bits(candidates & ~(1 << anchor))
        if len(members) < 2:  # a superlative needs two candidates
            return 0, mask_of(members)
        row = self.distances[anchor]
        values = [row[i] for i in members]
        close = contenders(values, largest=farthest, ratio=CLEAR_RATIO, margin=CLEAR_METRES)
        return _clear_winner([members[k] for k in close])

    def extreme(self, candidates: int, superlative: str) -> tuple[int, int]:
        """The largest, shortest, ... candidate by a clear ratio: (strict mask, loose mask)."""
        measure, members = self.measures[superlative], bits(candidates)
        if not members:
            return 0, 0
        values, largest = [measure[i] for i in members], SIZES[superlative] > 0
        close = contenders(values, largest=largest, ratio=SIZE_RATIO[superlative])
        return _clear_winner([members[k] for k in close])


def _clear_winner(close: Sequence[int]) -> tuple[int, int]:
    """(strict mask, loose mask) of the contenders for a superlative."""
    loose = mask_of(close)
    return (loose if len(close) == 1 else 0), loose


def bits(mask: int) -> list[int]:
    """The indices in a mask, ascending."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


def mask_of(indices: Sequence[int]) -> int:
    """The mask of some indices."""
    mask = 0
    for i in indices:
        mask |= 1 << i
    return mask


def union(columns: Masks, anchors: int) -> int:
    """The targets of any of the anchors."""
    mask = 0
    for anchor in bits(anchors):
        mask |= columns[anchor]
    return mask


def _columns(matrix: np.ndarray) -> Masks:
    """For every anchor the mask of its targets."""
    packed = np.packbits(matrix.T, axis=1, bitorder="little")
    raw, width = packed.tobytes(), packed.shape[1]
    ends = range(width, len(raw) + 1, width or 1)
    return tuple(int.from_bytes(raw[end - width : end], "little") for end in ends)


def pack(members: np.ndarray) -> int:
    """The mask of the members, (N,) bool."""
    return int.from_bytes(np.packbits(members, bitorder="little").tobytes(), "little")
