"""Left and right, in front and behind: where objects stand for somebody who looks at one of them.

The viewer stands at the centre of one object, the viewpoint, and faces the centre of another, the
anchor, both on the floor plan. Seen so, an object lies some metres beside the anchor, to the left
or right, and some metres deeper, or nearer, which is in front. As in `relations`, `yes` is where
anybody would agree and `maybe` where somebody could.

    left, right, front, behind
                yes: the centre within 45 degrees of that direction, beyond the anchor's own outline
                and at least 0.3 m that way (0.2 m on furniture), at most 2.5 m off, on the same
                support or both on the floor, and in the middle 120 degrees of the view, never
                behind what hangs on a wall; maybe: within 75 degrees and 4 m, 5 cm that way,
                anywhere
    leftmost, rightmost
                of some candidates, all within 75 degrees of the line of sight, the one outermost by
                10 degrees of bearing and by 0.3 m sideways, at once

A viewpoint stands on the floor or is a door or a window, and is 1 m or more from the anchor, and at
least as far as it is long itself: then it hardly matters where at it one stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spatial3d_ros.research.language.relations import Relations, bits, mask_of, pack
from spatial3d_ros.research.rooms.catalog import FLOOR, SMALL, WALL

if TYPE_CHECKING:
    from spatial3d_ros.research.rooms.generator import RoomObject

SIDES = ("left", "right", "front", "behind")
OUTERMOST = {"leftmost": 1.0, "rightmost": -1.0}

_MIN_VIEW, _MAX_OFF, _MAX_OFF_MAYBE = 1.0, 2.5, 4.0
_TAN_MAYBE, _GAZE_TAN = np.tan(np.deg2rad(75)), np.tan(np.deg2rad(60))
_FIELD, _CLEAR_BEARING, _CLEAR_SIDEWAYS = np.deg2rad(75), np.deg2rad(10), 0.3
_MARGIN, _MARGIN_ON_FURNITURE, _MARGIN_MAYBE = 0.3, 0.2, 0.05


class Viewpoints:
    """What some objects are to each other, seen from those among them where one can stand.

    Masks are those of `Relations`: bit i for object i.
    """

    def __init__(self, objects: Sequence[RoomObject], relations: Relations) -> None:
        self.relations = relations
        self.standing = [i for i, o in enumerate(objects) if _can_stand_at(o)]
        self.slot = {i: k for k, i in enumerate(self.standing)}
        flat = relations.center[:, :2]
        sight = flat[None] - flat[self.standing][:, None]  # [viewpoint, anchor]
        length = np.sqrt((sight**2).sum(-1))
        longest = relations.size[self.standing, :2].max(1, initial=0.0)
        self.usable = length >= np.maximum(longest, _MIN_VIEW)[:, None]
        self.length = length
        self._sides: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._triples: dict[str, np.ndarray] = {}
        self.ahead = sight / np.maximum(length, 1e-9)[..., None]
        self.left = np.stack([-self.ahead[..., 1], self.ahead[..., 0]], -1)

    @cached_property
    def _offsets(self) -> tuple[np.ndarray, ...]:
        """Metres beside (left positive) and deeper than the anchor, each (V, N, N) [viewpoint,
        anchor, target], and bool of that shape: who counts for sure, and who could.
        """
        r = self.relations
        flat = r.center[:, :2]
        offset = (flat[None] - flat[:, None]).transpose(0, 2, 1)  # [anchor, axis, target]
        off = np.sqrt((offset**2).sum(1))
        beside = (self.left[:, :, None] @ offset)[:, :, 0]
        deeper = (self.ahead[:, :, None] @ offset)[:, :, 0]
        index = np.arange(r.count)
        apart = (index[:, None] != index) & ~r.stacked & ~r.stacked.T
        elsewhere = index != np.array(self.standing, dtype=int)[:, None]
        possible = self.usable[:, :, None] & elsewhere[:, None] & (apart & (off < _MAX_OFF_MAYBE))
        grounded = (r.support == FLOOR) | (r.lo[:, 2] < 0.1)
        level = (r.lo[:, None, 2] < r.hi[:, 2]) & (r.lo[:, 2] < r.hi[:, None, 2])
        level &= (r.support[:, None] == r.support) | (grounded[:, None] & grounded)
        in_gaze = np.abs(beside) < _GAZE_TAN * (self.length[:, :, None] + deeper)
        return beside, deeper, possible & in_gaze & (level & (off < _MAX_OFF)), possible

    def side(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Yes and maybe of one of SIDES, (V, N, N) bool [viewpoint, anchor, target]."""
        if name not in self._sides:
            r = self.relations
            beside, deeper, sure, possible = self._offsets
            sideways = name in ("left", "right")
            along, across = (beside, deeper) if sideways else (deeper, beside)
            along, across = (-along if name in ("right", "front") else along), np.abs(across)
            outline = np.abs(self.left if sideways else self.ahead) * (r.size[:, :2] / 2)
            on_furniture = (r.support[:, None] == r.support) & (r.support >= 0)
            reach = np.where(on_furniture, _MARGIN_ON_FURNITURE, _MARGIN)
            reach = np.maximum(reach, outline.sum(-1)[:, :, None])
            yes = sure & (along > reach) & (across < along)
            if name == "behind":  # what is behind a door is in another room
                yes &= (r.support != WALL)[:, None]
            maybe = possible & (along > _MARGIN_MAYBE) & (across < _TAN_MAYBE * along)
            self._sides[name] = yes, maybe
        return self._sides[name]

    def triples(self, name: str) -> np.ndarray:
        """All [viewpoint, anchor, target], (n, 3), where the target surely is on that side."""
        if name not in self._triples:
            found = np.argwhere(self.side(name)[0])
            found[:, 0] = np.array(self.standing, dtype=int)[found[:, 0]]
            self._triples[name] = found
        return self._triples[name]

    def offers(self, viewpoint: int, anchor: int) -> bool:
        """Whether one can stand at the viewpoint and face the anchor; False for -1."""
        return viewpoint in self.slot and bool(self.usable[self.slot[viewpoint], anchor])

    def side_masks(self, name: str, anchor: int, viewpoint: int) -> tuple[int, int]:
        """(yes mask, maybe mask) of what is on one of SIDES of the anchor."""
        k = self.slot[viewpoint]
        yes, maybe = self.side(name)
        return pack(yes[k, anchor]), pack(maybe[k, anchor])

    def outermost(self, candidates: int, name: str, anchor: int, viewpoint: int) -> tuple[int, int]:
        """The leftmost or rightmost candidate: (yes mask, maybe mask)."""
        k, members = self.slot[viewpoint], bits(candidates)
        if len(members) < 2:
            return 0, candidates
        flat = self.relations.center[:, :2]
        seen = flat[members] - flat[viewpoint]
        beside = OUTERMOST[name] * (seen @ self.left[k, anchor])
        bearing = np.arctan2(beside, seen @ self.ahead[k, anchor])
        if np.abs(bearing).max() > _FIELD:
            return 0, candidates
        close = (bearing > bearing.max() - _CLEAR_BEARING) | (
            beside > beside.max() - _CLEAR_SIDEWAYS
        )
        maybe = mask_of([i for i, is_close in zip(members, close, strict=True) if is_close])
        return (maybe if maybe.bit_count() == 1 else 0), maybe


def _can_stand_at(item: RoomObject) -> bool:
    if item.support == FLOOR:
        return item.category not in SMALL
    return item.category in ("door", "window")
