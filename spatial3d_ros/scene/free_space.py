"""Where a box can stand among others (METHODS 3.4): inside the room, at most 10 % of its volume in
other things, and on something. Nor may it fill more than 10 % of anything small, such as a mug.

Boxes are coarse hulls. So what carries a thing, and what it stands under, does not count as being
in its way; nor does what a thing overlaps already where it stands now, as far as it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spatial3d_ros.geometry.box import Box3D, iou, shared_volume
from spatial3d_ros.scene.bounds import Bounds

COLLISION = 0.1  # share of its volume that a thing may have in others, or others in it
GAP_M = 0.05  # air between a thing and what it stands on
_SLACK_M = 0.02  # that a box may reach into a wall
_SAME = 0.25  # overlap (IoU) from which two boxes are two views of one thing
_INSIDE = 0.7  # share of a box inside another from which it moves with that


@dataclass(frozen=True, eq=False)
class Body:
    """A thing as others meet it.

    `top` is the height (m) at which things can stand on it, None where nothing can (a lamp);
    `hollow`: there is room under it (a table). `name` is for reasons in words.
    """

    box: Box3D
    top: float | None = None
    hollow: bool = False
    name: str = "something"

    def carries(self, box: Box3D) -> bool:
        """Whether the box rests on it: at its top within 5 cm, the middle of the box and half of
        its outline over it.
        """
        if self.top is None or abs(box.center[2] - box.size[2] / 2 - self.top) > GAP_M + 1e-9:
            return False
        if not self.covers(box.center):
            return False
        (low, high), (own_low, own_high) = box.bounds(), self.box.bounds()
        over = (np.minimum(high, own_high) - np.maximum(low, own_low))[:2].clip(min=0).prod()
        return bool(over >= 0.5 * (high - low)[:2].prod() - 1e-9)

    def covers(self, point: Sequence[float]) -> bool:
        """Whether a point lies over, in or under the outline."""
        return bool(self.box.contains(np.array([point[0], point[1], self.box.center[2]])))

    def roofs(self, box: Box3D) -> bool:
        """Whether the box stands under it, its top clearly below that of the table."""
        if not self.hollow:
            return False
        tops = [b.center[2] + b.size[2] / 2 for b in (box, self.box)]
        return tops[0] <= tops[1] - GAP_M + 1e-9 and self.covers(box.center)


def carried_by(thing: Body, others: Sequence[Body], floor: float) -> list[int]:
    """Which of the others move with a thing: what stands on it, also through things between, what
    lies inside it, and other boxes of the same thing.
    """
    moving, found = [thing], set()
    while moving:
        below = moving.pop()
        for k, other in enumerate(others):
            if k not in found and _goes_with(other, below, floor):
                found.add(k)
                moving.append(other)
    return sorted(found)


def _goes_with(other: Body, below: Body, floor: float) -> bool:
    if below.carries(other.box) or same(other.box, below.box):
        return True
    standing = other.box.center[2] - other.box.size[2] / 2 < floor + GAP_M
    if below.hollow and standing:
        return False
    volume = other.box.volume
    return volume > 0 and shared_volume(other.box, below.box) >= _INSIDE * volume


class Places:
    """The room around one thing that is to be put somewhere. Deterministic.

    `bodies` are all things but that one and what moves with it. With `before`, the box of the thing
    as it stands now, it may reach as far out of the room, into others and over the void as it does;
    `passengers` are the boxes of what moves with it.
    """

    def __init__(
        self,
        bounds: Bounds,
        bodies: Iterable[Body],
        before: Box3D | None = None,
        passengers: Sequence[Box3D] = (),
    ) -> None:
        self.bodies = tuple(bodies)
        self.before = before
        self.passengers = tuple(passengers)
        self.floor = float(bounds.low[2])
        low, high = bounds.low - _SLACK_M, bounds.high + _SLACK_M
        low[2] -= GAP_M
        self.must_rest = True
        if before is not None:
            lowest, highest = before.bounds()
            low, high = np.minimum(low, lowest - 1e-6), np.maximum(high, highest + 1e-6)
            self.must_rest = self.support(before) is not None
        self._allowed = [  # cubic metres in each of the bodies, of the thing and of its passengers
            [0.0 if box is None else shared_volume(box, body.box) for body in self.bodies]
            for box in (before, *self.passengers)
        ]
        self._low, self._high = low, high
        corners = np.array([b.box.bounds() for b in self.bodies]).reshape(-1, 2, 3)
        self._lows, self._highs = corners[:, 0], corners[:, 1]

    def support(self, box: Box3D) -> float | None:
        """Height of what the box rests on, within 5 cm; None over the void."""
        bottom = box.center[2] - box.size[2] / 2
        if abs(bottom - self.floor) <= GAP_M + 1e-9:
            return self.floor
        return next((body.top for body in self.bodies if body.carries(box)), None)

    def problem(self, box: Box3D) -> str:
        """Why the box cannot stand there, in words; "" when it can."""
        low, high = box.bounds()
        if (low < self._low).any() or (high > self._high).any():
            return "it would reach out of the room"
        # What carries a thing is not in its way, nor in that of what the thing carries; other
        # boxes of the carrier are no more so.
        hosts = [body for body in self.bodies if body.carries(box) or body.roofs(box)]
        free = [any(same(body.box, host.box) for host in hosts) for body in self.bodies]
        shares = self._shares(box, self._allowed[0], free)
        for passenger, allowed in zip(self.passengers, self._allowed[1:], strict=True):
            if self.before is not None and shares.sum() <= COLLISION:
                shares = self._shares(moved_along(passenger, self.before, box), allowed, free)
        if shares.sum() > COLLISION:
            return f"{self.bodies[int(shares.argmax())].name} is in the way"
        if self.must_rest and self.support(box) is None:
            return "there would be nothing under it"
        return ""

    def nearest(self, box: Box3D, centers: np.ndarray) -> tuple[Box3D | None, str]:
        """The box at the first of the centres (C, 3) where it can stand, or None and why it cannot
        stand at the first one.
        """
        low, high = box.bounds()
        half = (high - low) / 2
        inside = ((centers - half >= self._low) & (centers + half <= self._high)).all(1)
        for center in centers[inside & ~self._surely_blocked(box, centers, half)]:
            there = replace(box, center=tuple(center))
            if not self.problem(there):
                return there, ""
        if not len(centers):
            return None, "there is no such place"
        return None, self.problem(replace(box, center=tuple(centers[0])))

    def _surely_blocked(self, box: Box3D, centers: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Which of the centres (C, 3) need no closer look: others fill too much of the box there.

        Counts boxes along the axes alone, for which the hull is the box; so no good place is lost.
        """
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
        carries = np.abs(centers[:, None, 2] - half[2] - top) <= 2 * GAP_M
        hollow = np.array([body.hollow for body in bodies])
        free = over & (carries | hollow)
        alike = np.array([[same(a.box, b.box) for b in bodies] for a in bodies])
        volume[free @ alike] = 0
        return volume.clip(min=0).sum(1) > COLLISION * box.volume

    def _shares(self, box: Box3D, allowed: Sequence[float], free: Sequence[bool]) -> np.ndarray:
        """Volumes (N,) shared with each of the bodies beyond what is allowed, as shares of the
        smaller of the two.
        """
        low, high = box.bounds()
        shares = np.zeros(len(self.bodies))
        if not box.volume:
            return shares
        meets = ((low < self._highs) & (high > self._lows)).all(1)
        for k in np.flatnonzero(meets & ~np.array(free, dtype=bool)):
            excess = shared_volume(box, self.bodies[k].box) - allowed[k]
            smaller = min(box.volume, self.bodies[k].box.volume)
            shares[k] = max(excess, 0.0) / smaller if smaller else 0.0
        return shares


def same(a: Box3D, b: Box3D) -> bool:
    """Whether two boxes are so much alike that they are taken for one thing."""
    return a == b or iou(a, b) >= _SAME


def _straight(box: Box3D) -> bool:
    return abs(np.sin(2 * box.yaw)) < 1e-9


def moved_along(box: Box3D, before: Box3D, after: Box3D) -> Box3D:
    """Where a box gets to when it moves, and turns, with another."""
    turn = after.yaw - before.yaw
    x, y, z = np.subtract(box.center, before.center)
    cos, sin = np.cos(turn), np.sin(turn)
    offset = np.array([cos * x - sin * y, sin * x + cos * y, z])
    return Box3D(tuple(after.center + offset), box.size, box.yaw + turn)
