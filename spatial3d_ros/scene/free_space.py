"""Collision and support checks for placing a box (METHODS 3.4).

A placement is valid inside the room, with at most 10 % of the volume of the smaller box shared with
any other object, and on a support surface. Boxes are coarse hulls: the support of an object and a
table above it are no collisions, nor is an overlap that exists before the move.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spatial3d_ros.geometry.box import Box3D, iou, shared_volume, vector
from spatial3d_ros.scene.bounds import Bounds

COLLISION = 0.1  # largest share of the volume of the smaller box that two objects may overlap
GAP_M = 0.05  # largest gap between an object and its support
_SLACK_M = 0.02  # depth to which a box may enter a wall
_DUPLICATE_IOU = 0.25  # two boxes that overlap more are boxes of one object
_CONTAINED = 0.7  # share of a box inside another from which it moves with that one


@dataclass(frozen=True, eq=False)
class Body:
    """Geometry of an object for collision and support.

    `top` is the height (m) of its support surface, None without one (a lamp); `hollow`: objects fit
    under it (a table). `name` appears in messages.
    """

    box: Box3D
    top: float | None = None
    hollow: bool = False
    name: str = "something"

    def supports(self, box: Box3D) -> bool:
        """Whether the box rests on it: its bottom within 5 cm of the top, its centre and half of
        its footprint above it.
        """
        if self.top is None or abs(box.center[2] - box.size[2] / 2 - self.top) > GAP_M + 1e-9:
            return False
        if not self.covers(box.center):
            return False
        (low, high), (own_low, own_high) = box.bounds(), self.box.bounds()
        shared = (np.minimum(high, own_high) - np.maximum(low, own_low))[:2].clip(min=0).prod()
        return bool(shared >= 0.5 * (high - low)[:2].prod() - 1e-9)

    def covers(self, point: Sequence[float]) -> bool:
        """Whether a point lies in the footprint, at any height."""
        return bool(self.box.contains(np.array([point[0], point[1], self.box.center[2]])))

    def is_above(self, box: Box3D) -> bool:
        """Whether the box stands under it, its top clearly below its own."""
        if not self.hollow:
            return False
        tops = [b.center[2] + b.size[2] / 2 for b in (box, self.box)]
        return tops[0] <= tops[1] - GAP_M + 1e-9 and self.covers(box.center)


def moving_with(body: Body, others: Sequence[Body], floor: float) -> list[int]:
    """Indices of the bodies that move with a body: those it supports, directly or not, those inside
    it, and duplicate boxes of it. `floor` is the height of the floor (m).
    """
    moving: list[Body] = [body]
    found: set[int] = set()
    while moving:
        below = moving.pop()
        for k, other in enumerate(others):
            if k not in found and _moves_with(other, below, floor):
                found.add(k)
                moving.append(other)
    return sorted(found)


def _moves_with(other: Body, below: Body, floor: float) -> bool:
    if below.supports(other.box) or is_duplicate(other.box, below.box):
        return True
    standing = other.box.center[2] - other.box.size[2] / 2 < floor + GAP_M
    if below.hollow and standing:
        return False
    volume = other.box.volume
    return volume > 0 and shared_volume(other.box, below.box) >= _CONTAINED * volume


class FreeSpace:
    """Checks placements of one object. Deterministic.

    Args:
        bounds: of the room.
        bodies: all objects but the moved one and those that move with it.
        before: box of the object before the move. Violations that exist there stay allowed: outside
            of the room, overlap with others, no support.
        attached: boxes of the objects that move with it.
    """

    def __init__(
        self,
        bounds: Bounds,
        bodies: Iterable[Body],
        before: Box3D | None = None,
        attached: Sequence[Box3D] = (),
    ) -> None:
        self.bodies = tuple(bodies)
        self.before = before
        self.attached = tuple(attached)
        self.floor = float(bounds.low[2])
        low, high = bounds.low - _SLACK_M, bounds.high + _SLACK_M
        low[2] -= GAP_M
        self.needs_support = True
        if before is not None:
            lowest, highest = before.bounds()
            low, high = np.minimum(low, lowest - 1e-6), np.maximum(high, highest + 1e-6)
            self.needs_support = self.support(before) is not None
        self._allowed = [  # cubic metres shared with each body before the move, of each moved box
            [0.0 if box is None else shared_volume(box, body.box) for body in self.bodies]
            for box in (before, *self.attached)
        ]
        self._low, self._high = low, high
        corners = np.array([b.box.bounds() for b in self.bodies]).reshape(-1, 2, 3)
        self._lows, self._highs = corners[:, 0], corners[:, 1]

    def support(self, box: Box3D) -> float | None:
        """Height (m) of the surface the box rests on, within 5 cm; None without one."""
        bottom = box.center[2] - box.size[2] / 2
        if abs(bottom - self.floor) <= GAP_M + 1e-9:
            return self.floor
        return next((body.top for body in self.bodies if body.supports(box)), None)

    def problem(self, box: Box3D) -> str:
        """Why the box cannot stand there, as a sentence part; "" if it can."""
        low, high = box.bounds()
        if (low < self._low).any() or (high > self._high).any():
            return "it would reach out of the room"
        # The support of an object and duplicate boxes of that support are no collisions.
        hosts = [body for body in self.bodies if body.supports(box) or body.is_above(box)]
        ignored = [any(is_duplicate(body.box, host.box) for host in hosts) for body in self.bodies]
        shares = self._shares(box, self._allowed[0], ignored)
        for box_attached, allowed in zip(self.attached, self._allowed[1:], strict=True):
            if self.before is not None and shares.sum() <= COLLISION:
                shares = self._shares(moved_along(box_attached, self.before, box), allowed, ignored)
        if shares.sum() > COLLISION:
            return f"{self.bodies[int(shares.argmax())].name} is in the way"
        if self.needs_support and self.support(box) is None:
            return "there would be nothing under it"
        return ""

    def nearest(self, box: Box3D, centers: np.ndarray) -> tuple[Box3D | None, str]:
        """The box at the first of the centres (C, 3) where it can stand and "", or None and the
        problem at the first centre.
        """
        low, high = box.bounds()
        half = (high - low) / 2
        inside = ((centers - half >= self._low) & (centers + half <= self._high)).all(1)
        for center in centers[inside & ~self._blocked(box, centers, half)]:
            moved = replace(box, center=tuple(center))
            if not self.problem(moved):
                return moved, ""
        if not len(centers):
            return None, "there is no such place"
        return None, self.problem(replace(box, center=tuple(centers[0])))

    def _blocked(self, box: Box3D, centers: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Which of the centres (C, 3) certainly collide, by axis-aligned boxes alone."""
        straight = [k for k, body in enumerate(self.bodies) if _straight(body.box)]
        if not straight or not box.volume or not _straight(box):
            return np.zeros(len(centers), bool)
        low, high = self._lows[straight], self._highs[straight]
        shared = np.minimum(centers[:, None] + half, high) - np.maximum(
            centers[:, None] - half, low
        )
        volume = shared.clip(min=0).prod(2) - np.array(self._allowed[0])[straight]
        over = ((centers[:, None, :2] >= low[:, :2]) & (centers[:, None, :2] <= high[:, :2])).all(2)
        bodies = [self.bodies[k] for k in straight]
        top = np.array([np.inf if body.top is None else body.top for body in bodies])
        supports = np.abs(centers[:, None, 2] - half[2] - top) <= 2 * GAP_M
        hollow = np.array([body.hollow for body in bodies])
        ignored = over & (supports | hollow)
        duplicates = np.array([[is_duplicate(a.box, b.box) for b in bodies] for a in bodies])
        volume[ignored @ duplicates] = 0
        return volume.clip(min=0).sum(1) > COLLISION * box.volume

    def _shares(self, box: Box3D, allowed: Sequence[float], ignored: Sequence[bool]) -> np.ndarray:
        """Volumes (N,) shared with each body beyond what is allowed, divided by that of the smaller
        box.
        """
        low, high = box.bounds()
        shares = np.zeros(len(self.bodies))
        if not box.volume:
            return shares
        meets = ((low < self._highs) & (high > self._lows)).all(1)
        for k in np.flatnonzero(meets & ~np.array(ignored, dtype=bool)).tolist():
            excess = shared_volume(box, self.bodies[k].box) - allowed[k]
            smaller = min(box.volume, self.bodies[k].box.volume)
            shares[k] = max(excess, 0.0) / smaller if smaller else 0.0
        return shares


def is_duplicate(a: Box3D, b: Box3D) -> bool:
    """Whether two boxes overlap so much that they are boxes of one object."""
    return a == b or iou(a, b) >= _DUPLICATE_IOU


def _straight(box: Box3D) -> bool:
    return abs(np.sin(2 * box.yaw)) < 1e-9


def moved_along(box: Box3D, before: Box3D, after: Box3D) -> Box3D:
    """The box after the rigid motion in the plane that takes `before` to `after`."""
    offset = Box3D(vector(np.subtract(box.center, before.center)), box.size, box.yaw)
    rotated = offset.rotated(after.yaw - before.yaw)
    return Box3D(vector(np.add(after.center, rotated.center)), box.size, rotated.yaw)
