"""What a referring expression means, and which object of a room it picks out.

A `Description` is the meaning without the words: "the red chair closest to the tallest lamp" is a
chair, red, with a link "closest" to a lamp, tallest. `Meanings` finds the objects that fit it, as
two masks: those that do for sure, and those that could (see `relations`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from spatial3d_ros.geometry.relations import SIDES
from spatial3d_ros.research.language.relations import BOOLEAN, Relations, bits, union
from spatial3d_ros.research.language.viewpoints import OUTERMOST, Viewpoints

if TYPE_CHECKING:
    from spatial3d_ros.research.rooms.generator import RoomObject

BROADER = {"armchair": "chair", "desk": "table"}  # what people may call them as well


@dataclass(frozen=True)
class Link:
    """A relation to one anchor; "between" has two, or one that fits two objects ("the two chairs").
    Those of a view ("left", "leftmost") have the one looked at, and the one it is seen from.

    With `some` the anchor may be any object that fits: "a table".
    """

    relation: str
    anchors: tuple[Description, ...]
    some: bool = False


@dataclass(frozen=True)
class Description:
    """Category, colour, size among those, relations that must all hold. None: not said."""

    category: str | None
    color: str | None = None
    superlative: str | None = None
    links: tuple[Link, ...] = ()


class Meanings:
    """Evaluates descriptions over some objects. Bit i of a mask is objects[i], whatever its id."""

    def __init__(self, objects: Sequence[RoomObject]) -> None:
        self.objects = tuple(objects)
        self.relations = Relations(self.objects)
        self.all = (1 << len(self.objects)) - 1
        self.of_category: dict[str, int] = {}
        self.of_color: dict[str, int] = {}
        for i, item in enumerate(self.objects):
            self.of_category[item.category] = self.of_category.get(item.category, 0) | 1 << i
            self.of_color[item.color] = self.of_color.get(item.color, 0) | 1 << i
        self.called: dict[str, int] = dict(self.of_category)
        for narrow, broad in BROADER.items():
            if narrow in self.of_category:
                self.called[broad] = self.called.get(broad, 0) | self.of_category[narrow]
        self.pairs = {name: self._pairs(name) for name in BOOLEAN}
        self.relations_of: dict[int, list[tuple[str, int]]] = {}
        for name in BOOLEAN:
            for t, a in self.pairs[name]:
                self.relations_of.setdefault(t, []).append((name, a))

    @cached_property
    def viewpoints(self) -> Viewpoints:
        """Left and right of the objects, worked out when a description first needs it."""
        return Viewpoints(self.objects, self.relations)

    def _pairs(self, name: str) -> list[tuple[int, int]]:
        return [
            (t, a) for a, mask in enumerate(self.relations.strict_columns[name]) for t in bits(mask)
        ]

    def base(self, category: str | None, color: str | None) -> tuple[int, int]:
        """(yes mask, maybe mask) of a category and a colour."""
        yes = maybe = self.all
        if category is not None:
            yes, maybe = self.of_category.get(category, 0), self.called.get(category, 0)
        if color is not None:
            painted = self.of_color.get(color, 0)
            yes, maybe = yes & painted, maybe & painted
        return yes, maybe

    def masks(self, description: Description) -> tuple[int, int]:
        """(yes mask, maybe mask) of the objects that fit."""
        yes, maybe = self.base(description.category, description.color)
        if description.superlative is not None:
            best, close = self.relations.extreme(maybe, description.superlative)
            yes, maybe = yes & best, close
        for link in description.links:
            best, close = self._linked(link, maybe)
            yes, maybe = yes & best, maybe & close
        return yes, maybe

    def referent(self, description: Description) -> int:
        """The index of the one object it can mean, or -1 where there is none or doubt."""
        yes, maybe = self.masks(description)
        return yes.bit_length() - 1 if yes == maybe and yes.bit_count() == 1 else -1

    def _linked(self, link: Link, candidates: int) -> tuple[int, int]:
        relations = self.relations
        if link.relation == "between":
            a, b = self._ends(link.anchors)
            return (0, 0) if a < 0 or b < 0 else relations.between_masks(a, b)
        if link.some:
            yes, maybe = self.masks(link.anchors[0])
            return (
                union(relations.strict_columns[link.relation], yes),
                union(relations.loose_columns[link.relation], maybe),
            )
        anchor = self.referent(link.anchors[0])
        if anchor < 0:
            return 0, candidates
        if link.relation in SIDES or link.relation in OUTERMOST:
            viewpoint = self.referent(link.anchors[1])
            if not self.viewpoints.is_valid(viewpoint, anchor):
                return 0, candidates
            if link.relation in SIDES:
                return self.viewpoints.side_masks(link.relation, anchor, viewpoint)
            return self.viewpoints.outermost(candidates, link.relation, anchor, viewpoint)
        if link.relation in BOOLEAN:
            return relations.strict_columns[link.relation][anchor], relations.loose_columns[
                link.relation
            ][anchor]
        return relations.nearest(candidates, anchor, link.relation == "farthest")

    def _ends(self, anchors: tuple[Description, ...]) -> tuple[int, int]:
        if len(anchors) == 2:
            return self.referent(anchors[0]), self.referent(anchors[1])
        yes, maybe = self.masks(anchors[0])
        pair = bits(yes)
        return (pair[0], pair[1]) if yes == maybe and len(pair) == 2 else (-1, -1)

    def roles(self, description: Description) -> tuple[int, int]:
        """Masks of the objects that the noun alone could mean, and of those that the rest leans on.

        In "the red chair next to the table": the red chairs, and the table.
        """
        anchors = 0
        for link in description.links:
            for anchor in link.anchors:
                anchors |= self.masks(anchor)[0] | self.roles(anchor)[1]
        return self.base(description.category, description.color)[1], anchors

    def read_otherwise(self, description: Description) -> int:
        """The objects meant if the second of two nested relations belonged to the target.

        "The mug on the table next to the lamp" could also be, of the mugs on tables, the one that
        is next to the lamp.
        """
        outer = description.links[0]
        inner = outer.anchors[0]
        if outer.relation not in BOOLEAN or not inner.links:
            return 0
        maybe = self.base(description.category, description.color)[1]
        anchors = self.base(inner.category, inner.color)[1]
        maybe &= union(self.relations.loose_columns[outer.relation], anchors)
        return maybe & self._linked(inner.links[0], maybe)[1]
