"""What descriptions say about looks: "striped", "wooden", "round", "open", "with the red seat".

As in `relations`, an object fits a feature strictly where every annotator agrees, and loosely where
some annotator might.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spatial3d_ros.research.rooms.kinds import kinds

if TYPE_CHECKING:
    from spatial3d_ros.research.rooms.catalog import RoomObject

FEATURES = ("pattern", "material", "shape", "state", "part", "side")
AFTER_NOUN = frozenset({("state", "on"), ("state", "off")})
UNSAID = frozenset({"straight", "leaf"})
"""Values that nobody says."""


@dataclass(frozen=True)
class Feature:
    """kind: one of FEATURES; value: "striped", "wood", "round", "open", or the color of a part or
    of a side; part: "seat".
    """

    kind: str
    value: str
    part: str = ""

    @property
    def after_noun(self) -> bool:
        """Whether it follows the noun: "with the red seat", "that is on"."""
        return self.kind in ("part", "side") or (self.kind, self.value) in AFTER_NOUN


def features(item: RoomObject) -> tuple[Feature, ...]:
    """All that can be said of an object; empty in rooms of the basic catalog."""
    look = item.look
    if look is None:
        return ()
    kind, found = kinds()[item.category], []
    if kind.patterned:
        found.append(Feature("pattern", look.pattern))
    if len(kind.materials) > 1:
        found.append(Feature("material", item.material))
    if look.shape:
        found.append(Feature("shape", look.shape))
    if look.state:
        found.append(Feature("state", look.state))
    if look.part:
        found.append(Feature("part", look.part_color, look.part))
    if look.side:
        found.append(Feature("side", look.side_color))
    return tuple(f for f in found if f.value not in UNSAID)


def fits(feature: Feature, item: RoomObject) -> tuple[bool, bool]:
    """Whether an object has a feature: (strictly, loosely)."""
    look = item.look
    if look is None:
        return False, False
    strict = feature in features(item)
    if feature.kind in ("part", "side"):
        return strict, strict or feature.value in colors(item)
    if feature.kind == "shape":
        rounded = {feature.value, look.shape} == {"round", "oval"}
        boxy = {feature.value, look.shape} == {"square", "rectangular"}
        return strict, strict or rounded or (boxy and not _clearly_oblong(item))
    return strict, strict


def colors(item: RoomObject) -> tuple[str, ...]:
    """Its colors: its own, then those of pattern, part and side."""
    look = item.look
    if look is None:
        return (item.color,)
    others = (look.pattern_color, look.part_color, look.side_color)
    return tuple(dict.fromkeys((item.color, *(c for c in others if c))))


def is_patterned(item: RoomObject) -> bool:
    """Whether two colors cover it in equal shares."""
    return item.look is not None and item.look.pattern != "plain"


def _clearly_oblong(item: RoomObject) -> bool:
    sx, sy, sz = item.box.size
    a, b = (max(sx, sy), sz) if item.look and item.look.place == "hung" else (sx, sy)
    return max(a, b) > 1.25 * min(a, b)
