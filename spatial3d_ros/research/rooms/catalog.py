"""Objects of a generated room and the room itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from spatial3d_ros.categories import CATEGORIES, COLORS, CategorySpec
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.rooms.kinds import Kind, kinds

FLOOR, WALL = -1, -2
Catalog = Literal["basic", "full", "alike", "changing", "hall", "street"]
Catalogs = Literal["basic", "full", "both", "alike", "changing", "hall", "street"]
"""The 29 categories of CATEGORIES, all rendered kinds with their looks, or few kinds of which most
objects have a look-alike (look_alikes.py): in rooms, in rooms where some change places between the
views, in halls of 30 m, in streets.
"""

SMALL = ("mug", "bottle", "book", "box", "bowl", "vase", "laptop", "ball", "backpack", "pillow")


@dataclass(frozen=True)
class Look:
    """What sets an object apart from others of its kind and color.

    pattern: one of categories.PATTERNS, in the object's color and `pattern_color`, repeating after
    `period` metres (negative: turned by 90 degrees); part: the part that has `part_color` ("seat");
    side: "back", "left" or "right", as seen by the object, where it has `side_color`; shape, state:
    of categories.SHAPES and STATES, "" where its kind has but one; place: "top" or "hung". Shades
    are (r, g, b) in 0 .. 255.
    """

    pattern: str = "plain"
    pattern_color: str = ""
    pattern_rgb: tuple[int, int, int] = (0, 0, 0)
    period: float = 0.1
    part: str = ""
    part_color: str = ""
    part_rgb: tuple[int, int, int] = (0, 0, 0)
    side: str = ""
    side_color: str = ""
    side_rgb: tuple[int, int, int] = (0, 0, 0)
    shape: str = ""
    state: str = ""
    place: str = ""


@dataclass(frozen=True)
class RoomObject:
    """An object of a room. `box` is axis-aligned; `heading` is the yaw of its front (rad).

    `support` is the id of the object that it stands on, FLOOR or WALL; `rgb` its shade of `color`.
    `look` is None in the rooms of the basic catalog.
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
    look: Look | None = None


@dataclass(frozen=True)
class Room:
    """A room centred at x = y = 0, floor at z = 0; `size` in x, in y and height (m). outdoor: the
    walls are those of houses, and there is no ceiling.
    """

    seed: int
    size: tuple[float, float, float]
    objects: tuple[RoomObject, ...]
    outdoor: bool = False


def support_surface(item: RoomObject) -> tuple[np.ndarray, np.ndarray, float] | None:
    """The rectangle (lo xy, hi xy) and height z that supports objects on `item`, or None."""
    spec = spec_of(item)
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
    if spec.round or is_round_table(item) or is_curved(item):
        margin = 0.14 * (hi[:2] - lo[:2])
        lo[:2], hi[:2] = lo[:2] + margin, hi[:2] - margin
    return lo[:2], hi[:2], float(z)


def catalog_of(classes: Iterable[str]) -> Catalog:
    """The catalog of the rooms that weights with these classes know."""
    return "full" if set(classes) - set(CATEGORIES) else "basic"


def catalog_of_room(catalogs: Catalogs, seed: int) -> Catalog:
    """The catalog of one of many rooms: of "both", basic for odd seeds."""
    return ("full", "basic")[seed % 2] if catalogs == "both" else catalogs


def parse_catalog(name: str) -> Catalog:
    """Raises ConfigError where there is no catalog of that name."""
    if name not in ("basic", "full"):
        raise ConfigError(f"--catalog {name}: unknown; use full or basic")
    return "full" if name == "full" else "basic"


def is_rich(objects: Sequence[RoomObject]) -> bool:
    """Whether objects are of the full catalog."""
    return any(item.look is not None for item in objects)


def class_names(rich: bool) -> tuple[str, ...]:
    """The classes of the full catalog, or of the basic one."""
    return tuple(kinds()) if rich else tuple(CATEGORIES)


def colors_of(category: str, rich: bool) -> tuple[str, ...]:
    """The colors that a class has in a catalog."""
    own = kinds()[category].colors if rich else CATEGORIES[category].colors
    return own or tuple(COLORS)


@cache
def is_small(category: str, rich: bool) -> bool:
    """Whether a class stands on furniture rather than being furniture."""
    if not rich:
        return category in SMALL
    kind = kinds()[category]
    return kind.height[1] < 0.75 and kind.width[0] * kind.depth[0] * kind.height[0] < 0.05


def spec_of(item: RoomObject) -> CategorySpec | Kind:
    """Shape and surfaces of its kind."""
    return CATEGORIES[item.category] if item.look is None else kinds()[item.category]


def is_curved(item: RoomObject) -> bool:
    """Whether its outline on the floor is round or oval."""
    return item.look is not None and item.look.shape in ("round", "oval")


def is_round_table(item: RoomObject) -> bool:
    """Whether it is a round table on one foot: no object fits at its corners or below it."""
    return item.category == "table" and item.variant == 2


def axis_of(heading: float) -> int:
    """0 where the heading runs along x, 1 where it runs along y."""
    return 0 if abs(math.cos(heading)) > 0.5 else 1
