"""Rooms as scans of homes, offices and schools have them: boxes only, many of a kind, imperfect."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.data.homes.groups import Group, Member, groups, kinds
from spatial3d_ros.data.homes.things import COLORS, THINGS, Thing

FLOOR, WALL = -1, -2
MOST = 70  # objects in a room
_SEATS = {"couch", "bed", "armchair", "chair", "loveseat", "crib", "bunk bed", "toilet", "bench"}
_TRIES = 10


@dataclass(frozen=True, eq=False)
class Home:
    """One room: n things, z up, floor at z = 0, its middle at x = y = 0, metres.

    keys: what each is (things.THINGS); boxes (n, 6) centre and size; rgb (n, 3) in [0, 1] and the
    colour's name; front (n, 2) unit vectors, NaN where none shows; support (n,): index of what it
    stands on or in, FLOOR or WALL. size (3,): sides and height.
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


def generate_home(seed: int) -> Home:
    """One seed is always one room."""
    rng = np.random.default_rng((seed, 6271))
    table = kinds()
    weights = np.array([kind.weight for kind in table], float)
    while True:
        kind = table[int(rng.choice(len(table), p=weights / weights.sum()))]
        builder = _Home(rng, kind.low, kind.high)
        wanted = [
            name
            for name, least, most in kind.groups
            for _ in range(int(rng.integers(least, most + 1)))
        ]
        # Large things find their places first.
        for name in sorted(wanted, key=lambda name: _ORDER.get(groups()[name].place, 3)):
            builder.add(groups()[name])
        if len(builder.keys) >= 7:
            return builder.finish(seed, kind.name)


_ORDER = {"hung": 0, "corner": 1, "wall": 1, "grid": 2, "middle": 2}


@dataclass
class _Item:
    """A thing in its group's frame: x to the right, y to the front; `turn` in quarter turns."""

    key: str
    center: tuple[float, float]
    z: float
    size: tuple[float, float, float]
    turn: int
    support: int
    free: bool = False  # may overlap others: rugs, frames, what hangs over things


