"""Registers depth of a separate camera to the pixels of the colour camera."""

from __future__ import annotations

import numpy as np

from spatial3d_ros.geometry.camera import Camera, project
from spatial3d_ros.geometry.pose import transform
from spatial3d_ros.scene.frame import MAX_DEPTH_M

NEAREST_M = 0.05  # in front of the colour camera; nearer, a pixel would cover half the image


def register_depth(
    depth: np.ndarray, depth_camera: Camera, color_camera: Camera, color_T_depth: np.ndarray
) -> np.ndarray:
    """The depth image that the colour camera would have measured.

    Each depth pixel is a small square facing its camera; it fills the colour pixels whose centres
    its projection covers, and the nearest surface wins. So where the colour image is finer, there
    are no holes in surfaces that face the cameras and few in others. What colour sees past an edge
    stays 0.

    Args:
        depth: (h, w) metres, 0, NaN or infinite where unmeasured; rectified, of `depth_camera`.
        color_T_depth: (4, 4), optical frame of depth to optical frame of colour.

    Returns:
        (H, W) float32 metres of `color_camera`, 0 where nothing projects to.
    """
    rows, columns = np.nonzero((depth > 0) & (depth < MAX_DEPTH_M))
    z = depth[rows, columns].astype(np.float32)
    low, high, seen_z = _footprints(rows, columns, z, depth_camera, color_camera, color_T_depth)
    size = (color_camera.width, color_camera.height)
    # Pixels whose centres lie in [low, high) are covered: neighbours leave no gap and no overlap.
    first, last = np.ceil(low), np.ceil(high)
    inside = (seen_z > NEAREST_M) & (last > first).all(-1) & (last > 0).all(-1)
    inside &= (first < size).all(-1) & (last - first <= _widest(depth_camera, color_camera)).all(-1)
    first, last = first[inside].astype(np.int32), last[inside].astype(np.int32)
    seen_z = seen_z[inside].astype(np.float32)
    nearest = np.full(size[0] * size[1], np.inf, np.float32)
    for right, down in np.ndindex(*(last - first).max(0, initial=0)):
        u, v = first[:, 0] + right, first[:, 1] + down
        covered = (u < last[:, 0]) & (v < last[:, 1])
        covered &= (u >= 0) & (v >= 0) & (u < size[0]) & (v < size[1])
        np.minimum.at(nearest, v[covered] * size[0] + u[covered], seen_z[covered])
    nearest[np.isinf(nearest)] = 0
    return nearest.reshape(size[1], size[0])


def _footprints(
    rows: np.ndarray,
    columns: np.ndarray,
    z: np.ndarray,
    depth_camera: Camera,
    color_camera: Camera,
    color_T_depth: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smallest and largest colour pixel (N, 2) of each depth pixel, and its depth (N,) there."""
    corners = []
    for step in (-0.5, 0.5):
        points = np.empty((len(z), 3), np.float32)
        points[:, 0] = (columns + step - depth_camera.cx) / depth_camera.fx * z
        points[:, 1] = (rows + step - depth_camera.cy) / depth_camera.fy * z
        points[:, 2] = z
        corners.append(project(transform(color_T_depth, points), color_camera))
    (one, one_z), (other, other_z) = corners
    return np.minimum(one, other), np.maximum(one, other), (one_z + other_z) / 2


def _widest(depth_camera: Camera, color_camera: Camera) -> int:
    """Colour pixels that a depth pixel may be wide: twice what it is with cameras side by side."""
    ratio = max(color_camera.fx / depth_camera.fx, color_camera.fy / depth_camera.fy)
    return int(np.ceil(2 * ratio)) + 1
