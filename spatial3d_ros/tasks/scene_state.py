"""What questions are answered from: one complete version of the memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.scene.bounds import Bounds, room_bounds
from spatial3d_ros.scene.buffer import Snapshot
from spatial3d_ros.scene.objects import SceneObject


@dataclass(frozen=True, eq=False)
class SceneObjects:
    """Objects of the map in frame `frame_id`, metres, as the newest of `views` views left them."""

    version: int
    stamp_ns: int
    frame_id: str
    views: int
    objects: tuple[SceneObject, ...]


@dataclass(frozen=True, eq=False)
class SceneState(SceneObjects):
    """A scene with what answers need: `room`, the views in a world whose axes run along the walls;
    `heading` of the walls in the map, rad; the encoded prefix, None without objects; and how long
    its stages took.
    """

    room: Snapshot
    heading: float
    encoded: EncodedScene | None = None
    stages_ms: dict[str, float] = field(default_factory=dict)

    @cached_property
    def bounds(self) -> Bounds:
        """Where the room ends, in the world of `room`; worked out when first needed."""
        boxes = [thing.box.rotated(-self.heading) for thing in self.objects]
        return room_bounds([view.frame for view in self.room.views], boxes)

    def provenance(self, stages: dict[str, float]) -> dict[str, object]:
        """What every answer tells about where it comes from; `stages` are its own."""
        return {
            "views_used": self.views,
            "scene_version": self.version,
            "stamp_ns": self.stamp_ns,
            "stages_ms": stages,
        }
