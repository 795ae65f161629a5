"""Rooms in which a question needs the images: few kinds, and most objects have a look-alike.

Class, mean color, size and position on the map tell fewer objects apart than in other rooms, so
that what a network makes of its views decides.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spatial3d_ros.research.rooms.appearance import appearance_pairs
from spatial3d_ros.research.rooms.catalog import Room, RoomObject
from spatial3d_ros.research.rooms.furnisher import Furnisher
from spatial3d_ros.research.rooms.kinds import kinds

KINDS = (
    "armchair", "sofa", "ottoman", "bed", "suitcase", "box", "bin", "storage bin", "laundry hamper",
    "drawer unit", "cabinet", "bookshelf", "fridge", "mini fridge", "backpack", "duffel bag",
    "table", "person",
)  # fmt: skip
"""Kinds of 0.3 m and more, so that views of 64 to 112 pixels show how they look."""
_FAMILIES = (2, 4)
_TWINS = (1, 3)
_SIDED = 0.5  # share of the look-alikes of other kinds that rather differ in the color of a side


STREET_KINDS = (
    "person", "bicycle", "bench", "bin", "recycling bin", "box", "crate", "suitcase", "backpack",
    "duffel bag", "storage bin", "statue", "vending machine", "stroller",
)  # fmt: skip
_HALL_M, _HALL_HEIGHT_M, _HALL_FAMILIES = 30.0, 5.0, 0.7
_STREET_M, _STREET_WIDTH_M, _HOUSES_M = 24.0, 8.0, 6.0
_SWAPS = 2  # most pairs of a changing room that change places


class LookAlikeFurnisher(Furnisher):
    """Some kinds with one to three look-alikes each, then single objects as anchors."""

    kinds: tuple[str, ...] = KINDS
    families: tuple[int, int] = _FAMILIES

    def furnish(self) -> None:
        self.place_families()
        for _ in range(4 * self.target):
            if self.full:
                break
            self.single(str(self.rng.choice(self.kinds)))
        self.turn_sides()

    def place_families(self) -> None:
        """Some kinds with look-alikes each."""
        rng, every = self.rng, self.kinds
        sided = str(rng.choice([kind for kind in every if kinds()[kind].sided]))
        others = [str(k) for k in rng.permutation(every[:-2]) if k != sided]
        count = int(rng.integers(self.families[0], self.families[1] + 1))
        for kind in [sided, *others[: count - 1]]:
            item = self.single(kind)
            if item is None:
                continue
            for _ in range(int(rng.integers(_TWINS[0], _TWINS[1] + 1))):
                if not self.full:
                    self.twin(item, "side" if kind == sided or rng.random() < _SIDED else "")


class HallFurnisher(LookAlikeFurnisher):
    """A hall of 30 m x 30 m: objects of all kinds, most with look-alikes."""

    families = (len(KINDS), len(KINDS))

    def __init__(self, rng: np.random.Generator, target: int) -> None:
        super().__init__(rng, target)
        self._resize(_HALL_M, _HALL_M, _HALL_HEIGHT_M)

    def place_families(self) -> None:
        while len(self.items) < _HALL_FAMILIES * self.target:
            super().place_families()


class StreetFurnisher(LookAlikeFurnisher):
    """A street between two rows of houses."""

    kinds = STREET_KINDS
    families = (4, 7)

    def __init__(self, rng: np.random.Generator, target: int) -> None:
        super().__init__(rng, target)
        self._resize(_STREET_M, _STREET_WIDTH_M, _HOUSES_M)


def swapped(room: Room) -> dict[int, int]:
    """Pairs of look-alikes of a changing room that changed places, in both directions by id."""
    rng = np.random.default_rng((room.seed, 23))
    pairs = appearance_pairs(room.objects)
    found: dict[int, int] = {}
    for k in rng.permutation(len(pairs)):
        a, b = (room.objects[i].id for i in pairs[int(k)])
        if len(found) < 2 * _SWAPS and not {a, b} & found.keys():
            found |= {a: b, b: a}
    return found


def before_change(room: Room) -> Room:
    """A changing room as its first views show it. An object keeps its box: two that changed places
    have each other's looks.
    """
    other = swapped(room)
    looks = {item.id: item for item in room.objects}
    objects = tuple(
        item if item.id not in other else _with_look_of(item, looks[other[item.id]])
        for item in room.objects
    )
    return replace(room, objects=objects)


def _with_look_of(item: RoomObject, other: RoomObject) -> RoomObject:
    return replace(
        item, color=other.color, rgb=other.rgb, material=other.material, variant=other.variant,
        look=other.look,
    )  # fmt: skip
