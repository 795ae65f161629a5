"""Boxes and masks in an image, with its depth and pose, to labelled boxes in the world."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import transform
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.sightings import LEAST_POINTS, TRIM, Sighting

SAMPLES = 4000  # pixels that are looked at in each box
KEPT = 200  # points of a surface that are kept
GAP_M, GAP = 0.06, 0.02  # depth without pixels that parts two things: metres, and share of depth
MASK_EDGE = 0.04  # of the width of a mask: pixels at its edge often belong to what is behind


@dataclass(frozen=True, eq=False)
class ImageBox:
    """A detection in the pixels of a rectified image: corners left, top, right, bottom; `label`
    words or ""; `score` 0 .. 1; `mask` (H, W) bool of the whole image, None where there is none.
    """

    corners: tuple[float, float, float, float]
    label: str
    score: float
    mask: np.ndarray | None = None


def lift(detection: ImageBox, frame: Frame) -> Sighting:
    """What the detection shows, in the world. Raises FrameError where no depth was measured.

    Within a box the thing is taken to be the surface in its middle: of the depths, parted where
    nothing lies between them, the part that weighs most, and pixels near the middle weigh more.
    """
    rows, columns = _pixels(detection, frame.camera)
    z = frame.depth[rows, columns]
    rows, columns, z = rows[z > 0], columns[z > 0], z[z > 0]
    if len(z) >= LEAST_POINTS and detection.mask is None:
        part = _surface(z, _weights(rows, columns, detection.corners))
    else:
        part = np.ones(len(z), bool) if len(z) < LEAST_POINTS else _near_median(z)
    rows, columns, z = rows[part], columns[part], z[part]
    if len(z) < LEAST_POINTS:
        raise FrameError(
            f"no depth in the box of {detection.label or 'a detection'!r}: {len(z)} pixels; is it "
            "out of range, or of glass?"
        )
    chosen = np.linspace(0, len(z) - 1, min(len(z), KEPT)).astype(int)
    camera = frame.camera
    rays = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy], 1)
    points = np.concatenate([rays * z[:, None], z[:, None]], 1)[chosen]
    world = transform(frame.world_T_camera, points).astype(np.float32)
    rgb = tuple(map(float, frame.rgb[rows, columns].mean(0)))
    box = Box3D.from_points(world, TRIM)
    return Sighting(box, detection.label, detection.score, frame.stamp_ns, world, rgb)


def rectified_corners(
    corners: tuple[float, float, float, float], camera: Camera
) -> tuple[float, float, float, float]:
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


def _pixels(detection: ImageBox, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a grid over the box, or over the mask without its edge."""
    limits = np.array([camera.width, camera.height])
    first = np.floor(np.clip(detection.corners[:2], 0, limits)).astype(int)
    last = np.ceil(np.clip(detection.corners[2:], 0, limits)).astype(int)
    width, height = last - first
    step = max(1, int(np.sqrt(width * height / SAMPLES)))
    rows, columns = np.mgrid[first[1] : last[1] : step, first[0] : last[0] : step]
    rows, columns = rows.ravel(), columns.ravel()
    if detection.mask is not None:
        edge = max(1, int(MASK_EDGE * min(width, height)))
        core = cv2.erode(detection.mask.astype(np.uint8), np.ones((2 * edge + 1,) * 2, np.uint8))
        mask = core.astype(bool) if core.any() else detection.mask
        inside = mask[rows, columns]
        rows, columns = rows[inside], columns[inside]
    return rows, columns


def _weights(
    rows: np.ndarray, columns: np.ndarray, corners: tuple[float, float, float, float]
) -> np.ndarray:
    """1 in the middle of the box, 0 from its inscribed ellipse on."""
    left, top, right, bottom = corners
    u = (columns - (left + right) / 2) / max((right - left) / 2, 1e-6)
    v = (rows - (top + bottom) / 2) / max((bottom - top) / 2, 1e-6)
    return np.clip(1 - u * u - v * v, 0, 1)


def _surface(z: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Which pixels belong to the heaviest stretch of depth, within the ellipse."""
    order = np.argsort(z)
    depth = z[order]
    part = np.cumsum(np.diff(depth, prepend=depth[0]) > np.maximum(GAP_M, GAP * depth))
    heaviest = np.bincount(part, weight[order]).argmax()
    chosen = np.zeros(len(z), bool)
    chosen[order] = part == heaviest
    return chosen & (weight > 0)


def _near_median(z: np.ndarray) -> np.ndarray:
    """All of a mask but what lies far behind or before its middle: its edge spills over."""
    middle = np.median(z)
    spread = max(3 * float(np.median(np.abs(z - middle))), 0.1, GAP * float(middle))
    return np.abs(z - middle) <= spread
