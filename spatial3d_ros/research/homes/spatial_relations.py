"""How the things of a room stand to each other, for all pairs at once.

Each relation is a pair of (n, n) bool matrices [target, anchor]: `yes` where anybody would agree,
`maybe` where somebody could; yes is part of maybe. A statement is only made where the one thing
that fits for sure is the only one that could fit: its truth hangs on no threshold. Metres; boxes
are as scanned, so faces are off by centimetres.

    near      yes: at most 0.35 m between the boxes, neither on, in nor over the other; maybe: 1.1 m
    on        yes: supported by it (known from how the room was made), or standing within 8 cm of
              its top with most of its outline inside; maybe: over its outline at all, and higher
    above     free over it by 4 cm, its centre at most 10 cm outside the anchor's outline; maybe:
              higher, within 0.5 m on the floor plan
    below     the reverse of above, or tucked under it; maybe: as for above, or lower at all
    left, right, front, behind
              of an anchor with a front, for somebody who stands before it and looks at it. yes:
              within 35 degrees of that direction, 2.5 m at most; maybe: 65 degrees and 5 m
    across    before the anchor's front or behind its back, 1.2 m or more off, within 20 degrees of
              its axis; maybe: 50 degrees, 0.6 m
    facing    the target's front looks at it, within 20 degrees; maybe: 60
    back to   the same for its back
    end       at an end of a long anchor; middle: beside its middle
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from spatial3d_ros.research.homes.rooms import Home

Pair = tuple[np.ndarray, np.ndarray]


class Facts:
    """Pair matrices and measures of a room's n things."""

    def __init__(self, home: Home) -> None:
        boxes = home.boxes
        self.count = len(boxes)
        self.center, self.size = boxes[:, :3], boxes[:, 3:]
        self.low, self.high = self.center - self.size / 2, self.center + self.size / 2
        self.front = home.front
        self.support = home.support
        self.offset = self.center[:, None] - self.center[None]  # [target, anchor]: from the anchor
        self.distance = np.linalg.norm(self.offset, axis=-1)
        overlap = np.minimum(self.high[:, None], self.high) - np.maximum(
            self.low[:, None], self.low
        )
        self.overlap = overlap
        self.gap = np.linalg.norm(overlap.clip(max=0), axis=-1)
        self.flat_gap = np.linalg.norm(overlap[..., :2].clip(max=0), axis=-1)
        flat = overlap[..., :2].clip(0).prod(-1)
        outline = self.size[:, :2].prod(1)
        self.inside = flat / outline[:, None]  # share of the target's outline over the anchor
        self.others = ~np.eye(self.count, dtype=bool)
        structure = np.array([key in ("wall", "floor", "ceiling") for key in home.keys])
        furniture = ~structure
        self.room_low = self.low[furniture].min(0)
        self.room_high = self.high[furniture].max(0)
        self.middle = (self.room_low + self.room_high) / 2

    @cached_property
    def pairs(self) -> dict[str, Pair]:
        """All relations by name."""
        found = {**self._stacked, **self._sides}
        stacked = found["on"][1] | found["on"][1].T
        over = found["above"][1] | found["below"][1]
        around = self.others & (self.gap < 1.1)
        level = self.overlap[..., 2] > -0.1
        yes = self.others & (self.gap < 0.35) & ~stacked & ~over & level
        found["near"] = yes, around | yes
        found["end"], found["middle"] = self._along()
        return found

    @cached_property
    def _stacked(self) -> dict[str, Pair]:
        carried = (self.support[:, None] == np.arange(self.count)) & self.others
        rise = self.low[:, None, 2] - self.high[None, :, 2]  # target's bottom over anchor's top
        higher = self.offset[..., 2] > 0
        shared = np.maximum(self.inside, self.inside.T)
        standing = (np.abs(rise) < 0.08) & (self.inside > 0.6) & self.others
        touching = (self.inside > 0.05) & higher & self.others
        on_maybe = (touching & (rise < 0.4)) | carried | standing
        centre_off = (np.abs(self.offset[..., :2]) - self.size[None, :, :2] / 2).max(-1)
        over = (rise > 0.04) & (centre_off < 0.1) & self.others
        loosely = higher & ((self.flat_gap < 0.5) | (shared > 0)) & self.others
        loosely = loosely & (rise > -0.35)
        tucked = (
            (self.inside > 0.55)
            & (self.high[:, None, 2] < self.high[None, :, 2] - 0.1)
            & (self.low[:, None, 2] < self.low[None, :, 2] + 0.15)
            & (self.offset[..., 2] < -0.08)
            & ~carried
            & self.others
        )
        below = (over & ~carried).T | tucked
        beneath = loosely.T | (self.inside > 0.05) & (self.offset[..., 2] < 0) | below
        return {
            "on": (carried | standing, on_maybe),
            "above": (over & ~carried, loosely | over | on_maybe),
            "below": (below, beneath & self.others),
        }

    @cached_property
    def _sides(self) -> dict[str, Pair]:
        flat = self.offset[..., :2]
        away = np.linalg.norm(flat, axis=-1)
        unit = flat / np.maximum(away, 1e-6)[..., None]
        ahead = np.einsum("tai,ai->ta", unit, self.front)
        # Who looks at the anchor has his right hand on the left of where its front points.
        right = np.einsum("tai,ai->ta", unit, self.front[:, ::-1] * np.array([-1.0, 1.0]))
        apart = self.others & (self.inside < 0.2) & (self.inside.T < 0.2)
        level = self.overlap[..., 2] > -0.35
        found: dict[str, Pair] = {}
        cosines = {"front": ahead, "behind": -ahead, "right": right, "left": -right}
        with np.errstate(invalid="ignore"):
            for name, cosine in cosines.items():
                yes = apart & level & (cosine > np.cos(0.61)) & (self.gap < 1.6) & (away < 2.6)
                found[name] = yes, (self.others & (cosine > np.cos(1.15)) & (away < 5)) | yes
            axis = np.abs(ahead)
            across = apart & level & (axis > np.cos(0.35)) & (away > 1.2) & (away < 5)
            found["across"] = across, (self.others & (axis > np.cos(0.87)) & (away > 0.6)) | across
            mine = -np.einsum("tai,ti->ta", unit, self.front)
            for name, cosine in (("facing", mine), ("back to", -mine)):
                yes = apart & (cosine > np.cos(0.35)) & (away < 4)
                found[name] = yes, (self.others & (cosine > np.cos(1.05))) | yes
        return found

    def _along(self) -> tuple[Pair, Pair]:
        """Beside the ends, or the middle, of things at least 1.3 m long and 1.4 times as wide."""
        size = self.size[:, :2]
        long = np.argmax(size, 1)
        length, width = size.max(1), size.min(1)
        fit = (length > 1.3) & (length > 1.4 * width)
        along = np.abs(np.take_along_axis(self.offset[..., :2], long[None, :, None], 2)[..., 0])
        share = along / np.maximum(length, 1e-6)
        close = self.others & (self.gap < 0.5) & fit & (self.overlap[..., 2] > 0)
        loose = self.others & (self.gap < 1.2) & fit
        end = close & (share > 0.48), loose & (share > 0.25)
        middle = close & (share < 0.12), loose & (share < 0.3)
        return (end[0], end[1] | end[0]), (middle[0], middle[1] | middle[0])

    def between(self, a: int, b: int) -> Pair:
        """Who is between two things on the floor plan, (n,) each: yes at 25-75 % of the line and
        off it by at most 20 % of its length, the line 0.8 m or longer; maybe: 5-95 % and 50 %.
        """
        line = self.center[b, :2] - self.center[a, :2]
        length = float(np.linalg.norm(line))
        from_a = self.center[:, :2] - self.center[a, :2]
        along = from_a @ line / max(length, 1e-6) ** 2
        off = np.abs(from_a @ np.array([-line[1], line[0]])) / max(length, 1e-6) ** 2
        maybe = (np.abs(along - 0.5) < 0.45) & (off < 0.5)
        maybe[[a, b]] = False
        height = (self.center[a, 2] + self.center[b, 2]) / 2
        level = np.abs(self.center[:, 2] - height) < 0.5
        return maybe & level & (length > 0.8) & (np.abs(along - 0.5) < 0.25) & (off < 0.2), maybe

    @cached_property
    def to_walls(self) -> np.ndarray:
        """Distance of each thing's box to the four sides of the room, (n, 4): -x, +x, -y, +y."""
        low, high = self.low[:, :2] - self.room_low[:2], self.room_high[:2] - self.high[:, :2]
        return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1)

    @cached_property
    def spots(self) -> dict[str, Pair]:
        """Where in the room a thing is, (n,) each: in a corner, in the middle, at a wall."""
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
        """What superlatives compare, (n,) each."""
        return {
            "large": self.size.prod(1) ** (1 / 3),
            "tall": self.size[:, 2],
            "long": self.size[:, :2].max(1),
            "high": self.center[:, 2] + 1.0,
        }

    def views(self, anchor: int) -> list[np.ndarray]:
        """Directions (2,) in which somebody may look who faces a thing: from the middle of the
        room, at right angles to its wall, against its front. Empty where these disagree.
        """
        ahead = self.center[anchor, :2] - self.middle[:2]
        off = float(np.linalg.norm(ahead))
        if off < 1.0:
            return []
        found = [ahead / off]
        walls = self.to_walls[anchor]
        if walls.min() < 0.3:
            found.append(_NORMALS[int(walls.argmin())])
        if not np.isnan(self.front[anchor, 0]):
            found.append(-self.front[anchor])
        agree = all(float(a @ b) > 0.7 for a in found for b in found)
        return found if agree and len(found) > 1 else []


_NORMALS = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])


def left_of(direction: np.ndarray) -> np.ndarray:
    """The unit vector (2,) to the left of who looks along a direction."""
    return np.array([-direction[1], direction[0]])


def wins(values: np.ndarray, among: np.ndarray, *, ratio: float, by: float) -> int:
    """Who clearly has the largest value among some (bool mask): by a ratio and an amount; or -1."""
    members = np.flatnonzero(among)
    if len(members) < 2:
        return -1
    best, second = values[members][np.argsort(-values[members])[:2]]
    if best - second < by or (second > 0 and best < ratio * second):
        return -1
    return int(members[np.argmax(values[members])])
