"""Edits of the memory by people and agents; a later look does not undo them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from spatial3d_ros.errors import NotFoundError, QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.presence import box_points
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.memory.store import box_list

EditAction = Literal["rename", "merge", "split", "delete", "pin", "unpin", "add"]
ACTIONS: tuple[str, ...] = get_args(EditAction)
MAX_LABEL = 100


@dataclass(frozen=True)
class MemoryEdit:
    """One edit.

    rename: `objects[0]` gets `label`. merge: all `objects` become the first. split: `objects[0]`
    becomes one object for each of `boxes`. delete: `objects` are not shown any more. pin:
    `objects[0]` keeps its box (`boxes[0]`, if given) and its label; unpin ends that. add: an object
    with `label` and `boxes[0]`. `author`: who asks for it.
    """

    action: str
    objects: tuple[int, ...] = ()
    label: str = ""
    boxes: tuple[Box3D, ...] = ()
    author: str = "person"


def apply_edit(memory: ObjectMemory, edit: MemoryEdit) -> list[MemoryObject]:
    """Carries out an edit; returns the objects as they are now.

    Raises QueryError if the edit is incomplete, NotFoundError if an object is not in the memory
    (any more).
    """
    if edit.action not in ACTIONS:
        raise QueryError(f"field action is {edit.action!r}; it must be one of {', '.join(ACTIONS)}")
    label = " ".join(edit.label.split())
    if len(label) > MAX_LABEL or not label.isprintable():
        raise QueryError(f"field label: must be printable text of at most {MAX_LABEL} characters")
    with memory.lock:
        objects = [_known(memory, number) for number in edit.objects]
        changed = _EDITS[edit.action](memory, objects, replace(edit, label=label))
        for known in changed:
            memory.put(known)
        detail: dict[str, Any] = {
            "action": edit.action,
            "author": edit.author,
            "objects": list(edit.objects),
        }
        detail |= {"label": label, "boxes": [box_list(box) for box in edit.boxes]}
        for known in changed[:1]:
            memory.emit("edited", known, detail=detail)
            memory.store.add_edit(memory.newest_ns, edit.author, edit.action, known.id, detail)
        memory.save(now=True)
        return changed


def _known(memory: ObjectMemory, number: int) -> MemoryObject:
    known = memory.known.get(number)
    if known is None or known.state in ("deleted", "merged"):
        why = {"deleted": " any more: it was deleted", "merged": " any more: it was merged"}
        reason = why.get(known.state, "") if known else ""
        raise NotFoundError(f"object {number} is not in the memory{reason}; list the objects again")
    return known


def _need(condition: bool, action: str, what: str) -> None:
    if not condition:
        raise QueryError(f"{action} needs {what}")


def _rename(
    memory: ObjectMemory, objects: Sequence[MemoryObject], edit: MemoryEdit
) -> list[MemoryObject]:
    _need(len(objects) == 1 and bool(edit.label), "rename", "one object and a label")
    return [replace(objects[0], label=edit.label, label_score=1.0, label_pinned=True)]


def _merge(
    memory: ObjectMemory, objects: Sequence[MemoryObject], edit: MemoryEdit
) -> list[MemoryObject]:
    numbers = {known.id for known in objects}
    _need(len(objects) >= 2 and len(numbers) == len(objects), "merge", "two or more objects")
    low, high = zip(*(known.box.bounds() for known in objects), strict=True)
    box = Box3D.from_bounds(np.min(low, axis=0), np.max(high, axis=0))
    first = replace(objects[0], box=box, place=box.center)
    parts = [replace(part, state="merged", merged_into=first.id) for part in objects[1:]]
    chained = [
        replace(known, merged_into=first.id)
        for known in memory.known.values()
        if known.state == "merged" and known.merged_into in numbers
    ]
    return [first, *parts, *chained]


def _split(
    memory: ObjectMemory, objects: Sequence[MemoryObject], edit: MemoryEdit
) -> list[MemoryObject]:
    _need(len(objects) == 1 and len(edit.boxes) >= 2, "split", "one object and two or more boxes")
    label = edit.label or objects[0].label
    parts = [
        _added(memory, memory.reserve_id(), box, label, edit.author, objects[0])
        for box in edit.boxes
    ]
    return [*parts, replace(objects[0], state="deleted")]


def _delete(
    memory: ObjectMemory, objects: Sequence[MemoryObject], edit: MemoryEdit
) -> list[MemoryObject]:
    _need(bool(objects), "delete", "one or more objects")
    return [replace(known, state="deleted") for known in objects]


def _pin(
    memory: ObjectMemory, objects: Sequence[MemoryObject], edit: MemoryEdit
) -> list[MemoryObject]:
    _need(len(objects) == 1, "pin", "one object")
    box = edit.boxes[0] if edit.boxes else objects[0].box
    label = edit.label or objects[0].label
    pinned = replace(
        objects[0], box=box, place=box.center, label=label, pinned=True, label_pinned=bool(label)
    )
    return [replace(pinned, points=box_points(box)) if edit.boxes else pinned]


def _unpin(
    memory: ObjectMemory, objects: Sequence[MemoryObject], edit: MemoryEdit
) -> list[MemoryObject]:
    _need(len(objects) == 1, "unpin", "one object")
    return [replace(objects[0], pinned=False, label_pinned=False)]


def _add(
    memory: ObjectMemory, objects: Sequence[MemoryObject], edit: MemoryEdit
) -> list[MemoryObject]:
    _need(len(edit.boxes) == 1 and bool(edit.label), "add", "a label and one box")
    _need(min(edit.boxes[0].size) > 0, "add", "a box of a size above 0")
    return [_added(memory, memory.reserve_id(), edit.boxes[0], edit.label, edit.author)]


def _added(
    memory: ObjectMemory,
    number: int,
    box: Box3D,
    label: str,
    author: str,
    like: MemoryObject | None = None,
) -> MemoryObject:
    """An object that a person gives: its box and label stay."""
    stamp = like.last_ns if like else memory.newest_ns
    return MemoryObject(
        number, box, label, box_points(box), box.center, stamp, stamp, memory.session.id,
        label_score=1.0, color=like.color if like else "", hits=10, pinned=True,
        label_pinned=True, source=author or "person",
    )  # fmt: skip


_EDITS: dict[str, Callable[[ObjectMemory, Sequence[MemoryObject], MemoryEdit], Any]] = {
    "rename": _rename,
    "merge": _merge,
    "split": _split,
    "delete": _delete,
    "pin": _pin,
    "unpin": _unpin,
    "add": _add,
}
