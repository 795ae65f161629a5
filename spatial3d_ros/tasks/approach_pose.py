"""Where a robot can stand in front of a thing, and look at it: for navigation.

Plain geometry on boxes; a planner that knows the map has the last word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.errors import NotAvailableError, QueryError
from spatial3d_ros.geometry.box import Box3D

HEADINGS = 36  # places around a thing that are tried
OVERHEAD_M = 0.05  # lower than this above the floor nothing is in the way of wheels


@dataclass(frozen=True)
class ApproachPose:
    """Where to stand: x, y in metres and yaw in radians, in the frame of the boxes."""

    x: float
    y: float
    yaw: float


def stand_before(
    thing: Box3D,
    robot: tuple[float, float] | None = None,
    obstacles: Sequence[Box3D] = (),
    *,
    distance_m: float = 0.6,
    radius_m: float = 0.3,
    height_m: float = 1.0,
) -> ApproachPose:
    """The place `distance_m` from the thing that faces its middle, is free for a robot of that
    radius and height, and is nearest to where the `robot` is now.

    Without `robot` the first free place counts, from +x around. What stands over or under the
    thing (the table of a mug) is kept off as everything else, with the radius: then the place is
    as near as that allows. Raises QueryError for lengths that are not positive,
    NotAvailableError when everything around is taken.
    """
    for name, value in (("distance_m", distance_m), ("radius_m", radius_m), ("height_m", height_m)):
        if not (math.isfinite(value) and value > 0):
            raise QueryError(f"{name} is {value}; it must be a positive number of metres")
    floor = min(box.bounds()[0][2] for box in (thing, *obstacles))
    solid = [box for box in obstacles if _in_the_way(box, floor, height_m)]
    here = np.array(robot if robot is not None else (math.inf, 0.0))
    best: tuple[float, float, ApproachPose] | None = None
    for step in range(HEADINGS):
        angle = 2 * math.pi * step / HEADINGS
        place = _nearest_free(thing, angle, solid, distance_m, radius_m)
        if place is None:
            continue
        x, y, reach = place
        away = math.hypot(x - here[0], y - here[1]) if robot is not None else 0.0
        stance = ApproachPose(x, y, math.atan2(thing.center[1] - y, thing.center[0] - x))
        # A metre further from the thing is worse than a metre more to drive.
        if best is None or (2 * reach + away, step) < best[:2]:
            best = (2 * reach + away, step, stance)
    if best is None:
        raise NotAvailableError(
            f"no room for a robot of {radius_m:g} m within {distance_m + MOST_M:g} m of the thing; "
            "something stands on every side"
        )
    return best[2]


MOST_M = 1.5  # so much further than asked for a place may be


def _nearest_free(
    thing: Box3D, angle: float, solid: Sequence[Box3D], distance_m: float, radius_m: float
) -> tuple[float, float, float] | None:
    """The nearest free x, y in a direction, and how far its surface distance is."""
    x, y, _ = thing.center
    half = math.hypot(*thing.size[:2]) / 2
    for extra in np.arange(0.0, MOST_M + 1e-9, 0.1):
        # From outside inwards would pass over things; outwards along the ray nothing is missed.
        low, high = 0.0, half + distance_m + extra
        for _ in range(20):  # the distance to a convex thing grows along the ray
            middle = (low + high) / 2
            at = (x + middle * math.cos(angle), y + middle * math.sin(angle))
            if _apart(thing, at) < distance_m + extra:
                low = middle
            else:
                high = middle
        at = (x + high * math.cos(angle), y + high * math.sin(angle))
        if all(_apart(box, at) >= radius_m for box in solid):
            return (*at, distance_m + float(extra))
    return None


def _apart(box: Box3D, at: tuple[float, float]) -> float:
    """Metres on the floor between a box and a point."""
    dx, dy = at[0] - box.center[0], at[1] - box.center[1]
    cos, sin = math.cos(box.yaw), math.sin(box.yaw)
    along, across = abs(cos * dx + sin * dy), abs(cos * dy - sin * dx)
    return math.hypot(max(along - box.size[0] / 2, 0.0), max(across - box.size[1] / 2, 0.0))


def _in_the_way(box: Box3D, floor: float, height_m: float) -> bool:
    low, high = box.bounds()
    return bool(low[2] - floor < height_m and high[2] - floor > OVERHEAD_M)
