"""Draws how an object looks, and pairs that differ in one thing a camera has to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from spatial3d_ros.categories import COLORS, PATTERNS
from spatial3d_ros.object_catalog import OBJECT_KINDS
from spatial3d_ros.research.rooms.catalog import Look, RoomObject
from spatial3d_ros.research.rooms.color_names import color_name, difference
from spatial3d_ros.research.rooms.kinds import Kind, allowed_colors
from spatial3d_ros.research.rooms.solids import kind_mesh

MAX_DIFFERENCE = 5.0
"""CIE Lab distance of the mean colors within an appearance pair."""
MAX_SIZE_RATIO = 1.2
_CONTRAST = 38.0  # CIE Lab distance of the two colors of an object
_MATERIAL_LAST = 0.6  # share of objects
_PATTERNED, _TWO_COLORED, _SIDED = 0.45, 0.3, 0.35
_PERIOD, _PERIODS = 0.34, (0.035, 0.36)  # share of the middle extent; metres
_COUNTERPART = {"round": "square", "square": "round", "oval": "rectangular", "rectangular": "oval"}
"""The shape that has the same box."""
_TYPICAL = {"silver": "gray", "tan": "brown", "pink": "red"}
Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Draft:
    """What is drawn of an object before its size and place."""

    color: str
    rgb: Rgb
    material: str
    look: Look


def shade(color: str, rng: np.random.Generator) -> Rgb:
    """A shade that is still nearest to its name."""
    base = np.array(COLORS[color], float)
    for _ in range(8):
        rgb = _rgb(np.clip(base * rng.uniform(0.8, 1.15) + rng.normal(0, 9, 3), 8, 247))
        if color_name(np.array(rgb)) == color:
            return rgb
    return COLORS[color]


def draw(kind: Kind, rng: np.random.Generator, palette: list[str], place: str) -> Draft:
    """A color, mostly of the room's palette or typical of the kind, and a look."""
    allowed = allowed_colors(kind)
    typical = [_TYPICAL.get(c, c) for c in OBJECT_KINDS[kind.name].colors]
    roll = rng.random()
    pool = typical if roll < 0.25 else [c for c in palette if roll < 0.7] or list(allowed)
    pool = [c for c in pool if c in allowed] or list(allowed)
    color = str(pool[int(rng.integers(len(pool)))])
    rgb = shade(color, rng)
    look = Look(
        shape=_one(kind.shapes, rng), state=_one(kind.states, rng), place=place,
    )  # fmt: skip
    roll = rng.random()
    if kind.patterned and roll < _PATTERNED:
        other = _contrasting(rgb, rng)
        pattern = str(rng.choice(PATTERNS[1:]))
        look = replace(look, pattern=pattern, pattern_color=other[0], pattern_rgb=other[1])
    elif kind.two_colored and roll > 1 - _TWO_COLORED:
        other = _contrasting(rgb, rng)
        part = _one(kind.two_colored, rng)
        look = replace(look, part=part, part_color=other[0], part_rgb=other[1])
    elif kind.sided and rng.random() < _SIDED:
        other = _contrasting(rgb, rng)
        side = str(rng.choice(("left", "right", "back")))
        look = replace(look, side=side, side_color=other[0], side_rgb=other[1])
    return Draft(color, rgb, _one(kind.materials, rng), look)


def with_period(draft: Draft, extent: tuple[float, float, float], turned: bool) -> Draft:
    """The draft with the period of its pattern for a depth, width and height."""
    middle = sorted(extent)[1]
    period = float(np.clip(_PERIOD * middle, *_PERIODS))
    return replace(draft, look=replace(draft.look, period=-period if turned else period))


def alternatives(
    kind: Kind, item: RoomObject, rng: np.random.Generator, first: str = ""
) -> list[Draft]:
    """Drafts that differ from an object in one visible thing, one of each sort, in random order, a
    sort named `first` before the others; their colors are not yet matched.
    """
    look = item.look
    assert look is not None
    sorts: dict[str, list[tuple[Look, str]]] = {
        "pattern": [(new, item.material) for new in _other_patterns(kind, item, rng)],
        "material": [(look, m) for m in kind.materials if m != item.material],
        "shape": [
            (replace(look, shape=shape), item.material)
            for shape in kind.shapes
            if shape == _COUNTERPART.get(look.shape)
        ],
        "state": [
            (replace(look, state=state), item.material)
            for state in kind.states
            if state != look.state and not {state, look.state} & set(kind.by_variant)
        ],
        "part": [(new, item.material) for new in _other_parts(kind, item, rng)],
        "side": [(new, item.material) for new in _other_sides(kind, item, rng)],
    }
    order = [str(sort) for sort in rng.permutation(list(sorts))]
    if rng.random() < _MATERIAL_LAST:  # nearly every kind has several materials
        order.sort(key=lambda sort: sort == "material")
    order.sort(key=lambda sort: sort != first)
    drafts = []
    for changes in filter(None, (sorts[sort] for sort in order)):
        changed, material = changes[int(rng.integers(len(changes)))]
        drafts.append(Draft(item.color, item.rgb, material, changed))
    return drafts


