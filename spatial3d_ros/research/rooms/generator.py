"""Procedural generation of rooms as boxes; `meshes` gives them shape, `render` images.

Groups are placed first (a bed with its nightstands, a table with its chairs, a desk, a seating
corner, a kitchen wall), then single pieces up to a share of the target count, then pictures on free
walls and small objects on furniture.
"""

from __future__ import annotations

import numpy as np

from spatial3d_ros.categories import CATEGORIES, COLORS
from spatial3d_ros.research.rooms.catalog import (
    FLOOR,
    SMALL,
    WALL,
    Catalog,
    Room,
    RoomObject,
    support_surface,
)
from spatial3d_ros.research.rooms.furnisher import Furnisher
from spatial3d_ros.research.rooms.layout import Layout
from spatial3d_ros.research.rooms.look_alikes import (
    HallFurnisher,
    LookAlikeFurnisher,
    StreetFurnisher,
)

__all__ = [
    "CATEGORIES",
    "COLORS",
    "FLOOR",
    "WALL",
    "Catalog",
    "Room",
    "RoomObject",
    "generate_room",
    "support_surface",
]

_PIECES = ("lamp", "plant", "plant", "cabinet", "shelf", "chair", "stool", "bin", "armchair")
_PIECES += ("table", "fridge", "fridge", "box", "box", "ball", "backpack", "nightstand")


REVISION = 4
"""Of the rooms of seeds and of their pictures: stored views of another one are rendered again."""


def generate_room(
    seed: int, *, min_objects: int = 6, max_objects: int = 25, catalog: Catalog = "basic"
) -> Room:
    """A room with `min_objects` to `max_objects` objects; one seed always gives the same room.

    catalog: "full" for all rendered kinds and their looks, "basic" for the 29 categories that the
    shipped weights know, "alike" for few kinds of which most objects have a look-alike, and
    "changing", "hall" and "street" for places with such objects.
    """
    make = _FURNISHERS[catalog]
    for attempt in range(20):
        rng = np.random.default_rng((seed, 7919, attempt))
        layout = make(rng, int(rng.integers(min_objects, max_objects + 1)))
        layout.furnish()
        if len(layout.items) >= min_objects:
            break
    return Room(seed, layout.size, tuple(layout.items), outdoor=catalog == "street")


