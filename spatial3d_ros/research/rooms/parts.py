"""Base of all mesh builders of objects: the object frame, its colors and its material."""

from __future__ import annotations

import math

import numpy as np

from spatial3d_ros.research.rooms.catalog import RoomObject
from spatial3d_ros.research.rooms.shapes import (
    CARTON,
    FABRIC,
    LEAF,
    LEATHER,
    METAL,
    PLAIN,
    WOOD,
    Builder,
)

_PATTERN = {
    "wood": WOOD, "fabric": FABRIC, "leather": LEATHER, "metal": METAL, "cardboard": CARTON,
    "leaf": LEAF, "plastic": PLAIN, "ceramic": PLAIN, "glass": PLAIN, "paper": PLAIN,
}  # fmt: skip
STEEL, DARK, CREAM = (176, 180, 186), (52, 50, 48), (238, 232, 220)


class Part(Builder):
    """A builder for one object: sizes d, w, h, color c and its shades."""

    def __init__(self, item: RoomObject) -> None:
        super().__init__()
        sx, sy, self.h = item.box.size
        self.d, self.w = (sx, sy) if abs(math.cos(item.heading)) > 0.5 else (sy, sx)
        self.c = np.array(item.rgb, float)
        self.dark, self.light = self.c * 0.62, self.c + 0.25 * (255 - self.c)
        self.dim = self.c * 0.82
        self.p = _PATTERN[item.material]
        self.variant = item.variant
        self.rng = np.random.default_rng((item.id, *item.rgb))

    def slab(
        self,
        x0: float,
        x1: float,
        y0: float,
        y1: float,
        z0: float,
        z1: float,
        rgb: object = None,
        pattern: int | None = None,
    ) -> None:
        """A block in fractions of the object's size: x and y in -0.5 .. 0.5, z in 0 .. 1."""
        scale = (self.d, self.w, self.h)
        self.box(
            np.multiply((x0, y0, z0), scale),
            np.multiply((x1, y1, z1), scale),
            self.c if rgb is None else rgb,
            self.p if pattern is None else pattern,
        )

    def legs(self, top: float, half: float, inset: float, rgb: object, bottom: float = 0.0) -> None:
        """Four square legs of `half` metres, `inset` metres from the edges, up to `top` metres."""
        for sx in (-1, 1):
            for sy in (-1, 1):
                x, y = sx * (self.d / 2 - inset - half), sy * (self.w / 2 - inset - half)
                self.box((x - half, y - half, bottom), (x + half, y + half, top), rgb, self.p)
