"""Rooms like those of scanned homes, offices and schools: noisy boxes, many of a kind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.object_catalog import COLORS, OBJECT_KINDS
from spatial3d_ros.research.homes.group_layout import (
    FLOOR,
    TURNS,
    WALL,
    GroupLayout,
    PlacedObject,
    bounds,
)
from spatial3d_ros.research.homes.groups import Group, groups, room_types

MOST = 70  # objects in a room
_TRIES = 10


@dataclass(frozen=True, eq=False)
class Home:
    """One room with n objects, z up, floor at z = 0, its middle at x = y = 0, metres.

    kind: name of its room type; keys: kind of each object (object_catalog.OBJECT_KINDS); boxes
    (n, 6) centre and size; rgb (n, 3) in [0, 1] and the name of the color; front (n, 2) unit
    vectors, NaN for objects without a front; support (n,): index of the object that it stands on or
    in, FLOOR or WALL. size (3,): sides and height.
    """

    seed: int
    kind: str
    size: np.ndarray
    keys: tuple[str, ...]
    boxes: np.ndarray
    rgb: np.ndarray
    colors: tuple[str, ...]
    front: np.ndarray
    support: np.ndarray


def generate_home(seed: int, most: int = MOST) -> Home:
    """A room of about `most` objects at most. One seed (and most) always gives the same room."""
    rng = np.random.default_rng((seed, 6271))
    table = room_types()
    weights = np.array([kind.weight for kind in table], float)
    while True:
        kind = table[int(rng.choice(len(table), p=weights / weights.sum()))]
        builder = _HomeBuilder(rng, kind.low, kind.high, most)
        wanted = [
            name
            for name, least, most in kind.groups
            for _ in range(int(rng.integers(least, most + 1)))
        ]
        # Large groups are placed first.
        for name in sorted(
            wanted, key=lambda name: _PLACEMENT_ORDER.get(groups()[name].placement, 3)
        ):
            builder.add(groups()[name])
        if len(builder.keys) >= 7:
            return builder.finish(seed, kind.name)


_PLACEMENT_ORDER = {"hung": 0, "corner": 1, "wall": 1, "grid": 2, "middle": 2}


class _HomeBuilder(GroupLayout):
    def __init__(self, rng: np.random.Generator, low: float, high: float, most: int) -> None:
        super().__init__(rng, rng.uniform(low, high, 2) / 2, float(rng.uniform(2.3, 3.1)))
        self.most = most
        self.keys: list[str] = []
        self.fronts: list[int] = []  # quarter turns from +y, -1 where it has none
        self.supports: list[int] = []
        self.low = np.empty((400, 3))
        self.high = np.empty((400, 3))
        self.solid = np.zeros(400, bool)
        self.count = 0  # of objects; boxes beyond are clearances
        self.shades: dict[str, str] = {}
        self.clear_low: list[np.ndarray] = []
        self.clear_high: list[np.ndarray] = []

    def add(self, group: Group) -> bool:
        """Lay out a group and place it; False where it fits nowhere."""
        if self.count >= self.most:
            return False
        items = self.build(group)
        low, high = bounds(items)
        for _ in range(_TRIES):
            pose = self.pose(group, low[:, :2].min(0), high[:, :2].max(0))
            if pose is None:
                continue
            turn, shift = pose
            if self.put(items, turn, shift):
                return True
        return False

    def pose(
        self, group: Group, low: np.ndarray, high: np.ndarray
    ) -> tuple[int, np.ndarray] | None:
        """A turn and a shift for a group whose outline is low..high (2,), or None."""
        rng = self.rng
        turn = int(rng.integers(4))
        width, depth = high - low
        along, across = (0, 1) if turn % 2 == 0 else (1, 0)
        room, run = self.half[across] * 2 - depth, self.half[along] - width / 2
        if room < 0 or run < 0:
            return None
        if group.placement in ("wall", "hung", "corner"):
            depth_shift = self.half[across] + low[1] - float(rng.uniform(0, 0.06))
            y = -depth_shift if group.placement != "hung" else -(self.half[across] + low[1])
            x = float(rng.uniform(-run, run))
            if group.placement == "corner" or rng.random() < 0.2:
                x = math.copysign(run, x)
        else:
            spread = 0.35 if group.placement in ("middle", "grid") else 1.0
            x = float(rng.uniform(-run, run)) * spread
            y = float(rng.uniform(-room / 2, room / 2)) * spread - (low[1] + high[1]) / 2
        local = np.array([x - (low[0] + high[0]) / 2, y])
        return turn, TURNS[turn] @ local

    def put(self, items: list[PlacedObject], turn: int, shift: np.ndarray) -> bool:
        """Add a group where it intersects no other object."""
        low, high = bounds(items, turn)
        low[:, :2] += shift
        high[:, :2] += shift
        inside = (low[:, :2] > -self.half - 0.12).all() and (high[:, :2] < self.half + 0.12).all()
        if not inside or self.count + len(items) > self.most + 10:
            return False
        solid = np.array([not item.overlaps for item in items])
        n = self.count
        old_low, old_high = self.low[:n][self.solid[:n]], self.high[:n][self.solid[:n]]
        if self.clear_low:
            old_low = np.concatenate([old_low, self.clear_low])
            old_high = np.concatenate([old_high, self.clear_high])
        shared = np.minimum(high[solid, None], old_high) - np.maximum(low[solid, None], old_low)
        if (shared > 0.03).all(-1).any():
            return False
        for item, lo, hi in zip(items, low, high, strict=True):
            k = self.count
            self.low[k], self.high[k], self.solid[k] = lo, hi, not item.overlaps
            self.keys.append(item.key)
            self.fronts.append((item.turn + turn) % 4 if OBJECT_KINDS[item.key].front else -1)
            self.supports.append(n + item.support if item.support >= 0 else item.support)
            self.count += 1
            if item.key in ("door", "glass door", "elevator"):
                ahead = np.zeros(3)
                ahead[:2] = TURNS[turn] @ np.array([0.0, 0.75])
                self.clear_low.append(np.minimum(lo, lo + ahead))
                self.clear_high.append(np.maximum(hi, hi + ahead))
        return True

    def finish(self, seed: int, kind: str) -> Home:
        """The room with walls, colors and the noise of a scan."""
        rng, n = self.rng, self.count
        keys = list(self.keys)
        boxes = np.concatenate(
            [(self.low[:n] + self.high[:n]) / 2, self.high[:n] - self.low[:n]], 1
        )
        fronts, supports = list(self.fronts), list(self.supports)
        shell = self.shell()
        keys += [key for key, _ in shell]
        boxes = np.concatenate([boxes, np.array([box for _, box in shell]).reshape(-1, 6)])
        fronts += [-1] * len(shell)
        supports += [WALL] * len(shell)
        boxes = _scanned(boxes, rng)
        front = np.full((len(keys), 2), np.nan)
        for i, turn in enumerate(fronts):
            if turn >= 0:
                front[i] = TURNS[turn][:, 1]
        colors = [self.color(key) for key in keys]
        shade = np.array([COLORS[color] for color in colors]) / 255
        shade = shade * rng.uniform(0.8, 1.15) * rng.uniform(0.85, 1.1, (len(keys), 1))
        rgb = np.clip(shade + rng.normal(0, 0.025, shade.shape), 0, 1)
        keep = rng.random(len(keys)) > 0.06  # objects that annotators missed
        keep[: min(4, n)] = True
        kept_index = np.cumsum(keep) - 1
        support = np.array(
            [s if s < 0 else (kept_index[s] if keep[s] else FLOOR) for s in supports], int
        )
        order = rng.permutation(int(keep.sum()))
        new_index = np.argsort(order)
        support = support[keep][order]
        support = np.where(support >= 0, new_index[support.clip(min=0)], support)
        kept = np.flatnonzero(keep)[order]
        size = np.array([*(2 * self.half), self.height])
        return Home(
            seed, kind, size, tuple(keys[i] for i in kept), boxes[kept], rgb[kept],
            tuple(colors[i] for i in kept), front[kept], support,
        )  # fmt: skip

    def shell(self) -> list[tuple[str, np.ndarray]]:
        """Walls, floor and ceiling, where they are annotated."""
        rng, (hx, hy), tall = self.rng, self.half, self.height
        made = []
        if rng.random() < 0.7:
            walls = [(-hx, 0, 0.1, 2 * hy), (hx, 0, 0.1, 2 * hy)]
            walls += [(0, -hy, 2 * hx, 0.1), (0, hy, 2 * hx, 0.1)]
            for x, y, w, d in walls:
                if rng.random() < 0.8:
                    made.append(("wall", np.array([x, y, tall / 2, w, d, tall])))
        if rng.random() < 0.75:
            made.append(("floor", np.array([0, 0, 0, 2 * hx, 2 * hy, 0.08])))
        if rng.random() < 0.35:
            made.append(("ceiling", np.array([0, 0, tall, 2 * hx, 2 * hy, 0.06])))
        return made

    def color(self, key: str) -> str:
        """Objects of a kind mostly share their color."""
        if key in self.shades and self.rng.random() < 0.7:
            return self.shades[key]
        options = OBJECT_KINDS[key].colors
        self.shades[key] = options[int(len(options) * self.rng.random() ** 1.5)]
        return self.shades[key]


def _scanned(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Boxes (n, 6) as in scans: sides lost, outlines off, objects and rooms rotated slightly."""
    center, half = boxes[:, :3].copy(), boxes[:, 3:] / 2
    rotated = np.where(rng.random(len(boxes)) < 0.12, rng.uniform(-0.6, 0.6, len(boxes)), 0.0)
    tilt = float(rng.choice([0.0, rng.normal(0, 0.05), rng.uniform(-0.5, 0.5)], p=[0.6, 0.3, 0.1]))
    turn = np.where(boxes[:, 3:5].max(1) < 1.2, rotated, 0.0) + tilt
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    half[:, :2] = np.stack(
        [half[:, 0] * cos + half[:, 1] * sin, half[:, 0] * sin + half[:, 1] * cos], 1
    )
    c, s = math.cos(tilt), math.sin(tilt)
    center[:, :2] = center[:, :2] @ np.array([[c, -s], [s, c]]).T
    low, high = center - half, center + half
    sigma = rng.choice([0.3, 1.0, 1.5]) * (0.006 + 0.015 * boxes[:, 3:])
    low, high = low + rng.normal(0, sigma), high + rng.normal(0, sigma)
    lost = rng.random(low.shape) < 0.05
    share = rng.uniform(0.05, 0.35, low.shape) * (high - low)
    upper = rng.random(low.shape) < 0.5
    low, high = (
        np.where(lost & ~upper, low + share, low),
        np.where(lost & upper, high - share, high),
    )
    return np.concatenate([(low + high) / 2, np.maximum(high - low, 0.02)], 1)
