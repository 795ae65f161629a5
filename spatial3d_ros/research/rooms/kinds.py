"""The rendered kinds of object, read from `kinds.yaml`; nouns are in `object_catalog`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from spatial3d_ros.categories import COLORS, Range
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.object_catalog import OBJECT_KINDS
from spatial3d_ros.research.rooms.part_table import PartLine, parse_part

FILE = Path(__file__).with_name("kinds.yaml")
Extents = tuple[Range, Range, Range]

LOOK_ALIKES: dict[str, tuple[str, ...]] = {
    "panels": ("picture", "mirror", "whiteboard", "window", "tv", "blackboard", "bulletin board",
               "poster", "map"),
    "cubes": ("box", "drawer unit", "bin", "speaker", "storage bin", "crate", "safe",
              "computer tower", "laundry hamper", "basket", "drum", "nightstand", "mini fridge"),
    "slabs": ("book", "laptop", "tray", "notebook", "cutting board", "magazine", "keyboard",
              "binder", "game console", "paper"),
    "soft": ("bag", "pillow", "purse", "blanket", "stuffed animal", "backpack", "duffel bag"),
    "cylinders": ("mug", "can", "jar", "candle", "glass", "toilet paper", "pen holder"),
    "bottles": ("bottle", "spray bottle", "shampoo bottle", "soap dispenser", "detergent", "vase"),
    "towers": ("wardrobe", "fridge", "locker", "storage cabinet", "bookshelf", "closet",
               "display case", "vending machine"),
    "appliances": ("washing machine", "clothes dryer", "dishwasher", "stove", "kitchen cabinet"),
    "chairs": ("chair", "folding chair", "office chair", "bar stool", "high chair"),
    "balls": ("ball", "soccer ball", "globe"),
    "counter": ("microwave", "toaster oven", "printer", "radio", "tool box"),
}  # fmt: skip
"""Kinds whose boxes do not tell them apart."""


@dataclass(frozen=True)
class Kind:
    """How one kind looks and where it stands. Ranges in metres: width across, depth along the
    heading, height. `by_variant`: other ranges for a shape or a state; `place`: "floor", "wall",
    "top", "hung" or "door", the first that fits; z: bottom of a hung one. surface, back, side: as
    `CategorySpec`.
    """

    name: str
    materials: tuple[str, ...]
    colors: tuple[str, ...]
    patterned: bool
    two_colored: tuple[str, ...]
    sided: bool
    shapes: tuple[str, ...]
    states: tuple[str, ...]
    width: Range
    depth: Range
    height: Range
    by_variant: dict[str, Extents]
    places: tuple[str, ...]
    z: float
    surface: float
    back: float
    side: float
    hollow: bool
    soft: bool
    parts: tuple[PartLine, ...]

    round = False  # of the furnisher's point of view; a round one has `look.shape` "round"

    def extents(self, shape: str, state: str) -> Extents:
        """Ranges of width, depth and height for a shape and a state."""
        for variant in (shape, state):
            if variant in self.by_variant:
                return self.by_variant[variant]
        return self.width, self.depth, self.height


@cache
def kinds() -> dict[str, Kind]:
    """All rendered kinds by name."""
    table = yaml.safe_load(FILE.read_text())
    found = {}
    for name, fields in table.items():
        if name not in OBJECT_KINDS:
            raise ConfigError(f"kinds.yaml: {name} is not in object_catalog")
        merged = dict(fields)
        while "like" in merged:
            merged = {**table[merged.pop("like")], **merged}
        found[name] = _kind(name, merged)
    return found


_KEYS = {"m", "c", "pat", "two", "side", "shape", "state", "size", "shape_size", "state_size", "at",
         "top", "hollow", "soft", "parts"}  # fmt: skip


def _kind(name: str, fields: dict) -> Kind:
    unknown = fields.keys() - _KEYS
    if unknown:  # YAML reads some words, such as on, as true
        raise ConfigError(f"kinds.yaml: {name}: unknown option {', '.join(map(str, unknown))}")
    size = _extents(fields["size"], None)
    variants = {**fields.get("shape_size", {}), **fields.get("state_size", {})}
    known = OBJECT_KINDS[name]
    where = str(fields.get("at", f"{known.placement} {known.z * 100:g}")).replace(",", "").split()
    surface, back, side = map(float, str(fields.get("top", "0 0 0")).split())
    places = tuple(word for word in where if not word.replace(".", "").isdigit())
    return Kind(
        name=name,
        materials=tuple(fields["m"].split()),
        colors=tuple(str(fields.get("c", "")).split()),
        patterned=bool(fields.get("pat", False)),
        two_colored=tuple(str(fields.get("two", "")).split()),
        sided=bool(fields.get("side", False)),
        shapes=tuple(str(fields.get("shape", "")).split()),
        states=tuple(str(fields.get("state", "")).split()),
        width=size[0],
        depth=size[1],
        height=size[2],
        by_variant={key: _extents(text, size) for key, text in variants.items()},
        places=places,
        z=next((float(w) / 100 for w in where if w.replace(".", "").isdigit()), 0.0),
        surface=surface,
        back=back,
        side=side,
        hollow=bool(fields.get("hollow", False)),
        soft=bool(fields.get("soft", False)),
        parts=tuple(parse_part(line) for line in fields["parts"].strip().splitlines()),
    )


def _extents(text: str, normal: Extents | None) -> Extents:
    """Ranges of "width depth height" in cm; "." takes that of `normal`."""
    ranges = []
    for i, word in enumerate(str(text).split()):
        if word == ".":
            assert normal is not None
            ranges.append(normal[i])
        else:
            low, high = (word.split("-") * 2)[:2]
            ranges.append((float(low) / 100, float(high) / 100))
    return ranges[0], ranges[1], ranges[2]


def allowed_colors(kind: Kind) -> tuple[str, ...]:
    """The colors of a kind: its own, or all."""
    return kind.colors or tuple(COLORS)
