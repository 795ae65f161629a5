"""Rooms in which a question needs the images: few kinds, and most objects have a look-alike.

Class, mean color, size and position on the map tell fewer objects apart than in other rooms, so
that what a network makes of its views decides.
"""

from __future__ import annotations

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


class LookAlikeFurnisher(Furnisher):
    """Some kinds with one to three look-alikes each, then single objects as anchors."""

    def furnish(self) -> None:
        rng = self.rng
        sided = str(rng.choice([kind for kind in KINDS if kinds()[kind].sided]))
        others = [str(kind) for kind in rng.permutation(KINDS[:-2]) if kind != sided]
        count = int(rng.integers(_FAMILIES[0], _FAMILIES[1] + 1))
        for kind in [sided, *others[: count - 1]]:
            item = self.single(kind)
            if item is None:
                continue
            for _ in range(int(rng.integers(_TWINS[0], _TWINS[1] + 1))):
                if not self.full:
                    self.twin(item, "side" if kind == sided or rng.random() < _SIDED else "")
        for _ in range(4 * self.target):
            if self.full:
                break
            self.single(str(rng.choice(KINDS)))
        self.turn_sides()
