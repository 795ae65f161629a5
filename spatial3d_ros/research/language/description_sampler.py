"""Draws descriptions of the objects of one room, each with exactly the intended referent.

Every draw may fail and then gives None: a room need not have two chairs, or anything on a table.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cached_property

from spatial3d_ros.categories import COLORS, PATTERNS
from spatial3d_ros.research.language.descriptions import Description, Link, ReferenceResolver
from spatial3d_ros.research.language.features import UNSAID, Feature, features
from spatial3d_ros.research.language.relations import BOOLEAN, NEARNESS, SIZES, bits
from spatial3d_ros.research.language.templates import size_words
from spatial3d_ros.research.language.viewpoints import OUTERMOST
from spatial3d_ros.research.rooms.appearance import appearance_pairs
from spatial3d_ros.research.rooms.catalog import class_names, colors_of, is_small
from spatial3d_ros.research.rooms.kinds import kinds

# How often each is tried first; "both": two relations of the target, "hop": one of its anchor.
RELATIONS = {
    "on": 0.15, "under": 0.1, "above": 0.05, "below": 0.05, "next_to": 0.2,
    "closest": 0.14, "farthest": 0.1, "between": 0.06, "both": 0.06, "hop": 0.16,
}  # fmt: skip
VIEWS = {
    "left": 0.25, "right": 0.25, "front": 0.15, "behind": 0.15, "leftmost": 0.1, "rightmost": 0.1,
}  # fmt: skip
HOPS = {"hop": RELATIONS["hop"], "hop3": 0.6}
"""Chains of relations: the anchor has a relation of its own, and with hop3 its anchor has one too:
few of these draws succeed.
"""
_WEIGHTS = {**RELATIONS, **VIEWS, **HOPS}
Sampled = tuple[str, Description]  # subkind and description

_UNAMBIGUOUS = 0.2  # share of relations whose target's noun alone may be unique
_UNNAMED = 0.15  # share of view-dependent questions for "what", without a category
_TRIES = 16
_FEATURED, _FEATURED_BASE = 0.45, 0.25  # share of descriptions by a feature, of rooms that have any


class DescriptionSampler:
    """Draws from one room. Objects are indices in `resolver.objects`."""

    def __init__(self, resolver: ReferenceResolver, rng: random.Random) -> None:
        self.resolver = resolver
        self.objects = resolver.objects
        self.rng = rng
        self.by_attribute: list[list[Description]] = [[] for _ in self.objects]  # category, color
        self.by_size: list[list[Description]] = [[] for _ in self.objects]  # with a superlative
        self.groups: list[Description] = []  # bases that fit several objects
        bases = dict.fromkeys(Description(o.category) for o in self.objects)
        bases |= dict.fromkeys(Description(o.category, o.color) for o in self.objects)
        featured = dict.fromkeys(
            Description(o.category, feature=f) for o in self.objects for f in features(o)
        )
        self.by_feature = [d for d in featured if resolver.referent(d) >= 0]
        for described in self.by_feature:
            self.by_attribute[resolver.referent(described)].append(described)
        for base in bases:
            i = resolver.referent(base)
            if i >= 0:
                self.by_attribute[i].append(base)
            elif self._fits(base) > 1:
                self.groups.append(base)
                for name in SIZES:
                    described = replace(base, superlative=name)
                    j = resolver.referent(described) if size_words(name, base.category) else -1
                    if j >= 0:
                        self.by_size[j].append(described)
        self.compared = [d for described in self.by_size for d in described]
        self.related_twice = [t for t, held in resolver.relations_of.items() if len(held) > 1]
        self.hops = [
            (name, t, a)
            for name in ("on", "under", "next_to")
            for t, a in resolver.pairs[name]
            if self._fits(Description(self.objects[a].category)) > 1
        ]

    def attribute(self) -> Sampled | None:
        """By category, category and color ("color"), color alone ("thing"), or by category and a
        feature: the kind of the feature.
        """
        if self.by_feature and self.rng.random() < _FEATURED:
            chosen = self.rng.choice(self.by_feature)
            return chosen.feature.kind if chosen.feature else "", chosen
        for _ in range(_TRIES if self.objects else 0):
            roll = self.rng.random()
            item = self.rng.choice(self.objects)
            if roll < 0.3:
                subkind, description = "class", Description(item.category)
            elif roll < 0.5:
                subkind, description = "thing", Description(None, item.color)
            else:
                subkind, description = "color", Description(item.category, item.color)
                # A color that is needed teaches more than a redundant one.
                if self._fits(Description(item.category)) == 1 and self.rng.random() < 0.8:
                    continue
            if self.resolver.referent(description) >= 0:
                return subkind, description
        return None

    def appearance(self) -> Sampled | None:
        """By the feature that sets an object apart from one of its class, mean color and size."""
        pairs = self.appearance_pairs
        for _ in range(_TRIES if pairs else 0):
            i, j = self.rng.choice(pairs)
            item, other = self.objects[i], self.objects[j]
            own = [f for f in features(item) if f not in features(other)]
            if not own:
                continue
            feature = self.rng.choice(own)
            shared = item.color == other.color and self.rng.random() < 0.3
            description = Description(
                item.category, item.color if shared else None, feature=feature
            )
            if self.resolver.referent(description) == i:
                return feature.kind, description
        return None

    @cached_property
    def appearance_pairs(self) -> list[tuple[int, int]]:
        """Pairs of `appearance.appearance_pairs`, computed when a question first needs them."""
        return appearance_pairs(self.objects)

    def size(self) -> Sampled | None:
        """The largest, lowest, widest, ... of a category."""
        name = self.rng.choice(list(SIZES))
        described = [d for d in self.compared if d.superlative == name] or self.compared
        if not described:
            return None
        description = self.rng.choice(described)
        return description.superlative or "", description

    def relation(self, names: tuple[str, ...] = tuple(RELATIONS)) -> Sampled | None:
        """By one of the named RELATIONS, VIEWS or HOPS, whichever the room has."""
        ambiguous = self.rng.random() >= _UNAMBIGUOUS
        weights = {name: _WEIGHTS[name] for name in names}
        while weights:
            name = self.rng.choices(list(weights), list(weights.values()))[0]
            del weights[name]
            for _ in range(_TRIES if name != "hop3" else 5 * _TRIES):
                description = self._related(name, ambiguous)
                if description is not None:
                    return name, description
        return None

    def several(self) -> Sampled | None:
        """Fits two objects or more: by its noun ("class", "color") or by a relation too."""
        for _ in range(_TRIES if self.groups else 0):
            base = self.rng.choice(self.groups)
            subkind = "class" if base.color is None else "color"
            if self.rng.random() < 0.4:
                name = self.rng.choice(BOOLEAN)
                anchors = [a for t, a in self.resolver.pairs[name] if self._is(t, base)]
                anchor = self.short(self.rng.choice(anchors)) if anchors else None
                if anchor is None:
                    continue
                subkind, base = name, replace(base, links=(Link(name, (anchor,)),))
            strict, loose = self.resolver.masks(base)
            if strict == loose and strict.bit_count() > 1:
                return subkind, base
        return None

    def _is(self, i: int, base: Description) -> bool:
        return bool(self.resolver.base_of(base)[0] >> i & 1)

    def short(self, i: int) -> Description | None:
        """A short description of object i alone."""
        attributes, sizes = self.by_attribute[i], self.by_size[i]
        if sizes and (not attributes or self.rng.random() < 0.08):
            return self.rng.choice(sizes)
        return self.rng.choice(attributes) if attributes else None

    def pair(self) -> dict[int, Description] | None:
        """Two different objects, each with a description of its own."""
        described: dict[int, Description] = {}
        for _ in range(2 * _TRIES if self.objects else 0):
            if self.rng.random() < 0.1:
                drawn = self.relation(("on", "under", "next_to", "closest", "farthest", "between"))
                description = drawn[1] if drawn else None
            else:
                description = self.short(self.rng.randrange(len(self.objects)))
            if description is not None:
                described[self.resolver.referent(description)] = description
                if len(described) == 2:
                    return described
        return None

    def absent(self) -> Sampled | None:
        """Fits nothing in the room, not even loosely: by one of its parts, the subkind."""
        for _ in range(_TRIES):
            roll = self.rng.random()
            if self.resolver.rich and roll < 0.3:
                subkind, description = "feature", self._refeatured()
            elif roll < 0.35:
                subkind, description = "color", self._recolored()
            elif roll < 0.6:
                color = self.rng.choice(list(COLORS)) if self.rng.random() < 0.3 else None
                category = self.rng.choice(class_names(self.resolver.rich))
                subkind, description = "class", Description(category, color)
            else:
                subkind, description = "relation", self._substituted()
            if description is not None and self.resolver.masks(description)[1] == 0:
                return subkind, description
        return None

    def _fits(self, base: Description) -> int:
        """How many objects fit loosely."""
        return self.resolver.base_of(base)[1].bit_count()

    def _base(self, target: int, ambiguous: bool) -> Description | None:
        """The target's category, or with its color; `ambiguous`: it must fit others too."""
        item = self.objects[target]
        bases = [Description(item.category), Description(item.category, item.color)]
        if self.rng.random() < 0.4:
            bases.reverse()
        said = [f for f in features(item) if not f.after_noun]
        if said and self.rng.random() < _FEATURED_BASE:
            bases.insert(0, Description(item.category, feature=self.rng.choice(said)))
        return next((base for base in bases if not ambiguous or self._fits(base) > 1), None)

    def _link(self, name: str, anchor: int) -> Link | None:
        """The relation to this anchor, by a description of its own or as "a table" among others."""
        described = self.short(anchor)
        if name in BOOLEAN and (described is None or self.rng.random() < 0.25):
            base = self._base(anchor, True)
            if base is not None:
                return Link(name, (base,), some=True)
        return None if described is None else Link(name, (described,))

    def _related(self, name: str, ambiguous: bool) -> Description | None:
        if name in NEARNESS:
            return self._nearest(name)
        if name in OUTERMOST:
            return self._outermost(name)
        if name in VIEWS:
            return self._viewed(name, ambiguous)
        if name == "between":
            target, links = self._between()
        elif name == "both":
            target, links = self._both()
        elif name in HOPS:
            target, links = self._hop(3 if name == "hop3" else 2)
        else:
            pairs = self.resolver.pairs[name]
            target, anchor = self.rng.choice(pairs) if pairs else (-1, -1)
            links = (self._link(name, anchor),) if pairs else (None,)
        base = None if None in links else self._base(target, ambiguous)
        if base is None:
            return None
        description = replace(base, links=links)
        if self.resolver.referent(description) != target:
            return None
        if name in HOPS and self.resolver.alternative_referents(description) & ~(1 << target):
            return None
        return description

    def _nearest(self, name: str) -> Description | None:
        if not self.groups:
            return None
        base = self.rng.choice(self.groups)
        end = self.rng.randrange(len(self.objects))
        # "The chair closest to the red chair" is correct but rare.
        if self.resolver.base(base.category, None)[1] >> end & 1 and self.rng.random() < 0.8:
            return None
        link = self._link(name, end)
        if link is None:
            return None
        description = replace(base, links=(link,))
        return description if self.resolver.referent(description) >= 0 else None

    def _viewed(self, name: str, ambiguous: bool) -> Description | None:
        """On one side of an anchor, from a viewpoint."""
        triples = self.resolver.viewpoints.triples(name)
        if not len(triples):
            return None
        viewpoint, anchor, target = triples[self.rng.randrange(len(triples))].tolist()
        ends = self.short(anchor), self.short(viewpoint)
        base = None if None in ends else self._base(target, ambiguous)
        if base is None:
            return None
        if self.rng.random() < _UNNAMED:
            base = Description(None)
        description = replace(base, links=(Link(name, ends),))
        return description if self.resolver.referent(description) == target else None

    def _outermost(self, name: str) -> Description | None:
        """The leftmost or rightmost of several, neither of the two that give the direction."""
        standing = self.resolver.viewpoints.viewpoints
        if not self.groups or not standing:
            return None
        base = self.rng.choice(self.groups)
        viewpoint, anchor = self.rng.choice(standing), self.rng.randrange(len(self.objects))
        if self.resolver.base(base.category, None)[1] & (1 << viewpoint | 1 << anchor):
            return None
        ends = self.short(anchor), self.short(viewpoint)
        if None in ends:
            return None
        description = replace(base, links=(Link(name, ends),))
        return description if self.resolver.referent(description) >= 0 else None

    def _between(self) -> tuple[int, tuple[Link | None, ...]]:
        pairs = self.resolver.relations.between_pairs
        if not pairs:
            return -1, (None,)
        a, b = self.rng.choice(pairs)
        target = self.rng.choice(bits(self.resolver.relations.between_masks(a, b)[0]))
        one, two = self.objects[a], self.objects[b]
        if one.category == two.category:
            color = one.color if one.color == two.color else None
            twins = Description(one.category, color)
            strict, loose = self.resolver.masks(twins)
            if strict == loose == 1 << a | 1 << b:
                return target, (Link("between", (twins,)),)
        ends = self.short(a), self.short(b)
        if None in ends:
            return -1, (None,)
        return target, (Link("between", tuple(self.rng.sample(ends, 2))),)

    def _both(self) -> tuple[int, tuple[Link | None, ...]]:
        if not self.related_twice:
            return -1, (None,)
        target = self.rng.choice(self.related_twice)
        (first, a), (second, b) = self.rng.sample(self.resolver.relations_of[target], 2)
        if a == b or first == second or {first, second} == {"under", "below"}:
            return -1, (None,)
        return target, (self._link(first, a), self._link(second, b))

    def _hop(self, hops: int = 2) -> tuple[int, tuple[Link | None, ...]]:
        if not self.hops:
            return -1, (None,)
        outer, target, a = self.rng.choice(self.hops)
        anchor = self._chained(a, {target}, hops - 1)
        return (-1, (None,)) if anchor is None else (target, (Link(outer, (anchor,)),))

    def _chained(self, a: int, used: set[int], relations: int) -> Description | None:
        """Object `a` by a relation to an object that is not `used`, and so on: among others of its
        noun, which its relation tells it from.
        """
        name = self.rng.choice(("held", "closest", "farthest"))
        b = self.rng.randrange(len(self.objects))
        if name == "held":
            name, b = self.rng.choice(self.resolver.relations_of.get(a, [(name, a)]))
        if b in (*used, a):
            return None
        if relations == 1:
            link = self._link(name, b)
        else:
            anchor = self._chained(b, {*used, a}, relations - 1)
            link = None if anchor is None else Link(name, (anchor,))
        base = self._base(a, True)
        if link is None or base is None:
            return None
        described = replace(base, links=(link,))
        return described if self.resolver.referent(described) == a else None

    def _recolored(self) -> Description | None:
        """A category of the room in a color that it could have."""
        if not self.objects:
            return None
        category = self.rng.choice(self.objects).category
        return Description(category, self.rng.choice(colors_of(category, self.resolver.rich)))

    def _refeatured(self) -> Description | None:
        """A class of the room with a feature that it could have."""
        category = self.rng.choice(self.objects).category
        kind = kinds()[category]
        could = [Feature("pattern", p) for p in PATTERNS if kind.patterned]
        could += [Feature("material", m) for m in kind.materials if len(kind.materials) > 1]
        could += [Feature("shape", shape) for shape in kind.shapes]
        could += [Feature("state", state) for state in kind.states]
        could += [Feature("part", self.rng.choice(list(COLORS)), part) for part in kind.two_colored]
        said = [f for f in could if f.value not in UNSAID]
        return Description(category, feature=self.rng.choice(said)) if said else None

    def _substituted(self) -> Description | None:
        """A relation that holds, for another category or color than that of its target."""
        name = self.rng.choice(("on", "on", "next_to", "under", "below", "above"))
        pairs = self.resolver.pairs[name]
        if not pairs:
            return None
        target, anchor = self.rng.choice(pairs)
        link, category = self._link(name, anchor), self.objects[target].category
        if link is None:
            return None
        if self.rng.random() < 0.5:
            color = self.rng.choice(colors_of(category, self.resolver.rich))
            return Description(category, color, links=(link,))
        rich = self.resolver.rich
        small = is_small(category, rich)
        alike = [other for other in class_names(rich) if is_small(other, rich) == small]
        return Description(self.rng.choice(alike), links=(link,))
