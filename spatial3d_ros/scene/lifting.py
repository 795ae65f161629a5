"""Boxes and masks in an image, with its depth and pose, to labelled boxes in the world."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import transform
from spatial3d_ros.scene.detection_tracking import LEAST_POINTS, TRIM, Detection3D
from spatial3d_ros.scene.frame import Frame

Corners = tuple[float, float, float, float]
SAMPLES = 4000  # pixels that are looked at in each box
KEPT = 200  # points of a surface that are kept
GAP_M, GAP = 0.06, 0.02  # depth without pixels that parts two things: metres, and share of depth
RING = 0.3  # of the sides of a box: how far around it one looks for what the thing stands on
FLAT_M = 0.02  # height of a slice of a level surface
FLAT_SHARE = 0.15  # of the ring at one height: a level surface
LEFT_SHARE = 0.2  # of the box: less than this above the surface, and the thing is that surface
MASK_EDGE = 0.04  # of the width of a mask: pixels at its edge often belong to what is behind


@dataclass(frozen=True, eq=False)
class ImageBox:
    """A detection in the pixels of a rectified image: corners left, top, right, bottom; `label`
    words or ""; `score` 0 .. 1; `mask` (H, W) bool of the whole image, None where there is none.
    """

    corners: Corners
    label: str
    score: float
    mask: np.ndarray | None = None


def lift(detection: ImageBox, frame: Frame) -> Detection3D:
    """What the detection shows, in the world. Raises FrameError where no depth was measured.

    Within a box the thing is taken to be the surface in its middle: without the level surface that
    it stands on, which goes on around the box, and of the depths that are left, parted where
    nothing lies between them, the part that weighs most; pixels near the middle weigh more.
    """
    rows, columns = _grid(detection.corners, frame.camera)
    measured = frame.depth[rows, columns] > 0
    rows, columns = rows[measured], columns[measured]
    z = frame.depth[rows, columns]
    if detection.mask is None:
        thing = _in_box(rows, columns, z, detection.corners, frame)
    else:
        thing = _core(detection.mask)[rows, columns]
        thing[thing] = _near_median(z[thing])
    rows, columns, z = rows[thing], columns[thing], z[thing]
    if len(z) < LEAST_POINTS:
        raise FrameError(
            f"no depth in the box of {detection.label or 'a detection'!r}: {len(z)} pixels; is it "
            "out of range, or of glass?"
        )
    chosen = np.linspace(0, len(z) - 1, min(len(z), KEPT)).astype(int)
    points = _world(rows[chosen], columns[chosen], z[chosen], frame)
    rgb = tuple(map(float, frame.rgb[rows, columns].mean(0)))
    box = Box3D.from_points(points, TRIM)
    return Detection3D(box, detection.label, detection.score, frame.stamp_ns, points, rgb)


def rectified_corners(corners: Corners, camera: Camera) -> Corners:
    """The hull of a box of the raw image in the pixels of the rectified one."""
    if not camera.distortion:
        return corners
    left, top, right, bottom = corners
    across, down = np.linspace(left, right, 5), np.linspace(top, bottom, 5)
    edge = [(u, v) for u in across for v in (top, bottom)]
    edge += [(u, v) for u in (left, right) for v in down]
    points = np.array(edge, np.float64)[:, None]
    undistort = (
        cv2.fisheye.undistortPoints
        if camera.distortion_model == "equidistant"
        else cv2.undistortPoints
    )
    straight = undistort(points, camera.matrix, np.array(camera.distortion), P=camera.matrix)[:, 0]
    return (*map(float, straight.min(0)), *map(float, straight.max(0)))


def _grid(corners: Corners, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a grid over the box and the ring around it."""
    sides = np.subtract(corners[2:], corners[:2])
    limits = np.array([camera.width, camera.height])
    first = np.floor(np.clip(corners[:2] - RING * sides, 0, limits)).astype(int)
    last = np.ceil(np.clip(corners[2:] + RING * sides, 0, limits)).astype(int)
    step = max(1, int(np.sqrt(np.prod(last - first) / SAMPLES)))
    rows, columns = np.mgrid[first[1] : last[1] : step, first[0] : last[0] : step]
    return rows.ravel(), columns.ravel()


def _world(rows: np.ndarray, columns: np.ndarray, z: np.ndarray, frame: Frame) -> np.ndarray:
    """World points (n, 3) float32 of pixels with their depths."""
    camera = frame.camera
    points = np.stack(
        [(columns - camera.cx) / camera.fx * z, (rows - camera.cy) / camera.fy * z, z], 1
    )
    return transform(frame.world_T_camera, points).astype(np.float32)


def _in_box(
    rows: np.ndarray, columns: np.ndarray, z: np.ndarray, corners: Corners, frame: Frame
) -> np.ndarray:
    """Which pixels of a grid show the thing in a box."""
    left, top, right, bottom = corners
    inside = (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)
    weight = _weights(rows, columns, corners)
    thing = inside & (weight > 0)
    if not thing.any():
        return thing
    height = _world(rows, columns, z, frame)[:, 2]
    above = thing & ~_on_level(height, height[~inside], float(np.median(height[thing])))
    if weight[above].sum() >= LEFT_SHARE * weight[thing].sum():
        thing = above
    thing[thing] = _surface(z[thing], weight[thing])
    return thing


def _on_level(height: np.ndarray, around: np.ndarray, middle: float) -> np.ndarray:
    """Which heights are those of level surfaces in the ring, at or below the middle of the box."""
    level = np.zeros(len(height), bool)
    slices, counts = np.unique(np.round(around / FLAT_M), return_counts=True)
    for part in slices[counts >= FLAT_SHARE * max(len(around), LEAST_POINTS)]:
        if part * FLAT_M <= middle + FLAT_M:
            level |= np.abs(height - part * FLAT_M) <= 1.5 * FLAT_M
    return level


def _core(mask: np.ndarray) -> np.ndarray:
    """The mask without its edge, if that leaves anything."""
    rows, columns = np.nonzero(mask)
    narrow = min(np.ptp(rows), np.ptp(columns)) + 1 if len(rows) else 0
    edge = max(1, int(MASK_EDGE * narrow))
    core = cv2.erode(mask.astype(np.uint8), np.ones((2 * edge + 1,) * 2, np.uint8)).astype(bool)
    return core if core.any() else mask


def _weights(rows: np.ndarray, columns: np.ndarray, corners: Corners) -> np.ndarray:
    """1 in the middle of the box, 0 from its inscribed ellipse on."""
    left, top, right, bottom = corners
    u = (columns - (left + right) / 2) / max((right - left) / 2, 1e-6)
    v = (rows - (top + bottom) / 2) / max((bottom - top) / 2, 1e-6)
    return np.clip(1 - u * u - v * v, 0, 1)


def _surface(z: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Which pixels belong to the heaviest stretch of depth."""
    order = np.argsort(z)
    depth = z[order]
    part = np.cumsum(np.diff(depth, prepend=depth[:1]) > np.maximum(GAP_M, GAP * depth))
    chosen = np.zeros(len(z), bool)
    chosen[order] = part == np.bincount(part, weight[order]).argmax()
    return chosen


def _near_median(z: np.ndarray) -> np.ndarray:
    """All of a mask but what lies far behind or before its middle: its edge spills over."""
    if not len(z):
        return np.zeros(0, bool)
    middle = np.median(z)
    spread = max(3 * float(np.median(np.abs(z - middle))), 0.1, GAP * float(middle))
    return np.abs(z - middle) <= spread