class _BasicFurnisher(Layout):
    def furnish(self) -> None:
        rng = self.rng
        for _ in range(1 + (rng.random() < 0.2)):
            self.on_wall("door")
        if rng.random() < 0.7:
            self.on_wall("window")
        groups = [self.bed_group, self.dining_group, self.desk_group]
        groups += [self.seating_group, self.kitchen_group, self.storage_group]
        # Furniture is at most 72 % of the objects; the rest is small.
        budget = self.target * rng.uniform(0.5, 0.72)
        for k in rng.permutation(len(groups)):
            if len(self.items) >= 0.7 * budget:
                break
            groups[k]()
        # A few categories repeat, so that questions must distinguish their objects.
        repeated = rng.choice(_PIECES, 3)
        for _ in range(3 * self.target):
            if len(self.items) >= budget:
                break
            self.single(str(rng.choice(repeated if rng.random() < 0.5 else _PIECES)))
        repeated = rng.choice(SMALL, 4)
        for _ in range(6 * self.target):
            if self.full:
                break
            roll = rng.random()
            if roll < 0.12:
                self.on_wall("picture")
            elif roll < 0.15:
                self.on_wall("window")
            elif roll < 0.27:
                self.single(str(rng.choice(("box", "ball", "backpack", "bin", "plant", "stool"))))
            elif roll < 0.36:
                self.under(str(rng.choice(("box", "ball", "bin", "backpack"))))
            else:
                self.on_any(str(rng.choice(repeated if rng.random() < 0.5 else SMALL)))

    def bed_group(self) -> None:
        bed = self.along_wall("bed")
        if bed is None:
            return
        for side in self.rng.permutation([-1, 1])[: int(self.rng.integers(0, 3))]:
            stand = self.beside(bed, "nightstand", int(side))
            if stand is not None and self.rng.random() < 0.6:
                self.on(stand, "lamp", height=float(self.rng.uniform(0.3, 0.6)), girth=0.24)
        for _ in range(int(self.rng.integers(0, 3))):
            self.on(bed, "pillow")

    def dining_group(self) -> None:
        table = self.free("table", height=float(self.rng.uniform(0.7, 0.78)), clear=0.75)
        if table is None:
            return
        seat = "chair" if self.rng.random() < 0.8 else "stool"
        wanted = int(self.rng.integers(1, 7))
        style = self.style(seat)
        for slot in self.rng.permutation(6)[:wanted]:
            self.around(table, seat, int(slot), style if self.rng.random() < 0.75 else None)
        for _ in range(int(self.rng.integers(0, 3))):
            self.on(table, str(self.rng.choice(["bowl", "vase", "mug", "bottle"])))

    def desk_group(self) -> None:
        desk = self.along_wall("desk")
        if desk is None:
            return
        self.in_front(desk, "chair", float(self.rng.uniform(0.03, 0.25)), facing=True)
        if self.rng.random() < 0.7:
            self.on(desk, "laptop", facing=True)
        if self.rng.random() < 0.4:
            self.on(desk, "lamp", height=float(self.rng.uniform(0.35, 0.6)), girth=0.22)
        if self.rng.random() < 0.4:
            self.beside(desk, "bin", int(self.rng.choice([-1, 1])))

    def seating_group(self) -> None:
        sofa = self.along_wall("sofa")
        if sofa is None:
            return
        if self.rng.random() < 0.7:
            low = float(self.rng.uniform(0.36, 0.5))
            self.in_front(sofa, "table", float(self.rng.uniform(0.3, 0.5)), height=low, scale=0.35)
        for _ in range(int(self.rng.integers(0, 3))):
            self.single("armchair")
        if self.rng.random() < 0.5:
            self.beside(
                sofa,
                str(self.rng.choice(["lamp", "plant", "nightstand"])),
                int(self.rng.choice([-1, 1])),
            )
        for _ in range(int(self.rng.integers(0, 4))):
            self.on(sofa, "pillow")
        if self.rng.random() < 0.6:
            self.tv_stand()

    def kitchen_group(self) -> None:
        sink = self.along_wall("sink")
        if sink is not None:
            self.beside(
                sink,
                "fridge" if self.rng.random() < 0.8 else "cabinet",
                int(self.rng.choice([-1, 1])),
                gap=0.02,
            )
            for _ in range(int(self.rng.integers(0, 3))):
                self.on(sink, str(self.rng.choice(["bottle", "mug", "bowl"])))

    def storage_group(self) -> None:
        for _ in range(int(self.rng.integers(1, 4))):
            self.along_wall(str(self.rng.choice(["shelf", "cabinet"])))
        if self.rng.random() < 0.3:
            self.tv_stand()

    def tv_stand(self) -> None:
        stand = self.along_wall("cabinet", height=float(self.rng.uniform(0.42, 0.6)))
        if stand is not None:
            self.on(stand, "tv", facing=True)

    def single(self, category: str) -> None:
        if category in ("cabinet", "shelf", "fridge", "nightstand") or (
            category in ("lamp", "plant", "bin", "stool", "backpack", "box", "chair")
            and self.rng.random() < 0.6
        ):
            self.along_wall(category)
        else:
            self.free(category, clear=0.25)


_FURNISHERS: dict[str, type[Layout]] = {
    "basic": _BasicFurnisher, "full": Furnisher, "alike": LookAlikeFurnisher,
    "changing": LookAlikeFurnisher, "hall": HallFurnisher, "street": StreetFurnisher,
}  # fmt: skip
