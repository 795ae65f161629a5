"""Layout of a group of objects in its own frame, before it is placed in a room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spatial3d_ros.object_catalog import OBJECT_KINDS, ObjectKind
from spatial3d_ros.research.homes.groups import Group, Member

FLOOR, WALL = -1, -2
_SEATS = {"sofa", "bed", "armchair", "chair", "loveseat", "crib", "bunk bed", "toilet", "bench"}


@dataclass
class PlacedObject:
    """An object in its group's frame: x to the right, y to the front, metres; `turn` in quarter
    turns counter-clockwise; `support` an index in the group, FLOOR or WALL.
    """

    key: str
    center: tuple[float, float]
    z: float
    size: tuple[float, float, float]
    turn: int
    support: int
    overlaps: bool = False  # may intersect others: rugs, frames, curtains


class GroupLayout:
    """Lays out groups for a room of half sides `half` (2,) and a height, in metres."""

    def __init__(self, rng: np.random.Generator, half: np.ndarray, height: float) -> None:
        self.rng, self.half, self.height = rng, half, height
        self.sizes: dict[str, tuple[float, float, float]] = {}

    def size(self, kind: ObjectKind) -> tuple[float, float, float]:
        """(3,) m. Objects of a kind mostly have the same size within a room."""
        if kind.key in self.sizes and self.rng.random() < 0.75:
            return self.sizes[kind.key]
        scale = self.rng.uniform(0.8, 1.2)
        factors = scale * self.rng.uniform(0.8, 1.25, 3)
        width, depth, height = (float(s * f) for s, f in zip(kind.size, factors, strict=True))
        self.sizes[kind.key] = (width, depth, min(height, self.height - 0.05))
        return self.sizes[kind.key]

    def build(self, group: Group) -> list[PlacedObject]:
        """The objects of a group in its own frame."""
        kind = OBJECT_KINDS[group.head]
        z = 0.0
        if group.placement == "hung":
            z = kind.z or (0.0 if "door" in kind.key or kind.key == "elevator" else 0.85)
            z *= float(self.rng.uniform(0.85, 1.12))
        elif group.placement == "roof":
            z = self.height - self.size(kind)[2] - 0.02
        support = WALL if group.placement in ("hung", "roof") else FLOOR
        if group.placement == "top":
            return [PlacedObject(group.head, (0.0, 0.0), 0.0, self.size(kind), 0, FLOOR)]
        items = [PlacedObject(group.head, (0.0, 0.0), z, self.size(kind), 0, support)]
        heads = [0]
        if group.placement == "grid":
            self.grid(items, heads)
        for member in group.members:
            if member.relation == "row":
                self.row(items, heads, member)
                continue
            hosts = heads
            if member.host is not None:
                hosts = [i for i, item in enumerate(items) if item.key == member.host]
            for host in hosts if member.relation != "overall" else hosts[:1]:
                times = int(self.rng.integers(member.least, member.most + 1))
                slots = (
                    self.around(items[host], times)
                    if member.relation == "around"
                    else [None] * times
                )
                for k in range(times):
                    item = self.member(items, heads, host, member, k, times, slots[k])
                    if item is not None and self.fits(items, host, item):
                        items.append(item)
        return items

    def row(self, items: list[PlacedObject], heads: list[int], member: Member) -> None:
        head, gap = items[0], float(self.rng.choice([0.0, 0.02, 0.1, 0.4], p=[0.4, 0.3, 0.2, 0.1]))
        for k in range(1, int(self.rng.integers(member.least, member.most + 1)) + 1):
            x = k * (head.size[0] + gap)
            item = PlacedObject(head.key, (x, 0.0), head.z, head.size, 0, head.support)
            heads.append(len(items))
            items.append(item)

    def grid(self, items: list[PlacedObject], heads: list[int]) -> None:
        head = items[0]
        across = head.size[0] + float(self.rng.uniform(0.05, 0.9))
        deep = head.size[1] + float(self.rng.uniform(0.75, 1.3))
        columns = min(int(self.rng.integers(1, 4)), max(1, int(1.6 * self.half[0] / across)))
        rows = min(int(self.rng.integers(2, 5)), max(1, int(1.6 * self.half[1] / deep)))
        for k in range(1, columns * rows):
            center = (k % columns * across, k // columns * deep)
            heads.append(len(items))
            items.append(PlacedObject(head.key, center, 0.0, head.size, 0, FLOOR))

    def around(self, host: PlacedObject, count: int) -> list[tuple[int, float]]:
        """(side, position along it in [-1, 1]) of seats at a table: front, right, back, left."""
        width, depth, _ = host.size
        heads = int(self.rng.integers(0, 3)) if count >= 3 or max(width, depth) < 1.3 else 0
        long, short = ((0, 2), (1, 3)) if width >= depth else ((1, 3), (0, 2))
        ends = [(side, 0.0) for side in short][: min(heads, count)]
        rest = count - len(ends)
        sides = (rest - rest // 2, rest // 2)
        slots = list(ends)
        for side, number in zip(long, sides, strict=True):
            slots += [(side, (k + 0.5) / number * 2 - 1) for k in range(number)]
        return slots

    def member(
        self, items: list[PlacedObject], heads: list[int], index: int, member: Member, k: int,
        times: int, slot: tuple[int, float] | None,
    ) -> PlacedObject | None:  # fmt: skip
        """One member at its host, or None where it does not fit."""
        rng, host = self.rng, items[index]
        kind, relation = OBJECT_KINDS[member.kind], member.relation
        (hx, hy), (hw, hd, hh) = host.center, host.size
        w, d, h = self.size(kind)
        side = 1 if (k + index) % 2 else -1
        spread = ((k + 0.5) / times - 0.5) * hw
        back = hy - hd / 2 + d / 2
        top = host.z + hh
        if slot is not None:
            return self.seat(kind, host, (w, d, h), slot)
        if relation in ("beside", "corner"):
            x = hx + side * (hw / 2 + w / 2 + rng.uniform(0.02, 0.18) + k // 2 * (w + 0.1))
            return PlacedObject(kind.key, (x, back), 0.0, (w, d, h), 0, FLOOR)
        if relation in ("front", "behind"):
            gap = rng.uniform(-0.3, 0.35) if kind.key.endswith("chair") else rng.uniform(0.15, 0.5)
            y = hd / 2 + d / 2 + max(gap, -d / 2)
            x = hx + spread + rng.normal(0, 0.05)
            sign = 1 if relation == "front" else -1
            turn = 2 if relation == "front" else 0
            return PlacedObject(kind.key, (x, hy + sign * y), 0.0, (w, d, h), turn, FLOOR)
        if relation in ("on", "inside"):
            w, d = min(w, 0.95 * hw), min(d, 0.95 * hd)
            z = top
            if relation == "inside":
                levels = max(1, round(hh / 0.4))
                z = host.z + hh * (int(rng.integers(levels)) + 0.05) / levels
                h = min(h, 0.9 * hh / levels)
            elif host.key in _SEATS:
                z = host.z + hh * rng.uniform(0.42, 0.62)
            x = hx + rng.uniform(-0.5, 0.5) * (hw - w)
            y = hy + rng.uniform(-0.5, 0.5) * (hd - d)
            if kind.key.endswith("pillow"):  # at the head of a bed, along a couch
                y = hy - hd / 2 + d / 2 + rng.uniform(0.0, 0.15)
                x = hx + spread + rng.normal(0, 0.05)
            return PlacedObject(kind.key, (x, y), z, (w, d, h), 0, index)
        if relation == "under":
            if w > hw or hh < 0.4:
                return None
            x = hx + rng.uniform(-0.5, 0.5) * (hw - w)
            y = hy + rng.uniform(-0.4, 0.4) * max(0.0, hd - d)
            return PlacedObject(kind.key, (x, y), 0.0, (w, d, min(h, hh - 0.06)), 0, FLOOR, True)
        if relation == "below":
            h = min(h, host.z - 0.04) if host.z > 0.3 else h
            x = hx + rng.uniform(-0.5, 0.5) * hw
            return PlacedObject(kind.key, (x, back), 0.0, (w, d, h), 0, FLOOR)
        if relation == "overall":
            row = [items[i] for i in heads]
            left = min(item.center[0] - item.size[0] / 2 for item in row)
            right = max(item.center[0] + item.size[0] / 2 for item in row)
            center = ((left + right) / 2, hy)
            return PlacedObject(
                kind.key, center, top - 0.02, (right - left, hd, 0.06), 0, index, True
            )
        if relation == "underfoot":
            return PlacedObject(kind.key, (hx, hy + hd / 2), 0.0, (w, d, h), 0, FLOOR, True)
        if relation == "over":
            if kind.placement == "roof":
                z = self.height - h - 0.02
                return PlacedObject(kind.key, (hx, hy), z, (w, d, h), 0, WALL, True)
            y = hy + hd / 2
            x = hx + (k - (times - 1) / 2) * hw / 2
            return PlacedObject(kind.key, (x, y), kind.z, (min(w, hw) / times, d, h), 0, WALL, True)
        return self.hanging(kind, host, relation, (w, d, h), spread, side)

    def seat(
        self,
        kind: ObjectKind,
        host: PlacedObject,
        size: tuple[float, float, float],
        slot: tuple[int, float],
    ) -> PlacedObject:
        side, along = slot
        w, d, h = size
        out = float(self.rng.uniform(-0.28, 0.25))
        (hx, hy), (hw, hd, _) = host.center, host.size
        reach = (hd if side % 2 == 0 else hw) / 2 + max(d / 2 + out, 0.05)
        slide = along * max(0.0, (hw if side % 2 == 0 else hd) / 2 - 0.1 * w)
        slide += float(self.rng.normal(0, 0.03))
        x, y = {0: (slide, reach), 1: (reach, slide), 2: (slide, -reach), 3: (-reach, slide)}[side]
        turn = {0: 2, 1: 1, 2: 0, 3: 3}[side]
        w, d = (w, d) if turn % 2 == 0 else (d, w)
        return PlacedObject(kind.key, (hx + x, hy + y), 0.0, (w, d, h), turn, FLOOR)

    def hanging(
        self, kind: ObjectKind, host: PlacedObject, relation: str, size: tuple[float, float, float],
        spread: float, side: int,
    ) -> PlacedObject | None:  # fmt: skip
        rng, (w, d, h) = self.rng, size
        (hx, hy), (hw, hd, hh) = host.center, host.size
        back, z, x = hy - hd / 2 + d / 2, kind.z, hx
        if relation == "above":
            z = max(host.z + hh + rng.uniform(0.05, 0.4), kind.z * rng.uniform(0.8, 1.0))
            x = hx + spread
            if z + h > self.height:
                z = host.z + hh + 0.05
                h = min(h, self.height - z - 0.02)
        elif relation == "along":
            w = hw * rng.uniform(0.9, 1.1)
            if kind.key == "blinds":
                z, h = host.z + hh * rng.uniform(0, 0.4), hh * 0.6
            elif kind.key == "windowsill":
                z = host.z - h
            elif kind.key == "doorframe":
                z, w, h = 0.0, hw + 0.12, hh + 0.06
        else:
            x = hx + side * (hw / 2 + w * rng.uniform(0.1, 0.7))
        if h < 0.03 or z + h > self.height:
            return None
        return PlacedObject(kind.key, (x, back), z, (w, d, h), 0, WALL, relation != "above")

    def fits(self, items: list[PlacedObject], host: int, item: PlacedObject) -> bool:
        """Whether a member overlaps no other of its group, or little."""
        if item.overlaps or item.size[2] <= 0.01:
            return item.size[2] > 0.01
        others = [other for i, other in enumerate(items) if i != host and not other.overlaps]
        if not others:
            return True
        low, high = bounds(others)
        mine_low, mine_high = bounds([item])
        shared = (np.minimum(high, mine_high) - np.maximum(low, mine_low)).clip(min=0).prod(1)
        smaller = np.minimum((high - low).prod(1), (mine_high - mine_low).prod())
        return bool((shared < 0.15 * smaller).all())


TURNS = [
    np.array([[1, 0], [0, 1]]), np.array([[0, -1], [1, 0]]),
    np.array([[-1, 0], [0, -1]]), np.array([[0, 1], [-1, 0]]),
]  # fmt: skip


def bounds(items: list[PlacedObject], turn: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Low and high corners (n, 3) of objects in their group's frame, after quarter turns."""
    center = np.array([(*item.center, item.z + item.size[2] / 2) for item in items])
    half = np.array([item.size for item in items]) / 2
    center[:, :2] = center[:, :2] @ TURNS[turn].T
    if turn % 2:
        half[:, :2] = half[:, 1::-1]
    return center - half, center + half
