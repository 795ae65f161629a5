"""Rooms as labelled boxes without images, from a detector or from ScanNet's annotation.

One JSON object per line (the file may be gzipped):

    {"scene_id": "scene0000_00", "objects": [{"id": 3, "label": "office chair",
     "center": [x, y, z], "size": [dx, dy, dz], "avg_rgb": [r, g, b], "score": 0.9,
     "front_point": [x, y, z]}, ...]}

Metres, the scene's axis-aligned frame, z up; sizes are full extents. Annotations refer to `id`.
`avg_rgb` (0 to 255), `score` and `front_point` (a point in front of the object) may be absent or
null. Proposals of Mask3D or another detector have the same format.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.datasets.files import Point, Record, Size, read_lines, unique_by


class BoxObject(Record):
    """One object of a room."""

    id: int
    label: str
    center: Point
    size: Size
    avg_rgb: Point | None = None
    score: float = Field(1.0, allow_inf_nan=False)
    front_point: Point | None = None


class BoxRoom(Record):
    """One room; `objects` keep the order of the file."""

    scene_id: str
    objects: tuple[BoxObject, ...]

    @cached_property
    def slots(self) -> dict[int, int]:
        """Index in `objects` of each id."""
        return {item.id: k for k, item in enumerate(self.objects)}

    @cached_property
    def boxes(self) -> np.ndarray:
        """Centre and size of all objects, (N, 6) float64."""
        return np.array([(*o.center, *o.size) for o in self.objects]).reshape(-1, 6)

    @cached_property
    def origin(self) -> np.ndarray:
        """Origin of the network's scene frame (3,): the centre of the boxes on the floor plan, at
        the height of the lowest one.
        """
        low = (self.boxes[:, :3] - self.boxes[:, 3:] / 2).min(axis=0)
        high = (self.boxes[:, :3] + self.boxes[:, 3:] / 2).max(axis=0)
        return np.array([*((low + high) / 2)[:2], low[2]])

    @cached_property
    def fronts(self) -> np.ndarray:
        """Unit vectors on the floor plan, from each centre to its `front_point`: (N, 2) float64,
        NaN where there is none.
        """
        ahead = np.full((len(self.objects), 2), np.nan)
        for k, item in enumerate(self.objects):
            if item.front_point is not None:
                ahead[k] = np.subtract(item.front_point[:2], item.center[:2])
        length = np.linalg.norm(ahead, axis=1, keepdims=True)
        return np.divide(ahead, length, out=np.full_like(ahead, np.nan), where=length > 1e-6)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Label of each object."""
        return tuple(item.label for item in self.objects)

    def count(self, label: str) -> int:
        """How many objects have this label."""
        return self.labels.count(label)


def read_box_rooms(path: str | Path) -> dict[str, BoxRoom]:
    """All rooms of a file by scene.

    Raises ConfigError naming file, line and field for a wrong or non-finite value, and for a
    duplicate scene or id.
    """
    rooms = read_lines(path, BoxRoom)
    unique_by(rooms, path, "scene_id")
    for room in rooms:
        unique_by(room.objects, f"{path}: {room.scene_id}", "id")
    if not rooms:
        raise ConfigError(f"{path}: the file has no rooms; expected one JSON object per line")
    return {room.scene_id: room for room in rooms}


def write_box_rooms(path: str | Path, rooms: Iterable[BoxRoom]) -> None:
    """Write rooms in the format above, not gzipped."""
    lines = [room.model_dump_json() + "\n" for room in rooms]
    Path(path).write_text("".join(lines), encoding="utf-8")
