"""Pictures without depth: a picture is a plane at DEPTH before its camera, and a box in it one of
that plane. Patches are assigned to boxes as in a room.
"""

from __future__ import annotations

import numpy as np

from spatial3d_ros.geometry.camera import Camera

DEPTH = 1.0
_THICK = 0.1


def planar_boxes(corners: np.ndarray, camera: Camera) -> np.ndarray:
    """Boxes (n, 6), centre and size in the camera's frame, from pixels (n, 4): left, top, right,
    bottom.
    """
    low = (corners[:, :2] - (camera.cx, camera.cy)) / (camera.fx, camera.fy) * DEPTH
    high = (corners[:, 2:] - (camera.cx, camera.cy)) / (camera.fx, camera.fy) * DEPTH
    count = len(corners)
    center = np.column_stack([(low + high) / 2, np.full(count, DEPTH)])
    return np.column_stack([center, high - low, np.full(count, _THICK)])


def mask_corners(instance: np.ndarray, ids: list[int], stride: int) -> np.ndarray:
    """Pixels (n, 4) that bound each object in a map of ids, of which only every `stride`-th row and
    column is stored.
    """
    found = []
    for i in ids:
        rows, columns = np.nonzero(instance == i)
        last = columns.max() + 1, rows.max() + 1
        found.append([columns.min(), rows.min(), *last])
    return np.array(found, float).reshape(-1, 4) * stride
