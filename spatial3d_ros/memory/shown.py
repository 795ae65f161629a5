"""The objects that questions are answered from: those of the map, and the remembered ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.geometry.pose import transform
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.scene.objects import SceneObject


def shown_objects(
    seen: Sequence[tuple[SceneObject, MemoryObject]],
    known: Mapping[int, MemoryObject],
    remembered: Sequence[MemoryObject],
    newest_ns: int,
    camera: np.ndarray,
    limit: int,
) -> tuple[SceneObject, ...]:
    """At most `limit` objects by id.

    Args:
        seen: objects of the map, with the records of them.
        known: all records by id.
        remembered: records that may be shown while the map does not contain them; of these the
            nearest to the camera (3,) are, except where the map has another object.
    """
    found: dict[int, SceneObject] = {}
    parts: list[tuple[int, Box3D]] = []
    for item, record in seen:
        if record.state == "merged":
            parts.append((record.merged_into, item.box))
        elif record.state != "deleted":
            shown = replace(item, id=record.id, box=record.box if record.pinned else item.box)
            if record.label_pinned:
                shown = replace(shown, label=record.label, label_score=1.0, labels=())
            found[record.id] = shown
    for number, box in parts:
        whole = known.get(number)
        if whole is not None and whole.present:
            shown = found.get(number) or whole.as_scene_object(newest_ns)
            found[number] = replace(shown, box=_union(shown.box, box))
    absent = [record for record in remembered if record.id not in found]
    absent.sort(key=lambda o: float(np.linalg.norm(np.subtract(o.box.center, camera))))
    visible = uncovered(absent, list(found.values()))
    for record in visible[: max(0, limit - len(found))]:
        found[record.id] = record.as_scene_object(newest_ns)
    return tuple(found[k] for k in sorted(found))


def moved_by(known: MemoryObject, pose: np.ndarray) -> MemoryObject:
    """The object after a motion (4, 4), yaw and translation, of the world."""
    place = vector(transform(pose, np.array(known.place)))
    points = transform(pose, known.points)
    return replace(known, box=known.box.moved(pose), place=place, points=points)


def _union(a: Box3D, b: Box3D) -> Box3D:
    (low_a, high_a), (low_b, high_b) = a.bounds(), b.bounds()
    return Box3D.from_bounds(np.minimum(low_a, low_b), np.maximum(high_a, high_b))


def uncovered(
    records: Sequence[MemoryObject], objects: Sequence[SceneObject]
) -> list[MemoryObject]:
    """The records whose place is not taken by another object."""
    hidden = _covered(records, [item.box for item in objects])
    return [record for record, no in zip(records, hidden, strict=True) if not no]


def _covered(objects: Sequence[MemoryObject], boxes: Sequence[Box3D]) -> list[bool]:
    """Whether the place of each object is taken by one of the boxes, of about its size."""
    if not objects or not boxes:
        return [False] * len(objects)
    a = np.array([o.box.hull().array() for o in objects])
    b = np.array([box.hull().array() for box in boxes])
    low = np.maximum(a[:, None, :3] - a[:, None, 3:] / 2, b[None, :, :3] - b[None, :, 3:] / 2)
    high = np.minimum(a[:, None, :3] + a[:, None, 3:] / 2, b[None, :, :3] + b[None, :, 3:] / 2)
    shared = np.maximum(high - low, 0).prod(2)
    volume_a, volume_b = (np.maximum(x[:, 3:].prod(1), 1e-6) for x in (a, b))
    union = volume_a[:, None] + volume_b - shared
    within = (shared > 0.7 * volume_a[:, None]) & (volume_a[:, None] > 0.3 * volume_b)
    return [bool(v) for v in ((shared / union > 0.25) | within).any(1)]
