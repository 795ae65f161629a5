"""The room that the nodes look at, and the same room after somebody tidied up."""

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
FILMED_HZ, FILMED_S = 10.0, 20.0
EDITS = 200  # drawn; those of the largest things are made
MOVED, REMOVED = 3, 2


@dataclass(frozen=True)
class ChangedRoom:
    """A room, and what is other than in the room before: names of things moved and removed."""

    room: Room
    moved: tuple[str, ...]
    removed: tuple[str, ...]


def tidied(room: Room) -> ChangedRoom:
    """The room with three things moved and two removed, all standing where they can stand."""
    volume = {item.id: item.box.volume for item in room.objects}
    drawn = make_layout_questions(room.objects, np.random.default_rng(room.seed), EDITS)
    edits = [edit for edit in possible_edits(room, drawn) if edit.action in ("move", "remove")]
    moved, removed = {}, set()
    for edit in sorted(edits, key=lambda edit: -volume[edit.objects[0]]):
        thing = edit.objects[0]
        if thing in moved or thing in removed:
            continue
        if edit.action == "move" and len(moved) < MOVED:
            moved[thing] = edit.after[0]
        elif edit.action == "remove" and len(removed) < REMOVED:
            removed.add(thing)
    left = [item for item in room.objects if item.id not in removed]
    new_ids = {item.id: k for k, item in enumerate(left)}
    objects = tuple(
        replace(
            item,
            id=new_ids[item.id],
            support=new_ids.get(item.support, item.support),
            box=moved.get(item.id, item.box),
        )
        for item in left
    )
    names = {item.id: f"{item.color} {item.category}" for item in room.objects}
    return ChangedRoom(
        Room(room.seed, room.size, objects),
        tuple(names[k] for k in moved),
        tuple(names[k] for k in removed),
    )


def filmed(
    folder: Path, room: Room | None = None, name: str = "room", *, compressed: bool = False
) -> RecordedRoom:
    """The recording of a room (by default that of SEED) in the folder, made where it is missing."""
    bag = folder / f"{name}{'_jpeg' * compressed}_{SEED}.mcap"
    try:
        return load_recorded_room(bag)
    except BagError:
        room = room or generate_room(SEED)
        return record_room(
            bag, SEED, room=room, seconds=FILMED_S, rate_hz=FILMED_HZ, compressed=compressed,
            overwrite=True,
        )  # fmt: skip
