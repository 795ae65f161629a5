"""What moves with the camera: a gripper, a tray or the robot itself in the image.

Its pixels keep their depth and colour while the camera moves, and everything else changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from spatial3d_ros.scene.frame import Frame

MIN_VIEWS = 5
MIN_TRAVEL_M, MIN_TURN = 0.3, np.deg2rad(20)  # of the camera, between the farthest two views
MAX_DISTANCE_M = 1.2
MAX_SPREAD_M = 0.02  # between the 10th and 90th percentile of the depths of a pixel
MAX_COLOR = 15.0  # standard deviation of a colour channel, 0 .. 255
MIN_SHARE = 0.002  # of the image: smaller spots are chance
_STEP = 4  # pixels


def fixed_pixels(frames: Sequence[Frame]) -> np.ndarray | None:
    """The pixels (H, W) bool that show what moves with the camera; None if there is no such thing,
    if the camera hardly moved, or if the views are of several cameras.
    """
    if len(frames) < MIN_VIEWS or len({(f.source, f.depth.shape) for f in frames}) > 1:
        return None
    poses = np.stack([frame.world_T_camera for frame in frames])
    travel = np.linalg.norm(np.ptp(poses[:, :3, 3], axis=0))
    facing = (poses[:, :3, 2] @ poses[:, :3, 2].T).min()
    if travel < MIN_TRAVEL_M and facing > np.cos(MIN_TURN):
        return None
    depth = np.stack([frame.depth[::_STEP, ::_STEP] for frame in frames])
    measured = (depth > 0).all(0) & (depth.max(0) < MAX_DISTANCE_M)
    low, high = np.quantile(depth[:, measured], (0.1, 0.9), axis=0)
    color = np.stack([frame.rgb[::_STEP, ::_STEP][measured] for frame in frames])
    still = np.zeros(measured.shape, np.uint8)
    still[measured] = (high - low < MAX_SPREAD_M) & (color.std(0) < MAX_COLOR).all(1)
    still = cv2.morphologyEx(still, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    if still.mean() < MIN_SHARE:
        return None
    height, width = frames[0].depth.shape
    still = cv2.dilate(still, np.ones((5, 5), np.uint8))
    return cv2.resize(still, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
