"""One complete version of the scene, and one question asked of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.scene.bounds import Bounds, room_bounds
from spatial3d_ros.scene.buffer import Snapshot
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.timing import Monitor, timed


@dataclass(frozen=True, eq=False)
class SceneObjects:
    """Objects of the map in frame `frame_id`, metres, after the newest of `views` views."""

    version: int
    stamp_ns: int
    frame_id: str
    views: int
    objects: tuple[SceneObject, ...]


@dataclass(frozen=True, eq=False)
class SceneState(SceneObjects):
    """Objects with what the tasks need.

    aligned_views: the views in a frame whose axes run along the walls.
    heading: yaw of that frame in the map, rad.
    encoded: the encoded prefix of the network, None without objects.
    stages_ms: how long each stage of the refresh took.
    """

    aligned_views: Snapshot
    heading: float
    encoded: EncodedScene | None = None
    stages_ms: dict[str, float] = field(default_factory=dict)

    @cached_property
    def bounds(self) -> Bounds:
        """The limits of the room in the frame of `aligned_views`; computed on first use."""
        boxes = [known.box.rotated(-self.heading) for known in self.objects]
        return room_bounds([view.frame for view in self.aligned_views.views], boxes)


class Query:
    """One question on one version of the scene: times its stages and notifies the monitor."""

    def __init__(self, scene: SceneState, monitor: Monitor | None) -> None:
        self.scene = scene
        self._monitor = monitor
        self._stages_ms = {f"{name} (before)": ms for name, ms in scene.stages_ms.items()}

    def stage(self, name: str, progress: float) -> AbstractContextManager[None]:
        """Time a stage that begins at `progress` 0 .. 1. Raises Cancelled if the monitor does."""
        return timed(self._stages_ms, name, self._monitor, progress)

    @property
    def provenance(self) -> dict[str, Any]:
        """The fields of `results.Provenance` but `text_points`."""
        return {
            "views_used": self.scene.views,
            "scene_version": self.scene.version,
            "stamp_ns": self.scene.stamp_ns,
            "stages_ms": self._stages_ms,
        }
