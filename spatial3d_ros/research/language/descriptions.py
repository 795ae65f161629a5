"""The meaning of a referring expression, and the object of a room that it refers to.

A `Description` is the meaning without the words: "the red chair closest to the tallest lamp" is a
chair, red, with a link "closest" to a lamp, tallest. `ReferenceResolver` finds the objects that fit
it strictly and loosely, as two masks (see `relations`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from spatial3d_ros.categories import nouns
from spatial3d_ros.geometry.relations import SIDES
from spatial3d_ros.object_catalog import OBJECT_KINDS
from spatial3d_ros.research.language.features import (
    Feature,
    colors,
    fits,
    is_patterned,
)
from spatial3d_ros.research.language.relations import BOOLEAN, Relations, bits, mask_of, union
from spatial3d_ros.research.language.viewpoints import OUTERMOST, Viewpoints
from spatial3d_ros.research.rooms.catalog import class_names, is_rich

if TYPE_CHECKING:
    from spatial3d_ros.research.rooms.generator import RoomObject

BROADER = {"armchair": "chair", "desk": "table"}  # looser names that users also choose


@cache
def could_mean(category: str, other: str) -> bool:
    """Whether a noun of a class of the full catalog is also used for another class."""
    kind = OBJECT_KINDS[other]
    return not set(nouns(category)).isdisjoint((*nouns(other), *kind.nouns, *kind.broader))


@dataclass(frozen=True)
class Link:
    """A relation to one anchor; "between" has two, or one that fits two objects ("the two chairs").
    View-dependent ones ("left", "leftmost") have the anchor that is faced, and the viewpoint.

    With `some` the anchor may be any object that fits: "a table".
    """

    relation: str
    anchors: tuple[Description, ...]
    some: bool = False


@dataclass(frozen=True)
class Description:
    """Category, color, superlative among those, relations that must all hold, a feature of its
    look. None: not given.
    """

    category: str | None
    color: str | None = None
    superlative: str | None = None
    links: tuple[Link, ...] = ()
    feature: Feature | None = None


class ReferenceResolver:
    """Resolves descriptions over some objects. Bit i of a mask is objects[i], whatever its id."""

    def __init__(self, objects: Sequence[RoomObject]) -> None:
        self.objects = tuple(objects)
        self.relations = Relations(self.objects)
        self.all = (1 << len(self.objects)) - 1
        self.rich = is_rich(self.objects)
        self.of_category: dict[str, int] = {}
        self.of_color: dict[str, int] = {}  # of those in one color
        self.with_color: dict[str, int] = {}  # of all that have the color somewhere
        self.patterned = 0
        for i, item in enumerate(self.objects):
            self.of_category[item.category] = self.of_category.get(item.category, 0) | 1 << i
            if is_patterned(item):
                self.patterned |= 1 << i
            else:
                self.of_color[item.color] = self.of_color.get(item.color, 0) | 1 << i
            for color in colors(item):
                self.with_color[color] = self.with_color.get(color, 0) | 1 << i
        self.of_broad_category = self._broad_categories()
        self._of_feature: dict[Feature, tuple[int, int]] = {}
        self.pairs = {name: self._pairs(name) for name in BOOLEAN}
        self.relations_of: dict[int, list[tuple[str, int]]] = {}
        for name in BOOLEAN:
            for t, a in self.pairs[name]:
                self.relations_of.setdefault(t, []).append((name, a))

    def _broad_categories(self) -> dict[str, int]:
        """Of each class all objects that its nouns could mean."""
        if not self.rich:
            found = dict(self.of_category)
            for narrow, broad in BROADER.items():
                if narrow in self.of_category:
                    found[broad] = found.get(broad, 0) | self.of_category[narrow]
            return found
        found = {}
        for category in class_names(self.rich):
            for other, mask in self.of_category.items():
                if could_mean(category, other):
                    found[category] = found.get(category, 0) | mask
        return found

    def of_feature(self, feature: Feature) -> tuple[int, int]:
        """(strict mask, loose mask) of a feature."""
        if feature not in self._of_feature:
            found = [fits(feature, item) for item in self.objects]
            strict = mask_of([i for i, fit in enumerate(found) if fit[0]])
            self._of_feature[feature] = (
                strict,
                mask_of([i for i, fit in enumerate(found) if fit[1]]),
            )
        return self._of_feature[feature]

    @cached_property
    def viewpoints(self) -> Viewpoints:
        """View-dependent relations, computed when a description first needs them."""
        return Viewpoints(self.objects, self.relations)

    def _pairs(self, name: str) -> list[tuple[int, int]]:
        return [
            (t, a) for a, mask in enumerate(self.relations.strict_columns[name]) for t in bits(mask)
        ]

    def base(
        self, category: str | None, color: str | None, feature: Feature | None = None
    ) -> tuple[int, int]:
        """(strict mask, loose mask) of a category, a color and a feature."""
        strict = loose = self.all
        if category is not None:
            strict = self.of_category.get(category, 0)
            loose = self.of_broad_category.get(category, 0)
        if color is not None:
            somewhere = self.with_color.get(color, 0)
            mainly = self.of_color.get(color, 0)
            if feature is not None and feature.kind == "pattern" and feature.value != "plain":
                mainly = somewhere  # "the red striped pillow" is red and white
            strict, loose = strict & mainly, loose & somewhere
        if feature is not None:
            mask = self.of_feature(feature)
            strict, loose = strict & mask[0], loose & mask[1]
        return strict, loose

    def base_of(self, description: Description) -> tuple[int, int]:
        """`base` of what a description says without superlative and relations."""
        return self.base(description.category, description.color, description.feature)

    def masks(self, description: Description) -> tuple[int, int]:
        """(strict mask, loose mask) of the objects that fit."""
        strict, loose = self.base_of(description)
        if description.superlative is not None:
            best, close = self.relations.extreme(loose, description.superlative)
            strict, loose = strict & best, close
        for link in description.links:
            best, close = self._linked(link, loose)
            strict, loose = strict & best, loose & close
        return strict, loose

    def referent(self, description: Description) -> int:
        """The index of the one object it can refer to, or -1 if there is none or several."""
        strict, loose = self.masks(description)
        return strict.bit_length() - 1 if strict == loose and strict.bit_count() == 1 else -1

    def _linked(self, link: Link, candidates: int) -> tuple[int, int]:
        relations = self.relations
        if link.relation == "between":
            a, b = self._between_anchors(link.anchors)
            return (0, 0) if a < 0 or b < 0 else relations.between_masks(a, b)
        if link.some:
            strict, loose = self.masks(link.anchors[0])
            return (
                union(relations.strict_columns[link.relation], strict),
                union(relations.loose_columns[link.relation], loose),
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

    def _between_anchors(self, anchors: tuple[Description, ...]) -> tuple[int, int]:
        if len(anchors) == 2:
            return self.referent(anchors[0]), self.referent(anchors[1])
        strict, loose = self.masks(anchors[0])
        pair = bits(strict)
        return (pair[0], pair[1]) if strict == loose and len(pair) == 2 else (-1, -1)

    def roles(self, description: Description) -> tuple[int, int]:
        """Masks of the candidates that the noun alone could mean, and of all anchors.

        In "the red chair next to the table": the red chairs, and the table.
        """
        anchors = 0
        for link in description.links:
            for anchor in link.anchors:
                anchors |= self.masks(anchor)[0] | self.roles(anchor)[1]
        return self.base_of(description)[1], anchors

    def alternative_referents(self, description: Description) -> int:
        """The referents if relations of a chain are attached to a noun farther to the left.

        "The mug on the table next to the lamp" could also be, of the mugs on tables, the one that
        is next to the lamp.
        """
        chain = [description]
        while chain[-1].links:
            chain.append(chain[-1].links[0].anchors[0])
        if description.links[0].relation not in BOOLEAN or len(chain) < 3:
            return 0
        found = 0
        for parents in _attachments(len(chain) - 1):
            found |= self._attached(chain, parents, 0)
        return found

    def _attached(self, chain: list[Description], parents: tuple[int, ...], node: int) -> int:
        """Loose mask of a noun of a chain whose noun k + 1 is the anchor of noun `parents[k]`."""
        loose = self.base_of(chain[node])[1]
        if node + 1 == len(chain):
            return loose & self.masks(chain[node])[1]
        for k, parent in enumerate(parents):
            if parent != node:
                continue
            name, anchors = chain[k].links[0].relation, self._attached(chain, parents, k + 1)
            if name in BOOLEAN:
                loose &= union(self.relations.loose_columns[name], anchors)
            else:
                nearest = 0
                for anchor in bits(anchors):
                    nearest |= self.relations.nearest(loose, anchor, name == "farthest")[1]
                loose &= nearest
        return loose


@cache
def _attachments(relations: int) -> tuple[tuple[int, ...], ...]:
    """The noun that each of a chain of relations may belong to, without crossing, apart from the
    one directly before it everywhere.
    """
    trees = [((0,), (0, 1))]  # parents, and the nouns that the next relation can belong to
    for k in range(1, relations):
        trees = [
            ((*parents, parent), (*(o for o in open_ if o <= parent), k + 1))
            for parents, open_ in trees
            for parent in open_
        ]
    return tuple(p for p, _ in trees if p != tuple(range(relations)))
