"""Predicates that distinguish one object of a room from others, and the objects that satisfy them.

A predicate knows which objects satisfy it strictly and loosely, as (n,) bool masks
(`spatial_relations`). `realizer` puts it into words. Comparisons ("the tallest", "second from the
left") are made among given candidates; they fit exactly one of them, or there is no predicate.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.geometry.relations import contenders, left_of, left_to_right
from spatial3d_ros.object_catalog import SIMILAR_COLORS
from spatial3d_ros.research.homes.object_names import ANY_OBJECT, NO_ANCHORS, ObjectNames
from spatial3d_ros.research.homes.rooms import Home
from spatial3d_ros.research.homes.spatial_relations import WALL_DIRECTIONS, SpatialRelations

Mask = np.ndarray
UNIQUE_ANCHOR = {
    "left", "right", "front", "behind", "across", "facing", "back to", "end", "middle",
}  # fmt: skip
"""Relations whose anchor must be identified."""
_SIZE_RATIOS = {"large": 1.12, "tall": 1.15, "long": 1.2, "high": 1.15}
_ROW_REACH = 0.9  # from the wall of a row to the objects in it, m
_ROW_GAP = 0.2  # between neighbours of a row, m


@dataclass(frozen=True, eq=False)
class NounPhrase:
    """A noun for some objects, with at most one predicate: "the table by the window".

    strict, loose: the objects it can refer to; `shared`: the noun fits the target too.
    """

    noun: str
    strict: Mask
    loose: Mask
    predicate: Predicate | None = None
    shared: bool = False

    @property
    def unique(self) -> bool:
        """Whether it can refer to one object only."""
        return int(self.loose.sum()) == 1 and bool((self.strict == self.loose).all())


@dataclass(frozen=True, eq=False)
class Predicate:
    """kind: a relation of `SpatialRelations.pairs`, "closest", "farthest", "between", "color",
    "spot" (position in the room), "size", "shape", "order", "view order", "view side", "with",
    "count", "not". value: its color, position, measure, rank or number. candidates: the objects
    that a comparison is about. view: what the viewer faces, or with `entering` comes in by.
    """

    kind: str
    strict: Mask
    loose: Mask
    value: str = ""
    anchors: tuple[NounPhrase, ...] = ()
    candidates: Mask | None = None
    view: NounPhrase | None = None
    entering: bool = False
    negated: Predicate | None = None

    @property
    def referenced(self) -> Mask:
        """All objects that the predicate names as anchors or viewpoints, nested ones included."""
        found = np.zeros_like(self.strict)
        for phrase in [*self.anchors, *([self.view] if self.view else [])]:
            found |= phrase.strict
            if phrase.predicate is not None:
                found |= phrase.predicate.referenced
        return found | self.negated.referenced if self.negated is not None else found


class PredicateSampler:
    """Draws predicates that are true of an object of one room."""

    def __init__(self, home: Home, names: ObjectNames, rng: random.Random) -> None:
        self.home, self.names, self.rng = home, names, rng
        self.relations = SpatialRelations(home)
        self.count = len(home.keys)
        self.anchorable = np.array([
            bool(label) and label != "object" and key not in NO_ANCHORS
            for key, label in zip(home.keys, names.labels, strict=True)
        ])  # fmt: skip
        self.doors = np.array([key in ("door", "glass door") for key in home.keys])

    # -- noun phrases --------------------------------------------------------------------------
    def noun_phrase(
        self, index: int, target: int, depth: int = 0, unique: bool = False
    ) -> NounPhrase | None:
        """A phrase for an anchor, with a predicate where `unique` needs one."""
        noun = self.names.noun(index)
        strict, loose = (mask.copy() for mask in self.names.masks(noun))
        if not loose[index] or noun in ANY_OBJECT:
            return None
        shared = bool(loose[target])
        strict[index] = True
        strict[target] = loose[target] = False
        phrase = NounPhrase(noun, strict & loose, loose, shared=shared)
        if phrase.unique:
            return phrase
        if depth == 0 and (unique or self.rng.random() < 0.3):
            return self.narrowed(phrase, index, target)
        ambiguous = bool((strict != loose).any()) or loose.sum() > 4
        if unique or ambiguous or (shared and self.rng.random() < 0.8):
            return None
        return phrase

    def narrowed(self, phrase: NounPhrase, index: int, target: int) -> NounPhrase | None:
        """The same noun with a predicate that leaves one object."""
        candidates = self.names.masks(phrase.noun)[1]
        for _ in range(4):
            kind = self.rng.choice(
                ("color", "near", "on", "closest", "size", "spot", "below", "with", "count")
            )
            predicate = self.draw(kind, index, candidates, depth=1)
            if predicate is None or predicate.referenced[target]:
                continue
            strict, loose = phrase.strict & predicate.strict, candidates & predicate.loose
            if loose.sum() == 1 and strict[index]:
                return NounPhrase(phrase.noun, strict, loose, predicate, phrase.shared)
        return None

    # -- predicates ----------------------------------------------------------------------------
    def draw(self, kind: str, target: int, candidates: Mask, depth: int = 0) -> Predicate | None:
        """A predicate of a kind that is true of the target; comparisons are among `candidates`."""
        sample: Callable[..., Predicate | None] | None = {
            "color": self.color, "spot": self.position, "size": self.size, "shape": self.shape,
            "order": self.order, "view order": self.view_order, "view side": self.view_side,
            "with": self.having, "count": self.having, "not": self.negation,
            "between": self.between, "closest": self.closest, "farthest": self.closest,
        }.get(kind)  # fmt: skip
        if sample is not None:
            return sample(kind, target, candidates, depth)
        return self.pair(kind, target, candidates, depth)

    def only(
        self, kind: str, target: int, candidates: Mask, value: str = "",
        anchors: tuple[NounPhrase, ...] = (), view: NounPhrase | None = None,
        entering: bool = False,
    ) -> Predicate:  # fmt: skip
        """A comparison that the target wins; it excludes candidates only."""
        strict = np.zeros(self.count, bool)
        strict[target] = True
        loose = strict | ~candidates
        return Predicate(kind, strict, loose, value, anchors, candidates, view, entering)

    def pair(self, kind: str, target: int, candidates: Mask, depth: int) -> Predicate | None:
        strict, loose = self.relations.pairs[kind]
        found = np.flatnonzero(strict[target] & self.anchorable)
        if not len(found):
            return None
        anchor = int(self.rng.choice(found))
        phrase = self.noun_phrase(anchor, target, depth, kind in UNIQUE_ANCHOR)
        if phrase is None or not (strict[target] & phrase.strict).any():
            return None
        anchors = phrase.strict, phrase.loose
        if phrase.shared and phrase.predicate is None:  # "the other one" differs for each of them
            anchors = self.names.masks(phrase.noun)
        fits = (np.any(strict[:, anchors[0]], 1), np.any(loose[:, anchors[1]], 1))
        return Predicate(kind, *fits, anchors=(phrase,))

    def between(self, kind: str, target: int, candidates: Mask, depth: int) -> Predicate | None:
        distance = self.relations.distance[target] + 1e3 * ~self.anchorable
        distance[target] = np.inf
        close = [int(i) for i in np.argsort(distance)[:9] if distance[i] < 1e3]
        if len(close) < 2:
            return None
        for _ in range(4):
            a, b = self.rng.sample(close, 2)
            strict, loose = self.relations.between(a, b)
            if not strict[target]:
                continue
            noun = self.names.noun(a)
            named, loosely_named = self.names.masks(noun)
            if named[a] and named[b] and loosely_named.sum() == 2 and not loosely_named[target]:
                anchors = (NounPhrase(noun, named, loosely_named),)
                return Predicate(kind, strict, loose, "two", anchors)
            first = self.noun_phrase(a, target, depth, unique=True)
            second = self.noun_phrase(b, target, depth, unique=True)
            if first is not None and second is not None:
                return Predicate(kind, strict, loose, anchors=(first, second))
        return None

    def closest(self, kind: str, target: int, candidates: Mask, depth: int) -> Predicate | None:
        """Closest to or farthest from an anchor, by centres and by surfaces."""
        if candidates.sum() < 2:
            return None
        farthest = kind == "farthest"
        distance = self.relations.distance[target].copy()
        distance[~self.anchorable | candidates] = -np.inf if farthest else np.inf
        order = np.argsort(-distance if farthest else distance)
        options = [int(i) for i in order[:12] if np.isfinite(distance[i])]
        if not options:
            return None
        phrase = self.noun_phrase(self.rng.choice(options), target, depth)
        if phrase is None or (phrase.strict & candidates | phrase.strict ^ phrase.loose).any():
            return None
        members = np.flatnonzero(candidates)
        by_center, by_surface = (self.relations.distance, 1.15, 0.2), (self.relations.gap, 1.0, 0.1)
        for matrix, ratio, margin in (by_center, by_surface):
            values = matrix[np.ix_(members, phrase.strict)].min(1).tolist()
            if not self._is_clear(members, values, target, farthest, ratio, margin):
                return None
        return self.only(kind, target, candidates, anchors=(phrase,))

    @staticmethod
    def _is_clear(
        members: Mask, values: list[float], target: int, largest: bool, ratio: float, margin: float
    ) -> bool:
        """Whether the target's value is clearly the largest (smallest) of the members'."""
        close = contenders(values, largest=largest, ratio=ratio, margin=margin)
        return len(close) == 1 and int(members[close[0]]) == target

    def color(self, kind: str, target: int, candidates: Mask, depth: int) -> Predicate | None:
        color = self.home.colors[target]
        strict = np.array([c == color for c in self.home.colors])
        loose = np.array([color in (c, *SIMILAR_COLORS[c].split()) for c in self.home.colors])
        return Predicate(kind, strict, loose, color)

    def position(self, kind: str, target: int, candidates: Mask, depth: int) -> Predicate | None:
        """In a corner, in the middle of the room, at a wall, on the floor."""
        return self._one_of(kind, target, self.relations.room_positions)

    def shape(self, kind: str, target: int, candidates: Mask, depth: int) -> Predicate | None:
        size = self.relations.size
        ratio = size[:, :2].max(1) / size[:, :2].min(1)
        slim = size[:, 2] / size[:, :2].max(1)
        shapes = {
            "square": (ratio < 1.12, ratio < 1.35),
            "rectangular": (ratio > 1.5, ratio > 1.2),
            "long": (ratio > 2.2, ratio > 1.5),
            "tall": (slim > 1.8, slim > 1.1),
        }
        return self._one_of(kind, target, shapes)

    def _one_of(
        self, kind: str, target: int, masks: dict[str, tuple[Mask, Mask]]
    ) -> Predicate | None:
        """One of the named properties that the target has strictly."""
        fitting = [name for name, (strict, _) in masks.items() if strict[target]]
        if not fitting:
            return None
        name = self.rng.choice(fitting)
        return Predicate(kind, *masks[name], name)

    def size(self, kind: str, target: int, candidates: Mask, depth: int) -> Predicate | None:
        measure = self.rng.choice(("large", "large", "tall", "long", "high"))
        largest = self.rng.choice((True, False))
        members = np.flatnonzero(candidates)
        values = self.relations.measures[measure][members].tolist()
        ratio = _SIZE_RATIOS[measure]
        if len(members) < 2 or not self._is_clear(members, values, target, largest, ratio, 0.0):
            return None
        return self.only(kind, target, candidates, ("+" if largest else "-") + measure)

    def order(self, kind: str, target: int, candidates: Mask, depth: int) -> Predicate | None:
        """Rank in a row at a wall, seen from the room; or the middle of any row of 3, 5 or 7."""
        members = np.flatnonzero(candidates)
        if not 2 <= len(members) <= 7:
            return None
        to_walls = self.relations.to_walls[members]
        farthest = to_walls.max(0)
        if farthest.min() < _ROW_REACH and to_walls.min(1).max() < _ROW_REACH:
            direction = WALL_DIRECTIONS[int(farthest.argmin())]
            return self.rank(kind, target, candidates, [direction], None)
        if len(members) % 2 == 0:
            return None
        centers = self.relations.center[members, :2]
        plan = centers - centers.mean(0)
        axes = np.linalg.svd(plan)[2]
        direction = np.array([axes[0][1], -axes[0][0]])
        if np.abs(plan @ direction).max() > 0.4:
            return None
        row = left_to_right(centers, direction, 0.25)
        if row is None or members[row[len(row) // 2]] != target:
            return None
        return self.only(kind, target, candidates, "middle")

    def rank(
        self, kind: str, target: int, candidates: Mask, directions: list[np.ndarray],
        view: NounPhrase | None, entering: bool = False,
    ) -> Predicate | None:  # fmt: skip
        """ "left", "left 2" (second from the left), "middle", ... in all view directions alike."""
        members = np.flatnonzero(candidates)
        centers = self.relations.center[members, :2]
        rows = [left_to_right(centers, direction, _ROW_GAP) for direction in directions]
        row = rows[0]
        if row is None or any(other != row for other in rows):
            return None
        k, last = members[row].tolist().index(target), len(row) - 1
        options = {0: ["left"], last: ["right"]}.get(k, [])
        if last >= 2:
            options += [f"left {k + 1}"] * (k < 4) + [f"right {last - k + 1}"] * (last - k < 4)
            options += ["middle"] * 2 * (2 * k == last)
        if not options:
            return None
        value = self.rng.choice(options)
        return self.only(kind, target, candidates, value, view=view, entering=entering)

    def view(self, target: int) -> tuple[NounPhrase, list[np.ndarray], bool] | None:
        """An object to face, or a door to enter by, and the possible view directions."""
        rng = self.rng
        entering = bool(self.doors.sum() == 1) and rng.random() < 0.4
        if entering:
            anchor = int(np.flatnonzero(self.doors)[0])
        else:
            anchor = int(rng.choice(np.flatnonzero(self.anchorable)))
        if anchor == target or not self.anchorable[anchor]:
            return None
        directions = self.relations.view_directions(anchor)
        if not directions:
            return None
        phrase = self.noun_phrase(anchor, target, 0, unique=True)
        if phrase is None:
            return None
        if entering:
            directions = [-direction for direction in directions]
        return phrase, directions, entering

    def view_order(self, kind: str, target: int, candidates: Mask, depth: int) -> Predicate | None:
        if not 2 <= candidates.sum() <= 6:
            return None
        found = self.view(target)
        if found is None or (found[0].strict & candidates).any():
            return None
        phrase, directions, entering = found
        return self.rank(kind, target, candidates, directions, phrase, entering)

    def view_side(self, kind: str, target: int, candidates: Mask, depth: int) -> Predicate | None:
        """Left or right of the room, or of another object, for a viewer who faces an object."""
        found = self.view(target)
        if found is None:
            return None
        view, directions, entering = found
        relations = self.relations
        anchors: tuple[NounPhrase, ...] = ()
        origin, reach = relations.middle[:2], 0.8
        if self.rng.random() < 0.5:
            near = (relations.gap[target] < 1.2) & self.anchorable & relations.others[target]
            if not near.any():
                return None
            index = int(self.rng.choice(np.flatnonzero(near)))
            anchor = self.noun_phrase(index, target, 0, unique=True)
            if anchor is None or anchor.strict[np.flatnonzero(view.strict)].any():
                return None
            anchors, origin, reach = (anchor,), relations.center[index, :2], 0.3
        offset = relations.center[:, :2] - origin
        for value, sign in (("left", 1.0), ("right", -1.0)):
            sides = [sign * offset @ left_of(direction) for direction in directions]
            depths = [np.abs(offset @ direction) for direction in directions]
            strict = np.min(sides, 0) > reach
            loose = np.max(sides, 0) > -0.1
            if anchors:
                strict &= np.min(sides, 0) > 1.2 * np.max(depths, 0)
                strict &= np.linalg.norm(offset, axis=1) < 2.5
            if strict[target]:
                return Predicate(kind, strict, loose, value, anchors, view=view, entering=entering)
        return None

    def having(self, kind: str, target: int, candidates: Mask, depth: int) -> Predicate | None:
        """With something on, under, over or next to it; or with so many."""
        name = self.rng.choice(("on", "on", "near", "above", "below"))
        strict, loose = self.relations.pairs[name]
        found = np.flatnonzero(strict[:, target] & self.anchorable)
        if not len(found):
            return None
        phrase = self.noun_phrase(int(self.rng.choice(found)), target, depth=1)
        if phrase is None or (phrase.strict != phrase.loose).any() or phrase.shared:
            return None
        counts, loose_counts = strict[phrase.strict].sum(0), loose[phrase.strict].sum(0)
        if kind == "with":
            return Predicate(kind, counts > 0, loose_counts > 0, name, (phrase,))
        number = int(counts[target])
        if not 2 <= number <= 6 or loose_counts[target] != number:
            return None
        fits = (counts <= number) & (number <= loose_counts)
        exact = fits & (counts == loose_counts)
        return Predicate(kind, exact, fits, f"{name} {number}", (phrase,))

    def negation(self, kind: str, target: int, candidates: Mask, depth: int) -> Predicate | None:
        """The negation of a predicate of another candidate that is not true of the target."""
        others = np.flatnonzero(candidates)
        others = others[others != target]
        if not len(others):
            return None
        negated = self.draw(
            self.rng.choice(("near", "near", "on", "color", "spot", "below", "with", "middle")),
            int(self.rng.choice(others)), candidates, depth=1,
        )  # fmt: skip
        if negated is None or negated.loose[target] or negated.referenced[target]:
            return None
        return Predicate(kind, ~negated.loose, ~negated.strict, negated=negated)
