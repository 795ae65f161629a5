"""Placement of single objects in a room; `generator` decides which ones."""

from __future__ import annotations

import math

import numpy as np

from spatial3d_ros.categories import CATEGORIES, COLORS
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.rooms.catalog import (
    FLOOR,
    WALL,
    RoomObject,
    axis_of,
    is_curved,
    is_round_table,
    spec_of,
    support_surface,
)

_DOOR_CLEARANCE = 0.85
_HEADINGS = (0.0, math.pi / 2, math.pi, -math.pi / 2)


class Layout:
    """A room being furnished. Every method places one object, or returns None if none fits."""

    def __init__(self, rng: np.random.Generator, target: int) -> None:
        self.rng = rng
        self.target = target
        # Few objects in a small room, many in a large one, with room to move in both.
        fill = target / 25
        lx, ly = (float(np.clip(rng.normal(3.6 + 2.4 * fill, 0.6), 3.0, 7.0)) for _ in range(2))
        self._resize(lx, ly, float(rng.uniform(2.4, 3.0)))
        self.items: list[RoomObject] = []
        self.lo = np.empty((2 * target + 8, 3))
        self.hi = np.empty((2 * target + 8, 3))
        self.blocked = 0  # number of door clearances
        self.block_lo = np.empty((4, 3))
        self.block_hi = np.empty((4, 3))
        self.palette = list(rng.permutation(list(COLORS))[: int(rng.integers(4, 8))])

    def _resize(self, x: float, y: float, height: float) -> None:
        self.size = (x, y, height)
        self.half = np.array([x / 2, y / 2])

    @property
    def full(self) -> bool:
        return len(self.items) >= self.target

    def along_wall(self, category: str, height: float | None = None) -> RoomObject | None:
        depth, width, height = self.extent(category, height)
        for _ in range(10):
            wall = int(self.rng.integers(4))
            run = self.half[1 - wall % 2] - width / 2 - 0.02
            if run <= 0:
                continue
            shift = float(self.rng.uniform(-run, run))
            if self.rng.random() < 0.3:  # into the corner
                shift = math.copysign(run, shift)
            placed = self.at_wall(category, wall, shift, (depth, width, height), 0.0)
            if placed is not None:
                return placed
        return None

    def on_wall(self, category: str) -> RoomObject | None:
        depth, width, height = self.extent(category)
        for _ in range(10):
            wall = int(self.rng.integers(4))
            run = self.half[1 - wall % 2] - width / 2 - 0.1
            sill = self.sill(category)
            if run <= 0 or sill + height > self.size[2] - 0.08:
                continue
            placed = self.at_wall(
                category,
                wall,
                float(self.rng.uniform(-run, run)),
                (depth, width, height),
                sill,
                WALL,
            )
            if placed is not None:
                if category == "door":
                    self.keep_clear(placed)
                return placed
        return None

    def sill(self, category: str) -> float:
        """Height of the bottom of what hangs on a wall."""
        sill = {"door": 0.0, "window": float(self.rng.uniform(0.8, 1.05))}
        return sill.get(category, float(self.rng.uniform(1.15, 1.5)))

    def at_wall(
        self,
        category: str,
        wall: int,
        shift: float,
        extent: tuple[float, float, float],
        z: float,
        support: int = FLOOR,
    ) -> RoomObject | None:
        axis, sign = wall % 2, 1 if wall < 2 else -1
        gap = 0.0 if support == WALL else float(self.rng.uniform(0.0, 0.04))
        center = np.empty(2)
        center[axis] = -sign * (self.half[axis] - gap - extent[0] / 2)
        center[1 - axis] = shift
        heading = _HEADINGS[wall]
        return self.place(category, center, z, extent, heading, support)

    def keep_clear(self, door: RoomObject) -> None:
        lo, hi = (np.array(bound) for bound in door.box.bounds())
        axis = axis_of(door.heading)
        if door.box.center[axis] < 0:
            hi[axis] += _DOOR_CLEARANCE
        else:
            lo[axis] -= _DOOR_CLEARANCE
        self.block_lo[self.blocked], self.block_hi[self.blocked] = lo, hi
        self.blocked += 1

    def beside(
        self, anchor: RoomObject, category: str, side: int, gap: float | None = None
    ) -> RoomObject | None:
        extent = self.extent(category)
        axis = axis_of(anchor.heading)
        forward = math.cos(anchor.heading) + math.sin(anchor.heading)
        gap = float(self.rng.uniform(0.03, 0.2)) if gap is None else gap
        center = np.array(anchor.box.center[:2])
        center[1 - axis] += side * (anchor.box.size[1 - axis] / 2 + extent[1] / 2 + gap)
        center[axis] -= math.copysign((anchor.box.size[axis] - extent[0]) / 2, forward)
        return self.place(category, center, 0.0, extent, anchor.heading, FLOOR)

    def in_front(
        self,
        anchor: RoomObject,
        category: str,
        gap: float,
        *,
        facing: bool = False,
        height: float | None = None,
        scale: float | None = None,
    ) -> RoomObject | None:
        extent = self.extent(category, height, scale)
        axis = axis_of(anchor.heading)
        center = np.array(anchor.box.center[:2])
        forward = math.copysign(1.0, math.cos(anchor.heading) + math.sin(anchor.heading))
        center[axis] += forward * (anchor.box.size[axis] / 2 + extent[0] / 2 + gap)
        center[1 - axis] += self.rng.uniform(-0.15, 0.15)
        heading = anchor.heading + (math.pi if facing else 0.0)
        return self.place(category, center, 0.0, extent, heading, FLOOR)

    def around(
        self, table: RoomObject, category: str, slot: int, style: tuple[str, str, int] | None
    ) -> RoomObject | None:
        """Slots 0-3 are two on each long side, 4 and 5 the heads of the table."""
        extent = self.extent(category)
        size = np.array(table.box.size[:2])
        long = int(size[1] > size[0])
        center = np.array(table.box.center[:2])
        gap = float(self.rng.uniform(0.02, 0.2))
        axis = 1 - long if slot < 4 else long
        sign = 1 if slot % 2 else -1
        center[axis] += sign * (size[axis] / 2 + extent[0] / 2 + gap)
        if slot < 4 and size[long] > 1.15:
            center[long] += (size[long] / 4) * (1 if slot < 2 else -1)
        heading = {(0, 1): math.pi, (0, -1): 0.0, (1, 1): -math.pi / 2, (1, -1): math.pi / 2}[
            axis, sign
        ]
        return self.place(category, center, 0.0, extent, heading, FLOOR, style=style)

    def free(
        self, category: str, height: float | None = None, clear: float = 0.25
    ) -> RoomObject | None:
        extent = self.extent(category, height)
        for _ in range(10):
            heading = float(self.rng.choice(_HEADINGS))
            reach = self.half - max(extent[:2]) / 2 - clear
            if (reach <= 0).any():
                return None
            placed = self.place(
                category, self.rng.uniform(-reach, reach), 0.0, extent, heading, FLOOR, clear=clear
            )
            if placed is not None:
                return placed
        return None

    def on_any(self, category: str) -> RoomObject | None:
        hosts = [item for item in self.items if self.can_carry(item, category)]
        if hosts:
            return self.on(hosts[int(self.rng.integers(len(hosts)))], category)
        return None

    def can_carry(self, host: RoomObject, category: str) -> bool:
        surface = support_surface(host)
        if surface is None or surface[2] > 1.5:
            return False
        soft = host.category in ("sofa", "bed", "armchair")
        if category == "pillow":
            return soft
        if soft or host.category == "chair":
            return category in ("book", "box", "backpack", "ball")
        return category not in ("ball", "backpack") or host.category in (
            "stool",
            "table",
            "cabinet",
            "box",
        )

    def on(
        self,
        host: RoomObject,
        category: str,
        height: float | None = None,
        girth: float | None = None,
        facing: bool = False,
    ) -> RoomObject | None:
        surface = support_surface(host)
        if surface is None:
            return None
        lo, hi, z = surface
        extent = self.extent(category, height)
        if girth is not None:
            extent = (girth, girth, extent[2])
        for _ in range(6):
            heading = host.heading if facing else float(self.rng.choice(_HEADINGS))
            foot = np.array(extent[:2] if axis_of(heading) == 0 else extent[1::-1])
            reach = (hi - lo - foot) / 2
            if (reach < 0).any():
                continue
            center = (lo + hi) / 2 + self.rng.uniform(-reach, reach)
            placed = self.place(category, center, z, extent, heading, host.id, through=host.id)
            if placed is not None:
                return placed
        return None

    def under(self, category: str) -> RoomObject | None:
        hosts = [
            item
            for item in self.items
            if spec_of(item).hollow and not is_round_table(item) and not is_curved(item)
        ]
        if not hosts:
            return None
        host = hosts[int(self.rng.integers(len(hosts)))]
        extent = self.extent(category, scale=float(self.rng.uniform(0, 0.4)))
        room = np.array(host.box.size[:2]) - 2 * 0.12 - max(extent[:2])
        if extent[2] > 0.82 * host.box.size[2] or (room < 0).any():
            return None
        center = np.array(host.box.center[:2]) + self.rng.uniform(-room / 2, room / 2)
        return self.place(category, center, 0.0, extent, host.heading, FLOOR, through=host.id)

    def place(
        self,
        category: str,
        center: np.ndarray,
        z: float,
        extent: tuple[float, float, float],
        heading: float,
        support: int,
        *,
        clear: float = 0.0,
        through: int = -1,
        style: tuple[str, str, int] | None = None,
    ) -> RoomObject | None:
        """Place it if its box is inside the room and intersects no other than that of `through`."""
        if self.full:
            return None
        depth, width, height = extent
        size = np.array([depth, width, height] if axis_of(heading) == 0 else [width, depth, height])
        middle = np.array([center[0], center[1], z + height / 2])
        lo, hi = middle - size / 2, middle + size / 2
        if (np.abs(middle[:2]) + size[:2] / 2 > self.half + 1e-6).any() or hi[2] > self.size[
            2
        ] - 0.02:
            return None
        count = len(self.items)
        slack = np.array([clear, clear, 0.0]) if clear else -1e-4
        hit = ((lo - slack < self.hi[:count]) & (hi + slack > self.lo[:count])).all(1)
        if through >= 0:
            hit[through] = False
        if (
            hit.any()
            or ((lo < self.block_hi[: self.blocked]) & (hi > self.block_lo[: self.blocked]))
            .all(1)
            .any()
        ):
            return None
        box = Box3D(tuple(map(float, middle)), tuple(map(float, size)))
        heading = (heading + math.pi) % (2 * math.pi) - math.pi
        item = self.styled(category, box, support, heading, style)
        self.items.append(item)
        self.lo[count], self.hi[count] = lo, hi
        return item

    def styled(
        self,
        category: str,
        box: Box3D,
        support: int,
        heading: float,
        style: tuple[str, str, int] | None,
    ) -> RoomObject:
        """The next object, with a color and a material of its own."""
        color, material, variant = style or self.style(category)
        shade = np.clip(
            np.array(COLORS[color]) * self.rng.uniform(0.86, 1.1) + self.rng.normal(0, 5, 3), 0, 255
        )
        rgb = int(shade[0]), int(shade[1]), int(shade[2])
        count = len(self.items)
        return RoomObject(count, category, color, rgb, box, support, heading, material, variant)

    def extent(
        self, category: str, height: float | None = None, scale: float | None = None
    ) -> tuple[float, float, float]:
        """Depth, width, height (m); one draw sets the overall size, so sizes differ clearly."""
        spec = CATEGORIES[category]
        big = self.rng.random() if scale is None else scale
        t = np.clip(big + self.rng.normal(0, 0.15, 3), 0, 1)
        depth, width, tall = (
            lo + k * (hi - lo)
            for k, (lo, hi) in zip(t, (spec.depth, spec.width, spec.height), strict=True)
        )
        if spec.round:
            width = depth
        if category == "ball":
            tall = depth
        return float(depth), float(width), float(tall if height is None else height)

    def style(self, category: str) -> tuple[str, str, int]:
        """Color, material and variant; a room has a palette, and pieces of a kind often match."""
        spec = CATEGORIES[category]
        rng = self.rng
        twins = [item for item in self.items if item.category == category]
        if twins and rng.random() < 0.3:
            twin = twins[int(rng.integers(len(twins)))]
            return twin.color, twin.material, twin.variant
        allowed = spec.colors or tuple(COLORS)
        familiar = [color for color in allowed if color in self.palette]
        pool = familiar if familiar and rng.random() < 0.75 else allowed
        color = str(pool[int(rng.integers(len(pool)))])
        return (
            color,
            spec.materials[int(rng.integers(len(spec.materials)))],
            int(rng.integers(spec.variants)),
        )
