"""Approach poses: where a robot can stand to face an object.

Geometry on boxes only; a planner with a costmap decides whether the pose is reachable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.errors import NotAvailableError, QueryError
from spatial3d_ros.geometry.box import Box3D

DIRECTIONS = 36  # directions around an object that are tried
MIN_OBSTACLE_M = 0.05  # an object lower than this above the floor does not block wheels
MAX_EXTRA_M = 1.5  # by which a pose may be further away than requested
_EXTRA_STEP_M = 0.1


@dataclass(frozen=True)
class ApproachPose:
    """x, y in metres and yaw in radians, in the frame of the boxes."""

    x: float
    y: float
    yaw: float


def find_approach_pose(
    target: Box3D,
    robot: tuple[float, float] | None = None,
    obstacles: Sequence[Box3D] = (),
    *,
    distance_m: float = 0.6,
    radius_m: float = 0.3,
    height_m: float = 1.0,
) -> ApproachPose:
    """The pose at `distance_m` from the surface of the target that faces its center, is free for a
    robot of that radius and height, and is nearest to the position of the `robot`.

    Without `robot` the first free pose is returned, counter-clockwise from +x. Objects over or
    under the target (the table of a mug) are obstacles like any other; then the pose is as near as
    they allow. Raises QueryError for lengths that are not positive, NotAvailableError if no pose is
    free.
    """
    for name, value in (("distance_m", distance_m), ("radius_m", radius_m), ("height_m", height_m)):
        if not (math.isfinite(value) and value > 0):
            raise QueryError(f"{name} is {value}; it must be a positive number of metres")
    floor = min(box.bounds()[0][2] for box in (target, *obstacles))
    blocking = [box for box in obstacles if _blocks(box, floor, height_m)]
    best: tuple[float, int, ApproachPose] | None = None
    for step in range(DIRECTIONS):
        angle = 2 * math.pi * step / DIRECTIONS
        free = _nearest_free(target, angle, blocking, distance_m, radius_m)
        if free is None:
            continue
        x, y, distance = free
        drive = 0.0 if robot is None else math.hypot(x - robot[0], y - robot[1])
        # A metre further from the target costs more than a metre more to drive.
        cost = (2 * distance + drive, step)
        if best is None or cost < best[:2]:
            yaw = math.atan2(target.center[1] - y, target.center[0] - x)
            best = (*cost, ApproachPose(x, y, yaw))
    if best is None:
        raise NotAvailableError(
            f"no free pose for a robot of radius {radius_m:g} m within "
            f"{distance_m + MAX_EXTRA_M:g} m of the object; obstacles stand on every side"
        )
    return best[2]


def _nearest_free(
    target: Box3D, angle: float, blocking: Sequence[Box3D], distance_m: float, radius_m: float
) -> tuple[float, float, float] | None:
    """The nearest free x, y in a direction, and its distance to the surface of the target."""
    x, y, _ = target.center
    half = math.hypot(*target.size[:2]) / 2
    for extra in np.arange(0.0, MAX_EXTRA_M + 1e-9, _EXTRA_STEP_M):
        low, high = 0.0, half + distance_m + extra
        for _ in range(20):  # bisection: the distance to a convex box grows along the ray
            middle = (low + high) / 2
            point = (x + middle * math.cos(angle), y + middle * math.sin(angle))
            if _distance(target, point) < distance_m + extra:
                low = middle
            else:
                high = middle
        point = (x + high * math.cos(angle), y + high * math.sin(angle))
        if all(_distance(box, point) >= radius_m for box in blocking):
            return (*point, distance_m + float(extra))
    return None


def _distance(box: Box3D, point: tuple[float, float]) -> float:
    """Metres on the floor plan between a box and a point."""
    dx, dy = point[0] - box.center[0], point[1] - box.center[1]
    cos, sin = math.cos(box.yaw), math.sin(box.yaw)
    along, across = abs(cos * dx + sin * dy), abs(cos * dy - sin * dx)
    return math.hypot(max(along - box.size[0] / 2, 0.0), max(across - box.size[1] / 2, 0.0))


def _blocks(box: Box3D, floor: float, height_m: float) -> bool:
    low, high = box.bounds()
    return bool(low[2] - floor < height_m and high[2] - floor > MIN_OBSTACLE_M)
