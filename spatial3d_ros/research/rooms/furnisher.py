"""Furnishes rooms of the full catalog: types of rooms of `homes/groups`, look-alikes, and pairs.

A pair are two objects of one kind, size and mean color that differ in pattern, material, shape,
state, or in which part or side has another color: only a camera can tell them apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.homes.groups import Group, groups, room_types
from spatial3d_ros.research.rooms.appearance import (
    MAX_SIZE_RATIO,
    Draft,
    alternatives,
    draw,
    matched,
    with_period,
)
from spatial3d_ros.research.rooms.catalog import FLOOR, WALL, RoomObject, support_surface
from spatial3d_ros.research.rooms.kinds import LOOK_ALIKES, Kind, kinds
from spatial3d_ros.research.rooms.layout import Layout

_PLACEABLE_TOP = 1.35  # m; nothing stands on higher tops
_FURNITURE_SHARE, _ALIKE_SHARE = 0.45, 0.7  # of the objects: after groups; after look-alikes
_OBLONG = 1.3  # least ratio of the sides of what is oval or rectangular
_PAIRS = (1, 3)
_TWO_COLORED_FIRST = 0.7  # share of rooms where pairs are rather of things with two colors
_SURFACES = ("table", "desk", "coffee table", "dresser", "console table", "kitchen cabinet",
             "end table", "tv stand", "bench", "folding table")  # fmt: skip


class Furnisher(Layout):
    """A room being furnished with rendered kinds."""

    def __init__(self, rng: np.random.Generator, target: int) -> None:
        super().__init__(rng, target)
        self.draft: Draft | None = None  # of the object that is being placed
        self.fixed: tuple[Draft, tuple[float, float, float]] | None = None  # of a twin

    def furnish(self) -> None:
        """Doors and windows, groups of a type of room, look-alikes, single kinds, pairs."""
        rng = self.rng
        self.hang("door")
        if rng.random() < 0.6:
            self.hang("window")
        types = room_types()
        weights = np.array([kind.weight for kind in types], float)
        chosen = types[int(rng.choice(len(types), p=weights / weights.sum()))]
        wanted = [name for name, least, most in chosen.groups for _ in range(max(least, most))]
        for k in rng.permutation(len(wanted)):
            if len(self.items) >= _FURNITURE_SHARE * self.target:
                break
            self.group(groups()[wanted[int(k)]])
        for name in rng.choice(_SURFACES, int(rng.integers(1, 3))):
            self.single(str(name))
        pairs = int(rng.integers(_PAIRS[0], _PAIRS[1] + 1))
        families = rng.choice(list(LOOK_ALIKES), 2, replace=False)
        for _ in range(2 * self.target):
            if len(self.items) >= _ALIKE_SHARE * self.target:
                break
            family = LOOK_ALIKES[str(rng.choice(families))]
            self.single(str(rng.choice(family)))
        names = list(kinds())
        for _ in range(6 * self.target):
            if len(self.items) >= self.target - pairs:
                break
            self.single(str(rng.choice(names)))
        order = rng.permutation(len(self.items)).tolist()
        if rng.random() < _TWO_COLORED_FIRST:
            order.sort(key=lambda k: self._is_plain(self.items[k]))
        for k in order:
            if pairs == 0 or self.full:
                break
            pairs -= self.twin(self.items[k])
        self.turn_sides()

    @staticmethod
    def _is_plain(item: RoomObject) -> bool:
        look = item.look
        return look is None or (look.pattern == "plain" and not look.part and not look.side)

    def group(self, group: Group) -> None:
        """The rendered ones of a group."""
        if group.head not in kinds():
            return
        head = self.single(group.head)
        if head is None:
            return
        hosts = {group.head: head}
        for member in group.members:
            host = hosts.get(member.host or group.head)
            if host is None or member.kind not in kinds():
                continue
            for slot in range(int(self.rng.integers(member.least, min(member.most, 4) + 1))):
                placed = self.member(host, member.kind, member.relation, slot)
                if placed is not None:
                    hosts.setdefault(member.kind, placed)

    def member(self, host: RoomObject, kind: str, relation: str, slot: int) -> RoomObject | None:
        side = 1 if slot % 2 else -1
        if relation == "on" and "top" in kinds()[kind].places:
            return self.on(host, kind, facing=self.rng.random() < 0.8)
        if relation in ("beside", "corner", "row"):
            return self.beside(host, kind, side)
        if relation == "front":
            gap = float(self.rng.uniform(0.05, 0.4))
            return self.in_front(host, kind, gap, facing=kind.endswith("chair"))
        if relation == "around":
            return self.around(host, kind, slot, None)
        if relation == "under":
            return self.tucked(host, kind)
        if relation in ("above", "along"):
            return self.hang(kind)
        return self.single(kind)

    def tucked(self, host: RoomObject, kind: str) -> RoomObject | None:
        """Under a table."""
        return self.under(kind) if kinds()[host.category].hollow else None

    def single(self, kind: str) -> RoomObject | None:
        """One object, where its kind stands."""
        for place in kinds()[kind].places:
            if place in ("hung", "door"):
                placed = self.hang(kind)
            elif place == "wall":
                placed = self.along_wall(kind)
            elif place == "top":
                placed = self.on_any(kind)
            else:
                at_wall = self.rng.random() < 0.35
                placed = self.along_wall(kind) if at_wall else self.free(kind, clear=0.15)
            if placed is not None:
                return placed
        return None

    def hang(self, kind: str) -> RoomObject | None:
        if "hung" not in kinds()[kind].places and kind != "door":
            return None
        return self.on_wall(kind)

    def sill(self, category: str) -> float:
        if category == "door":
            return 0.0
        return max(0.1, kinds()[category].z + float(self.rng.uniform(-0.12, 0.18)))

    def can_carry(self, host: RoomObject, category: str) -> bool:
        surface, spec = support_surface(host), kinds()[category]
        if surface is None or surface[2] > _PLACEABLE_TOP or host.support == WALL:
            small = spec.height[1] < 0.35 and spec.depth[0] < 0.2
            return surface is not None and host.category == "wall shelf" and small
        if category in ("pillow", "blanket", "stuffed animal"):
            return kinds()[host.category].soft or host.category in ("chair", "bench", "ottoman")
        if kinds()[host.category].soft:
            return category in ("book", "magazine", "bag", "purse", "hat", "laptop")
        return True

    def extent(
        self, category: str, height: float | None = None, scale: float | None = None
    ) -> tuple[float, float, float]:
        if self.fixed is not None:
            self.draft, extent = self.fixed
            return extent
        kind = kinds()[category]
        self.draft = draft = draw(kind, self.rng, self.palette, kind.places[0])
        big = self.rng.random() if scale is None else scale
        t = np.clip(big + self.rng.normal(0, 0.15, 3), 0, 1)
        ranges = kind.extents(draft.look.shape, draft.look.state)
        width, depth, tall = (lo + k * (hi - lo) for k, (lo, hi) in zip(t, ranges, strict=True))
        flat = kind.places[0] == "hung"
        other = tall if flat else depth
        if draft.look.shape in ("round", "square"):
            width = other = (width + other) / 2
        elif draft.look.shape in ("oval", "rectangular"):
            other = min(other, width / _OBLONG)
        tall, depth = (other, depth) if flat else (tall, other)
        if category in ("ball", "soccer ball"):
            depth = tall = width
        return float(depth), float(width), float(tall if height is None else height)

    def styled(
        self,
        category: str,
        box: Box3D,
        support: int,
        heading: float,
        style: tuple[str, str, int] | None,
    ) -> RoomObject:
        assert self.draft is not None
        draft = self.draft
        if self.fixed is None:
            size = float(box.size[0]), float(box.size[1]), float(box.size[2])
            draft = with_period(draft, size, bool(self.rng.random() < 0.4))
        place = "hung" if support == WALL else "top"
        look = replace(draft.look, place=place)
        return RoomObject(
            len(self.items), category, draft.color, draft.rgb, box, support, heading,
            draft.material, 0, look,
        )  # fmt: skip

    def twin(self, item: RoomObject, first: str = "") -> bool:
        """Place a look-alike of an object that differs in one thing, if possible of the sort
        `first`; False where none fits.
        """
        kind: Kind = kinds()[item.category]
        if item.category in ("door", "window", "column"):
            return False
        for draft in alternatives(kind, item, self.rng, first)[:3]:
            made = matched(draft, item)
            if made is None or made.look is None:
                continue
            along_x = abs(np.cos(item.heading)) > 0.5
            sx, sy, sz = item.box.size
            grow = self.rng.uniform(1, MAX_SIZE_RATIO ** (1 / 3) - 0.01)
            extent = (grow * (sx if along_x else sy), grow * (sy if along_x else sx), grow * sz)
            own = Draft(made.color, made.rgb, made.material, made.look)
            self.fixed = own, extent
            placed = self._place_twin(item)
            self.fixed = None
            if placed is not None:
                return True
        return False

    def _place_twin(self, item: RoomObject) -> RoomObject | None:
        if item.support == WALL:
            return self.on_wall(item.category)
        if item.support == FLOOR:
            return self.along_wall(item.category) or self.free(item.category, clear=0.12)
        host = next(other for other in self.items if other.id == item.support)
        return self.on(host, item.category, facing=True) or self.on_any(item.category)

    def turn_sides(self) -> None:
        """Put the colored side of each object where there is most free space before it."""
        for k, item in enumerate(self.items):
            look = item.look
            assert look is not None
            if not look.side:
                continue
            room = {side: self._free_before(item, side) for side in ("back", "left", "right")}
            best = max(room, key=lambda side: room[side])
            if look.side not in room or room[look.side] < 0.4:
                if room[best] < 0.4:
                    plain = replace(look, side="", side_color="", side_rgb=(0, 0, 0))
                    self.items[k] = replace(item, look=plain)
                else:
                    self.items[k] = replace(item, look=replace(look, side=best))

    def _free_before(self, item: RoomObject, side: str) -> float:
        """Metres from a side of an object to the next object or wall."""
        turn = {"back": np.pi, "left": np.pi / 2, "right": -np.pi / 2}[side]
        out = np.round([np.cos(item.heading + turn), np.sin(item.heading + turn)])
        axis = int(abs(out[1]) > 0.5)
        sign = out[axis]
        n = len(self.items)
        lo, hi = self.lo[item.id], self.hi[item.id]
        others = np.arange(n) != item.id
        others &= (self.lo[:n, 1 - axis] < hi[1 - axis]) & (self.hi[:n, 1 - axis] > lo[1 - axis])
        others &= (self.lo[:n, 2] < hi[2]) & (self.hi[:n, 2] > lo[2])
        face = hi[axis] if sign > 0 else lo[axis]
        near = self.lo[:n, axis] if sign > 0 else self.hi[:n, axis]
        gaps = sign * (near - face)
        ahead = gaps[others & (gaps > -1e-3)]
        return float(min([self.half[axis] - sign * face, *ahead]))
