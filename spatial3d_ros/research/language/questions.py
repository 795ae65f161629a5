"""Questions about a room with their exact answers, in plain English.

Every question is drawn as a `Description` first, checked against all objects of the room (it must
pick out exactly one, with clear margins; none at all for kind "none"; two or more for "several"),
and then put into words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from spatial3d_ros.research.language.description_sampler import VIEWS, DescriptionSampler
from spatial3d_ros.research.language.descriptions import Description, Meanings
from spatial3d_ros.research.language.relations import bits
from spatial3d_ros.research.language.templates import Speaker, answer_words
from spatial3d_ros.research.rooms.generator import RoomObject, generate_room

# "hop" is a choice of its own because such questions must be counted alone; they are relations.
KINDS = {
    "attribute": 0.2, "size": 0.15, "relation": 0.45, "distance": 0.1, "none": 0.1,
    "view": 0.12, "hop": 0.05, "several": 0.06,
}  # fmt: skip
MAX_WORDS = 24

Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class Question:
    """One question and its truth.

    kind: "attribute", "size", "relation", "distance", "view" (a relation that depends on where
        one stands), "several" (all that fit are meant) or "none" (nothing in the room fits).
    subkind: "class", "color" (with class) or "thing" (colour alone); a superlative; a relation,
        "both" (two relations of the target), "hop" (its anchor has a relation too); "center" of a
        distance; "left" to "rightmost" of a view; "class", "color" or "relation" for what makes
        that nothing fits.
    text: at most MAX_WORDS words.
    targets, second: object ids. `second` is the other one of a distance, `metres` between centres.
    answer: "the red chair", "2 red chairs", "1.84 m", "there is no red chair".
    phrases, meaning: the noun phrases (two of a distance), lower case, and what they mean.
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
) -> list[Question]:
    """Draw `n` different questions in the proportions of KINDS, or of the given kinds among them.

    A kind that the room has no (more) questions of is replaced by the others; fewer than `n` come
    back only if all of them run out. `split` chooses the sentence frames, "train" or "test".
    """
    quick = random.Random(int(rng.integers(2**62)))  # several times faster on single numbers
    drawer = DescriptionSampler(Meanings(objects), quick)
    speaker = Speaker(quick, split)
    weights = {kind: KINDS[kind] for kind in (KINDS if kinds is None else kinds)}
    seen: set[object] = set()

    def draw(kind: str, failures: int) -> Question | None:
        question = _draw(kind, drawer, speaker)
        if question is None or len(question.text.split()) > MAX_WORDS:
            return None
        text = question.text.lower()
        # At first every question must mean something new; when that gets scarce, say it anew.
        if text in seen or (failures <= 3 and question.meaning in seen):
            return None
        seen.update((question.meaning, text))
        return question

    return draw_by_weight(n, weights, quick, draw)


def draw_by_weight(
    n: int,
    weights: Mapping[str, float],
    rng: random.Random,
    draw: Callable[[str, int], Drawn | None],
) -> list[Drawn]:
    """Up to `n` items of kinds in proportion to `weights`. `draw(kind, failures)` gives one, or
    None where it fails; a kind is given up after its ninth failure.
    """
    left, failures = dict(weights), dict.fromkeys(weights, 0)
    made: list[Drawn] = []
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


def vocabulary_corpus(n: int, seed: int, split: str = "train") -> Iterator[str]:
    """`n` question texts over many rooms, to train a tokenizer on."""
    rng = np.random.default_rng((seed, 104729))
    made = 0
    while made < n:
        room = generate_room(int(rng.integers(2**31)))
        for question in make_questions(room.objects, rng, min(16, n - made), split=split):
            yield question.text
            made += 1


def _draw(kind: str, drawer: DescriptionSampler, speaker: Speaker) -> Question | None:
    if kind == "distance":
        return _draw_distance(drawer, speaker)
    draws = {
        "attribute": drawer.attribute,
        "size": drawer.size,
        "relation": drawer.relation,
        "none": drawer.absent,
        "view": lambda: drawer.relation(tuple(VIEWS)),
        "hop": lambda: drawer.relation(("hop",)),
        "several": drawer.several,
    }
    drawn = draws[kind]()
    if drawn is None:
        return None
    subkind, description = drawn
    kind = "relation" if kind == "hop" else kind
    say = {"view": speaker.view, "several": speaker.several}.get(kind, speaker.question)
    text, phrase = say(description)
    if kind == "none":
        targets: tuple[int, ...] = ()
        answer = "there is no " + phrase.removeprefix("the ")
    elif kind == "several":
        fitting = bits(drawer.meanings.masks(description)[0])
        targets = tuple(drawer.objects[i].id for i in fitting)
        answer = f"{len(targets)} {phrase.removeprefix('the ')}"
    else:
        target = drawer.objects[drawer.meanings.referent(description)]
        targets, answer = (target.id,), answer_words(target.color, target.category)
    text = speaker.finish(text)
    return Question(kind, subkind, text, targets, answer, phrases=(phrase,), meaning=(description,))


def _draw_distance(drawer: DescriptionSampler, speaker: Speaker) -> Question | None:
    described = drawer.two()
    if described is None:
        return None
    a, b = described
    phrases = tuple(speaker.definite(description) for description in described.values())
    metres = drawer.meanings.relations.distances[a][b]
    return Question(
        "distance",
        "center",
        speaker.finish(speaker.distance(*phrases)),
        (drawer.objects[a].id,),
        f"{metres:.2f} m",
        (drawer.objects[b].id,),
        metres,
        phrases,
        tuple(described.values()),
    )
