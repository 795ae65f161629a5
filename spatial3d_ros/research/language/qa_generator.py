"""Questions with free-form answers or distances, with the exact answers (METHODS 3.4).

As in `questions`, a description is drawn first and checked against all objects of the room: those
that fit strictly must be all that fit loosely. Then it is realized as a sentence.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from spatial3d_ros.english import plural, with_article
from spatial3d_ros.geometry.box import surface_distance
from spatial3d_ros.geometry.relations import SIDES
from spatial3d_ros.research.language.description_sampler import DescriptionSampler
from spatial3d_ros.research.language.descriptions import Description, ReferenceResolver
from spatial3d_ros.research.language.feature_words import feature_words
from spatial3d_ros.research.language.features import colors, features
from spatial3d_ros.research.language.qa_templates import (
    MORE,
    QA_TEMPLATES,
    SHORT_RELATION_PHRASES,
    caption,
    color_answers,
    list_answers,
    look_words,
)
from spatial3d_ros.research.language.questions import MAX_WORDS, draw_by_weight
from spatial3d_ros.research.language.relations import BOOLEAN, SIZE_RATIO, SIZES, bits
from spatial3d_ros.research.language.templates import (
    Realizer,
    answer_words,
    templates_of_split,
)
from spatial3d_ros.research.rooms.catalog import WALL
from spatial3d_ros.research.rooms.generator import Catalog, generate_room

if TYPE_CHECKING:
    from spatial3d_ros.research.rooms.generator import RoomObject

Task = Literal["distance", "ask", "caption"]
KINDS: dict[Task, dict[str, float]] = {
    "distance": {"center": 0.22, "surface": 0.12},
    "ask": {
        "things": 0.12, "count": 0.14, "color": 0.12, "exists": 0.12, "view": 0.06, "bigger": 0.06,
        "material": 0.05, "pattern": 0.05, "shape": 0.04, "state": 0.05,
    },
    "caption": {"caption": 0.12},
}  # fmt: skip
TASKS: tuple[Task, ...] = tuple(KINDS)
EDIT = "edit"
"""Kind of a question whose answer is the box of an object after an instruction (edits.py)."""
RICH_KINDS = frozenset({"material", "pattern", "shape", "state"})
"""Kinds that only rooms of the full catalog have."""
_OPPOSITE = {"open": "closed", "on": "off", "full": "empty"}
_LONGEST_LIST = 3  # categories in one answer
_WITH_RELATION = 0.45  # share of "count" and "exists" questions with a relation
_CAPTION_RELATIONS = ("on", "next_to", "above", "under", "below")  # the first that holds
_EMPTY = 0.2  # share of "things" questions about any anchor, mostly with the answer "nothing"


@dataclass(frozen=True)
class OpenQuestion:
    """One question and its truth.

    kind: "center", "surface" of task distance; "things" ("what is on the table"), "count", "color",
        "exists", "view" ("what is left of the bed, seen from the door"), "bigger", "material",
        "pattern", "shape", "state" ("is the door open or closed") of task ask;
        "caption".
    text: that of a caption contains `qa_templates.OBJECT_SLOT` for its object.
    answers: all correct ones; the first is the training target. "1.84 m", "3", "a book and a mug",
        "yes".
    about: ids of the objects in the answer: both ends of a distance, none of "nothing".
    metres: of a distance. box: (centre, size) of an answer `<box>`, map frame.
    """

    task: Task | Literal["edit"]
    kind: str
    text: str
    answers: tuple[str, ...]
    about: tuple[int, ...]
    metres: float | None = None
    box: tuple[float, ...] | None = None


def make_open_questions(
    objects: Sequence[RoomObject],
    rng: np.random.Generator,
    n: int,
    *,
    split: str = "train",
    tasks: Sequence[Task] = TASKS,
    kinds: Sequence[str] | None = None,
) -> list[OpenQuestion]:
    """Draw `n` questions, no two alike, in the proportions of KINDS among `tasks` (and `kinds`).

    A kind that the room has no more questions of is replaced by the others; fewer than `n` come
    back only if all of them run out. `split` chooses the templates, "train" or "test".
    """
    questions = _QuestionSampler(objects, random.Random(int(rng.integers(2**62))), split)
    weights = {
        kind: weight
        for task in tasks
        for kind, weight in KINDS[task].items()
        if (kinds is None or kind in kinds) and (questions.resolver.rich or kind not in RICH_KINDS)
    }
    seen: set[tuple[str, tuple[int, ...]]] = set()

    def draw(kind: str, failures: int) -> OpenQuestion | None:
        question = questions.draw(kind)
        if question is None or len(question.text.split()) > MAX_WORDS:
            return None
        key = question.text.lower(), question.about if kind == "caption" else ()
        if key in seen:
            return None
        seen.add(key)
        return question

    return draw_by_weight(n, weights, questions.rng, draw)


def answer_corpus(n: int, seed: int, catalog: Catalog = "basic") -> Iterator[str]:
    """`n` questions and their answers over many rooms, to train a tokenizer on."""
    rng = np.random.default_rng((seed, 15485863))
    made = 0
    while made < n:
        room = generate_room(int(rng.integers(2**31)), catalog=catalog)
        for question in make_open_questions(room.objects, rng, min(16, n - made)):
            yield from (question.text, f" {question.answers[0]}")
            made += 1


class _QuestionSampler:
    """Draws from one room; None where a draw fails. Objects are indices until the end."""

    def __init__(self, objects: Sequence[RoomObject], rng: random.Random, split: str) -> None:
        self.rng = rng
        self.resolver = ReferenceResolver(objects)
        self.objects = self.resolver.objects
        self.sampler = DescriptionSampler(self.resolver, rng)
        self.realizer = Realizer(rng, split)
        self.templates = templates_of_split(QA_TEMPLATES, split)
        self.draws: dict[str, Callable[[], OpenQuestion | None]] = {
            "center": self._distance, "surface": self._gap, "things": self._things,
            "count": self._count, "color": self._color, "exists": self._exists, "view": self._view,
            "bigger": self._bigger, "caption": self._caption,
            **{kind: partial(self._feature, kind) for kind in sorted(RICH_KINDS)},
        }  # fmt: skip

    def draw(self, kind: str) -> OpenQuestion | None:
        return self.draws[kind]() if self.objects else None

    def _made(
        self, task: Task, kind: str, text: str, answers: tuple[str, ...], about: Sequence[int],
        metres: float | None = None,
    ) -> OpenQuestion:  # fmt: skip
        ids = tuple(self.objects[i].id for i in about)
        return OpenQuestion(task, kind, self.realizer.finish(text), answers, ids, metres)

    def _realize(self, family: str, **words: str) -> str:
        return self.rng.choice(self.templates[family]).format(**words)

    def _fits(self, description: Description) -> list[int] | None:
        """All objects that fit, or None where strict and loose thresholds disagree."""
        strict, loose = self.resolver.masks(description)
        return bits(strict) if strict == loose else None

    def _distance(self) -> OpenQuestion | None:
        described = self.sampler.pair()
        if described is None:
            return None
        a, b = described
        first, second = (self.realizer.definite(d) for d in described.values())
        if self.rng.random() < 0.7:
            text = self.realizer.distance(first, second)
        else:
            text = self._realize("center", a=first, b=second)
        return self._measured("center", text, (a, b), self.resolver.relations.distances[a][b])

    def _gap(self) -> OpenQuestion | None:
        described = self.sampler.pair()
        if described is None:
            return None
        a, b = described
        first, second = (self.realizer.definite(d) for d in described.values())
        metres = surface_distance(self.objects[a].box, self.objects[b].box)[0]
        return self._measured(
            "surface", self._realize("surface", a=first, b=second), (a, b), metres
        )

    def _measured(self, kind: str, text: str, ends: tuple[int, int], metres: float) -> OpenQuestion:
        return self._made("distance", kind, text, (f"{metres:.2f} m",), ends, metres)

    def _things(self) -> OpenQuestion | None:
        """What is on, under, next to ... an anchor."""
        name, anchor = self.rng.choice(BOOLEAN), self.rng.randrange(len(self.objects))
        if self.rng.random() > _EMPTY and self.resolver.pairs[name]:
            anchor = self.rng.choice(self.resolver.pairs[name])[1]
        relations = self.resolver.relations
        strict, loose = (
            relations.strict_columns[name][anchor],
            relations.loose_columns[name][anchor],
        )
        description = self.sampler.short(anchor)
        if description is None or strict != loose:
            return None
        found = bits(strict)
        categories = [self.objects[i].category for i in found]
        if len(set(categories)) > _LONGEST_LIST:
            return None
        preposition = self.rng.choice(SHORT_RELATION_PHRASES[name])
        text = self._realize("things", r=preposition, a=self.realizer.definite(description))
        return self._made("ask", "things", text, list_answers(categories), found)

    def _count(self) -> OpenQuestion | None:
        roll = self.rng.random()
        drawn = self.sampler.absent() if roll < 0.12 else self.sampler.several()
        if 0.12 <= roll < 0.35:
            drawn = self._single()
        if drawn is None or drawn[1].category is None:
            return None
        found = self._fits(drawn[1])
        if found is None:
            return None
        text = self._of_some("count", drawn[1])
        return self._made("ask", "count", text, (str(len(found)),), found)

    def _single(self) -> tuple[str, Description] | None:
        """One object, described by its noun or by a relation."""
        if self.rng.random() < _WITH_RELATION:
            return self.sampler.relation(BOOLEAN)
        return self.sampler.attribute()

    def _of_some(self, family: str, description: Description) -> str:
        """A sentence about all objects that fit, by noun and relations."""
        noun = self.realizer.nominal(description, self.realizer.noun(description.category))
        words = {"n": noun, "ns": plural(noun), "a_n": with_article(noun)}
        if not description.links:
            return self._realize(family, **words)
        return self._realize(
            f"{family} with relation", p=self.realizer.relations(description), **words
        )

    def _color(self) -> OpenQuestion | None:
        roll = self.rng.random()
        drawn = self.sampler.size() if roll < 0.2 else self.sampler.attribute()
        if roll > 0.6:
            drawn = self.sampler.relation()
        if drawn is None or drawn[1].category is None:
            return None
        description = replace(drawn[1], color=None)
        i = self.resolver.referent(description)
        if i < 0:
            return None
        item = self.objects[i]
        second = item.look.pattern_color if item.look else ""
        if len(colors(item)) > 1 and not second:
            return None  # a part or a side has another color
        text = self._realize("color", np=self.realizer.definite(description))
        return self._made("ask", "color", text, color_answers(item.color, second), (i,))

    def _feature(self, kind: str) -> OpenQuestion | None:
        """The material, pattern, shape or state of an object that is described without it."""
        i = self.rng.randrange(len(self.objects))
        feature = next((f for f in features(self.objects[i]) if f.kind == kind), None)
        description = self.sampler.short(i)
        if feature is None or description is None or description.feature is not None:
            return None
        words = {"np": self.realizer.definite(description)}
        if kind == "state":
            pair = next(p for p in _OPPOSITE.items() if feature.value in p)
            words |= {"yes": pair[0], "no": pair[1]}
        value = (feature.value.lower(), *feature_words(feature))
        return self._made(
            "ask", kind, self._realize(kind, **words), tuple(dict.fromkeys(value)), (i,)
        )

    def _exists(self) -> OpenQuestion | None:
        drawn = self._single() if self.rng.random() < 0.5 else self.sampler.absent()
        if drawn is None or drawn[1].category is None or drawn[1].superlative is not None:
            return None
        found = self._fits(drawn[1])
        if found is None:
            return None
        text = self._of_some("exists", drawn[1])
        return self._made("ask", "exists", text, ("yes" if found else "no",), found)

    def _view(self) -> OpenQuestion | None:
        drawn = self.sampler.relation(SIDES)
        if drawn is None:
            return None
        description = Description(None, links=drawn[1].links)
        i = self.resolver.referent(description)
        if i < 0:
            return None
        target = self.objects[i]
        answers = (answer_words(target.color, target.category),)
        return self._made("ask", "view", self.realizer.view(description)[0], answers, (i,))

    def _bigger(self) -> OpenQuestion | None:
        described = self.sampler.pair()
        if described is None:
            return None
        a, b = described
        measure = self.rng.choice(list(MORE))
        values = self.resolver.relations.measures[measure]
        first, second = self.objects[a], self.objects[b]
        clear = max(values[a], values[b]) >= SIZE_RATIO[measure] * min(values[a], values[b])
        alike = (first.category, first.color) == (second.category, second.color)
        if not clear or alike or WALL in (first.support, second.support):
            return None
        i = a if SIZES[measure] * (values[a] - values[b]) > 0 else b
        text = self._realize(
            "bigger",
            more=self.rng.choice(MORE[measure]),
            a=self.realizer.definite(described[a]),
            b=self.realizer.definite(described[b]),
        )
        answers = (answer_words(self.objects[i].color, self.objects[i].category),)
        return self._made("ask", "bigger", text, answers, (i,))

    def _caption(self) -> OpenQuestion | None:
        i = self.rng.randrange(len(self.objects))
        text = self.rng.choice(self.templates["caption"])
        return self._made("caption", "caption", text, (self._described(i),), (i,))

    def _described(self, i: int) -> str:
        """Look, class and, if any, the first of _CAPTION_RELATIONS, to the nearest object."""
        target, related = self.objects[i], self.resolver.relations_of.get(i, [])
        if not related:
            return with_article(look_words(target))
        metres = self.resolver.relations.distances[i]
        name, a = min(
            related, key=lambda pair: (_CAPTION_RELATIONS.index(pair[0]), metres[pair[1]], pair[1])
        )
        anchor = self.objects[a]
        relation = f"{SHORT_RELATION_PHRASES[name][0]} {caption(anchor.color, anchor.category)}"
        return f"{with_article(look_words(target))} {relation}"
