"""What can be said of one thing of a room to tell it from others: clauses, and when they hold.

A clause knows which things fit it for sure (`yes`) and which could (`maybe`), as (n,) bool masks.
The words come later (`speaking`). Clauses that compare ("the tallest", "second from the left")
compare among given candidates only, and fit exactly one of them or are not made at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.research.homes.object_catalog import CONFUSED
from spatial3d_ros.research.homes.object_names import NO_ANCHORS, Naming
from spatial3d_ros.research.homes.rooms import Home
from spatial3d_ros.research.homes.spatial_relations import Facts, left_of, wins

Mask = np.ndarray
LONE = {"left", "right", "front", "behind", "across", "facing", "back to", "end", "middle"}
"""Relations that need to know which anchor is meant."""


@dataclass(frozen=True, eq=False)
class Noun:
    """A word for some things, with at most one clause more: "the table by the window".

    yes, maybe: what it could mean; `other`: the target may bear the same name.
    """

    word: str
    yes: Mask
    maybe: Mask
    clause: Clause | None = None
    other: bool = False

    @property
    def single(self) -> bool:
        """Whether it can mean one thing only."""
        return int(self.maybe.sum()) == 1 and bool((self.yes == self.maybe).all())


@dataclass(frozen=True, eq=False)
class Clause:
    """kind: a relation of `Facts.pairs`, "closest", "farthest", "between", "color", "spot", "size",
    "shape", "order", "view order", "view side", "with", "count", "not". value: its colour, spot,
    measure, place or number. among: the candidates that a comparison is about.
    """

    kind: str
    yes: Mask
    maybe: Mask
    value: str = ""
    anchors: tuple[Noun, ...] = ()
    among: Mask | None = None
    view: Noun | None = None
    entering: bool = False
    inner: Clause | None = None

    @property
    def leant_on(self) -> Mask:
        """All things that the clause names besides its own."""
        found = np.zeros_like(self.yes)
        nouns = [*self.anchors, *([self.view] if self.view else [])]
        for noun in nouns:
            found |= noun.yes
            if noun.clause is not None:
                found |= noun.clause.leant_on
        return found | self.inner.leant_on if self.inner is not None else found


class PredicateSampler:
    """Draws clauses that are true of a thing."""

    def __init__(self, home: Home, naming: Naming, rng: random.Random) -> None:
        self.home, self.naming, self.rng = home, naming, rng
        self.facts = Facts(home)
        self.count = len(home.keys)
        named = [bool(label) and label != "object" for label in naming.labels]
        self.anchorable = np.array(
            [known and key not in NO_ANCHORS for key, known in zip(home.keys, named, strict=True)]
        )
        self.doors = np.array([key in ("door", "glass door") for key in home.keys])

    # -- nouns ---------------------------------------------------------------------------------
    def noun(self, index: int, target: int, depth: int = 0, single: bool = False) -> Noun | None:
        """A noun for an anchor; more is said of it where `single` needs that."""
        word = self.naming.word(index)
        sure, possible = self.naming.masks(word)
        if not possible[index] or word in ("object", "item", "thing"):
            return None
        other = bool(possible[target])
        yes, maybe = sure.copy(), possible.copy()
        yes[index] = True
        yes[target] = maybe[target] = False
        noun = Noun(word, yes & maybe, maybe, other=other)
        if noun.single:
            return noun
        if depth == 0 and (single or self.rng.random() < 0.3):
            return self.narrowed(noun, index, target)
        if single or (yes != maybe).any() or maybe.sum() > 4 or (other and self.rng.random() < 0.8):
            return None
        return noun

    def narrowed(self, noun: Noun, index: int, target: int) -> Noun | None:
        """The same noun with a clause that leaves one thing."""
        among = self.naming.masks(noun.word)[1]
        for _ in range(4):
            kind = self.rng.choice(
                ("color", "near", "on", "closest", "size", "spot", "below", "with", "count")
            )
            clause = self.draw(kind, index, among, depth=1)
            if clause is None or clause.leant_on[target]:
                continue
            yes, maybe = noun.yes & clause.yes, among & clause.maybe
            if maybe.sum() == 1 and yes[index]:
                return Noun(noun.word, yes, maybe, clause, noun.other)
        return None

    # -- clauses -------------------------------------------------------------------------------
    def draw(self, kind: str, target: int, among: Mask, depth: int = 0) -> Clause | None:
        """A clause of a kind that is true of the target; comparisons are among some."""
        maker: Callable[..., Clause | None] | None = {
            "color": self.color, "spot": self.spot, "size": self.size, "shape": self.shape,
            "order": self.order, "view order": self.view_order, "view side": self.view_side,
            "with": self.having, "count": self.having, "not": self.denied, "between": self.between,
            "closest": self.closest, "farthest": self.closest,
        }.get(kind)  # fmt: skip
        if maker is not None:
            return maker(kind, target, among, depth)
        return self.pair(kind, target, among, depth)

    def pair(self, kind: str, target: int, among: Mask, depth: int) -> Clause | None:
        yes, maybe = self.facts.pairs[kind]
        found = np.flatnonzero(yes[target] & self.anchorable)
        if not len(found):
            return None
        noun = self.noun(int(self.rng.choice(found)), target, depth, kind in LONE)
        if noun is None or not (yes[target] & noun.yes).any():
            return None
        sure, possible = noun.yes, noun.maybe
        if noun.other and noun.clause is None:  # to each of them, the others are "the other one"
            sure, possible = self.naming.masks(noun.word)
        return Clause(kind, yes[:, sure].any(1), maybe[:, possible].any(1), anchors=(noun,))

    def between(self, kind: str, target: int, among: Mask, depth: int) -> Clause | None:
        near = self.facts.distance[target] + 1e3 * ~self.anchorable
        near[target] = np.inf
        close = [int(i) for i in np.argsort(near)[:9] if near[i] < 1e3]
        if len(close) < 2:
            return None
        for _ in range(4):
            a, b = self.rng.sample(close, 2)
            yes, maybe = self.facts.between(a, b)
            if not yes[target]:
                continue
            word = self.naming.word(a)
            sure, possible = self.naming.masks(word)
            if sure[a] and sure[b] and possible.sum() == 2 and not possible[target]:
                return Clause(kind, yes, maybe, "two", (Noun(word, sure, possible),))
            first = self.noun(a, target, depth, single=True)
            second = self.noun(b, target, depth, single=True)
            if first is not None and second is not None:
                return Clause(kind, yes, maybe, anchors=(first, second))
        return None

    def closest(self, kind: str, target: int, among: Mask, depth: int) -> Clause | None:
        if among.sum() < 2:
            return None
        sign = -1.0 if kind == "closest" else 1.0
        reach = self.facts.distance[target].copy()
        reach[~self.anchorable | among] = np.inf if kind == "closest" else -np.inf
        order = np.argsort(-sign * reach)
        options = [int(i) for i in order[:12] if np.isfinite(reach[i])]
        if not options:
            return None
        index = self.rng.choice(options)
        noun = self.noun(index, target, depth)
        if noun is None or (noun.yes != noun.maybe).any() or (noun.yes & among).any():
            return None
        d, g = self.facts.distance[:, noun.yes].min(1), self.facts.gap[:, noun.yes].min(1)
        for values, ratio, by in ((d, 1.15, 0.2), (g, 1.0, 0.1)):
            members = np.flatnonzero(among)
            best, second = members[np.argsort(-sign * values[members])[:2]]
            clear = abs(values[second] - values[best]) >= by
            low, high = sorted((values[best], values[second]))
            if best != target or not clear or high < ratio * low:
                return None
        only = np.zeros(self.count, bool)
        only[target] = True
        return Clause(kind, only, only | ~among, anchors=(noun,), among=among)

    def color(self, kind: str, target: int, among: Mask, depth: int) -> Clause | None:
        color = self.home.colors[target]
        yes = np.array([c == color for c in self.home.colors])
        maybe = np.array([c == color or color in CONFUSED[c].split() for c in self.home.colors])
        return Clause(kind, yes, maybe, color)

    def spot(self, kind: str, target: int, among: Mask, depth: int) -> Clause | None:
        fitting = [name for name, (yes, _) in self.facts.spots.items() if yes[target]]
        if not fitting:
            return None
        name = self.rng.choice(fitting)
        yes, maybe = self.facts.spots[name]
        return Clause(kind, yes, maybe | yes, name)

    def size(self, kind: str, target: int, among: Mask, depth: int) -> Clause | None:
        measure = self.rng.choice(("large", "large", "tall", "long", "high"))
        sign = self.rng.choice((1.0, -1.0))
        values = self.facts.measures[measure]
        values = values if sign > 0 else 1 / values
        ratio = {"large": 1.12, "tall": 1.15, "long": 1.2, "high": 1.15}[measure]
        if wins(values, among, ratio=ratio, by=0.0) != target:
            return None
        only = np.zeros(self.count, bool)
        only[target] = True
        return Clause(kind, only, only | ~among, ("+" if sign > 0 else "-") + measure, among=among)

    def shape(self, kind: str, target: int, among: Mask, depth: int) -> Clause | None:
        size = self.facts.size
        ratio = size[:, :2].max(1) / size[:, :2].min(1)
        slim = size[:, 2] / size[:, :2].max(1)
        shapes = {
            "square": (ratio < 1.12, ratio < 1.35),
            "rectangular": (ratio > 1.5, ratio > 1.2),
            "long": (ratio > 2.2, ratio > 1.5),
            "tall": (slim > 1.8, slim > 1.1),
        }
        fitting = [name for name, (yes, _) in shapes.items() if yes[target]]
        if not fitting:
            return None
        name = self.rng.choice(fitting)
        return Clause(kind, *shapes[name], name)

    def ranks(self, among: Mask, direction: np.ndarray, by: float) -> list[int] | None:
        """Some things from left to right for who looks along a direction, `by` m apart, or None."""
        members = np.flatnonzero(among)
        lateral = self.facts.center[members, :2] @ left_of(direction)
        order = np.argsort(-lateral)
        if (-np.diff(lateral[order]) < by).any():
            return None
        return members[order].tolist()

    def order(self, kind: str, target: int, among: Mask, depth: int) -> Clause | None:
        """Places in a row at a wall, seen from the room; or the middle of any row of 3, 5 or 7."""
        members = np.flatnonzero(among)
        if not 2 <= len(members) <= 7:
            return None
        walls = self.facts.to_walls[members].max(0)
        if walls.min() < 0.9 and self.facts.to_walls[members].min(1).max() < 0.9:
            wall = int(walls.argmin())
            direction = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])[wall]
            return self.ranked(kind, target, among, [direction], None)
        if len(members) % 2 == 0:
            return None
        flat = self.facts.center[members, :2] - self.facts.center[members, :2].mean(0)
        axes = np.linalg.svd(flat)[2]
        direction = np.array([axes[0][1], -axes[0][0]])
        if np.abs(flat @ direction).max() > 0.4:
            return None
        row = self.ranks(among, direction, 0.25)
        if row is None or row[len(row) // 2] != target:
            return None
        return self.placed(kind, target, among, "middle", None, False)

    def ranked(
        self, kind: str, target: int, among: Mask, directions: list[np.ndarray], view: Noun | None,
        entering: bool = False,
    ) -> Clause | None:  # fmt: skip
        rows = [self.ranks(among, direction, 0.2) for direction in directions]
        if rows[0] is None or any(row != rows[0] for row in rows):
            return None
        k, last = rows[0].index(target), len(rows[0]) - 1
        options = {0: ["left"], last: ["right"]}.get(k, [])
        if last >= 2:
            options += [f"left {k + 1}"] * (k < 4) + [f"right {last - k + 1}"] * (last - k < 4)
            options += ["middle"] * 2 * (2 * k == last)
        if not options:
            return None
        return self.placed(kind, target, among, self.rng.choice(options), view, entering)

    def placed(
        self, kind: str, target: int, among: Mask, value: str, view: Noun | None, entering: bool
    ) -> Clause:
        only = np.zeros(self.count, bool)
        only[target] = True
        return Clause(kind, only, only | ~among, value, among=among, view=view, entering=entering)

    def view(self, target: int) -> tuple[Noun, list[np.ndarray], bool] | None:
        """Something to look at, or a door to come in by, and the directions of that look."""
        rng, facts = self.rng, self.facts
        entering = bool(self.doors.sum() == 1) and rng.random() < 0.4
        if entering:
            anchor = int(np.flatnonzero(self.doors)[0])
        else:
            anchor = int(rng.choice(np.flatnonzero(self.anchorable)))
        if anchor == target or not self.anchorable[anchor]:
            return None
        directions = facts.views(anchor)
        if not directions:
            return None
        noun = self.noun(anchor, target, 0, single=True)
        if noun is None:
            return None
        if entering:
            directions = [-direction for direction in directions]
        return noun, directions, entering

    def view_order(self, kind: str, target: int, among: Mask, depth: int) -> Clause | None:
        if not 2 <= among.sum() <= 6:
            return None
        found = self.view(target)
        if found is None or (found[0].yes & among).any():
            return None
        noun, directions, entering = found
        return self.ranked(kind, target, among, directions, noun, entering)

    def view_side(self, kind: str, target: int, among: Mask, depth: int) -> Clause | None:
        """Left or right of the room, or of another thing, for who looks in a direction."""
        found = self.view(target)
        if found is None:
            return None
        noun, directions, entering = found
        anchors: tuple[Noun, ...] = ()
        origin, reach = self.facts.middle[:2], 0.8
        if self.rng.random() < 0.5:
            near = np.flatnonzero(
                (self.facts.gap[target] < 1.2) & self.anchorable & self.facts.others[target]
            )
            if not len(near):
                return None
            index = int(self.rng.choice(near))
            anchor = self.noun(index, target, 0, single=True)
            if anchor is None or anchor.yes[np.flatnonzero(noun.yes)].any():
                return None
            anchors, origin, reach = (anchor,), self.facts.center[index, :2], 0.3
        offset = self.facts.center[:, :2] - origin
        for value, sign in (("left", 1.0), ("right", -1.0)):
            sides = [sign * offset @ left_of(direction) for direction in directions]
            depths = [np.abs(offset @ direction) for direction in directions]
            yes = np.min(sides, 0) > reach
            maybe = np.max(sides, 0) > -0.1
            if anchors:
                yes &= (np.min(sides, 0) > 1.2 * np.max(depths, 0)) & (
                    np.linalg.norm(offset, axis=1) < 2.5
                )
            if yes[target]:
                return Clause(kind, yes, maybe, value, anchors, view=noun, entering=entering)
        return None

    def having(self, kind: str, target: int, among: Mask, depth: int) -> Clause | None:
        """With something on, under, over or at it; or with so many."""
        name = self.rng.choice(("on", "on", "near", "above", "below"))
        yes, maybe = self.facts.pairs[name]
        found = np.flatnonzero(yes[:, target] & self.anchorable)
        if not len(found):
            return None
        noun = self.noun(int(self.rng.choice(found)), target, depth=1)
        if noun is None or (noun.yes != noun.maybe).any() or noun.other:
            return None
        sure, possible = yes[noun.yes].sum(0), maybe[noun.yes].sum(0)
        if kind == "with":
            return Clause(kind, sure > 0, possible > 0, name, (noun,))
        number = int(sure[target])
        if not 2 <= number <= 6 or possible[target] != number:
            return None
        fits = (sure <= number) & (number <= possible)
        return Clause(kind, fits & (sure == possible), fits, f"{name} {number}", (noun,))

    def denied(self, kind: str, target: int, among: Mask, depth: int) -> Clause | None:
        """What is true of another candidate, and of the target surely not."""
        others = np.flatnonzero(among)
        others = others[others != target]
        if not len(others):
            return None
        inner = self.draw(
            self.rng.choice(("near", "near", "on", "color", "spot", "below", "with", "middle")),
            int(self.rng.choice(others)), among, depth=1,
        )  # fmt: skip
        if inner is None or inner.maybe[target] or inner.leant_on[target]:
            return None
        return Clause(kind, ~inner.maybe, ~inner.yes, inner=inner)
