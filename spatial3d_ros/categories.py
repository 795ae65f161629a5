"""The categories of the shipped network: nouns, usual sizes, colors and supporting surfaces."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spatial3d_ros.object_catalog import OBJECT_KINDS

Range = tuple[float, float]
Size = tuple[float, float, float]

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (196, 34, 36),
    "green": (44, 142, 58),
    "blue": (38, 78, 190),
    "yellow": (234, 204, 40),
    "orange": (238, 124, 24),
    "purple": (124, 50, 158),
    "white": (236, 236, 232),
    "black": (36, 36, 40),
    "gray": (134, 136, 140),
    "brown": (102, 64, 40),
}

CLASSES: tuple[str, ...] = tuple(
    name.strip()
    for name in """
chair, office chair, armchair, recliner, folding chair, rocking chair, high chair, beanbag
chair, stool, bar stool, bench, sofa, loveseat, ottoman, bed, bunk bed, crib, mattress, table,
coffee table, end table, console table, desk, folding table, workbench, ironing board,
nightstand, dresser, drawer unit, file cabinet, wardrobe, closet, cabinet, storage cabinet,
kitchen cabinet, wall cabinet, tv stand, display case, bookshelf, shelf, wall shelf, shoe
rack, coat rack, locker, safe, box, storage bin, crate, basket, laundry hamper, bin, recycling
bin, bucket, suitcase, backpack, bag, purse, duffel bag, pillow, blanket, towel, stuffed
animal, shoe, hat, jacket, rug, mat, curtain, fridge, mini fridge, stove, dishwasher, washing
machine, clothes dryer, microwave, toaster, toaster oven, coffee maker, kettle, blender,
printer, copier, vending machine, water cooler, sink, bathroom sink, toilet, bathtub, shower,
plate, bowl, pot, pan, cutting board, knife block, dish rack, fruit, mug, glass, can, jar,
candle, pen holder, toilet paper, bottle, spray bottle, shampoo bottle, detergent, soap
dispenser, vase, flowers, plant, christmas tree, ball, soccer ball, globe, trophy, statue,
book, notebook, books, magazine, paper, binder, laptop, keyboard, tray, game console, bathroom
scale, telephone, tissue box, cereal box, tool box, tv, monitor, projector screen, picture,
photo, mirror, standing mirror, poster, map, calendar, whiteboard, blackboard, bulletin board,
clock, alarm clock, sign, door, window, blinds, radiator, fireplace, air conditioner, fire
extinguisher, lamp, floor lamp, fan, speaker, computer tower, space heater, radio, camera,
tripod, guitar, piano, drum, bicycle, skateboard, dumbbell, treadmill, stroller, vacuum
cleaner, broom, mop, ladder, step stool, stairs, column, divider, flip chart, podium, person,
dog, bird cage, fish tank, toy car
""".replace("\n", " ").split(",")
)
"""The classes of the full catalog of generated rooms: keys of `object_catalog.OBJECT_KINDS`."""
MATERIALS = ("wood", "metal", "fabric", "leather", "plastic", "glass", "ceramic", "paper",
             "cardboard", "wicker", "stone", "leaf")  # fmt: skip
PATTERNS = ("plain", "striped", "checked", "dotted")
SHAPES = ("round", "oval", "square", "rectangular", "straight", "L-shaped")
PART_NOUNS = frozenset(
    ("arm", "armrest", "back", "band", "base", "border", "bristle", "button", "cap", "cover",
     "corner", "cushion", "door", "drawer", "ear", "edge", "face", "flap", "frame", "front",
     "handle", "head", "hose", "label", "leg", "lid", "pocket", "pot", "pump", "rim", "screen",
     "seat", "shade", "side", "sole", "spot", "step", "stem", "strap", "stripe", "top", "trousers",
     "wheel", "zip")
)  # fmt: skip
"""Parts that set an object apart: "the box with the white lid"."""
LOOK_WORDS = {
    "wooden": "wood", "metallic": "metal", "steel": "metal", "iron": "metal", "cloth": "fabric",
    "textile": "fabric", "carton": "cardboard", "plastics": "plastic", "marble": "stone",
    "porcelain": "ceramic", "checkered": "checked", "chequered": "checked", "stripy": "striped",
    "stripey": "striped", "spotted": "dotted", "polka": "dotted", "polka-dot": "dotted",
    "spotty": "dotted", "rattan": "wicker", "shut": "closed", "opened": "open", "lit": "on",
    "circular": "round", "quadratic": "square",
}  # fmt: skip
"""Further words for MATERIALS, PATTERNS, SHAPES and STATES."""
STATES = ("open", "closed", "on", "off", "full", "empty")
NO_COLOR = "none"
LOOKS: dict[str, tuple[str, ...]] = {
    "material": MATERIALS,
    "pattern": PATTERNS,
    "shape": SHAPES,
    "state": STATES,
    "second_color": (NO_COLOR, *COLORS),
}
"""Attributes of how an object looks, with their names; `second_color`: of a part, side or pattern
that is not in the object's own color.
"""


_VARIANTS = """
open closed | nightstand, dresser, file cabinet, wardrobe, cabinet, box, bin, fridge, stove
open closed | microwave, toilet, book, laptop, door
full empty | bookshelf, shelf, shoe rack, coat rack, crate, basket, bucket, washing machine
full empty | blender, bathtub, bowl, dish rack, mug, glass, vase
on off | candle, christmas tree, tv, monitor, fireplace, lamp, floor lamp, space heater
round square | stool, ottoman, end table, bin, pen holder, clock, column
round oval square rectangular | table, coffee table, mirror
round rectangular | basket
round square rectangular | pillow
round oval rectangular | rug, tray
square rectangular oval | picture
straight L-shaped | sofa, desk
"""
VARIANTS: dict[str, frozenset[str]] = {
    kind: frozenset(
        name
        for names, kinds in (line.split(" | ") for line in _VARIANTS.strip().splitlines())
        for name in names.split()
        if kind in kinds.split(", ")
    )
    for kind in CLASSES
}
"""States and shapes that each class of CLASSES may have."""


def look_name(word: str) -> tuple[str, str]:
    """The attribute of LOOKS that a word stands for, and its name: ("material", "wood") for
    "wooden"; ("", "") for none. Colors are no names of looks.
    """
    name = LOOK_WORDS.get(word.lower(), word)
    for what in ("material", "pattern", "shape", "state"):
        if found := next((one for one in LOOKS[what] if one.lower() == name.lower()), ""):
            return what, found
    return "", ""


@dataclass(frozen=True)
class CategorySpec:
    """Shape and appearance of one category. Sizes are ranges in metres in the object's own frame:
    depth along its heading (from back to front), width across it.

    surface: height, as a fraction of the box, of the surface that supports other objects (0: none).
    back, side: fractions of depth and width of that surface taken by a backrest and by each arm.
    hollow: whether there is free space below it.
    colors: the colors it has; empty: all.
    """

    depth: Range
    width: Range
    height: Range
    materials: tuple[str, ...]
    colors: tuple[str, ...] = ()
    variants: int = 1
    round: bool = False
    surface: float = 0.0
    back: float = 0.0
    side: float = 0.0
    hollow: bool = False

    @property
    def smallest(self) -> Size:
        """Depth, width and height at the lower ends of their ranges."""
        return (self.depth[0], self.width[0], self.height[0])

    @property
    def largest(self) -> Size:
        """Depth, width and height at the upper ends of their ranges."""
        return (self.depth[1], self.width[1], self.height[1])

    @property
    def middle(self) -> Size:
        """Depth, width and height in the middle of their ranges."""
        return (sum(self.depth) / 2, sum(self.width) / 2, sum(self.height) / 2)


_WOOD = ("wood", "wood", "plastic", "metal")
_SOFT = ("fabric", "leather")
_MUTED = ("white", "gray", "black", "brown")

CATEGORIES: dict[str, CategorySpec] = {
    # furniture
    "table": CategorySpec(
        (0.6, 1.1), (0.7, 2.0), (0.38, 0.78), _WOOD, variants=3, surface=1.0, hollow=True
    ),
    "desk": CategorySpec(
        (0.55, 0.8), (1.0, 1.7), (0.7, 0.8), _WOOD, variants=2, surface=1.0, hollow=True
    ),
    "chair": CategorySpec(
        (0.4, 0.56),
        (0.4, 0.55),
        (0.76, 1.1),
        ("wood", "plastic", "fabric"),
        variants=3,
        surface=0.5,
        back=0.16,
    ),
    "armchair": CategorySpec(
        (0.7, 0.95),
        (0.65, 0.98),
        (0.72, 1.05),
        _SOFT,
        variants=2,
        surface=0.5,
        back=0.28,
        side=0.18,
    ),
    "sofa": CategorySpec(
        (0.75, 1.0), (1.3, 2.6), (0.68, 0.95), _SOFT, variants=2, surface=0.52, back=0.28, side=0.1
    ),
    "bed": CategorySpec(
        (1.8, 2.2), (0.85, 1.9), (0.65, 1.15), ("fabric",), variants=2, surface=0.52, back=0.06
    ),
    "cabinet": CategorySpec((0.35, 0.6), (0.5, 1.7), (0.5, 2.0), _WOOD, variants=3, surface=1.0),
    "shelf": CategorySpec((0.25, 0.42), (0.5, 1.5), (0.7, 2.1), _WOOD, variants=2, surface=1.0),
    "nightstand": CategorySpec(
        (0.34, 0.5), (0.34, 0.56), (0.4, 0.66), _WOOD, variants=2, surface=1.0
    ),
    "stool": CategorySpec(
        (0.3, 0.46), (0.3, 0.46), (0.42, 0.76), _WOOD, variants=2, round=True, surface=1.0
    ),
    "fridge": CategorySpec(
        (0.58, 0.75),
        (0.5, 0.95),
        (0.85, 1.95),
        ("metal",),
        ("white", "gray", "black", "red", "blue", "green", "yellow"),
        variants=2,
        surface=1.0,
    ),
    "sink": CategorySpec((0.5, 0.65), (0.6, 1.5), (0.95, 1.15), _WOOD, variants=1, surface=0.8),
    "lamp": CategorySpec(
        (0.26, 0.46), (0.26, 0.46), (1.15, 1.85), ("fabric",), variants=2, round=True
    ),
    "plant": CategorySpec(
        (0.28, 0.75),
        (0.28, 0.75),
        (0.35, 1.5),
        ("leaf",),
        ("green", "green", "green", "red", "yellow", "purple", "orange"),
        variants=2,
        round=True,
    ),
    "tv": CategorySpec(
        (0.1, 0.22),
        (0.6, 1.4),
        (0.42, 0.88),
        ("plastic",),
        ("black", "black", "gray", "white", "red", "blue"),
    ),
    "bin": CategorySpec(
        (0.22, 0.42), (0.22, 0.42), (0.26, 0.68), ("plastic", "metal"), variants=2, round=True
    ),
    # small objects
    "mug": CategorySpec((0.09, 0.14), (0.09, 0.14), (0.09, 0.14), ("ceramic",), round=True),
    "bottle": CategorySpec(
        (0.07, 0.12), (0.07, 0.12), (0.22, 0.38), ("glass", "plastic"), variants=2, round=True
    ),
    "book": CategorySpec((0.15, 0.24), (0.2, 0.34), (0.025, 0.08), ("paper",)),
    "box": CategorySpec(
        (0.16, 0.55), (0.18, 0.6), (0.12, 0.5), ("cardboard", "plastic"), variants=2, surface=1.0
    ),
    "bowl": CategorySpec((0.16, 0.32), (0.16, 0.32), (0.07, 0.13), ("ceramic", "wood"), round=True),
    "vase": CategorySpec(
        (0.12, 0.24), (0.12, 0.24), (0.22, 0.52), ("ceramic", "glass"), variants=2, round=True
    ),
    "laptop": CategorySpec(
        (0.25, 0.31),
        (0.31, 0.42),
        (0.2, 0.28),
        ("metal",),
        ("black", "gray", "white", "red", "blue", "purple"),
    ),
    "ball": CategorySpec(
        (0.16, 0.4), (0.16, 0.4), (0.16, 0.4), ("plastic", "leather"), variants=2, round=True
    ),
    "backpack": CategorySpec((0.2, 0.32), (0.28, 0.4), (0.38, 0.55), ("fabric",)),
    "pillow": CategorySpec((0.28, 0.45), (0.36, 0.6), (0.1, 0.18), ("fabric",)),
    # mounted on walls
    "door": CategorySpec(
        (0.045, 0.075),
        (0.82, 1.0),
        (1.95, 2.12),
        ("wood", "plastic"),
        (*_MUTED, "brown", "green", "blue", "red", "yellow"),
        variants=2,
    ),
    "window": CategorySpec(
        (0.045, 0.075),
        (0.7, 1.8),
        (0.7, 1.4),
        ("plastic", "wood"),
        (*_MUTED, "green", "blue", "red"),
    ),
    "picture": CategorySpec((0.04, 0.06), (0.3, 1.2), (0.3, 0.9), ("paper",), variants=3),
}

NOUNS: dict[str, tuple[str, ...]] = {
    "sofa": ("sofa", "couch"),
    "cabinet": ("cabinet", "cupboard"),
    "shelf": ("shelf", "bookshelf"),
    "fridge": ("fridge", "refrigerator"),
    "plant": ("plant", "potted plant"),
    "tv": ("tv", "television"),
    "bin": ("bin", "trash can", "waste bin"),
    "mug": ("mug", "cup"),
    "backpack": ("backpack", "rucksack"),
    "pillow": ("pillow", "cushion"),
    "picture": ("picture", "painting"),
}


def nouns(category: str) -> tuple[str, ...]:
    """The nouns of a category, its plain name first."""
    if category in OBJECT_KINDS and category not in CATEGORIES:
        return OBJECT_KINDS[category].nouns
    return NOUNS.get(category, (category.replace("_", " "),))


_CATEGORY_OF = {noun: category for category in CATEGORIES for noun in nouns(category)}
_NOUN = re.compile(rf"\b(?:{'|'.join(sorted(_CATEGORY_OF, key=len, reverse=True))})(?=s?\b)")


def category_of_noun(noun: str) -> str | None:
    """The category that a noun in lower case names: "sofa" for "couch"; None for other nouns."""
    return _CATEGORY_OF.get(noun)


def find_category(phrase: str) -> str | None:
    """The category of the first known noun of a phrase in lower case: "mug" of "the cup on the
    table"; None without one.
    """
    match = _NOUN.search(phrase)
    return _CATEGORY_OF[match.group()] if match else None


def find_color(phrase: str) -> str:
    """The first color of a phrase in lower case, "" without one."""
    words = phrase.replace("grey", "gray").split()
    return next((word for word in words if word in COLORS), "")
