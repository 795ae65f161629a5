"""Referring expressions for objects of a room, each true of exactly one object.

As in the incremental algorithm of Dale and Reiter (1995), predicates are added until no distractor
is left; here they are drawn at random and checked against strict and loose thresholds.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.english import plural
from spatial3d_ros.object_catalog import OBJECT_KINDS
from spatial3d_ros.research.homes.object_names import NO_ANCHORS, ObjectNames
from spatial3d_ros.research.homes.predicates import Mask, Predicate, PredicateSampler
from spatial3d_ros.research.homes.realizer import Realizer
from spatial3d_ros.research.homes.rooms import Home, generate_home

KINDS = {
    "closest": 13, "farthest": 5, "near": 12, "on": 10, "above": 7, "below": 7, "between": 12,
    "left": 8, "right": 8, "front": 7, "behind": 5, "across": 3, "facing": 1, "back to": 1,
    "end": 3, "middle": 1, "color": 6, "spot": 5, "size": 5, "shape": 1, "order": 5,
    "view order": 7, "view side": 4, "with": 6, "count": 3, "not": 4,
}  # fmt: skip
"""How often each kind of predicate is tried; most tries of the rarer ones fail."""
_GROUP_KINDS = ("near", "near", "on", "spot", "color", "below", "left", "right", "front", "across")
_CHOICE_KINDS = {
    "closest": 4, "farthest": 2, "size": 2, "order": 5, "view order": 4, "near": 2, "end": 1,
}  # fmt: skip
MAX_WORDS = 60
_MAX_PREDICATES = 3


@dataclass(frozen=True, eq=False)
class ReferringExpression:
    """text refers to object number `target`. kind: the deciding predicate, "several" that decide
    together, "group" (of the three chairs ...) or "named" (the noun alone decides). candidates,
    anchors (n,) bool: the objects that the noun could mean, and those that the predicates name.
    """

    text: str
    target: int
    kind: str
    noun: str
    predicates: tuple[Predicate, ...]
    group: Predicate | None
    candidates: Mask
    anchors: Mask


class ExpressionSampler:
    """Draws referring expressions for one room, with its `names`. One seed gives one list."""

    def __init__(self, home: Home, rng: np.random.Generator, split: str = "train") -> None:
        self.home = home
        self.rng = random.Random(int(rng.integers(2**62)))
        self.names = ObjectNames(home.keys, self.rng)
        self.predicates = PredicateSampler(home, self.names, self.rng)
        self.realizer = Realizer(self.rng, split)
        counts = Counter(home.keys)
        self.weights = [
            _weight(key, counts[key], label)
            for key, label in zip(home.keys, self.names.labels, strict=True)
        ]

    def sample(self, count: int, words: int = MAX_WORDS) -> list[ReferringExpression]:
        """Up to `count` expressions of at most so many words, no text twice."""
        made: dict[str, ReferringExpression] = {}
        for _ in range(6 * count):
            if len(made) == count or not any(self.weights):
                break
            target = self.rng.choices(range(len(self.weights)), self.weights)[0]
            # An object alone of its kind always succeeds; the others get more tries.
            one = next(filter(None, (self.refer_to(target) for _ in range(3))), None)
            if one is not None and len(one.text.split()) <= words:
                made.setdefault(one.text.lower(), one)
        return list(made.values())

    def refer_to(self, target: int) -> ReferringExpression | None:
        """An expression for one object, or None where the drawn predicates leave distractors."""
        rng = self.rng
        noun = self.names.noun(target)
        strict, loose = self.names.masks(noun)
        if not loose[target]:
            return None
        if int(loose.sum()) == 1:
            drawn = [
                self.any_predicate(target, loose) for _ in range(rng.choice((1, 1, 2, 2, 3, 4)))
            ]
            predicates = _distinct([p for p in drawn if p is not None])
            return self.expression(noun, target, loose, "named", predicates)
        if rng.random() < 0.28:
            found = self.grouped(noun, target, strict, loose)
            if found is not None:
                return found
        predicates = self.distinguishing(target, loose)
        if not predicates:
            return None
        kind = predicates[0].kind if len(predicates) == 1 else "several"
        for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2))):  # redundant ones
            predicate = self.any_predicate(target, loose)
            if predicate is None or predicate.view is not None:
                continue
            if all(p.kind != predicate.kind for p in predicates):
                predicates.append(predicate)
        rng.shuffle(predicates)
        return self.expression(noun, target, loose, kind, predicates)

    def distinguishing(self, target: int, candidates: Mask) -> list[Predicate]:
        """Predicates that together leave the target alone; empty where they do not."""
        left, predicates = candidates, list[Predicate]()
        for _ in range(14):
            if left.sum() == 1 or len(predicates) == _MAX_PREDICATES:
                break
            predicate = self.any_predicate(target, candidates)
            if predicate is None or any(
                p.kind == predicate.kind and p.kind != "near" for p in predicates
            ):
                continue
            fewer = left & predicate.loose
            second_view = predicate.view is not None and any(p.view for p in predicates)
            if fewer.sum() == left.sum() or second_view:
                continue
            left = fewer
            predicates.append(predicate)
        return predicates if left.sum() == 1 else []

    def any_predicate(self, target: int, candidates: Mask) -> Predicate | None:
        """A predicate of a random kind."""
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        return self.predicates.draw(kind, target, candidates)

    def grouped(
        self, noun: str, target: int, strict: Mask, loose: Mask
    ) -> ReferringExpression | None:
        """ "There are three chairs at the table. Choose the one closest to the door." """
        group, members = None, loose
        if self.rng.random() < 0.6:
            group = self.predicates.draw(self.rng.choice(_GROUP_KINDS), target, loose)
            if group is None:
                return None
            members = loose & group.loose
            if (members & ~(group.strict & strict)).any():
                return None
        number = int(members.sum())
        if not 2 <= number <= 6 or (group is None and (members != strict).any()):
            return None
        for _ in range(4):
            kind = self.rng.choices(list(_CHOICE_KINDS), list(_CHOICE_KINDS.values()))[0]
            predicate = self.predicates.draw(kind, target, members)
            if predicate is not None and (members & predicate.loose).sum() == 1:
                return self.expression(noun, target, loose, "group", [predicate], group, number)
        return None

    def expression(
        self, noun: str, target: int, candidates: Mask, kind: str, predicates: list[Predicate],
        group: Predicate | None = None, number: int = 0,
    ) -> ReferringExpression:  # fmt: skip
        anchors = np.zeros(len(candidates), bool)
        for predicate in [*predicates, *([group] if group is not None else [])]:
            anchors |= predicate.referenced
        text = self.realizer.finish(self.realizer.sentence(noun, predicates, group, number))
        return ReferringExpression(
            text, target, kind, noun, tuple(predicates), group, candidates, anchors
        )


def _weight(key: str, count: int, label: str) -> float:
    """How often an object is a target: users ask for objects that have others of their kind."""
    if key in NO_ANCHORS:
        return 0.0
    weight = 0.3 if count == 1 else 1.0 if count < 7 else 0.5
    return weight * (1.0 if label and label != "object" else 0.3)


def _distinct(predicates: list[Predicate]) -> list[Predicate]:
    """One predicate of each kind, at most one with a viewpoint."""
    kept: list[Predicate] = []
    for predicate in predicates:
        second_view = predicate.view is not None and any(p.view is not None for p in kept)
        if not second_view and all(predicate.kind != p.kind for p in kept):
            kept.append(predicate)
    return kept


def expression_corpus(count: int, seed: int) -> Iterator[str]:
    """`count` texts and the labels of many rooms, to train a tokenizer on."""
    rng = np.random.default_rng((seed, 15485863))
    made = 0
    while made < count:
        sampler = ExpressionSampler(generate_home(int(rng.integers(2**31))), rng)
        if sampler.names.invented:
            continue
        for one in sampler.sample(min(24, count - made)):
            yield one.text
            made += 1
        yield ". ".join(f" {label}" for label in sampler.names.labels if label)


def all_nouns() -> list[str]:
    """Every noun of the vocabulary, with its plural."""
    nouns = {noun for kind in OBJECT_KINDS.values() for noun in (*kind.nouns, *kind.broader)}
    return sorted(nouns | {plural(noun) for noun in nouns})