class _Home:
    def __init__(self, rng: np.random.Generator, low: float, high: float) -> None:
        self.rng = rng
        self.half = rng.uniform(low, high, 2) * np.array([0.5, 0.5])
        self.height = float(rng.uniform(2.3, 3.1))
        self.keys: list[str] = []
        self.fronts: list[int] = []  # quarter turns from +y, -1 where it has none
        self.supports: list[int] = []
        self.low = np.empty((400, 3))
        self.high = np.empty((400, 3))
        self.solid = np.zeros(400, bool)
        self.count = 0  # of objects; boxes beyond are clearances
        self.sizes: dict[str, tuple[float, float, float]] = {}
        self.shades: dict[str, str] = {}
        self.clear_low: list[np.ndarray] = []
        self.clear_high: list[np.ndarray] = []

    # -- sizes ---------------------------------------------------------------------------------
    def size(self, thing: Thing) -> tuple[float, float, float]:
        """Things of a kind are mostly alike within a room."""
        if thing.key in self.sizes and self.rng.random() < 0.75:
            return self.sizes[thing.key]
        whole = self.rng.uniform(0.8, 1.2)
        factors = whole * self.rng.uniform(0.8, 1.25, 3)
        width, depth, height = (float(s * f) for s, f in zip(thing.size, factors, strict=True))
        made = (width, depth, min(height, self.height - 0.05))
        self.sizes[thing.key] = made
        return made

    # -- groups --------------------------------------------------------------------------------
    def add(self, group: Group) -> bool:
        """Build a group and look for a place; False where it finds none."""
        if self.count >= MOST:
            return False
        items = self.build(group)
        low, high = _bounds(items)
        for _ in range(_TRIES):
            place = self.place(group, low[:, :2].min(0), high[:, :2].max(0))
            if place is None:
                continue
            turn, shift = place
            if self.put(items, turn, shift):
                return True
        return False

    def build(self, group: Group) -> list[_Item]:
        """The things of a group in its own frame."""
        thing = THINGS[group.head]
        z = 0.0
        if group.place == "hung":
            z = thing.z or (0.0 if "door" in thing.key or thing.key == "elevator" else 0.85)
            z *= float(self.rng.uniform(0.85, 1.12))
        elif group.place == "roof":
            z = self.height - self.size(thing)[2] - 0.02
        support = WALL if group.place in ("hung", "roof") else FLOOR
        if group.place == "top":
            return [_Item(group.head, (0.0, 0.0), 0.0, self.size(thing), 0, FLOOR)]
        items = [_Item(group.head, (0.0, 0.0), z, self.size(thing), 0, support)]
        heads = [0]
        if group.place == "grid":
            self.grid(items, heads)
        for member in group.members:
            if member.how == "row":
                self.row(items, heads, member)
                continue
            hosts = heads
            if member.host is not None:
                hosts = [i for i, item in enumerate(items) if item.key == member.host]
            for host in hosts if member.how != "overall" else hosts[:1]:
                times = int(self.rng.integers(member.least, member.most + 1))
                slots = (
                    self.around(items[host], times) if member.how == "around" else [None] * times
                )
                for k in range(times):
                    item = self.member(items, heads, host, member, k, times, slots[k])
                    if item is not None and self.fits(items, host, item):
                        items.append(item)
        return items

    def row(self, items: list[_Item], heads: list[int], member: Member) -> None:
        head, gap = items[0], float(self.rng.choice([0.0, 0.02, 0.1, 0.4], p=[0.4, 0.3, 0.2, 0.1]))
        for k in range(1, int(self.rng.integers(member.least, member.most + 1)) + 1):
            x = k * (head.size[0] + gap)
            item = _Item(head.key, (x, 0.0), head.z, head.size, 0, head.support)
            heads.append(len(items))
            items.append(item)

    def grid(self, items: list[_Item], heads: list[int]) -> None:
        head = items[0]
        across = head.size[0] + float(self.rng.uniform(0.05, 0.9))
        deep = head.size[1] + float(self.rng.uniform(0.75, 1.3))
        columns = min(int(self.rng.integers(1, 4)), max(1, int(1.6 * self.half[0] / across)))
        rows = min(int(self.rng.integers(2, 5)), max(1, int(1.6 * self.half[1] / deep)))
        for k in range(1, columns * rows):
            center = (k % columns * across, k // columns * deep)
            heads.append(len(items))
            items.append(_Item(head.key, center, 0.0, head.size, 0, FLOOR))

    def around(self, host: _Item, count: int) -> list[tuple[int, float]]:
        """(side, place along it in [-1, 1]) of seats at a table: sides front, right, back, left."""
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
        self, items: list[_Item], heads: list[int], index: int, member: Member, k: int, times: int,
        slot: tuple[int, float] | None,
    ) -> _Item | None:  # fmt: skip
        """One member at its host, or None where it has no room."""
        rng, host, thing, how = self.rng, items[index], THINGS[member.thing], member.how
        (hx, hy), (hw, hd, hh) = host.center, host.size
        w, d, h = self.size(thing)
        side = 1 if (k + index) % 2 else -1
        spread = ((k + 0.5) / times - 0.5) * hw
        back = hy - hd / 2 + d / 2
        top = host.z + hh
        if slot is not None:
            return self.seat(thing, host, (w, d, h), slot)
        if how in ("beside", "corner"):
            x = hx + side * (hw / 2 + w / 2 + rng.uniform(0.02, 0.18) + k // 2 * (w + 0.1))
            return _Item(thing.key, (x, back), 0.0, (w, d, h), 0, FLOOR)
        if how in ("front", "behind"):
            gap = rng.uniform(-0.3, 0.35) if thing.key.endswith("chair") else rng.uniform(0.15, 0.5)
            y = hd / 2 + d / 2 + max(gap, -d / 2)
            x = hx + spread + rng.normal(0, 0.05)
            sign = 1 if how == "front" else -1
            turn = 2 if how == "front" else 0
            return _Item(thing.key, (x, hy + sign * y), 0.0, (w, d, h), turn, FLOOR)
        if how in ("on", "inside"):
            w, d = min(w, 0.95 * hw), min(d, 0.95 * hd)
            z = top
            if how == "inside":
                levels = max(1, round(hh / 0.4))
                z = host.z + hh * (int(rng.integers(levels)) + 0.05) / levels
                h = min(h, 0.9 * hh / levels)
            elif host.key in _SEATS:
                z = host.z + hh * rng.uniform(0.42, 0.62)
            x = hx + rng.uniform(-0.5, 0.5) * (hw - w)
            y = hy + rng.uniform(-0.5, 0.5) * (hd - d)
            if thing.key.endswith("pillow"):  # at the head of a bed, along a couch
                y = hy - hd / 2 + d / 2 + rng.uniform(0.0, 0.15)
                x = hx + spread + rng.normal(0, 0.05)
            return _Item(thing.key, (x, y), z, (w, d, h), 0, index)
        if how == "under":
            if w > hw or hh < 0.4:
                return None
            x = hx + rng.uniform(-0.5, 0.5) * (hw - w)
            y = hy + rng.uniform(-0.4, 0.4) * max(0.0, hd - d)
            return _Item(thing.key, (x, y), 0.0, (w, d, min(h, hh - 0.06)), 0, FLOOR, True)
        if how == "below":
            h = min(h, host.z - 0.04) if host.z > 0.3 else h
            x = hx + rng.uniform(-0.5, 0.5) * hw
            return _Item(thing.key, (x, back), 0.0, (w, d, h), 0, FLOOR)
        if how == "overall":
            row = [items[i] for i in heads]
            left = min(item.center[0] - item.size[0] / 2 for item in row)
            right = max(item.center[0] + item.size[0] / 2 for item in row)
            center = ((left + right) / 2, hy)
            return _Item(thing.key, center, top - 0.02, (right - left, hd, 0.06), 0, index, True)
        if how == "underfoot":
            return _Item(thing.key, (hx, hy + hd / 2), 0.0, (w, d, h), 0, FLOOR, True)
        if how == "over":
            if thing.place == "roof":
                z = self.height - h - 0.02
                return _Item(thing.key, (hx, hy), z, (w, d, h), 0, WALL, True)
            y = hy + hd / 2
            x = hx + (k - (times - 1) / 2) * hw / 2
            return _Item(thing.key, (x, y), thing.z, (min(w, hw) / times, d, h), 0, WALL, True)
        return self.hanging(thing, host, how, (w, d, h), spread, side)

    def seat(
        self, thing: Thing, host: _Item, size: tuple[float, float, float], slot: tuple[int, float]
    ) -> _Item:
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
        return _Item(thing.key, (hx + x, hy + y), 0.0, (w, d, h), turn, FLOOR)

    def hanging(
        self, thing: Thing, host: _Item, how: str, size: tuple[float, float, float],
        spread: float, side: int,
    ) -> _Item | None:  # fmt: skip
        rng, (w, d, h) = self.rng, size
        (hx, hy), (hw, hd, hh) = host.center, host.size
        back, z, x = hy - hd / 2 + d / 2, thing.z, hx
        if how == "above":
            z = max(host.z + hh + rng.uniform(0.05, 0.4), thing.z * rng.uniform(0.8, 1.0))
            x = hx + spread
            if z + h > self.height:
                z = host.z + hh + 0.05
                h = min(h, self.height - z - 0.02)
        elif how == "along":
            w = hw * rng.uniform(0.9, 1.1)
            if thing.key == "blinds":
                z, h = host.z + hh * rng.uniform(0, 0.4), hh * 0.6
            elif thing.key == "windowsill":
                z = host.z - h
            elif thing.key == "doorframe":
                z, w, h = 0.0, hw + 0.12, hh + 0.06
        else:
            x = hx + side * (hw / 2 + w * rng.uniform(0.1, 0.7))
        if h < 0.03 or z + h > self.height:
            return None
        return _Item(thing.key, (x, back), z, (w, d, h), 0, WALL, how != "above")

    def fits(self, items: list[_Item], host: int, item: _Item) -> bool:
        """Whether a member leaves the others of its group alone."""
        if item.free or item.size[2] <= 0.01:
            return item.size[2] > 0.01
        others = [other for i, other in enumerate(items) if i != host and not other.free]
        if not others:
            return True
        low, high = _bounds(others)
        mine_low, mine_high = _bounds([item])
        shared = (np.minimum(high, mine_high) - np.maximum(low, mine_low)).clip(min=0).prod(1)
        smaller = np.minimum((high - low).prod(1), (mine_high - mine_low).prod())
        return bool((shared < 0.15 * smaller).all())

    # -- places --------------------------------------------------------------------------------
    def place(
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
        if group.place in ("wall", "hung", "corner"):
            depth_shift = self.half[across] + low[1] - float(rng.uniform(0, 0.06))
            y = -depth_shift if group.place != "hung" else -(self.half[across] + low[1])
            x = float(rng.uniform(-run, run))
            if group.place == "corner" or rng.random() < 0.2:
                x = math.copysign(run, x)
        else:
            spread = 0.35 if group.place in ("middle", "grid") else 1.0
            x = float(rng.uniform(-run, run)) * spread
            y = float(rng.uniform(-room / 2, room / 2)) * spread - (low[1] + high[1]) / 2
        local = np.array([x - (low[0] + high[0]) / 2, y])
        return turn, _TURNS[turn] @ local

    def put(self, items: list[_Item], turn: int, shift: np.ndarray) -> bool:
        """Add a group where nothing else is in its way."""
        low, high = _bounds(items, turn)
        low[:, :2] += shift
        high[:, :2] += shift
        inside = (low[:, :2] > -self.half - 0.12).all() and (high[:, :2] < self.half + 0.12).all()
        if not inside or self.count + len(items) > MOST + 10:
            return False
        solid = np.array([not item.free for item in items])
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
            self.low[k], self.high[k], self.solid[k] = lo, hi, not item.free
            self.keys.append(item.key)
            self.fronts.append((item.turn + turn) % 4 if THINGS[item.key].front else -1)
            self.supports.append(n + item.support if item.support >= 0 else item.support)
            self.count += 1
            if item.key in ("door", "glass door", "elevator"):
                ahead = np.zeros(3)
                ahead[:2] = _TURNS[turn] @ np.array([0.0, 0.75])
                self.clear_low.append(np.minimum(lo, lo + ahead))
                self.clear_high.append(np.maximum(hi, hi + ahead))
        return True

    # -- the whole -----------------------------------------------------------------------------
    def finish(self, seed: int, kind: str) -> Home:
        """Walls, colours, and what a scan makes of it."""
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
                front[i] = _TURNS[turn][:, 1]
        colors = [self.color(key) for key in keys]
        shade = np.array([COLORS[color] for color in colors]) / 255
        shade = shade * rng.uniform(0.8, 1.15) * rng.uniform(0.85, 1.1, (len(keys), 1))
        rgb = np.clip(shade + rng.normal(0, 0.025, shade.shape), 0, 1)
        keep = rng.random(len(keys)) > 0.06  # what annotators forgot
        keep[: min(4, n)] = True
        place = np.cumsum(keep) - 1
        support = np.array(
            [s if s < 0 else (place[s] if keep[s] else FLOOR) for s in supports], int
        )
        order = rng.permutation(int(keep.sum()))
        slot = np.argsort(order)
        support = support[keep][order]
        support = np.where(support >= 0, slot[support.clip(min=0)], support)
        kept = np.flatnonzero(keep)[order]
        size = np.array([*(2 * self.half), self.height])
        return Home(
            seed, kind, size, tuple(keys[i] for i in kept), boxes[kept], rgb[kept],
            tuple(colors[i] for i in kept), front[kept], support,
        )  # fmt: skip

    def shell(self) -> list[tuple[str, np.ndarray]]:
        """Walls, floor and ceiling, where they are annotated at all."""
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
        """Things of a kind mostly share their colour."""
        if key in self.shades and self.rng.random() < 0.7:
            return self.shades[key]
        options = THINGS[key].colors
        self.shades[key] = options[int(len(options) * self.rng.random() ** 1.5)]
        return self.shades[key]


_TURNS = [
    np.array([[1, 0], [0, 1]]), np.array([[0, -1], [1, 0]]),
    np.array([[-1, 0], [0, -1]]), np.array([[0, 1], [-1, 0]]),
]  # fmt: skip


def _bounds(items: list[_Item], turn: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Low and high corners (n, 3) of things in their group's frame, turned."""
    center = np.array([(*item.center, item.z + item.size[2] / 2) for item in items])
    half = np.array([item.size for item in items]) / 2
    center[:, :2] = center[:, :2] @ _TURNS[turn].T
    if turn % 2:
        half[:, :2] = half[:, 1::-1]
    return center - half, center + half


def _scanned(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Boxes (n, 6) as a scan has them: sides lost, outlines off, things and rooms a little askew."""
    center, half = boxes[:, :3].copy(), boxes[:, 3:] / 2
    askew = np.where(rng.random(len(boxes)) < 0.12, rng.uniform(-0.6, 0.6, len(boxes)), 0.0)
    whole = float(rng.choice([0.0, rng.normal(0, 0.05), rng.uniform(-0.5, 0.5)], p=[0.6, 0.3, 0.1]))
    turn = np.where(boxes[:, 3:5].max(1) < 1.2, askew, 0.0) + whole
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    half[:, :2] = np.stack(
        [half[:, 0] * cos + half[:, 1] * sin, half[:, 0] * sin + half[:, 1] * cos], 1
    )
    c, s = math.cos(whole), math.sin(whole)
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
