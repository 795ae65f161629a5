"""Lifts 2D boxes and masks with depth and pose to labelled 3D detections."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import transform
from spatial3d_ros.geometry.voxels import subsample
from spatial3d_ros.scene.detection_tracking import MIN_POINTS, TRIM, Detection3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.label_distribution import Labels

Corners = tuple[float, float, float, float]
SAMPLES = 4000  # pixels sampled in each box
MAX_POINTS = 200  # points kept of a surface
GAP_M, GAP = 0.06, 0.02  # depth gap that separates two surfaces: metres, and share of the depth
RING = 0.3  # of the sides of a box: width of the ring around it that shows the support surface
FLAT_M = 0.02  # metres; height of a slice of a level surface
FLAT_SHARE = 0.15  # share of the ring in one slice that makes it a level surface
MIN_ABOVE = 0.2  # weight above the level surface; with less the object is that surface
NEAR_M = 2.0  # distance up to which the labels of a detection count fully
EDGE_PX = 2.0  # from the border of an image within which it cuts a box off
CUT_WEIGHT = 0.5  # of the labels of a box that is cut off
MASK_EDGE = 0.04  # of the width of a mask; pixels at its edge often belong to the background


@dataclass(frozen=True, eq=False)
class Detection2D:
    """A 2D detection in a rectified image: `corners` left, top, right, bottom in pixels; `label`
    "" if unknown; `score` 0 .. 1; `mask` (H, W) bool of the whole image, or None; `others`: further
    labels that it may have, with their probabilities.
    """

    corners: Corners
    label: str
    score: float
    mask: np.ndarray | None = None
    others: Labels = ()


def lift(detection: Detection2D, frame: Frame) -> Detection3D:
    """The 3D detection of a 2D one.

    Without a mask the object is the surface in the middle of the box: without the level surface
    that continues around the box, the depths are split at gaps, and the cluster with the largest
    weight is kept; pixels near the middle of the box weigh more.

    Raises:
        FrameError: fewer than `MIN_POINTS` pixels of the object have depth.
    """
    rows, columns = _grid(detection.corners, frame.camera)
    measured = frame.depth[rows, columns] > 0
    rows, columns = rows[measured], columns[measured]
    z = frame.depth[rows, columns]
    if detection.mask is None:
        foreground = _foreground(rows, columns, z, detection.corners, frame)
    else:
        foreground = _eroded(detection.mask)[rows, columns]
        foreground[foreground] = _near_median(z[foreground])
    rows, columns, z = rows[foreground], columns[foreground], z[foreground]
    if len(z) < MIN_POINTS:
        raise FrameError(
            f"no depth in the box of {detection.label or 'a detection'!r}: {len(z)} pixels; is it "
            "out of range, or of glass?"
        )
    chosen = subsample(np.arange(len(z)), MAX_POINTS)
    points = _world(rows[chosen], columns[chosen], z[chosen], frame)
    rgb = frame.rgb[rows, columns]
    box = Box3D.from_points(points, TRIM)
    return Detection3D(
        box, detection.label, detection.score, frame.stamp_ns, points, vector(rgb.mean(0)),
        detection.others, _weight(detection.corners, float(np.median(z)), frame.camera),
        frame.light.color_names(rgb),
    )  # fmt: skip


def _weight(corners: Corners, distance_m: float, camera: Camera) -> float:
    """How much the labels of a detection count: less far away and where the image cuts it off."""
    left, top, right, bottom = corners
    edges = left <= EDGE_PX, top <= EDGE_PX, right >= camera.width - EDGE_PX
    cut = any((*edges, bottom >= camera.height - EDGE_PX))
    return min(1.0, NEAR_M / max(distance_m, 1e-3)) * (CUT_WEIGHT if cut else 1.0)


def rectified_corners(corners: Corners, camera: Camera) -> Corners:
    """Corners in the rectified image of the hull of a box in the raw image."""
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
    rectified = undistort(points, camera.matrix, np.array(camera.distortion), P=camera.matrix)[:, 0]
    return pixel_corners([*rectified.min(0), *rectified.max(0)])


def pixel_corners(values: Iterable[float]) -> Corners:
    """Four numbers as corners. Raises ValueError for another count."""
    left, top, right, bottom = map(float, values)
    return left, top, right, bottom


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


def _foreground(
    rows: np.ndarray, columns: np.ndarray, z: np.ndarray, corners: Corners, frame: Frame
) -> np.ndarray:
    """Which pixels of a grid (n,) show the object in a box, (n,) bool."""
    left, top, right, bottom = corners
    inside = (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)
    weight = _weights(rows, columns, corners)
    foreground = inside & (weight > 0)
    if not foreground.any():
        return foreground
    height = _world(rows, columns, z, frame)[:, 2]
    median = float(np.median(height[foreground]))
    above = foreground & ~_on_level_surface(height, height[~inside], median)
    if weight[above].sum() >= MIN_ABOVE * weight[foreground].sum():
        foreground = above
    foreground[foreground] = _heaviest_cluster(z[foreground], weight[foreground])
    return foreground


def _on_level_surface(height: np.ndarray, ring: np.ndarray, median: float) -> np.ndarray:
    """Which heights lie on a level surface of the ring that is not above the median height."""
    level = np.zeros(len(height), bool)
    slices, counts = np.unique(np.round(ring / FLAT_M), return_counts=True)
    for height_slice in slices[counts >= FLAT_SHARE * max(len(ring), MIN_POINTS)]:
        if height_slice * FLAT_M <= median + FLAT_M:
            level |= np.abs(height - height_slice * FLAT_M) <= 1.5 * FLAT_M
    return level


def _eroded(mask: np.ndarray) -> np.ndarray:
    """The mask without its edge, or the whole mask if nothing else is left."""
    rows, columns = np.nonzero(mask)
    narrow = min(np.ptp(rows), np.ptp(columns)) + 1 if len(rows) else 0
    edge = max(1, int(MASK_EDGE * narrow))
    core = cv2.erode(mask.astype(np.uint8), np.ones((2 * edge + 1,) * 2, np.uint8)).astype(bool)
    return core if core.any() else mask


def _weights(rows: np.ndarray, columns: np.ndarray, corners: Corners) -> np.ndarray:
    """Weights (n,): 1 in the middle of the box, 0 on and outside its inscribed ellipse."""
    left, top, right, bottom = corners
    u = (columns - (left + right) / 2) / max((right - left) / 2, 1e-6)
    v = (rows - (top + bottom) / 2) / max((bottom - top) / 2, 1e-6)
    return np.clip(1 - u * u - v * v, 0, 1)


def _heaviest_cluster(z: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Which pixels belong to the cluster of depths with the largest weight; gaps separate them."""
    order = np.argsort(z)
    depth = z[order]
    cluster = np.cumsum(np.diff(depth, prepend=depth[:1]) > np.maximum(GAP_M, GAP * depth))
    chosen = np.zeros(len(z), bool)
    chosen[order] = cluster == np.bincount(cluster, weight[order]).argmax()
    return chosen


def _near_median(z: np.ndarray) -> np.ndarray:
    """Which depths of a mask lie near their median: masks leak over their edges."""
    if not len(z):
        return np.zeros(0, bool)
    median = np.median(z)
    spread = max(3 * float(np.median(np.abs(z - median))), 0.1, GAP * float(median))
    return np.abs(z - median) <= spread