def _other_patterns(kind: Kind, item: RoomObject, rng: np.random.Generator) -> list[Look]:
    look = item.look
    assert look is not None
    if not kind.patterned:
        return []
    if look.pattern != "plain":
        others = [replace(look, pattern=p) for p in PATTERNS[1:] if p != look.pattern]
        plain = replace(look, pattern="plain", pattern_color="", pattern_rgb=(0, 0, 0))
        return [*others, plain]
    # `matched` gives the object the other of two colors around its own.
    own = np.array(item.rgb, float)
    second = own + rng.choice((-1, 1)) * np.minimum(
        rng.uniform(45, 95, 3), np.minimum(own, 255 - own)
    )
    color = color_name(second)
    if difference(second, own) < _CONTRAST / 2 or look.part or look.side:
        return []
    return [
        replace(look, pattern=p, pattern_color=color, pattern_rgb=_rgb(second))
        for p in PATTERNS[1:]
    ]


def _other_parts(kind: Kind, item: RoomObject, rng: np.random.Generator) -> list[Look]:
    look = item.look
    assert look is not None
    if look.pattern != "plain" or look.side:
        return []
    if not look.part:
        color, rgb = _contrasting(item.rgb, rng)
        return [replace(look, part=p, part_color=color, part_rgb=rgb) for p in kind.two_colored]
    plain = replace(look, part="", part_color="", part_rgb=(0, 0, 0))
    return [plain, *(replace(look, part=p) for p in kind.two_colored if p != look.part)]


def _other_sides(kind: Kind, item: RoomObject, rng: np.random.Generator) -> list[Look]:
    look = item.look
    assert look is not None
    if not kind.sided or look.pattern != "plain" or look.part:
        return []
    if look.side:
        return [replace(look, side="", side_color="", side_rgb=(0, 0, 0))]
    color, rgb = _contrasting(item.rgb, rng)
    return [replace(look, side="left", side_color=color, side_rgb=rgb)]


def matched(draft: Draft, item: RoomObject) -> RoomObject | None:
    """The object with a draft's look, its color changed so that the mean color stays that of
    `item`; None where no color does that to MAX_DIFFERENCE.
    """
    wanted = mean_color(item)
    made = replace(item, rgb=draft.rgb, material=draft.material, look=draft.look)
    for _ in range(3):
        error = wanted - mean_color(made)
        if difference(wanted, wanted - error) < MAX_DIFFERENCE - 1:
            return replace(made, color=color_name(np.array(made.rgb)))
        share = _share(made)
        if share < 0.05:
            return None
        rgb = np.array(made.rgb) + error / share
        if (rgb < 0).any() or (rgb > 255).any():
            return None
        made = replace(made, rgb=_rgb(rgb))
    return None


def mean_color(item: RoomObject) -> np.ndarray:
    """Mean color (3,) of an object's surface, 0 .. 255, without texture and light."""
    mesh = kind_mesh(item)
    rgb = np.where((mesh.motif > 0)[:, None], (mesh.rgb + mesh.second) / 2, mesh.rgb)
    edges = mesh.triangles[:, 1:] - mesh.triangles[:, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    return (rgb * area[:, None]).sum(0) / area.sum()


def _share(item: RoomObject) -> float:
    """How much of the mean color follows the object's own."""
    more = np.clip(np.array(item.rgb) + 12, 0, 255)
    moved = mean_color(replace(item, rgb=_rgb(more))) - mean_color(item)
    return float(moved.sum() / max((more - np.array(item.rgb)).sum(), 1))


def _contrasting(rgb: Rgb, rng: np.random.Generator) -> tuple[str, Rgb]:
    """The name and shade of a color that is clearly another one."""
    for name in rng.permutation(list(COLORS)):
        other = shade(str(name), rng)
        if difference(np.array(rgb), np.array(other)) > _CONTRAST:
            return str(name), other
    raise AssertionError("every color has one that differs")


def _one(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return str(options[int(rng.integers(len(options)))]) if options else ""


def _rgb(values: np.ndarray) -> Rgb:
    r, g, b = (int(v) for v in np.clip(np.round(values), 0, 255))
    return r, g, b


def appearance_pairs(objects: Sequence[RoomObject]) -> list[tuple[int, int]]:
    """Indices of objects that share class, mean color (MAX_DIFFERENCE in CIE Lab) and size (every
    side to MAX_SIZE_RATIO) with another one, and the index of that one.
    """
    pairs = []
    for i, item in enumerate(objects):
        for j, other in enumerate(objects):
            if i == j or item.look is None or item.category != other.category:
                continue
            if alike_in_size(item, other) and _color_difference(item, other) <= MAX_DIFFERENCE:
                pairs.append((i, j))
    return pairs


def alike_in_size(a: RoomObject, b: RoomObject) -> bool:
    """Whether all sides agree to MAX_SIZE_RATIO, whichever way the objects are turned."""
    sides = zip((*sorted(a.box.size[:2]), a.box.size[2]), (*sorted(b.box.size[:2]), b.box.size[2]),
                strict=True)  # fmt: skip
    return all(max(p, q) <= MAX_SIZE_RATIO * min(p, q) for p, q in sides)


@lru_cache(maxsize=4096)
def _color_difference(a: RoomObject, b: RoomObject) -> float:
    return difference(_mean_color(a), _mean_color(b))


_mean_color = lru_cache(maxsize=4096)(mean_color)
