"""Boxes of a ScanNet scene's annotated objects, from its mesh, segments and aggregation.

Boxes are the bounds of an object's vertices in the axis-aligned frame, as ScanRefer and ReferIt3D
take them; ids are the aggregation's, which annotations refer to.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spatial3d_ros.bags.scannet import read_axis_alignment
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.pose import transform
from spatial3d_ros.research.datasets.boxes_only import BoxObject, BoxRoom
from spatial3d_ros.research.datasets.files import Record, read_entries, read_json

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
_NEEDED = ("x", "y", "z", "red", "green", "blue")


class _Group(Record):
    objectId: int
    label: str
    segments: tuple[int, ...]


def read_scannet_objects(path: str | Path) -> BoxRoom:
    """All annotated objects of a scene's folder with label, box and mean colour.

    Reads `<scene>_vh_clean_2.ply`, `<scene>_vh_clean_2.0.010000.segs.json`,
    `<scene>.aggregation.json` (or the one with `_vh_clean`) and `<scene>.txt`. Raises ConfigError
    naming the file that is missing or contradicts another, also for an object without vertices.
    """
    path = Path(path)
    mesh = path / f"{path.name}_vh_clean_2.ply"
    segments = path / f"{path.name}_vh_clean_2.0.010000.segs.json"
    groups = _aggregation(path)
    points, colors = read_vertices(mesh)
    points = transform(read_axis_alignment(path / f"{path.name}.txt"), points)
    data = read_json(segments)
    of_vertex = np.array(data.get("segIndices", ()) if isinstance(data, dict) else ())
    if len(of_vertex) != len(points):
        raise ConfigError(
            f"{segments}: segIndices is for {len(of_vertex)} vertices, {mesh.name} has "
            f"{len(points)}; take both files of the same scan"
        )
    objects = []
    for group in read_entries(groups, _Group, "segGroups"):
        inside = np.isin(of_vertex, group.segments)
        if not inside.any():
            raise ConfigError(f"{groups}: object {group.objectId} has no vertex in {segments.name}")
        low, high = points[inside].min(axis=0), points[inside].max(axis=0)
        objects.append(
            BoxObject(
                id=group.objectId,
                label=group.label,
                center=tuple((low + high) / 2),
                size=tuple(high - low),
                avg_rgb=tuple(colors[inside].mean(axis=0)),
            )
        )
    return BoxRoom(scene_id=path.name, objects=tuple(objects))


def read_object_ids(path: str | Path) -> set[int]:
    """Ids of all annotated objects of a scene's folder, from its aggregation alone, which is much
    faster. Raises ConfigError when it cannot be read.
    """
    return {group.objectId for group in read_entries(_aggregation(Path(path)), _Group, "segGroups")}


def _aggregation(path: Path) -> Path:
    groups = path / f"{path.name}.aggregation.json"
    return groups if groups.exists() else path / f"{path.name}_vh_clean.aggregation.json"


def read_vertices(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (N, 3) float64 and their colours (N, 3) 0 to 255 of a binary PLY file.

    Raises ConfigError when it is another kind of file, truncated, or lacks a property.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    header, mark, body = data.partition(b"end_header\n")
    lines = header.decode("ascii", "replace").splitlines()
    if not mark or lines[:1] != ["ply"] or "format binary_little_endian 1.0" not in lines:
        raise ConfigError(f"{path}: no binary little-endian PLY file")
    try:
        count, kind = _layout(lines)
    except (IndexError, ValueError) as error:
        raise ConfigError(f"{path}: the header is damaged ({error})") from error
    missing = [name for name in _NEEDED if name not in (kind.names or ())]
    if missing:
        raise ConfigError(f"{path}: vertices have no {', '.join(missing)}")
    if not 0 <= count * kind.itemsize <= len(body):
        raise ConfigError(f"{path}: truncated; {count} vertices were announced")
    rows = np.frombuffer(body, kind, count)
    points, colors = (
        np.stack([rows[name] for name in part], axis=1).astype(np.float64)
        for part in (_NEEDED[:3], _NEEDED[3:])
    )
    return points, colors


def _layout(lines: list[str]) -> tuple[int, np.dtype]:
    """How many vertices a header announces, and what each is made of."""
    count, names, inside = 0, [], False
    for words in (line.split() for line in lines):
        if words[:1] == ["element"]:
            inside = words[1] == "vertex"
            count = int(words[2]) if inside else count
        elif words[:1] == ["property"] and inside and words[1] in _TYPES:
            names.append((words[2], f"<{_TYPES[words[1]]}"))
    return count, np.dtype(names)
