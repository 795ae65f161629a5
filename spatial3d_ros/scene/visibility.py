"""Occupancy of world points in a view: unobserved, occupied or free."""

from __future__ import annotations

import cv2
import numpy as np

from spatial3d_ros.geometry.camera import project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.scene.frame import Frame

UNOBSERVED, OCCUPIED, FREE = 0, 1, 2
_STEP = 4  # pixels between tested depths; nothing thinner than about two steps counts as free
NEIGHBOURHOOD = 1.5 * _STEP  # pixels around a point whose nearest depth counts


def classify_points(points: np.ndarray, frame: Frame, least_m: float = 0.06) -> np.ndarray:
    """UNOBSERVED, OCCUPIED or FREE for world points (N, 3), as (N,) int8.

    A point is FREE if every depth around its pixel lies behind it by more than `least_m` and the
    depth noise, so that pose errors of a degree do not remove a chair leg.
    """
    nearest, farthest = _bounds(frame.depth)
    uv, z = project(transform(invert(frame.world_T_camera), points), frame.camera)
    height, width = nearest.shape
    u, v = (np.nan_to_num(uv, nan=-1e6, posinf=-1e6, neginf=-1e6) / _STEP).round().astype(int).T
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (z > 0.1)
    u, v = np.where(inside, u, 0), np.where(inside, v, 0)
    margin = margin_m(z, least_m)
    state = np.full(len(points), UNOBSERVED, np.int8)
    state[inside & (nearest[v, u] < z + margin) & (farthest[v, u] > z - margin)] = OCCUPIED
    state[inside & (nearest[v, u] > z + margin) & np.isfinite(nearest[v, u])] = FREE
    return state


def margin_m(z: np.ndarray, least_m: float = 0.06) -> np.ndarray:
    """Metres by which a depth must differ from that of a point at depth `z` to be another one."""
    return least_m + 0.004 * z * z


def _bounds(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest and farthest depth around every `_STEP`-th pixel; inf where few are measured."""
    coarse = depth[::_STEP, ::_STEP]
    measured = coarse > 0
    kernel = np.ones((3, 3), np.uint8)
    nearest = cv2.erode(np.where(measured, coarse, np.inf).astype(np.float32), kernel)
    farthest = cv2.dilate(coarse, kernel)
    holes = cv2.boxFilter(measured.astype(np.float32), -1, (3, 3)) < 0.6
    nearest[holes] = np.inf
    return nearest, farthest
