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
    [(_U - CAMERA.cx) / CAMERA.fx, (_V - CAMERA.cy) / CAMERA.fy, np.ones(_U.shape)]
).reshape(3, -1)


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
    rays = (pose[:3, :3] @ _RAYS).astype(np.float32)
    inverse = 1 / np.where(rays == 0, np.float32(1e-9), rays)
    origin = pose[:3, 3].astype(np.float32)
    depth = np.full(_U.shape, np.inf, np.float32)
    owner = np.full(_U.shape, -1)
    for index, box in [(-1, room), *enumerate(boxes)]:
        rows = _rows(box, pose) if index >= 0 else slice(0, CAMERA.height)
        part = inverse.reshape(3, *_U.shape)[:, rows]
        low, high = (bound.astype(np.float32) - origin for bound in box.bounds())
        t0, t1 = low[:, None, None] * part, high[:, None, None] * part
        # Pairwise: a reduction over an axis of three is twenty times slower.
        near, far = np.minimum(t0, t1), np.maximum(t0, t1)
        near = np.maximum(np.maximum(near[0], near[1]), near[2])
        far = np.minimum(np.minimum(far[0], far[1]), far[2])
        hit = far if index < 0 else near
        closer = (near <= far) & (far > 0) & (hit > 0.05) & (hit < depth[rows])
        depth[rows][closer], owner[rows][closer] = hit[closer], index
    rgb = np.full((*depth.shape, 3), 128, np.uint8)
    return Frame(stamp_ns, rgb, depth, CAMERA, pose), owner


def _rows(box: Box3D, pose: np.ndarray) -> slice:
    """Image rows in which a box can be seen; all of them where it reaches behind the camera."""
    corners = (box.corners() - pose[:3, 3]) @ pose[:3, :3]
    if (corners[:, 2] < 0.1).any():
        return slice(0, 0) if (corners[:, 2] < 0.1).all() else slice(0, CAMERA.height)
    v = corners[:, 1] / corners[:, 2] * CAMERA.fy + CAMERA.cy
    low, high = np.clip([v.min() - 1, v.max() + 2], 0, CAMERA.height).astype(int)
    return slice(int(low), int(high))
