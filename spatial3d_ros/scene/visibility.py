"""What a view says about a place: nothing, something is there, or one sees through it."""

from __future__ import annotations

import cv2
import numpy as np

from spatial3d_ros.geometry.camera import project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.scene.frame import Frame

UNSEEN, THERE, EMPTY = 0, 1, 2
_STEP = 4  # pixels; nothing thinner than about two steps is called empty


def observe(points: np.ndarray, frame: Frame, margin_m: float = 0.06) -> np.ndarray:
    """UNSEEN, THERE or EMPTY for world points (N, 3), as (N,) int8.

    EMPTY needs every depth in a neighbourhood of the pixel to lie behind the point by more than
    `margin_m` and the noise of depth, so that pose errors of a degree do not erase a chair leg.
    """
    nearest, farthest = _bounds(frame.depth)
    uv, z = project(transform(invert(frame.world_T_camera), points), frame.camera)
    height, width = nearest.shape
    u, v = (np.nan_to_num(uv, nan=-1e6, posinf=-1e6, neginf=-1e6) / _STEP).round().astype(int).T
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (z > 0.1)
    u, v = np.where(inside, u, 0), np.where(inside, v, 0)
    margin = margin_m + 0.004 * z * z
    state = np.full(len(points), UNSEEN, np.int8)
    state[inside & (nearest[v, u] < z + margin) & (farthest[v, u] > z - margin)] = THERE
    state[inside & (nearest[v, u] > z + margin) & np.isfinite(nearest[v, u])] = EMPTY
    return state


def _bounds(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest and farthest depth around every `_STEP`-th pixel; inf where little is measured."""
    coarse = depth[::_STEP, ::_STEP]
    measured = coarse > 0
    around = np.ones((3, 3), np.uint8)
    nearest = cv2.erode(np.where(measured, coarse, np.inf).astype(np.float32), around)
    farthest = cv2.dilate(coarse, around)
    holes = cv2.boxFilter(measured.astype(np.float32), -1, (3, 3)) < 0.6
    nearest[holes] = np.inf
    return nearest, farthest
