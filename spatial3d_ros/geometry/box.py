"""Upright boxes: centre, full size and yaw about +z; overlap and distance.

An upright box is the product of a rectangle on the floor and a height interval. Overlap and
distance therefore split into a polygon problem in the plane and an interval problem along z, and
both are solved exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spatial3d_ros.errors import FrameError

Vector = tuple[float, float, float]


def vector(values: Iterable[float]) -> Vector:
    """Three numbers as a tuple of float. Raises ValueError for another count."""
    x, y, z = map(float, values)
    return x, y, z


# Corners of a rectangle in units of its half size, counter-clockwise.
_CORNERS = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)], dtype=np.float64)


@dataclass(frozen=True)
class Box3D:
    """An upright box: `center` and full `size` in world metres, `yaw` in radians about +z.

    `size` is measured along the box's own axes. A flat box (a size of 0) is allowed.

    Raises:
        FrameError: a value is not finite or a size is negative.
    """

    center: Vector
    size: Vector
    yaw: float = 0.0

    def __post_init__(self) -> None:
        center, size = (tuple(map(float, v)) for v in (self.center, self.size))
        if (
            len(center) != 3
            or len(size) != 3
            or not all(map(math.isfinite, (*center, *size, self.yaw)))
        ):
            raise FrameError(f"box: center {center}, size {size}, yaw {self.yaw} must be finite")
        if min(size) < 0:
            raise FrameError(f"box: size {size} must not be negative")
        object.__setattr__(self, "center", center)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "yaw", float(self.yaw))

    @classmethod
    def from_bounds(cls, low: ArrayLike, high: ArrayLike) -> Box3D:
        """The axis-aligned box between two corners (3,)."""
        low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        return cls(tuple(((low + high) / 2).tolist()), tuple((high - low).tolist()))

    @classmethod
    def from_points(cls, points: np.ndarray, quantile: float = 0.0) -> Box3D:
        """The axis-aligned box of points (..., 3), ignoring the share `quantile` at either end.

        Raises:
            FrameError: there is no finite point.
        """
        points = points.reshape(-1, 3)
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            raise FrameError("box: no finite point to put a box around")
        if quantile == 0.0:
            return cls.from_bounds(points.min(axis=0), points.max(axis=0))
        return cls.from_bounds(*np.quantile(points, (quantile, 1 - quantile), axis=0))

    def hull(self) -> Box3D:
        """The axis-aligned box around it; itself at yaw 0."""
        if self.yaw == 0.0:
            return self
        return Box3D.from_bounds(*self.bounds())

    def rotated(self, angle: float) -> Box3D:
        """The box after a rotation of the world by `angle` rad about +z through the origin."""
        if angle == 0.0:
            return self
        x, y, z = self.center
        cos, sin = float(np.cos(angle)), float(np.sin(angle))
        return Box3D((cos * x - sin * y, sin * x + cos * y, z), self.size, self.yaw + angle)

    def moved(self, pose: np.ndarray) -> Box3D:
        """The box after a motion (4, 4), yaw and translation, of the world."""
        turned = self.rotated(float(np.arctan2(pose[1, 0], pose[0, 0])))
        return Box3D(vector(np.add(turned.center, pose[:3, 3])), self.size, turned.yaw)

    @property
    def volume(self) -> float:
        """Cubic metres."""
        return self.size[0] * self.size[1] * self.size[2]

    def array(self) -> np.ndarray:
        """Centre and size, (6,) float64; the yaw is left out."""
        return np.array((*self.center, *self.size))

    def corners(self) -> np.ndarray:
        """(8, 3) float64: the bottom rectangle counter-clockwise, then the top one."""
        low, high = self._z_interval()
        plan = self._plan()
        return np.concatenate([np.c_[plan, np.full(4, low)], np.c_[plan, np.full(4, high)]])

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner (3,), (3,) of the axis-aligned hull."""
        low, high = self._z_interval()
        plan = self._plan()
        return np.array([*plan.min(axis=0), low]), np.array([*plan.max(axis=0), high])

    def contains(self, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Which points (..., 3) lie in the closed box grown by `margin` metres; NaN is outside."""
        offset = np.asarray(points, dtype=np.float64) - self.center
        if self.yaw:
            offset[..., :2] = offset[..., :2] @ _rotation(self.yaw)
        return np.asarray((np.abs(offset) <= np.array(self.size) / 2 + margin).all(axis=-1))

    def _plan(self) -> np.ndarray:
        """Corners of the footprint in x and y, (4, 2), counter-clockwise."""
        if not self.yaw:
            return _CORNERS * self.size[:2] / 2 + self.center[:2]
        return (_CORNERS * self.size[:2] / 2) @ _rotation(self.yaw).T + self.center[:2]

    def _z_interval(self) -> tuple[float, float]:
        return self.center[2] - self.size[2] / 2, self.center[2] + self.size[2] / 2


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (N, M) of axis-aligned boxes (N, 6) and (M, 6): centre, size."""
    a, b = (np.asarray(x, dtype=np.float64).reshape(-1, 6) for x in (a, b))
    half_a, half_b = a[:, None, 3:] / 2, b[None, :, 3:] / 2
    center_a, center_b = a[:, None, :3], b[None, :, :3]
    high = np.minimum(center_a + half_a, center_b + half_b)
    low = np.maximum(center_a - half_a, center_b - half_b)
    shared = np.maximum(high - low, 0).prod(axis=-1)
    union = a[:, None, 3:].prod(axis=-1) + b[None, :, 3:].prod(axis=-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def iou(a: Box3D, b: Box3D) -> float:
    """Exact intersection over union of two boxes with any yaw; 0 for two flat boxes."""
    shared = shared_volume(a, b)
    union = a.volume + b.volume - shared
    return min(shared / union, 1.0) if union > 0 else 0.0  # 1 + rounding


def shared_volume(a: Box3D, b: Box3D) -> float:
    """Exact cubic metres that two boxes with any yaw have in common."""
    low, high = _overlap(a, b)
    if low >= high:
        return 0.0
    if not a.yaw and not b.yaw:
        sides = [
            min(p + m / 2, q + n / 2) - max(p - m / 2, q - n / 2)
            for p, m, q, n in zip(a.center[:2], a.size[:2], b.center[:2], b.size[:2], strict=True)
        ]
        return float(max(sides[0], 0.0) * max(sides[1], 0.0) * (high - low))
    return _area(_clip(a._plan(), b._plan())) * (high - low)


def center_distance(a: Box3D, b: Box3D) -> float:
    """Metres between the centres."""
    return float(np.linalg.norm(np.subtract(a.center, b.center)))


def surface_distance(a: Box3D, b: Box3D) -> tuple[float, np.ndarray, np.ndarray]:
    """Metres between two boxes, and the closest point (3,) of each.

    Boxes that meet have distance 0 and share one point inside both.
    """
    plan_a, plan_b = _closest_plan_points(a._plan(), b._plan())
    low, high = _overlap(a, b)
    if low <= high:
        z_a = z_b = (low + high) / 2
    else:  # `low` is the floor of the upper box, `high` the ceiling of the lower one
        z_a, z_b = (low, high) if a.center[2] > b.center[2] else (high, low)
    point_a, point_b = np.array((*plan_a, z_a)), np.array((*plan_b, z_b))
    return float(np.linalg.norm(point_a - point_b)), point_a, point_b


def _overlap(a: Box3D, b: Box3D) -> tuple[float, float]:
    """The shared height interval; low > high when there is a gap."""
    (low_a, high_a), (low_b, high_b) = a._z_interval(), b._z_interval()
    return max(low_a, low_b), min(high_a, high_b)


def _rotation(yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([(c, -s), (s, c)])


def _clip(subject: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Vertices (n, 2) of the part of a convex polygon inside another, cut edge by edge."""
    for start, end in zip(window, np.roll(window, -1, axis=0), strict=True):
        if not len(subject):
            break
        (ex, ey), offset = end - start, subject - start
        side = ex * offset[:, 1] - ey * offset[:, 0]  # >= 0 is left of the edge: inside
        kept = []
        for i in range(len(subject)):
            if side[i - 1] * side[i] < 0:
                part = side[i - 1] / (side[i - 1] - side[i])
                kept.append(subject[i - 1] + part * (subject[i] - subject[i - 1]))
            if side[i] >= 0:
                kept.append(subject[i])
        subject = np.array(kept).reshape(-1, 2)
    return subject


def _area(polygon: np.ndarray) -> float:
    """Shoelace formula, relative to the first vertex to keep precision far from the origin."""
    if len(polygon) < 3:
        return 0.0
    x, y = (polygon - polygon[0]).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _closest_plan_points(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Closest points of two rectangles; when apart, one of them is always a corner."""
    if not np.ptp(b, axis=0).any():  # a point has no inside that could clip
        if not np.ptp(a, axis=0).any():
            return a[0], b[0]
        on_b, on_a = _closest_plan_points(b, a)
        return on_a, on_b
    shared = _clip(a, b)
    if len(shared):
        point = shared.mean(axis=0)
        return point, point
    on_b, from_a = _nearest_on_edges(a, b)
    on_a, from_b = _nearest_on_edges(b, a)
    pairs = [*zip(from_a, on_b, strict=True), *zip(on_a, from_b, strict=True)]
    return min(pairs, key=lambda pair: float(np.sum((pair[0] - pair[1]) ** 2)))


def _nearest_on_edges(corners: np.ndarray, polygon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every corner and edge: the nearest point on the edge, and the corner; (n * m, 2) each."""
    start = polygon[None]
    edge = np.roll(polygon, -1, axis=0)[None] - start
    corner = corners[:, None]
    length2 = (edge**2).sum(axis=-1)
    along = ((corner - start) * edge).sum(axis=-1)
    part = np.divide(along, length2, out=np.zeros_like(along), where=length2 > 0).clip(0, 1)
    nearest = start + part[..., None] * edge
    return nearest.reshape(-1, 2), np.broadcast_to(corner, nearest.shape).reshape(-1, 2)
