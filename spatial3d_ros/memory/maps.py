"""Saved maps as files: summary, export, import, merge, prune, forget."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spatial3d_ros.errors import ConfigError, MemoryFileError
from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.memory.alignment import align
from spatial3d_ros.memory.database import MemoryDatabase
from spatial3d_ros.memory.merging import merge_objects
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.presence import box_points
from spatial3d_ros.memory.records import MemoryObject, Picture
from spatial3d_ros.memory.regions import from_geojson, read_regions, to_geojson
from spatial3d_ros.memory.shown import moved_by
from spatial3d_ros.memory.state import MemorySettings
from spatial3d_ros.memory.store import MemoryStore
from spatial3d_ros.storage import write_whole

FORMAT = 1
MAX_PICTURE_BYTES = 100_000
FORMATS = (".json", ".geojson", ".ply")


def read_map(folder: Path) -> ObjectMemory:
    """The memory of a folder, only read; a node may use it. Raises MemoryFileError."""
    return ObjectMemory(MemoryStore(MemoryDatabase(folder, write=False)), MemorySettings())


def change_map(folder: Path) -> ObjectMemory:
    """The memory of a folder, to change it. Raises MemoryFileError if it is in use or read-only."""
    database = MemoryDatabase(folder)
    if database.problem:
        raise MemoryFileError(database.problem)
    return ObjectMemory(MemoryStore(database), MemorySettings())


def summary(memory: ObjectMemory) -> dict[str, Any]:
    """Counts, sessions, regions and size of a map, as JSON types."""
    database = memory.store.database
    objects = memory.objects()
    sessions = memory.store.sessions()
    return {
        "folder": str(memory.folder),
        "frame_id": memory.frame_id,
        "objects": len([o for o in objects if o.present]),
        "states": dict(Counter(o.state for o in objects)),
        "labels": dict(Counter(o.label or "unknown" for o in objects if o.present).most_common()),
        "observations": database.query("SELECT count(*) FROM observations")[0][0],
        "events": database.query("SELECT count(*) FROM events")[0][0],
        "pictures": database.query("SELECT count(*) FROM crops")[0][0],
        "sessions": len(sessions),
        "first_ns": min((s.first_ns for s in sessions), default=0),
        "last_ns": max((s.last_ns for s in sessions), default=0),
        "regions": [r.name for r in memory.regions],
        "bytes": database.nbytes,
    }


def export_map(memory: ObjectMemory, path: Path) -> None:
    """Writes .json (everything but looks), .geojson (regions) or .ply (points and boxes).

    Raises ConfigError for another ending, StorageError.
    """
    if path.suffix == ".json":
        write_whole(path, json.dumps(as_json(memory), indent=1))
    elif path.suffix == ".geojson":
        write_whole(path, json.dumps(to_geojson(memory.regions), indent=1))
    elif path.suffix == ".ply":
        write_whole(path, as_ply([o for o in memory.objects() if o.present]))
    else:
        raise ConfigError(f"{path}: the ending must be one of {', '.join(FORMATS)}")


def as_json(memory: ObjectMemory) -> dict[str, Any]:
    """Objects, regions, events and pictures (JPEG in base64) as JSON types."""
    return {
        "format": FORMAT,
        "frame_id": memory.frame_id,
        "objects": [object_json(o) for o in memory.objects()],
        "regions": to_geojson(memory.regions),
        "events": [
            {"kind": e.kind, "stamp_ns": e.stamp_ns, "object": e.object_id, "text": e.text}
            for e in memory.events()
        ],
        "pictures": [
            {
                "object": p.object_id,
                "stamp_ns": p.stamp_ns,
                "score": p.score,
                "bearing": p.bearing,
                "jpeg": base64.b64encode(p.jpeg).decode(),
            }
            for o in memory.objects()
            for p in memory.store.pictures(o.id)
        ],
    }


def object_json(known: MemoryObject) -> dict[str, Any]:
    """One object as JSON types; the box as center, size and yaw."""
    return {
        "id": known.id, "label": known.label, "color": known.color, "state": known.state,
        "center": list(known.box.center), "size": list(known.box.size), "yaw": known.box.yaw,
        "first_ns": known.first_ns, "last_ns": known.last_ns, "hits": known.hits,
        "label_score": known.label_score, "rgb": list(known.rgb), "pinned": known.pinned,
        "source": known.source, "merged_into": known.merged_into,
    }  # fmt: skip


def as_ply(objects: Sequence[MemoryObject]) -> str:
    """An ASCII PLY: points of objects in their mean colours, and the edges of their boxes."""
    vertices: list[str] = []
    edges: list[str] = []
    for known in objects:
        color = " ".join(str(round(min(max(c, 0.0), 255.0))) for c in known.rgb)
        start = len(vertices)
        for point in (*known.box.corners(), *known.points):
            vertices.append("{:.4f} {:.4f} {:.4f} ".format(*map(float, point)) + color)
        for i in range(4):
            for a, b in ((i, (i + 1) % 4), (i + 4, (i + 1) % 4 + 4), (i, i + 4)):
                edges.append(f"{start + a} {start + b}")
    header = [
        "ply", "format ascii 1.0", f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        f"element edge {len(edges)}", "property int vertex1", "property int vertex2", "end_header",
    ]  # fmt: skip
    return "\n".join([*header, *vertices, *edges]) + "\n"


def import_map(memory: ObjectMemory, path: Path) -> int:
    """Adds objects and regions of a .json, or regions of a .geojson or .yaml; returns how many.

    Objects keep their ids where these are free. Raises ConfigError.
    """
    if path.suffix in (".yaml", ".yml"):
        regions = read_regions(path)
        _add_regions(memory, regions)
        return len(regions)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error})") from error
    if path.suffix == ".geojson":
        regions = from_geojson(content)
        _add_regions(memory, regions)
        return len(regions)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ConfigError(f"{path}: is no map that `spatial3d map export` wrote (format {FORMAT})")
    frame = str(content.get("frame_id", ""))
    if memory.frame_id and frame and frame != memory.frame_id:
        raise ConfigError(f"{path}: is in frame '{frame}', the map in '{memory.frame_id}'")
    try:
        objects = [_from_json(entry, memory) for entry in content["objects"]]
        pictures = [_picture(entry) for entry in content.get("pictures", ())]
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        what = "an object or picture lacks or has a wrong field"
        raise ConfigError(f"{path}: {what} ({error})") from error
    if frame:
        memory.frame_id = frame
    taken = {known.id for known in memory.objects()}
    numbers = {}
    for known in objects:
        number = memory.reserve_id() if known.id in taken else known.id
        memory.put(replace(known, id=number))
        taken.add(number)
        numbers[known.id] = number
    for picture in pictures:
        if picture.object_id in numbers:
            memory.store.add_picture(replace(picture, object_id=numbers[picture.object_id]))
    _add_regions(memory, from_geojson(content.get("regions", {"features": []})))
    return len(objects)


def merge_maps(memory: ObjectMemory, other: ObjectMemory, aligned: bool = False) -> dict[str, Any]:
    """Adds what another map knows, with looks and pictures: the later evidence decides.

    Without `aligned` both maps must be in one frame; with it the other one is aligned by its
    objects. Returns counts and the residual. Raises MemoryFileError if that is not possible.
    """
    theirs = [o for o in other.objects() if o.state not in ("deleted", "merged")]
    residual, pose = 0.0, np.eye(4)
    if aligned:
        found = align(theirs, [o for o in memory.objects() if o.present])
        if found.reason:
            raise MemoryFileError(f"{other.folder}: cannot be aligned: {found.reason}")
        residual, pose = found.residual_m, found.world_T_memory
        theirs = [moved_by(o, pose) for o in theirs]
    elif memory.frame_id and other.frame_id and memory.frame_id != other.frame_id:
        raise MemoryFileError(
            f"{other.folder}: is in frame '{other.frame_id}', {memory.folder} in "
            f"'{memory.frame_id}'; align them by their objects (--align)"
        )
    evidence = {o.id: other.evidence_ns(o) for o in theirs}
    result = merge_objects(memory, theirs, evidence)
    for there, here in result.ids.items():
        memory.store.add_observations(
            replace(o, object_id=here, box=o.box.moved(pose))
            for o in other.store.observations(there)
        )
        for picture in other.store.pictures(there):
            memory.store.add_picture(replace(picture, object_id=here))
    _add_regions(memory, [region.moved(pose) for region in other.regions])
    memory.frame_id = memory.frame_id or other.frame_id
    return {
        "same": len(result.ids) - len(result.added),
        "updated": len(result.updated),
        "added": len(result.added),
        "residual_m": residual,
    }


def forget_objects(
    memory: ObjectMemory, ids: Sequence[int] = (), label: str = "", everything: bool = False
) -> int:
    """Removes objects with all their history; returns how many. Raises ConfigError if none fits."""
    chosen = [
        o.id for o in memory.objects()
        if everything or o.id in ids or (label and o.label.lower() == label.lower())
    ]  # fmt: skip
    if not chosen:
        raise ConfigError("no object of the map fits; `spatial3d map info --json` lists them")
    memory.forget(chosen)
    return len(chosen)


def _picture(entry: dict[str, Any]) -> Picture:
    jpeg = base64.b64decode(entry["jpeg"], validate=True)
    if not jpeg.startswith(b"\xff\xd8") or len(jpeg) > MAX_PICTURE_BYTES:
        raise ValueError(f"picture of object {entry['object']}: no JPEG of at most 100 kB")
    return Picture(
        int(entry["object"]), int(entry["stamp_ns"]), float(entry.get("score", 0.0)),
        float(entry.get("bearing", 0.0)), len(jpeg), jpeg,
    )  # fmt: skip


def _add_regions(memory: ObjectMemory, regions: Sequence[Any]) -> None:
    names = {r.name for r in regions}
    memory.set_regions([*(r for r in memory.regions if r.name not in names), *regions])


def _from_json(entry: dict[str, Any], memory: ObjectMemory) -> MemoryObject:
    box = Box3D(vector(entry["center"]), vector(entry["size"]), float(entry.get("yaw", 0.0)))
    last = int(entry.get("last_ns", memory.newest_ns))
    return MemoryObject(
        int(entry["id"]), box, str(entry.get("label", "")), box_points(box), box.center,
        int(entry.get("first_ns", last)), last, memory.session.id,
        state=entry.get("state", "remembered"), label_score=float(entry.get("label_score", 0.0)),
        color=str(entry.get("color", "")), rgb=vector(entry.get("rgb", (128.0,) * 3)),
        hits=max(3, int(entry.get("hits", 3))), pinned=bool(entry.get("pinned", False)),
        source=str(entry.get("source", "import")), merged_into=int(entry.get("merged_into", -1)),
    )  # fmt: skip
