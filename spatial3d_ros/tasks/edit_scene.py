"""The scene of a layout edit: known objects, those the instruction refers to, and the viewpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.bounds import Bounds
from spatial3d_ros.scene.free_space import Body
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.scene.wall_alignment import rotate_objects
from spatial3d_ros.tasks.furniture import body
from spatial3d_ros.tasks.grounding import is_self, object_name

_ROBOT_SIZE = (0.5, 0.5, 1.0)


@dataclass(frozen=True, eq=False)
class EditScene:
    """Objects in one world frame.

    grounded: the objects that the phrases of the instruction refer to.
    bounds: limits of the room, in the frame of `aligned`.
    camera_position: (3,) metres, None if unknown.
    heading: yaw of the walls, rad.
    """

    objects: Sequence[SceneObject]
    grounded: Mapping[str, SceneObject]
    bounds: Bounds
    camera_position: np.ndarray | None
    heading: float = 0.0

    def aligned(self) -> EditScene:
        """The same in a frame whose axes run along the walls."""
        camera = None
        if self.camera_position is not None:
            box = Box3D(tuple(self.camera_position), (0, 0, 0))
            camera = np.array(box.rotated(-self.heading).center)
        grounded = rotate_objects(self.grounded.values(), -self.heading)
        return EditScene(
            rotate_objects(self.objects, -self.heading),
            dict(zip(self.grounded, grounded, strict=True)),
            self.bounds,
            camera,
        )

    @property
    def floor(self) -> float:
        """Height of the floor (m)."""
        return float(self.bounds.low[2])

    def robot(self) -> np.ndarray:
        """The camera position (3,). Raises QueryError if it is unknown."""
        if self.camera_position is None:
            raise QueryError(
                "query: the position of the robot is unknown, no pose arrived since the memory was "
                "cleared; add 'seen from the door', or name an object"
            )
        return self.camera_position

    def position(self, phrase: str) -> np.ndarray:
        """Center (3,) of the object of a phrase; the robot for "" and "me"."""
        if not phrase or is_self(phrase):
            return self.robot()
        return np.array(self.grounded[phrase].box.center)

    def name(self, phrase: str) -> str:
        """The object of a phrase as answers name it."""
        return "the robot" if not phrase or is_self(phrase) else object_name(self.grounded[phrase])

    def anchor(self, phrase: str) -> Body:
        """The object of a phrase as an obstacle and a support."""
        if not is_self(phrase):
            return body(self.grounded[phrase], phrase)
        x, y, _ = self.robot()
        return Body(Box3D((x, y, self.floor + 0.5), _ROBOT_SIZE), name="the robot")
