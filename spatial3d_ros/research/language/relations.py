"""Where boxes stand to each other: the predicates of generated questions, for all pairs at once.

A predicate is a pair of (N, N) bool matrices indexed [target, anchor]: `yes`, where anybody would
agree, and `maybe`, where somebody could (yes is a part of it). A question is only asked when the
one object that fits for sure is also the only one that could: its truth hangs on no threshold.

    on        it stands on the anchor; maybe: also through things between, or boxes that just touch
    under     it carries the anchor, or stands on the floor under the anchor's outline and below
              its top; maybe: lower at all and overlapping on the floor plan
    above     free over the anchor, its centre at most 0.15 m outside the anchor's outline on the
              floor plan; maybe: 0.5 m outside, or carried by it
    below     the reverse of above; maybe: as for under, people use the words alike
    next_to   on the same support and level with it, boxes at most a reach apart (0.4 m on the
              floor, 0.2 m on furniture, 0.6 m on a wall); maybe: twice that and 0.1 m, anywhere
    between   two anchors, near the middle of the line between their centres: `Relations.between`

`closest` and `farthest` compare distances of box centres in 3D and win by 20 % and 0.25 m.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spatial3d_ros.research.rooms.generator import RoomObject

BOOLEAN = ("on", "under", "above", "below", "next_to")
NEARNESS = ("closest", "farthest")
SIZES = {"largest": 1, "smallest": -1, "tallest": 1, "shortest": -1, "longest": 1}
CLEAR_RATIO, CLEAR_METRES = 1.2, 0.25
SIZE_RATIO = {"largest": 1.3, "smallest": 1.3, "tallest": 1.15, "shortest": 1.15, "longest": 1.15}

Masks = tuple[int, ...]


class Relations:
    """The pair matrices of some objects. Sets of objects are int masks, bit i for object i."""

    def __init__(self, objects: Sequence[RoomObject]) -> None:
        self.count = len(objects)
        self.center = np.array([o.box.center for o in objects], dtype=float).reshape(-1, 3)
        self.size = np.array([o.box.size for o in objects], dtype=float).reshape(-1, 3)
        self.ids = np.array([o.id for o in objects], dtype=int)
        self.support = np.array([o.support for o in objects], dtype=int)
        self.lo, self.hi = self.center - self.size / 2, self.center + self.size / 2
        offset = self.center[:, None] - self.center[None]
        self.distance = np.sqrt((offset**2).sum(-1))
        self.metres: list[list[float]] = self.distance.tolist()
        self.measures = self._measures()
        self.yes, self.maybe = self._predicates(offset)
        self.columns_yes = {name: _columns(matrix) for name, matrix in self.yes.items()}
        self.columns_maybe = {name: _columns(matrix) for name, matrix in self.maybe.items()}

    def _measures(self) -> dict[str, list[float]]:
        """Volume, height and longest horizontal side, by the superlative that compares them."""
        volume, height = self.size.prod(1).tolist(), self.size[:, 2].tolist()
        longest = self.size[:, :2].max(1).tolist() if self.count else []
        return {
            "largest": volume,
            "smallest": volume,
            "tallest": height,
            "shortest": height,
            "longest": longest,
        }

    def _predicates(
        self, offset: np.ndarray
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        lo, hi = self.lo, self.hi
        others = ~np.eye(self.count, dtype=bool)
        overlap = np.minimum(hi[:, None], hi[None]) - np.maximum(
            lo[:, None], lo[None]
        )  # < 0: how far apart
        flat = overlap[..., :2].clip(0).prod(-1)
        footprint = self.size[:, :2].prod(1)
        inside = flat / footprint[:, None]  # share of the target that lies over the anchor
        gap = np.sqrt((overlap.clip(max=0) ** 2).sum(-1))
        over = (np.abs(offset[..., :2]) - self.size[None, :, :2] / 2).max(
            -1
        )  # target centre to anchor outline
        rise = lo[:, None, 2] - hi[None, :, 2]  # target bottom over anchor top

        carried = self.support[:, None] == self.ids[None]
        stack = carried | (carried @ carried)
        stack |= carried @ stack
        self.stacked = stack  # the target is carried by the anchor, directly or through others
        touching = (np.abs(rise) < 0.03) & (flat > 0)
        floor = self.support == -1
        tucked = (
            (inside > 0.6)
            & floor[:, None]
            & floor[None]
            & (hi[:, None, 2] < hi[None, :, 2] - 0.05)
            & others
        )
        lower = (offset[..., 2] < 0) & ((inside > 0) | (inside.T > 0)) & others

        above = (rise > 0.05) & (over < 0.15) & ~stack
        around = (offset[..., 2] > 0) & (over < 0.5) & others
        reach = np.where(floor, 0.4, np.where(self.support == -2, 0.6, 0.2))
        reach = np.minimum(reach[:, None], reach[None])
        apart = others & ~stack & ~stack.T
        level = (self.support[:, None] == self.support[None]) & (overlap[..., 2] > 0)
        clear_of = np.maximum(inside, inside.T) < 0.2
        yes = {
            "on": carried,
            "under": carried.T | tucked,
            "above": above,
            "below": above.T,
            "next_to": (gap < reach) & level & clear_of & apart,
        }
        beneath = stack.T | touching.T | tucked | lower | around.T
        maybe = {
            "on": stack | touching,
            "under": beneath,
            "above": around | stack,
            "below": beneath,
            "next_to": (gap < 2 * reach + 0.1) & apart,
        }
        return yes, {name: maybe[name] | yes[name] for name in BOOLEAN}

    @cached_property
    def between(self) -> tuple[np.ndarray, np.ndarray]:
        """Yes and maybe, each (N, N, N) bool [target, anchor, anchor], measured on the floor plan.

        Yes: at 25-75 % of the line between two anchors 0.8 m apart or more, off it by at most 20 %
        of its length, and all three stand on the same support. Maybe: at 5-95 %, at most 50 % off.
        """
        flat = self.center[:, :2]
        line = flat[None] - flat[:, None]  # [a, b]: from a to b
        length2 = np.maximum((line**2).sum(-1), 1e-9)
        from_a = flat[:, None] - flat[None]  # [t, a]
        along = np.einsum("taj,abj->tab", from_a, line) / length2
        square = (from_a**2).sum(-1)[:, :, None]
        off2 = (square / length2 - along**2).clip(min=0)  # in units of the line's length
        index = np.arange(self.count)
        distinct = (index[:, None] != index[None]) & (length2 > 0)
        distinct = distinct[:, :, None] & distinct[:, None, :] & distinct[None]
        same = self.support[:, None] == self.support[None]
        same = same[:, :, None] & same[:, None, :]
        maybe = distinct & (np.abs(along - 0.5) < 0.45) & (off2 < 0.25)
        yes = maybe & same & (length2 > 0.64) & (np.abs(along - 0.5) < 0.25) & (off2 < 0.04)
        return yes, maybe

    @cached_property
    def between_pairs(self) -> list[tuple[int, int]]:
        """The pairs of anchors, first below second, that surely have something between them."""
        first, second = np.nonzero(np.triu(self.between[0].any(0)))
        return list(zip(first.tolist(), second.tolist(), strict=True))

    def between_masks(self, a: int, b: int) -> tuple[int, int]:
        """(yes mask, maybe mask) of what is between two objects."""
        yes, maybe = self.between
        return pack(yes[:, a, b]), pack(maybe[:, a, b])

    def nearest(self, candidates: int, anchor: int, farthest: bool) -> tuple[int, int]:
        """The candidate closest to (or farthest from) the anchor: (yes mask, maybe mask)."""
        row = self.metres[anchor]
        members = bits(candidates & ~(1 << anchor))
        if len(members) < 2:  # nobody says "closest" where there is nothing to choose
            return 0, mask_of(members)
        if farthest:
            best = max(row[i] for i in members)
            bound = min(best / CLEAR_RATIO, best - CLEAR_METRES)
            close = [i for i in members if row[i] > bound]
        else:
            best = min(row[i] for i in members)
            bound = max(best * CLEAR_RATIO, best + CLEAR_METRES)
            close = [i for i in members if row[i] < bound]
        maybe = mask_of(close)
        return (maybe if len(close) == 1 else 0), maybe

    def biggest(self, candidates: int, superlative: str) -> tuple[int, int]:
        """The largest, shortest, ... candidate by a clear margin: (yes mask, maybe mask)."""
        value, ratio = self.measures[superlative], SIZE_RATIO[superlative]
        members = bits(candidates)
        if not members:
            return 0, 0
        if SIZES[superlative] > 0:
            bound = max(value[i] for i in members) / ratio
            close = [i for i in members if value[i] > bound]
        else:
            bound = min(value[i] for i in members) * ratio
            close = [i for i in members if value[i] < bound]
        maybe = mask_of(close)
        return (maybe if len(close) == 1 else 0), maybe


def bits(mask: int) -> list[int]:
    """The ids in a mask, ascending."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


def mask_of(ids: Sequence[int]) -> int:
    """The mask of some ids."""
    mask = 0
    for i in ids:
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
