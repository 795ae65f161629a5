"""Statements about one thing of a room, as people make them, each true of that thing alone."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.research.homes.object_names import NO_ANCHORS, Naming, plural
from spatial3d_ros.research.homes.predicates import Clause, Mask, PredicateSampler
from spatial3d_ros.research.homes.realizer import Speaker
from spatial3d_ros.research.homes.rooms import Home, generate_home

KINDS = {
    "closest": 13, "farthest": 5, "near": 12, "on": 10, "above": 7, "below": 7, "between": 12,
    "left": 8, "right": 8, "front": 7, "behind": 5, "across": 3, "facing": 1, "back to": 1,
    "end": 3, "middle": 1, "color": 6, "spot": 5, "size": 5, "shape": 1, "order": 5,
    "view order": 7, "view side": 4, "with": 6, "count": 3, "not": 4,
}  # fmt: skip
"""How often each clause is tried; most tries of the rarer ones fail."""
_GROUPING = ("near", "near", "on", "spot", "color", "below", "left", "right", "front", "across")
_PICKING = {
    "closest": 4,
    "farthest": 2,
    "size": 2,
    "order": 5,
    "view order": 4,
    "near": 2,
    "end": 1,
}
MAX_WORDS = 60


@dataclass(frozen=True, eq=False)
class Statement:
    """text means thing number `target`. kind: the deciding clause, "several" that decide together,
    "group" (of the three chairs ...) or "named" (the noun alone decides). candidates, anchors (n,)
    bool: what its noun could mean, what the rest leans on.
    """

    text: str
    target: int
    kind: str
    noun: str
    clauses: tuple[Clause, ...]
    group: Clause | None
    candidates: Mask
    anchors: Mask


class Statements:
    """Draws statements about one room, with its names (`naming.labels`). One seed, one list."""

    def __init__(self, home: Home, rng: np.random.Generator, split: str = "train") -> None:
        self.home = home
        self.rng = random.Random(int(rng.integers(2**62)))
        self.naming = Naming(home.keys, self.rng)
        self.teller = PredicateSampler(home, self.naming, self.rng)
        self.speaker = Speaker(self.rng, split)
        counts = Counter(home.keys)
        # People are asked about things that are not alone of their kind.
        self.weights = [
            (
                0.0
                if key in NO_ANCHORS
                else 0.3
                if counts[key] == 1
                else 1.0
                if counts[key] < 7
                else 0.5
            )
            * (1.0 if label and label != "object" else 0.3)
            for key, label in zip(home.keys, self.naming.labels, strict=True)
        ]

    def make(self, count: int, words: int = MAX_WORDS) -> list[Statement]:
        """Up to `count` statements of at most so many words, no text twice."""
        made: dict[str, Statement] = {}
        for _ in range(6 * count):
            if len(made) == count or not any(self.weights):
                break
            target = self.rng.choices(range(len(self.weights)), self.weights)[0]
            # What is alone of its kind is always told apart: others get more tries.
            one = next(filter(None, (self.about(target) for _ in range(3))), None)
            if one is not None and len(one.text.split()) <= words:
                made.setdefault(one.text.lower(), one)
        return list(made.values())

    def about(self, target: int) -> Statement | None:
        """A statement about one thing, or None where nothing was found to tell it by."""
        word = self.naming.word(target)
        sure, possible = self.naming.masks(word)
        if not possible[target]:
            return None
        alike = int(possible.sum())
        if alike == 1:
            clauses = [
                c
                for c in (
                    self.some(target, possible) for _ in range(self.rng.choice((1, 1, 2, 2, 3, 4)))
                )
                if c
            ]
            return self.statement(word, target, possible, "named", _distinct(clauses))
        if self.rng.random() < 0.28:
            found = self.grouped(word, target, sure, possible)
            if found is not None:
                return found
        left, clauses, kind = possible, [], ""
        for _ in range(14):
            if left.sum() == 1 or len(clauses) == 3:
                break
            clause = self.some(target, possible)
            if clause is None or any(c.kind == clause.kind and c.kind != "near" for c in clauses):
                continue
            fewer = left & clause.maybe
            if fewer.sum() == left.sum() or (
                clause.view is not None and any(c.view for c in clauses)
            ):
                continue
            left, kind = fewer, kind or clause.kind
            clauses.append(clause)
        if left.sum() != 1:
            return None
        if len(clauses) > 1:
            kind = "several"
        for _ in range(self.rng.choice((0, 0, 0, 0, 1, 1, 2))):
            clause = self.some(target, possible)
            if (
                clause is not None
                and clause.view is None
                and all(c.kind != clause.kind for c in clauses)
            ):
                clauses.append(clause)
        self.rng.shuffle(clauses)
        return self.statement(word, target, possible, kind, clauses)

    def some(self, target: int, among: Mask) -> Clause | None:
        """Any true clause."""
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        return self.teller.draw(kind, target, among)

    def grouped(self, word: str, target: int, sure: Mask, possible: Mask) -> Statement | None:
        """ "There are three chairs at the table. Choose the one closest to the door." """
        group, among = None, possible
        if self.rng.random() < 0.6:
            group = self.teller.draw(self.rng.choice(_GROUPING), target, possible)
            if group is None:
                return None
            among = possible & group.maybe
            if (among != (possible & group.yes)).any() or (among != (among & sure)).any():
                return None
        number = int(among.sum())
        if not 2 <= number <= 6 or (group is None and (among != sure).any()):
            return None
        for _ in range(4):
            kind = self.rng.choices(list(_PICKING), list(_PICKING.values()))[0]
            clause = self.teller.draw(kind, target, among)
            if clause is not None and (among & clause.maybe).sum() == 1:
                return self.statement(word, target, possible, "group", [clause], group, number)
        return None

    def statement(
        self, word: str, target: int, possible: Mask, kind: str, clauses: list[Clause],
        group: Clause | None = None, number: int = 0,
    ) -> Statement:  # fmt: skip
        anchors = np.zeros(len(possible), bool)
        for clause in [*clauses, *([group] if group is not None else [])]:
            anchors |= clause.leant_on
        text = self.speaker.finish(self.speaker.sentence(word, clauses, group, number))
        return Statement(text, target, kind, word, tuple(clauses), group, possible, anchors)


def _distinct(clauses: list[Clause]) -> list[Clause]:
    """One clause of each kind, at most one with a viewpoint."""
    kept: list[Clause] = []
    for clause in clauses:
        seen = clause.view is not None and any(other.view is not None for other in kept)
        if not seen and all(clause.kind != other.kind for other in kept):
            kept.append(clause)
    return kept


def statement_corpus(count: int, seed: int) -> Iterator[str]:
    """Texts and labels of many rooms, to make a tokenizer with."""
    rng = np.random.default_rng((seed, 15485863))
    made = 0
    while made < count:
        home = generate_home(int(rng.integers(2**31)))
        said = Statements(home, rng)
        if said.naming.made_up:
            continue
        for one in said.make(min(24, count - made)):
            yield one.text
            made += 1
        yield ". ".join(f" {name}" for name in said.naming.labels if name)


def all_nouns() -> list[str]:
    """Every noun of the vocabulary, with its plural."""
    from spatial3d_ros.research.homes.object_catalog import THINGS

    nouns = {noun for thing in THINGS.values() for noun in (*thing.names, *thing.broader)}
    return sorted(nouns | {plural(noun) for noun in nouns})
