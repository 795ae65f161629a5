"""Objects of a generated room and the room itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.categories import CATEGORIES
from spatial3d_ros.geometry.box import Box3D

FLOOR, WALL = -1, -2

SMALL = ("mug", "bottle", "book", "box", "bowl", "vase", "laptop", "ball", "backpack", "pillow")


@dataclass(frozen=True)
class RoomObject:
    """An object of a room. `box` is axis-aligned; `heading` is the yaw of its front (rad).

    `support` is the id of the object that it stands on, FLOOR or WALL; `rgb` its shade of `color`.
    """

    id: int
    category: str
    color: str
    rgb: tuple[int, int, int]
    box: Box3D
    support: int
    heading: float
    material: str
    variant: int


@dataclass(frozen=True)
class Room:
    """A room centred at x = y = 0, floor at z = 0; `size` in x, in y and height (m)."""

    seed: int
    size: tuple[float, float, float]
    objects: tuple[RoomObject, ...]


def support_surface(item: RoomObject) -> tuple[np.ndarray, np.ndarray, float] | None:
    """The rectangle (lo xy, hi xy) and height z that supports objects on `item`, or None."""
    spec = CATEGORIES[item.category]
    if spec.surface == 0.0:
        return None
    lo, hi = (np.array(bound, dtype=float) for bound in item.box.bounds())
    z = lo[2] + spec.surface * (hi[2] - lo[2])
    along = axis_of(item.heading)
    forward = math.cos(item.heading) + math.sin(item.heading) > 0
    extent = hi - lo
    (lo if forward else hi)[along] += (1 if forward else -1) * spec.back * extent[along]
    across = 1 - along
    inset = spec.side * extent[across]
    lo[across], hi[across] = lo[across] + inset, hi[across] - inset
    if spec.round or is_round_table(item):
        margin = 0.14 * (hi[:2] - lo[:2])
        lo[:2], hi[:2] = lo[:2] + margin, hi[:2] - margin
    return lo[:2], hi[:2], float(z)


def is_round_table(item: RoomObject) -> bool:
    """Whether it is a round table on one foot: no object fits at its corners or below it."""
    return item.category == "table" and item.variant == 2


def axis_of(heading: float) -> int:
    """0 where the heading runs along x, 1 where it runs along y."""
    return 0 if abs(math.cos(heading)) > 0.5 else 1
