"""Where a room ends, from its walls and from all that was seen in it.

The room is taken for a rectangle along the axes of the given views. A side whose wall was seen ends
there, to about 2 cm; any other side ends where the last things were seen, which may be too near. A
room in the shape of an L is taken for too large.
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
_ALONG = 0.97  # cosine from which a wall stands across an axis
_SEEN = 0.995  # share of what was seen that ends a side without a wall


@dataclass(frozen=True, eq=False)
class Bounds:
    """Lowest and highest corner (3,) metres; `low[2]` is the floor, `high[2]` ceiling or inf."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, low: Sequence[float], high: Sequence[float]) -> Bounds:
        """From two corners."""
        return cls(np.asarray(low, dtype=float), np.asarray(high, dtype=float))


def room_bounds(frames: Sequence[Frame], boxes: Sequence[Box3D] = ()) -> Bounds:
    """Bounds of the room in the world frame of the views, whose axes run along the walls.

    `boxes` are what is known to stand in it. Without views and boxes, nothing is inside: all zero.
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
        at = {
            side: [_place(w, axis) for w in walls if w.normal[axis] * side > 0] for side in (1, -1)
        }
        low[axis] = min(at[1], default=low[axis])  # the normal looks into the room
        high[axis] = max(at[-1], default=high[axis])
    floor, ceiling = structure.floor, structure.ceiling
    low[2] = low[2] if floor is None else _place(floor, 2)
    high[2] = np.inf if ceiling is None else _place(ceiling, 2)
    return Bounds(low, high)


def _place(plane: Plane, axis: int) -> float:
    return float(plane.offset / plane.normal[axis])
