"""Objects of other robots, live: what their nodes publish is merged into the memory of this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.merging import merge_objects
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.presence import box_points
from spatial3d_ros.memory.records import MemoryObject, is_dynamic

MAX_OBJECTS = 1000  # of one message of a peer
MIN_SCORE = 0.3


@dataclass(frozen=True)
class PeerObject:
    """An object of another robot, in the frame of its map."""

    number: int
    box: Box3D
    label: str
    color: str
    score: float
    stamp_ns: int


class Peer:
    """One other robot. `name`: of its node; `source` of what it alone has seen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._ids: dict[int, int] = {}

    def seen(self, memory: ObjectMemory, objects: Sequence[PeerObject], frame_id: str) -> int:
        """Merges the objects of its map; returns how many changed here.

        Raises FrameError if its map is in another frame.
        """
        if memory.frame_id and frame_id != memory.frame_id:
            raise FrameError(
                f"the map of {self.name} is in frame '{frame_id}', this one in "
                f"'{memory.frame_id}': run both robots in one map frame, or merge their maps with "
                "`spatial3d map merge --align`"
            )
        memory.frame_id = frame_id
        items = [
            self._record(known) for known in objects[:MAX_OBJECTS]
            if known.label and known.score >= MIN_SCORE and not is_dynamic(known.label)
        ]  # fmt: skip
        result = merge_objects(memory, items, {o.id: o.last_ns for o in items}, self._ids)
        self._ids |= result.ids
        memory.save()
        return len(result.updated) + len(result.added)

    def missed(self, memory: ObjectMemory, number: int, stamp_ns: int) -> bool:
        """It found the place of its object `number` empty; returns whether that changed this map.

        An own look after that decides.
        """
        known = memory.known.get(self._ids.get(number, -1))
        if known is None or not known.present:
            return False
        item = replace(known, id=number, state="missing")
        result = merge_objects(memory, [item], {number: stamp_ns}, self._ids)
        memory.save()
        return bool(result.updated)

    def _record(self, known: PeerObject) -> MemoryObject:
        return MemoryObject(
            known.number, known.box, known.label, box_points(known.box), known.box.center,
            known.stamp_ns, known.stamp_ns, 0, state="remembered", color=known.color,
            score=known.score, hits=3, source=self.name,
        )  # fmt: skip
