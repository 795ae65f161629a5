"""Where objects came to rest, so that a move is told from another look at the same place."""

from __future__ import annotations

from dataclasses import replace

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.association import grew, has_moved
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.memory.state import ESTABLISHED


class RestingPlaces:
    """The boxes of objects at their places; not thread-safe."""

    def __init__(self) -> None:
        self._boxes: dict[int, Box3D] = {}

    def follow(self, known: MemoryObject, seen: MemoryObject) -> tuple[MemoryObject, Box3D | None]:
        """The object as it is seen now, with the centre of its place, and the box that it left if
        it moved. known: before this look.
        """
        if known.pinned:
            return seen, None
        rest = self._boxes.get(known.id)
        if rest is None or rest.center != known.place:  # a jump of the pose moved it, or an edit
            rest = replace(known.box, center=known.place)
        left = rest if has_moved(rest, known.box, seen.box) else None
        if left is None and known.hits >= ESTABLISHED and not grew(rest, seen.box):
            self._boxes[known.id] = rest
            return seen, None
        self._boxes[known.id] = seen.box
        return replace(seen, place=seen.box.center), left
