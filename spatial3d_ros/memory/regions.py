"""Named regions of the map: polygons on the floor with a height interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.pose import transform
from spatial3d_ros.storage import read_yaml

Corner = tuple[float, float]
ANY_HEIGHT = 1e6
MAX_CORNERS = 200


@dataclass(frozen=True)
class Region:
    """A simple polygon of at least three corners (x, y), metres in the map, from `low` to `high`.

    Raises ConfigError for an empty name, a polygon that crosses itself or has no area, or a height
    interval that is empty.
    """

    name: str
    corners: tuple[Corner, ...]
    low: float = -ANY_HEIGHT
    high: float = ANY_HEIGHT

    def __post_init__(self) -> None:
        name = " ".join(self.name.lower().split()).removeprefix("the ")
        if not name or len(name) > 100:
            raise ConfigError(f"region {self.name!r}: the name must have 1 to 100 characters")
        object.__setattr__(self, "name", name)
        if any(len(c) != 2 for c in self.corners):
            raise ConfigError(f"region {name}: each corner must be two numbers, x and y")
        corners = tuple((float(x), float(y)) for x, y in self.corners)
        if len(corners) > 1 and corners[0] == corners[-1]:  # GeoJSON repeats the first corner
            corners = corners[:-1]
        object.__setattr__(self, "corners", corners)
        if not 3 <= len(corners) <= MAX_CORNERS:
            raise ConfigError(
                f"region {name}: has {len(corners)} corners; 3 to {MAX_CORNERS} are needed"
            )
        if not all(math.isfinite(v) for c in corners for v in c) or not self.low < self.high:
            raise ConfigError(f"region {name}: corners must be finite, and low less than high")
        if crossing := _crossing(corners):
            raise ConfigError(
                f"region {name}: its edges {crossing[0]} and {crossing[1]} cross; give the corners "
                "in order around the region"
            )
        if self.area < 1e-4:
            raise ConfigError(f"region {name}: has no area")

    @classmethod
    def from_box(cls, name: str, low: Sequence[float], high: Sequence[float]) -> Region:
        """The region between two corners (x, y, z)."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        return cls(name, ((x0, y0), (x1, y0), (x1, y1), (x0, y1)), z0, z1)

    def moved(self, pose: np.ndarray) -> Region:
        """The region in another frame: `pose` (4, 4), a yaw and a translation, maps to it."""
        corners = transform(pose, np.array([(*corner, 0.0) for corner in self.corners]))
        up = float(pose[2, 3])
        low, high = (z if abs(z) == ANY_HEIGHT else z + up for z in (self.low, self.high))
        return Region(self.name, tuple((float(x), float(y)) for x, y, _ in corners), low, high)

    @property
    def area(self) -> float:
        """Square metres."""
        pairs = zip(self.corners, (*self.corners[1:], self.corners[0]), strict=True)
        return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2

    def contains(self, point: Sequence[float]) -> bool:
        """Whether a point (x, y, z) lies in the region."""
        x, y, z = point
        if not self.low <= z <= self.high:
            return False
        inside = False
        for (x0, y0), (x1, y1) in zip(
            self.corners, (*self.corners[1:], self.corners[0]), strict=True
        ):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                inside = not inside
        return inside


def region_at(regions: Sequence[Region], point: Sequence[float]) -> Region | None:
    """The smallest region that contains a point (x, y, z)."""
    return min((r for r in regions if r.contains(point)), key=lambda r: r.area, default=None)


def read_regions(path: Path) -> list[Region]:
    """The regions of a YAML file: `regions: [{name, corners: [[x, y], ...]}]`, or `low` and `high`
    as [x, y, z] in the place of corners. Raises ConfigError.
    """
    content = read_yaml(path)
    entries = content.get("regions") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: must contain a list `regions`")
    return [_region(entry, f"{path}: regions[{i}]") for i, entry in enumerate(entries)]


def _region(entry: Any, where: str) -> Region:
    try:
        name = str(entry["name"])
        if "corners" not in entry:
            return Region.from_box(name, entry["low"], entry["high"])
        low, high = entry.get("low", -ANY_HEIGHT), entry.get("high", ANY_HEIGHT)
        return Region(name, tuple(map(tuple, entry["corners"])), float(low), float(high))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{where}: needs name and corners [[x, y], ...], or name, low and high [x, y, z]"
        ) from error


def to_geojson(regions: Sequence[Region]) -> dict[str, Any]:
    """A GeoJSON FeatureCollection; coordinates are metres of the map, not degrees."""
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"name": r.name, "low": r.low, "high": r.high},
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [[list(c) for c in (*r.corners, r.corners[0])]],
                },
            }
            for r in regions
        ],
    }


def from_geojson(content: Any) -> list[Region]:
    """The polygons of a FeatureCollection, their first ring each. Raises ConfigError."""
    try:
        return [
            Region(
                str(feature["properties"]["name"]),
                tuple((float(c[0]), float(c[1])) for c in feature["geometry"]["coordinates"][0]),
                float(feature["properties"].get("low", -ANY_HEIGHT)),
                float(feature["properties"].get("high", ANY_HEIGHT)),
            )
            for feature in content["features"]
        ]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ConfigError("GeoJSON: needs features with a Polygon and a property `name`") from error


def _crossing(corners: Sequence[Corner]) -> tuple[int, int] | None:
    """Numbers of two edges that cross, from 1; None if the polygon is simple."""
    count = len(corners)
    edges = [(corners[i], corners[(i + 1) % count]) for i in range(count)]
    for i in range(count):
        for j in range(i + 1, count):
            neighbours = j == i + 1 or (i == 0 and j == count - 1)
            if not neighbours and _cross(*edges[i], *edges[j]):
                return i + 1, j + 1
    return None


def _cross(a: Corner, b: Corner, c: Corner, d: Corner) -> bool:
    for axis in (0, 1):  # edges on one line, apart from each other, do not cross
        if max(a[axis], b[axis]) < min(c[axis], d[axis]):
            return False
        if max(c[axis], d[axis]) < min(a[axis], b[axis]):
            return False
    return _side(a, b, c) * _side(a, b, d) <= 0 and _side(c, d, a) * _side(c, d, b) <= 0


def _side(a: Corner, b: Corner, c: Corner) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
