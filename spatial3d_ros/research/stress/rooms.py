"""The recorded room of stress tests, and the same room with objects moved and removed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spatial3d_ros.errors import BagError
from spatial3d_ros.research.language.edits import possible_edits
from spatial3d_ros.research.language.layout_instructions import make_layout_questions
from spatial3d_ros.research.rooms.catalog import Room
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.rooms.recorded_rooms import (
    RecordedRoom,
    load_recorded_room,
    record_room,
)

SEED = 900_002
RECORDED_HZ, RECORDED_S = 10.0, 20.0
EDITS = 200  # candidates; those of the largest objects are applied
MOVED, REMOVED = 3, 2


@dataclass(frozen=True)
class ChangedRoom:
    """A room, and the names of the objects moved and removed since the original room."""

    room: Room
    moved: tuple[str, ...]
    removed: tuple[str, ...]


def rearranged_room(room: Room) -> ChangedRoom:
    """The room with three objects moved to free places and two removed."""
    volume = {item.id: item.box.volume for item in room.objects}
    drawn = make_layout_questions(room.objects, np.random.default_rng(room.seed), EDITS)
    edits = [edit for edit in possible_edits(room, drawn) if edit.action in ("move", "remove")]
    moved, removed = {}, set()
    for edit in sorted(edits, key=lambda edit: -volume[edit.objects[0]]):
        target = edit.objects[0]
        if target in moved or target in removed:
            continue
        if edit.action == "move" and len(moved) < MOVED:
            moved[target] = edit.after[0]
        elif edit.action == "remove" and len(removed) < REMOVED:
            removed.add(target)
    remaining = [item for item in room.objects if item.id not in removed]
    new_ids = {item.id: k for k, item in enumerate(remaining)}
    objects = tuple(
        replace(
            item,
            id=new_ids[item.id],
            support=new_ids.get(item.support, item.support),
            box=moved.get(item.id, item.box),
        )
        for item in remaining
    )
    names = {item.id: f"{item.color} {item.category}" for item in room.objects}
    return ChangedRoom(
        Room(room.seed, room.size, objects),
        tuple(names[k] for k in moved),
        tuple(names[k] for k in removed),
    )


def recorded_room(
    folder: Path, room: Room | None = None, name: str = "room", *, compressed: bool = False
) -> RecordedRoom:
    """The recording of a room (default: that of SEED) in `folder`; recorded if it is missing."""
    bag = folder / f"{name}{'_jpeg' * compressed}_{SEED}.mcap"
    try:
        return load_recorded_room(bag)
    except BagError:
        room = room or generate_room(SEED)
        return record_room(
            bag, SEED, room=room, seconds=RECORDED_S, rate_hz=RECORDED_HZ, compressed=compressed,
            overwrite=True,
        )  # fmt: skip
