"""Draws how an object looks, and pairs that differ in one thing a camera has to see."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
_PATTERNED, _TWO_COLORED, _SIDED = 0.45, 0.3, 0.35
_PERIOD, _PERIODS = 0.34, (0.035, 0.36)  # share of the middle extent; metres
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
        rgb = np.clip(base * rng.uniform(0.8, 1.15) + rng.normal(0, 9, 3), 8, 247)
        if color_name(rgb) == color:
            return _rgb(rgb)
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


def alternatives(kind: Kind, item: RoomObject, rng: np.random.Generator) -> list[Draft]:
    """Drafts that differ from an object in one visible thing, in random order; their colors are
    still those of the object.
    """
    look = item.look
    assert look is not None
    drafts = []

    def add(changed: Look, material: str = item.material) -> None:
        drafts.append(Draft(item.color, item.rgb, material, changed))

    if look.pattern != "plain":
        for pattern in PATTERNS:
            if pattern != look.pattern:
                add(replace(look, pattern=pattern))
        add(replace(look, period=-look.period))
    plain = look.pattern == "plain" and not look.part and not look.side
    if plain:
        for material in kind.materials:
            if material != item.material:
                add(look, material)
    for shape in kind.shapes:
        if shape != look.shape and shape not in kind.by_variant:
            add(replace(look, shape=shape))
    for state in kind.states:
        if state != look.state and not {state, look.state} & set(kind.by_variant):
            add(replace(look, state=state))
    if look.part:
        for part in kind.two_colored:
            if part != look.part:
                add(replace(look, part=part))
        add(replace(look, part="", part_color="", part_rgb=(0, 0, 0)))
    if look.side:
        add(replace(look, side="", side_color="", side_rgb=(0, 0, 0)))
    return [drafts[k] for k in rng.permutation(len(drafts))]


def matched(draft: Draft, item: RoomObject) -> RoomObject | None:
    """The object with a draft's look, its color changed so that the mean color stays that of
    `item`; None where no color does that to MAX_DIFFERENCE.
    """
    wanted = mean_color(item)
    look = replace(draft.look)
    if look.pattern == "plain" and item.look is not None and item.look.pattern != "plain":
        look = replace(look, pattern_color="", pattern_rgb=(0, 0, 0))
    made = replace(item, rgb=draft.rgb, material=draft.material, look=look)
    for _ in range(3):
        error = wanted - mean_color(made)
        if difference(wanted, wanted - error) < MAX_DIFFERENCE - 1:
            return replace(made, color=color_name(np.array(made.rgb)))
        step = 1.0 if look.pattern == "plain" else 2.0
        share = max(_share(made), 0.05)
        rgb = np.array(made.rgb) + step * error / share
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
