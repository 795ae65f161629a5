"""Jumps of the pose: after a relocalisation everything is seen elsewhere, in one constellation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.alignment import MIN_OBJECTS, align
from spatial3d_ros.memory.presence import look_at_places
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.scene.frame import Frame

MIN_JUMP_M, MAX_JUMP_M = 0.15, 3.0  # less changes nothing, more is another room
MIN_TURN, MAX_TURN = math.radians(3.0), math.radians(45.0)
SHIFT_M = 0.15  # of a centre between two looks: more than noise
NOTICED_NS = 40 * 10**9  # within which a jump is noticed
MOVED_NS = 300 * 10**9  # what was seen within this time before a jump moves along


@dataclass(frozen=True)
class Shift:
    """An object whose box was elsewhere at the look before."""

    stamp_ns: int
    number: int
    before: Box3D


@dataclass(frozen=True)
class Jump:
    """motion (4, 4) of the world: yaw and translation. begin_ns: first look after it."""

    motion: np.ndarray
    begin_ns: int


class JumpFinder:
    """Notices jumps from the objects that are seen elsewhere than before."""

    def __init__(self) -> None:
        self._shifts: list[Shift] = []

    def note(self, known: MemoryObject, before: Box3D, stamp_ns: int) -> None:
        """The object is seen now, and its box was `before`."""
        if math.dist(known.box.center, before.center) > SHIFT_M:
            self._shifts.append(Shift(stamp_ns, known.id, before))

    def find(
        self,
        objects: Iterable[MemoryObject],
        births: Sequence[MemoryObject],
        session: int,
        start_ns: int,
        frame: Frame,
    ) -> Jump | None:
        """The jump that the looks until `frame` show, if there was one.

        Args:
            objects: all of the memory.
            births: those that are new in this session.
            session: its number.
            start_ns: stamp of its first view.
        """
        newest = frame.stamp_ns
        self._shifts = [s for s in self._shifts if newest - s.stamp_ns < NOTICED_NS]
        fresh = [
            o for o in births if o.label and o.hits >= 2 and newest - o.first_ns < NOTICED_NS
        ]  # fmt: skip
        if len(self._shifts) < MIN_OBJECTS and len(fresh) < MIN_OBJECTS:
            return None
        recent = {
            o.id: o for o in objects
            if o.present and o.session == session and newest - o.last_ns < MOVED_NS
        }  # fmt: skip
        found = self._of_shifts(recent) or _of_births(recent, fresh, start_ns, frame)
        if found is not None:
            self._shifts.clear()
        return found

    def _of_shifts(self, recent: dict[int, MemoryObject]) -> Jump | None:
        """Three or more objects shifted in one way, and more than stayed where they were."""
        first: dict[int, Shift] = {}
        for shift in self._shifts:
            if shift.number in recent:
                first.setdefault(shift.number, shift)
        if len(first) < MIN_OBJECTS:
            return None
        begin = min(shift.stamp_ns for shift in first.values())
        after = [recent[number] for number in first]
        before = [replace(recent[k], box=shift.before) for k, shift in first.items()]
        still = sum(o.first_ns < begin <= o.last_ns and k not in first for k, o in recent.items())
        found = align(before, after)
        if found.reason or found.objects <= still:
            return None
        return _jump(found.world_T_memory, before, begin)


def _of_births(
    recent: dict[int, MemoryObject], births: Sequence[MemoryObject], start_ns: int, frame: Frame
) -> Jump | None:
    """Three or more objects are seen again elsewhere, and their places are empty."""
    begin = min((known.first_ns for known in births), default=start_ns)
    numbers = {known.id for known in births}
    before = [o for k, o in recent.items() if k not in numbers and o.last_ns < begin]
    if begin == start_ns or min(len(before), len(births)) < MIN_OBJECTS:
        return None
    found = align(before, births)
    if found.reason:
        return None
    empty, occupied, _ = look_at_places(before, frame)
    if empty.sum() < 1 or empty.sum() < occupied.sum():
        return None  # a row of chairs, and another one like it
    return _jump(found.world_T_memory, before, begin)


def _jump(motion: np.ndarray, before: Sequence[MemoryObject], begin_ns: int) -> Jump | None:
    """None if it is too short to matter or too long to be one."""
    centers = np.array([o.box.center for o in before])
    placed = centers @ motion[:3, :3].T + motion[:3, 3]
    metres = float(np.median(np.linalg.norm(placed - centers, axis=1)))
    turn = abs(math.atan2(motion[1, 0], motion[0, 0]))
    if metres > MAX_JUMP_M or turn > MAX_TURN or (metres < MIN_JUMP_M and turn < MIN_TURN):
        return None
    return Jump(motion, begin_ns)
