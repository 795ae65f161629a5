"""Spatial relations of the objects of a home, for all (target, anchor) pairs at once.

Each relation is a pair of (n, n) bool matrices [target, anchor]: `strict` where every annotator
agrees, `loose` where some annotator might; strict is part of loose. A referring expression is only
made if the one object that fits strictly is the only one that fits loosely. Metres; boxes are as
scanned, so faces are off by centimetres.

    near      strict: less than 0.35 m between the boxes, neither on, in nor over the other; loose:
              1.1 m
    on        strict: supported by it (known from how the room was made), or resting within 8 cm of
              its top with most of its footprint inside; loose: over its footprint at all, and
              higher
    above     free over it by 4 cm, its centre at most 10 cm outside the anchor's footprint; loose:
              higher, within 0.5 m on the floor plan
    below     the reverse of above, or tucked under it; loose: as for above, or lower at all
    left, right, front, behind
              of an anchor with a front, for a viewer who stands in front of it and looks at it.
              strict: within 35 degrees of that direction, 2.6 m at most; loose: 66 degrees and 5 m
    across    in front of the anchor or behind it, 1.2 m or more off, within 20 degrees of its axis;
              loose: 50 degrees, 0.6 m
    facing    the target's front points at it, within 20 degrees; loose: 60
    back to   the same for its back
    end       at an end of a long anchor; middle: at the middle of its long side
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from spatial3d_ros.geometry import relations as geometry
from spatial3d_ros.geometry.relations import (
    SIDES,
    BoxPairs,
    in_sector,
    side_coordinates,
    view_coordinates,
)
from spatial3d_ros.research.homes.rooms import Home

MaskPair = tuple[np.ndarray, np.ndarray]

_SIDE, _SIDE_LOOSE = 0.61, 1.15  # half angles of sectors, rad
_AXIS, _AXIS_LOOSE = 0.35, 0.87
_FACING, _FACING_LOOSE = 0.35, 1.05
WALL_DIRECTIONS = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
"""Towards the four walls, in the order of `SpatialRelations.to_walls`."""


class SpatialRelations:
    """Relation matrices and measures of a home's n objects."""

    def __init__(self, home: Home) -> None:
        boxes = home.boxes
        self.count = len(boxes)
        self.center, self.size = boxes[:, :3], boxes[:, 3:]
        self.low, self.high = self.center - self.size / 2, self.center + self.size / 2
        self.front = home.front
        self.support = home.support
        self.boxes = BoxPairs(boxes)
        self.distance, self.gap = self.boxes.distance, self.boxes.gap
        self.others = ~np.eye(self.count, dtype=bool)
        furniture = np.array([key not in ("wall", "floor", "ceiling") for key in home.keys])
        self.room_low = self.low[furniture].min(0)
        self.room_high = self.high[furniture].max(0)
        self.middle = (self.room_low + self.room_high) / 2

    @cached_property
    def pairs(self) -> dict[str, MaskPair]:
        """All relations by name."""
        found = {**self._vertical, **self._sides}
        stacked = found["on"][1] | found["on"][1].T
        over = found["above"][1] | found["below"][1]
        level = self.boxes.overlap[..., 2] > -0.1
        strict = self.others & geometry.near(self.boxes, 0.35) & ~stacked & ~over & level
        found["near"] = strict, self.others & geometry.near(self.boxes, 1.1)
        found["end"], found["middle"] = self._along()
        return found

    @cached_property
    def _vertical(self) -> dict[str, MaskPair]:
        pairs, others = self.boxes, self.others
        inside, rise, higher = pairs.target_share, pairs.rise, pairs.offset[..., 2] > 0
        supported = (self.support[:, None] == np.arange(self.count)) & others
        on = supported | geometry.resting_on(pairs, tolerance=0.08, min_share=0.6) & others
        on_loose = ((inside > 0.05) & higher & others & (rise < 0.4)) | on
        over = geometry.centered_over(pairs, 0.1) & others
        above = geometry.above(pairs, clearance=0.04, over=over)
        nearby = (pairs.plan_gap < 0.5) | geometry.overlapping(pairs)
        roughly_above = higher & nearby & others & (rise > -0.35)
        tucked = (
            geometry.tucked_under(pairs, min_share=0.55, top_below=0.1)
            & (pairs.low[..., 2] < pairs.anchor_low[..., 2] + 0.15)
            & (pairs.offset[..., 2] < -0.08)
            & ~supported
            & others
        )
        free = above & ~supported
        below = free.T | tucked
        below_loose = roughly_above.T | (inside > 0.05) & (pairs.offset[..., 2] < 0) | below
        return {
            "on": (on, on_loose),
            "above": (free, roughly_above | above | on_loose),
            "below": (below, below_loose & others),
        }

    @cached_property
    def _sides(self) -> dict[str, MaskPair]:
        pairs, others = self.boxes, self.others
        offset = pairs.offset[..., :2]
        away = np.linalg.norm(offset, axis=-1)
        apart = others & ~geometry.overlapping(pairs, 0.2)
        level = pairs.overlap[..., 2] > -0.35
        found: dict[str, MaskPair] = {}
        ahead, left = view_coordinates(offset, -self.front)  # a viewer who looks at the front
        for name in SIDES:
            along, across = side_coordinates(name, ahead, left)
            strict = apart & level & in_sector(along, across, _SIDE)
            strict = strict & (self.gap < 1.6) & (away < 2.6)
            found[name] = strict, (others & in_sector(along, across, _SIDE_LOOSE) & (away < 5))
        axis = np.abs(ahead)
        strict = apart & level & in_sector(axis, left, _AXIS) & (away > 1.2) & (away < 5)
        found["across"] = strict, others & in_sector(axis, left, _AXIS_LOOSE) & (away > 0.6)
        ahead, left = view_coordinates(-offset, self.front[:, None])
        for kind, along in (("facing", ahead), ("back to", -ahead)):
            strict = apart & in_sector(along, left, _FACING) & (away < 4)
            found[kind] = strict, others & in_sector(along, left, _FACING_LOOSE)
        return found

    def _along(self) -> tuple[MaskPair, MaskPair]:
        """At the ends, or the middle, of objects at least 1.3 m long and 1.4 times as wide."""
        size = self.size[:, :2]
        axis = np.argmax(size, 1)
        length, width = size.max(1), size.min(1)
        fit = (length > 1.3) & (length > 1.4 * width)
        offset = self.boxes.offset[..., :2]
        along = np.abs(np.take_along_axis(offset, axis[None, :, None], 2)[..., 0])
        share = along / np.maximum(length, 1e-6)
        close = self.others & (self.gap < 0.5) & fit & (self.boxes.overlap[..., 2] > 0)
        loose = self.others & (self.gap < 1.2) & fit
        end = close & (share > 0.48), loose & (share > 0.25)
        return end, (close & (share < 0.12), loose & (share < 0.3))

    def between(self, a: int, b: int) -> MaskPair:
        """What is between two objects on the floor plan, (n,) each. strict: at 25-75 % of the line
        and off it by at most 20 % of its length, the line 0.8 m or longer; loose: 5-95 %, 50 %.
        """
        plan = self.center[:, :2]
        start, end = plan[a], plan[b]
        loose = geometry.between(plan, start, end, half_span=0.45, max_off=0.5)
        loose[[a, b]] = False
        height = (self.center[a, 2] + self.center[b, 2]) / 2
        fair = loose & (np.abs(self.center[:, 2] - height) < 0.5)
        fair &= bool(np.linalg.norm(end - start) > 0.8)
        return fair & geometry.between(plan, start, end, half_span=0.25, max_off=0.2), loose

    @cached_property
    def to_walls(self) -> np.ndarray:
        """Distance of each object's box to the four sides of the room, (n, 4): -x, +x, -y, +y."""
        low, high = self.low[:, :2] - self.room_low[:2], self.room_high[:2] - self.high[:, :2]
        return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1)

    @cached_property
    def room_positions(self) -> dict[str, MaskPair]:
        """Position in the room, (n,) each: in a corner, in the middle, at a wall, on the floor."""
        sides = np.stack([self.to_walls[:, :2].min(1), self.to_walls[:, 2:].min(1)], 1)
        width = self.room_high[:2] - self.room_low[:2]
        off = np.abs(self.center[:, :2] - self.middle[:2]) / width
        return {
            "corner": ((sides < 0.35).all(1), (sides < 1.0).all(1)),
            "centre": ((off < 0.13).all(1), (off < 0.3).all(1)),
            "wall": ((sides < 0.1).any(1), (sides < 0.45).any(1)),
            "floor": (self.low[:, 2] < 0.06, self.low[:, 2] < 0.3),
        }

    @cached_property
    def measures(self) -> dict[str, np.ndarray]:
        """What superlatives compare, (n,) each, all positive."""
        return {
            "large": self.size.prod(1) ** (1 / 3),
            "tall": self.size[:, 2],
            "long": self.size[:, :2].max(1),
            "high": self.center[:, 2] + 1.0,
        }

    def view_directions(self, anchor: int) -> list[np.ndarray]:
        """Directions (2,) in which a viewer may face an object: from the middle of the room, at
        right angles to its wall, against its front. Empty where these disagree.
        """
        ahead = self.center[anchor, :2] - self.middle[:2]
        off = float(np.linalg.norm(ahead))
        if off < 1.0:
            return []
        found = [ahead / off]
        walls = self.to_walls[anchor]
        if walls.min() < 0.3:
            found.append(WALL_DIRECTIONS[int(walls.argmin())])
        if not np.isnan(self.front[anchor, 0]):
            found.append(-self.front[anchor])
        agree = all(float(a @ b) > 0.7 for a in found for b in found)
        return found if agree and len(found) > 1 else []
