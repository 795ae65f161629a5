"""From views and detectors to the objects of a room, in a world whose axes run along the walls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from spatial3d_ros.scene.buffer import Snapshot, View
from spatial3d_ros.scene.detection_tracking import (
    Detection3D,
    DetectionTracker,
    named,
    with_surface,
)
from spatial3d_ros.scene.objects import ObjectMap, SceneObject
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.scene.wall_alignment import room_heading, turned, turned_box

Finder = Callable[[Snapshot], list[Proposal]]


class RoomMap:
    """The object map, what detectors have told of, and the `heading` of the walls in the map, rad.

    `add_detections` and `forget_detections` may be called from any thread, the rest from one at a
    time.
    """

    def __init__(self, min_sightings: int = 1) -> None:
        self.heading = 0.0
        self._objects = ObjectMap(patience=1)
        self._sightings = DetectionTracker(min_sightings=min_sightings)
        self._telling = threading.Lock()
        self._proposed: tuple[tuple[float, ...], list[Proposal]] = ((), [])

    def clear(self) -> None:
        """Forget everything but which ids were given."""
        self.forget_detections()
        self._objects.clear()
        self.heading = 0.0

    def new_id(self) -> int:
        """An id that no other thing has or gets."""
        return self._objects.new_id()

    def add_detections(self, sightings: Sequence[Detection3D]) -> bool:
        """Take one message of a detector, world frame; whether it says anything new."""
        with self._telling:
            return self._sightings.add(sightings)

    def forget_detections(self) -> None:
        """Forget what is not in the object map yet: the clock of the images went back."""
        with self._telling:
            self._sightings.clear()

    def update(
        self, snapshot: Snapshot, room: Snapshot, proposals: Sequence[Proposal] | Finder
    ) -> tuple[SceneObject, ...]:
        """All objects, with boxes along the walls. `room` is `along_walls` of the snapshot.

        `proposals` are in the world frame, or are found in the room: once for the same views,
        however often a detector speaks.
        """
        if callable(proposals):
            made_of = (self.heading, *(view.id for view in room.views))
            if self._proposed[0] != made_of:
                self._proposed = made_of, proposals(room)
            proposals = self._proposed[1]
        else:
            proposals = [replace(p, box=turned_box(p.box, -self.heading)) for p in proposals]
        with self._telling:
            self._sightings.forget_gone([view.frame for view in snapshot.views])
            told = self._sightings.proposals(self.heading)
        frames = [view.frame for view in room.views]
        proposals = named(proposals, [with_surface(p, frames) for p in told])
        return self._objects.update(proposals, room)

    def along_walls(self, snapshot: Snapshot) -> Snapshot:
        """The views in a world whose axes run along the walls: there, boxes fit furniture.

        The heading is found once, as soon as it is clear; what was known before is then seen anew.
        """
        if not self.heading:
            self.heading = room_heading([view.frame for view in snapshot.views]) or 0.0
            if self.heading:
                self._objects.clear()
        views = (View(view.id, turned(view.frame, self.heading)) for view in snapshot.views)
        return Snapshot(snapshot.version, tuple(views))
