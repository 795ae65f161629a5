"""Exact depth images of rooms of boxes, for tests and figures of the memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene.frame import Frame

CAMERA = Camera(240, 180, 165.0, 165.0, 119.5, 89.5)
_V, _U = np.mgrid[: CAMERA.height, : CAMERA.width]
_RAYS = np.stack(
    [(_U - CAMERA.cx) / CAMERA.fx, (_V - CAMERA.cy) / CAMERA.fy, np.ones(_U.shape)], axis=2
)


def view_of_boxes(
    boxes: Sequence[Box3D],
    room: Box3D,
    eye: Sequence[float],
    target: Sequence[float],
    stamp_ns: int,
) -> tuple[Frame, np.ndarray]:
    """A frame of axis-aligned boxes in a room, seen from `eye` towards `target` (3,), metres; and
    the index of the box that each pixel shows (H, W), -1 for walls, floor and ceiling.
    """
    pose = look_at(eye, target)
    rays = (_RAYS @ pose[:3, :3].T).astype(np.float32)
    inverse = 1 / np.where(rays == 0, np.float32(1e-9), rays)
    origin = pose[:3, 3].astype(np.float32)
    depth = np.full(rays.shape[:2], np.inf, np.float32)
    owner = np.full(depth.shape, -1)
    for index, box in [(-1, room), *enumerate(boxes)]:
        t0, t1 = ((bound.astype(np.float32) - origin) * inverse for bound in box.bounds())
        near, far = np.minimum(t0, t1).max(2), np.maximum(t0, t1).min(2)
        hit = far if index < 0 else near
        closer = (near <= far) & (far > 0) & (hit > 0.05) & (hit < depth)
        depth[closer], owner[closer] = hit[closer], index
    rgb = np.full((*depth.shape, 3), 128, np.uint8)
    return Frame(stamp_ns, rgb, depth, CAMERA, pose), owner
