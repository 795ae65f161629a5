"""Left, right, in front and behind, for a viewer who stands at one object and looks at another.

The viewer stands at the centre of one object, the viewpoint, and faces the centre of another, the
anchor, both on the floor plan. An object is then some metres to the left or right of the anchor,
and some metres behind it, or in front of it, which is nearer. As in `relations`, `strict` is where
every annotator agrees and `loose` where some annotator might.

    left, right, front, behind
                strict: the centre within 45 degrees of that direction, beyond the anchor's own
                outline and at least 0.3 m that way (0.2 m on furniture), at most 2.5 m off, on the
                same support or both on the floor, and in the middle 120 degrees of the view, never
                behind an anchor that hangs on a wall; loose: within 75 degrees and 4 m, 5 cm that
                way, anywhere
    leftmost, rightmost
                of some candidates, all within 75 degrees of the line of sight, the one outermost by
                10 degrees of bearing and by 0.3 m sideways, at once

A viewpoint stands on the floor or is a door or a window. It is 1 m or more from the anchor, and at
least its own length away, so the exact position of the viewer at it hardly matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spatial3d_ros.geometry.relations import (
    Side,
    contenders,
    in_sector,
    left_of,
    side_coordinates,
    view_coordinates,
)
from spatial3d_ros.research.language.relations import Relations, bits, mask_of, pack
from spatial3d_ros.research.rooms.catalog import FLOOR, WALL, is_small

if TYPE_CHECKING:
    from spatial3d_ros.research.rooms.generator import RoomObject

OUTERMOST = {"leftmost": 1.0, "rightmost": -1.0}
_MIN_VIEW, _MAX_OFF, _MAX_OFF_LOOSE = 1.0, 2.5, 4.0
_SECTOR, _SECTOR_LOOSE, _GAZE = np.deg2rad(45), np.deg2rad(75), np.deg2rad(60)
_FIELD, _CLEAR_BEARING, _CLEAR_SIDEWAYS = np.deg2rad(75), np.deg2rad(10), 0.3
_MARGIN, _MARGIN_ON_FURNITURE, _MARGIN_LOOSE = 0.3, 0.2, 0.05


class Viewpoints:
    """View-dependent relations of N objects, from the V of them at which a viewer can stand.

    viewpoints: indices (V,) of those; slot: index of an object in `viewpoints`; valid: (V, N) bool
    [viewpoint, anchor], far enough apart; ahead: (V, N, 2) unit view directions. Masks are those of
    `Relations`: bit i for object i.
    """

    def __init__(self, objects: Sequence[RoomObject], relations: Relations) -> None:
        self.relations = relations
        self.viewpoints = [i for i, o in enumerate(objects) if _is_viewpoint(o)]
        self.slot = {i: k for k, i in enumerate(self.viewpoints)}
        plan = relations.center[:, :2]
        sight = plan[None] - plan[self.viewpoints][:, None]
        self.length = np.linalg.norm(sight, axis=-1)
        longest = relations.size[self.viewpoints, :2].max(1, initial=0.0)
        self.valid = self.length >= np.maximum(longest, _MIN_VIEW)[:, None]
        self.ahead = sight / np.maximum(self.length, 1e-9)[..., None]
        self._sides: dict[Side, tuple[np.ndarray, np.ndarray]] = {}
        self._triples: dict[Side, np.ndarray] = {}

    @cached_property
    def _offsets(self) -> tuple[np.ndarray, ...]:
        """Metres ahead of and to the left of the anchor, each (V, N, N) [viewpoint, anchor,
        target], and bool of that shape: which targets count strictly, and which loosely.
        """
        r = self.relations
        plan = r.center[:, :2]
        offset = plan[None] - plan[:, None]  # [anchor, target]
        off = np.linalg.norm(offset, axis=-1)
        ahead, left = view_coordinates(offset[None], self.ahead[:, :, None])
        index = np.arange(r.count)
        apart = (index[:, None] != index) & ~r.stacked & ~r.stacked.T
        elsewhere = index != np.array(self.viewpoints, dtype=int)[:, None]
        loose = self.valid[:, :, None] & elsewhere[:, None] & (apart & (off < _MAX_OFF_LOOSE))
        grounded = (r.support == FLOOR) | (r.low[:, 2] < 0.1)
        level = (r.low[:, None, 2] < r.high[:, 2]) & (r.low[:, 2] < r.high[:, None, 2])
        level &= (r.support[:, None] == r.support) | (grounded[:, None] & grounded)
        in_gaze = in_sector(self.length[:, :, None] + ahead, left, _GAZE)
        return ahead, left, loose & in_gaze & (level & (off < _MAX_OFF)), loose

    def side(self, name: Side) -> tuple[np.ndarray, np.ndarray]:
        """(strict, loose) of one of SIDES, (V, N, N) bool [viewpoint, anchor, target]."""
        if name not in self._sides:
            r = self.relations
            ahead, left, countable, loosely_countable = self._offsets
            along, across = side_coordinates(name, ahead, left)
            axis = left_of(self.ahead) if name in ("left", "right") else self.ahead
            outline = (np.abs(axis) * (r.size[:, :2] / 2)).sum(-1)
            on_furniture = (r.support[:, None] == r.support) & (r.support >= 0)
            reach = np.where(on_furniture, _MARGIN_ON_FURNITURE, _MARGIN)
            reach = np.maximum(reach, outline[:, :, None])
            strict = countable & (along > reach) & in_sector(along, across, _SECTOR)
            if name == "behind":  # behind a door is another room
                strict &= (r.support != WALL)[:, None]
            loose = in_sector(along, across, _SECTOR_LOOSE) & (along > _MARGIN_LOOSE)
            self._sides[name] = strict, loosely_countable & loose
        return self._sides[name]

    def triples(self, name: Side) -> np.ndarray:
        """All [viewpoint, anchor, target], (n, 3), where the target is strictly on that side."""
        if name not in self._triples:
            found = np.argwhere(self.side(name)[0])
            found[:, 0] = np.array(self.viewpoints, dtype=int)[found[:, 0]]
            self._triples[name] = found
        return self._triples[name]

    def is_valid(self, viewpoint: int, anchor: int) -> bool:
        """Whether a viewer can stand at the viewpoint and face the anchor; False for -1."""
        return viewpoint in self.slot and bool(self.valid[self.slot[viewpoint], anchor])

    def side_masks(self, name: Side, anchor: int, viewpoint: int) -> tuple[int, int]:
        """(strict mask, loose mask) of what is on one of SIDES of the anchor."""
        k = self.slot[viewpoint]
        strict, loose = self.side(name)
        return pack(strict[k, anchor]), pack(loose[k, anchor])

    def outermost(self, candidates: int, name: str, anchor: int, viewpoint: int) -> tuple[int, int]:
        """The leftmost or rightmost candidate: (strict mask, loose mask)."""
        k, members = self.slot[viewpoint], bits(candidates)
        if len(members) < 2:
            return 0, candidates
        plan = self.relations.center[:, :2]
        ahead, left = view_coordinates(plan[members] - plan[viewpoint], self.ahead[k, anchor])
        sideways = OUTERMOST[name] * left
        bearing = np.arctan2(sideways, ahead)
        if np.abs(bearing).max() > _FIELD:
            return 0, candidates
        close = {
            *contenders(bearing.tolist(), largest=True, margin=_CLEAR_BEARING),
            *contenders(sideways.tolist(), largest=True, margin=_CLEAR_SIDEWAYS),
        }
        loose = mask_of([members[i] for i in close])
        return (loose if len(close) == 1 else 0), loose


def _is_viewpoint(item: RoomObject) -> bool:
    if item.support == FLOOR:
        return not is_small(item.category, item.look is not None)
    return item.category in ("door", "window")
