"""Bounds of a room from its walls and from all measured points.

The room is modelled as an axis-aligned rectangle in the world of the given views. A side with an
observed wall ends there, to about 2 cm; any other side ends at the outermost measured points, which
may be too near. The bounds of an L-shaped room are too large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.fusion import fuse, sample
from spatial3d_ros.scene.planes import Plane, find_structure

_VOXEL_M = 0.05
_WIDTH = 160  # pixels read across each view: walls are large
_ALONG = 0.97  # least cosine between the normal of a wall and an axis
_SEEN = 0.995  # quantile of the measured points that ends a side without a wall


@dataclass(frozen=True, eq=False)
class Bounds:
    """Lowest and highest corner (3,) in metres; `low[2]` is the floor, `high[2]` the ceiling or
    inf.
    """

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def from_corners(cls, low: Sequence[float], high: Sequence[float]) -> Bounds:
        """Bounds from two corners (3,)."""
        return cls(np.asarray(low, dtype=float), np.asarray(high, dtype=float))


def room_bounds(frames: Sequence[Frame], boxes: Sequence[Box3D] = ()) -> Bounds:
    """Bounds of the room in the world frame of the views, whose axes run along the walls.

    `boxes` of known objects are included. Without views and boxes both corners are zero.
    """
    cloud = fuse([sample(frame, _WIDTH) for frame in frames], _VOXEL_M)
    structure = find_structure(cloud)
    corners = [corner for box in boxes for corner in box.bounds()]
    points = np.concatenate([cloud.point.astype(float), np.reshape(corners, (-1, 3))])
    if not len(points):
        return Bounds(np.zeros(3), np.zeros(3))
    seen = cloud.point if len(cloud) else points
    low, high = np.quantile(seen, 1 - _SEEN, axis=0), np.quantile(seen, _SEEN, axis=0)
    if corners:
        low, high = (
            np.minimum(low, np.min(corners, axis=0)),
            np.maximum(high, np.max(corners, axis=0)),
        )
    for axis in (0, 1):
        walls = [w for w in structure.walls if abs(w.normal[axis]) > _ALONG]
        facing = {
            side: [_intercept(w, axis) for w in walls if w.normal[axis] * side > 0]
            for side in (1, -1)
        }
        low[axis] = min(facing[1], default=low[axis])  # normals point into the room
        high[axis] = max(facing[-1], default=high[axis])
    floor, ceiling = structure.floor, structure.ceiling
    low[2] = low[2] if floor is None else _intercept(floor, 2)
    high[2] = np.inf if ceiling is None else _intercept(ceiling, 2)
    return Bounds(low, high)


def _intercept(plane: Plane, axis: int) -> float:
    """Coordinate where a plane crosses an axis."""
    return float(plane.offset / plane.normal[axis])
