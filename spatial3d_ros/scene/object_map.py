"""The object map: proposals and tracked detections in a world whose axes run along the walls."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from spatial3d_ros.scene.buffer import Snapshot, View
from spatial3d_ros.scene.class_parts import parts_in_space, uncovered
from spatial3d_ros.scene.detection_fusion import fuse_detections, with_measured_points
from spatial3d_ros.scene.detection_tracking import (
    Detection3D,
    DetectionTracker,
)
from spatial3d_ros.scene.label_voting import ClassImage, label_by_votes
from spatial3d_ros.scene.labelled_parts import join_parts
from spatial3d_ros.scene.objects import ObjectTracker, SceneObject
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.scene.usual_size import (
    fitting,
    fitting_detection,
    labels_of,
    with_fitting_labels,
)
from spatial3d_ros.scene.wall_alignment import heading_of, rotate_frame, wall_directions

MIN_REVISION = math.radians(1.0)
MAX_CLASS_IMAGES = 16  # as many as the views of the buffer
MIN_PARTS = 2  # class images that show a part of a class in one place

ProposalChoice = Callable[[Sequence[Proposal]], list[Proposal]]
"""Proposals of some views, given what detectors and class images show there."""
ProposalFunction = Callable[[Snapshot], ProposalChoice]


class ObjectMap:
    """Tracked objects, tracked detections, and the `heading` of the walls: their yaw in rad.

    `add_detections` and `clear_detections` may be called from any thread, all other methods from
    one at a time.
    """

    def __init__(self, min_hits: int = 1) -> None:
        self.heading = 0.0
        self._directions: dict[int, np.ndarray] = {}  # of the walls, by view id
        self._objects = ObjectTracker(max_misses=1)
        self._detections = DetectionTracker(min_hits=min_hits)
        self._detections_lock = threading.Lock()
        self._class_images: deque[ClassImage] = deque(maxlen=MAX_CLASS_IMAGES)
        self._parts = DetectionTracker(min_hits=MIN_PARTS)  # of class images
        self._proposed: tuple[tuple[float, ...], ProposalChoice] = ((), _nothing)

    def clear(self) -> None:
        """Removes all objects and detections; ids keep increasing."""
        self.clear_detections()
        self._objects.clear()
        self._directions.clear()
        self.heading = 0.0

    def new_id(self) -> int:
        """A new id, never reused."""
        return self._objects.new_id()

    def reserve_ids(self, first: int) -> None:
        """New ids are `first` or larger: the smaller ones belong to remembered objects."""
        self._objects.reserve_ids(first)

    def add_detections(self, detections: Sequence[Detection3D]) -> bool:
        """Adds one message of a detector, world frame; returns whether it changed any track.

        Those that have not the size of what they are called are left out.
        """
        fitting = [found for one in detections if (found := fitting_detection(one))]
        with self._detections_lock:
            return self._detections.add(fitting)

    def add_class_image(self, image: ClassImage) -> None:
        """Adds the class image of a frame, which need not be a view; the newest
        `MAX_CLASS_IMAGES` are kept, and the parts that `MIN_PARTS` of them show.
        """
        parts = parts_in_space(image)
        with self._detections_lock:
            self._class_images.append(image)
            self._parts.add(parts)

    def clear_detections(self) -> None:
        """Removes all detections and class images, for when the clock of the images jumps back."""
        with self._detections_lock:
            self._detections.clear()
            self._class_images.clear()
            self._parts.clear()

    def update(
        self,
        snapshot: Snapshot,
        aligned: Snapshot,
        proposals: Sequence[Proposal] | ProposalFunction,
    ) -> tuple[SceneObject, ...]:
        """Updates the map; returns all objects, with boxes along the walls.

        Args:
            snapshot: views in the world frame.
            aligned: `align_to_walls(snapshot)`.
            proposals: in the world frame, or a function of `aligned`, which is called once for the
                same views however often detections arrive.
        """
        with self._detections_lock:
            for tracks in (self._detections, self._parts):
                tracks.remove_disappeared([view.frame for view in snapshot.views])
                tracks.count_unseen([view.frame for view in snapshot.views])
            tracked, parts = (
                [
                    proposal
                    for proposal in tracks.proposals(self.heading)
                    if not proposal.label or fitting(labels_of(proposal), proposal.box.size)
                ]
                for tracks in (self._detections, self._parts)
            )
            images = list(self._class_images)
        if callable(proposals):
            key = (self.heading, *(view.id for view in aligned.views))
            if self._proposed[0] != key:
                self._proposed = key, proposals(aligned)
            built_in = self._proposed[1]([*tracked, *parts])
        else:
            built_in = [replace(p, box=p.box.rotated(-self.heading)) for p in proposals]
        frames = [view.frame for view in aligned.views]
        images = [replace(i, frame=rotate_frame(i.frame, -self.heading)) for i in images]
        built_in = join_parts(label_by_votes(built_in, images))
        tracked = [with_measured_points(p, frames) for p in tracked]
        fused = fuse_detections(built_in, tracked)
        found = map(with_fitting_labels, [*fused, *uncovered(parts, fused)])
        return self._objects.update([*found], aligned)

    def align_to_walls(self, snapshot: Snapshot) -> Snapshot:
        """The views in a world whose axes run along the walls, where axis-aligned boxes are tight.

        The heading is estimated from all views of the snapshot and revised when it is off by more
        than `MIN_REVISION`; the objects are rotated along, with their ids.
        """
        self._directions = {
            view.id: self._directions[view.id]
            if view.id in self._directions
            else wall_directions(view.frame)
            for view in snapshot.views
        }
        estimate = heading_of(list(self._directions.values()))
        if estimate is not None:
            change = math.remainder(estimate - self.heading, math.pi / 2)
            if abs(change) > MIN_REVISION:
                self.heading = round(self.heading + change, 12)
                self._objects.rotate(-change)
        views = (View(v.id, rotate_frame(v.frame, -self.heading)) for v in snapshot.views)
        return Snapshot(snapshot.version, tuple(views))


def _nothing(detected: Sequence[Proposal]) -> list[Proposal]:
    return []
