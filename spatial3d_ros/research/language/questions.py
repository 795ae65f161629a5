"""Questions about a room with their exact answers, in plain English.

Every question is drawn as a `Description` first, checked against all objects of the room (it must
refer to exactly one, with clear margins; none at all for kind "none"; two or more for "several"),
and then realized as a sentence.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from spatial3d_ros.research.language.description_sampler import VIEWS, DescriptionSampler
from spatial3d_ros.research.language.descriptions import Description, ReferenceResolver
from spatial3d_ros.research.language.relations import bits
from spatial3d_ros.research.language.templates import Realizer, answer_words
from spatial3d_ros.research.rooms.generator import Catalog, RoomObject, generate_room

# Questions of kind "hop" have kind "relation"; "hop" only sets how many there are.
KINDS = {
    "attribute": 0.2, "size": 0.15, "relation": 0.45, "distance": 0.1, "none": 0.1,
    "view": 0.12, "hop": 0.05, "several": 0.06, "appearance": 0.25,
}  # fmt: skip
RICH_KINDS = frozenset({"appearance"})
"""Kinds that only rooms of the full catalog have."""
MAX_WORDS = 24

Sampled = TypeVar("Sampled")


@dataclass(frozen=True)
class Question:
    """One question and its truth.

    kind: "appearance" (only a feature of its look sets the target apart from an object of its
        class, mean color and size), "attribute", "size", "relation", "distance", "view" (a
        view-dependent relation), "several" (all objects that fit are targets) or "none" (nothing
        in the room fits).
    subkind: "class", "color" (with class), "thing" (color alone) or a kind of `features.FEATURES`;
        a superlative; a relation,
        "both" (two relations of the target), "hop" (its anchor has a relation too); "center" of a
        distance; "left" to "rightmost" of a view; for "none" the part that does not fit: "class",
        "color", "feature" or "relation".
    text: at most MAX_WORDS words.
    targets, second: object ids. `second` is the other end of a distance, `metres` between centres.
    answer: "the red chair", "2 red chairs", "1.84 m", "there is no red chair".
    phrases, meaning: the noun phrases (two of a distance), lower case, and their descriptions.
    """

    kind: str
    subkind: str
    text: str
    targets: tuple[int, ...]
    answer: str
    second: tuple[int, ...] = ()
    metres: float | None = None
    phrases: tuple[str, ...] = ()
    meaning: tuple[Description, ...] = ()


def make_questions(
    objects: Sequence[RoomObject],
    rng: np.random.Generator,
    n: int,
    *,
    split: str = "train",
    kinds: Sequence[str] | None = None,
    favour: Mapping[str, float] = MappingProxyType({}),
) -> list[Question]:
    """Draw `n` different questions in the proportions of KINDS, or of the given kinds among them,
    times the factor of each kind in `favour`.

    A kind that the room has no (more) questions of is replaced by the others; fewer than `n` come
    back only if all of them run out. `split` chooses the templates, "train" or "test".
    """
    fast_rng = random.Random(int(rng.integers(2**62)))  # several times faster for scalars
    sampler = DescriptionSampler(ReferenceResolver(objects), fast_rng)
    realizer = Realizer(fast_rng, split)
    allowed = KINDS if sampler.resolver.rich else KINDS.keys() - RICH_KINDS
    weights = {
        k: KINDS[k] * favour.get(k, 1.0)
        for k in (KINDS if kinds is None else kinds)
        if k in allowed
    }
    seen: set[object] = set()

    def draw(kind: str, failures: int) -> Question | None:
        question = _draw(kind, sampler, realizer)
        if question is None or len(question.text.split()) > MAX_WORDS:
            return None
        text = question.text.lower()
        # Every question needs a new meaning; after some failures a new text is enough.
        if text in seen or (failures <= 3 and question.meaning in seen):
            return None
        seen.update((question.meaning, text))
        return question

    return draw_by_weight(n, weights, fast_rng, draw)


def draw_by_weight(
    n: int,
    weights: Mapping[str, float],
    rng: random.Random,
    draw: Callable[[str, int], Sampled | None],
) -> list[Sampled]:
    """Up to `n` items of kinds in proportion to `weights`. `draw(kind, failures)` gives one, or
    None where it fails; a kind is given up after its ninth failure.
    """
    left, failures = dict(weights), dict.fromkeys(weights, 0)
    made: list[Sampled] = []
    while len(made) < n and left:
        kind = rng.choices(list(left), list(left.values()))[0]
        item = draw(kind, failures[kind])
        if item is not None:
            made.append(item)
            continue
        failures[kind] += 1
        if failures[kind] > 8:
            del left[kind]
    return made


def vocabulary_corpus(
    n: int, seed: int, split: str = "train", catalog: Catalog = "basic"
) -> Iterator[str]:
    """`n` question texts over many rooms, to train a tokenizer on."""
    rng = np.random.default_rng((seed, 104729))
    made = 0
    while made < n:
        room = generate_room(int(rng.integers(2**31)), catalog=catalog)
        for question in make_questions(room.objects, rng, min(16, n - made), split=split):
            yield question.text
            made += 1


def _draw(kind: str, sampler: DescriptionSampler, realizer: Realizer) -> Question | None:
    if kind == "distance":
        return _draw_distance(sampler, realizer)
    draws = {
        "appearance": sampler.appearance,
        "attribute": sampler.attribute,
        "size": sampler.size,
        "relation": sampler.relation,
        "none": sampler.absent,
        "view": lambda: sampler.relation(tuple(VIEWS)),
        "hop": lambda: sampler.relation(("hop",)),
        "several": sampler.several,
    }
    drawn = draws[kind]()
    if drawn is None:
        return None
    subkind, description = drawn
    kind = "relation" if kind == "hop" else kind
    realize = {"view": realizer.view, "several": realizer.several}.get(kind, realizer.question)
    text, phrase = realize(description)
    if kind == "none":
        targets: tuple[int, ...] = ()
        answer = "there is no " + phrase.removeprefix("the ")
    elif kind == "several":
        fitting = bits(sampler.resolver.masks(description)[0])
        targets = tuple(sampler.objects[i].id for i in fitting)
        answer = f"{len(targets)} {phrase.removeprefix('the ')}"
    else:
        target = sampler.objects[sampler.resolver.referent(description)]
        targets, answer = (target.id,), answer_words(target.color, target.category)
    text = realizer.finish(text)
    return Question(kind, subkind, text, targets, answer, phrases=(phrase,), meaning=(description,))


def _draw_distance(sampler: DescriptionSampler, realizer: Realizer) -> Question | None:
    described = sampler.pair()
    if described is None:
        return None
    a, b = described
    phrases = tuple(realizer.definite(description) for description in described.values())
    metres = sampler.resolver.relations.distances[a][b]
    return Question(
        "distance",
        "center",
        realizer.finish(realizer.distance(*phrases)),
        (sampler.objects[a].id,),
        f"{metres:.2f} m",
        (sampler.objects[b].id,),
        metres,
        phrases,
        tuple(described.values()),
    )
