"""A home of generated rooms side by side, and what changes in it between two days."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spatial3d_ros.errors import NotFoundError
from spatial3d_ros.geometry.box import Box3D, shared_volume
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.memory.regions import Region
from spatial3d_ros.research.rooms.catalog import FLOOR, WALL, Catalog, Room, RoomObject
from spatial3d_ros.research.rooms.generator import generate_room

ROOMS = ("living room", "office")
WALL_M = 0.4  # between two rooms
NEAR_M = 0.5  # between an object and its record
GAP_M = 0.3  # around an object at its new place
MIN_VIEWS = 4  # that show an object, for a change that the robot can notice
_FIXED = ("door", "window", "picture", "rug", "curtain", "mirror", "sink", "radiator")


@dataclass(frozen=True)
class Place:
    """A room of the home: its name, and where its centre is (x, y), metres in the map."""

    name: str
    room: Room
    center: tuple[float, float]

    @property
    def objects(self) -> list[RoomObject]:
        """Its objects at their places in the map."""
        return [replace(o, box=_shifted(o.box, self.center)) for o in self.room.objects]

    @property
    def region(self) -> Region:
        """Its floor."""
        low, high = (np.add(self.center, np.array(self.room.size[:2]) * s) for s in (-0.5, 0.5))
        return Region.from_box(self.name, (*low, -1.0), (*high, 4.0))


@dataclass(frozen=True)
class Change:
    """An object that changes: of which room, what it is in truth, and its record."""

    place: int
    item: RoomObject
    record: MemoryObject


def generate_home(seed: int, catalog: Catalog) -> list[Place]:
    """Rooms of this seed and the following ones, from x = 0 on."""
    home: list[Place] = []
    x = 0.0
    for k, name in enumerate(ROOMS):
        room = generate_room(seed + k, catalog=catalog)
        x += room.size[0] / 2
        home.append(Place(name, room, (x, 0.0)))
        x += room.size[0] / 2 + WALL_M
    return home


def choose_changes(
    home: Sequence[Place], views: Sequence[np.ndarray], known: Sequence[MemoryObject]
) -> tuple[Change, Change]:
    """Which object is taken and which is moved: loose ones, if possible the only ones of a name and
    those that most views showed.
    """
    names = Counter(o.category for place in home for o in place.objects)
    names += Counter(o.label for o in known)
    able: list[tuple[Change, int]] = []
    for number, place in enumerate(home):
        loads = {item.support for item in place.objects}
        for item, count in zip(place.objects, views[number].tolist(), strict=True):
            record = _matched(item, known)
            loose = item.support != WALL and item.id not in loads and item.category not in _FIXED
            if record and loose and count >= MIN_VIEWS:
                able.append((Change(number, item, record), count))
    able.sort(key=lambda one: (names[one[0].item.category], -one[1]))
    on_floor = [change for change, _ in able if change.item.support == FLOOR]
    others = [c for c, _ in able if on_floor and c.item.category != on_floor[0].item.category]
    if not others:
        raise NotFoundError(
            f"the memory knows {len(able)} loose objects of the rooms by their names, two are "
            "needed; choose another seed"
        )
    return others[0], on_floor[0]


def _matched(item: RoomObject, known: Sequence[MemoryObject]) -> MemoryObject | None:
    """The one object of the memory that is this one, by name and place."""
    same = [
        o for o in known
        if o.label == item.category and math.dist(o.box.center, item.box.center) < NEAR_M
    ]  # fmt: skip
    return same[0] if len(same) == 1 else None


def next_day(home: Sequence[Place], taken: Change, moved: Change) -> list[Place]:
    """The home without one object, and with another one at a free place of the next room."""
    rooms = [list(place.room.objects) for place in home]
    for change in (taken, moved):
        rooms[change.place] = [o for o in rooms[change.place] if o.id != change.item.id]
    target = (moved.place + 1) % len(home)
    item = home[moved.place].room.objects[moved.item.id]
    box = _free_place(home[target].room, item.box, [o.box for o in rooms[target]])
    rooms[target].append(replace(item, id=1_000_000, box=box))
    changed = []
    for place, objects in zip(home, rooms, strict=True):
        number = {o.id: k for k, o in enumerate(objects)}
        renumbered = tuple(
            replace(o, id=number[o.id], support=number.get(o.support, o.support)) for o in objects
        )
        changed.append(replace(place, room=replace(place.room, objects=renumbered)))
    return changed


def _free_place(room: Room, box: Box3D, others: Sequence[Box3D]) -> Box3D:
    """The free place that is nearest to the middle of the other objects, where the robot looks."""
    rng = np.random.default_rng(room.seed)
    half = np.array(room.size[:2]) / 2 - np.array(box.size[:2]) / 2 - GAP_M
    middle = np.mean([other.center[:2] for other in others], axis=0)
    places = rng.uniform(-half, half, (2000, 2))
    for x, y in places[np.argsort(np.linalg.norm(places - middle, axis=1))].tolist():
        placed = replace(box, center=(x, y, box.center[2]))
        wide = replace(placed, size=(box.size[0] + GAP_M, box.size[1] + GAP_M, box.size[2]))
        if not any(shared_volume(wide, other) > 0 for other in others):
            return placed
    raise NotFoundError("the room has no free place for the object; choose another seed")


def _shifted(box: Box3D, by: tuple[float, float]) -> Box3D:
    x, y, z = box.center
    return replace(box, center=(x + by[0], y + by[1], z))
