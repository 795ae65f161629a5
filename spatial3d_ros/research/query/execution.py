"""Answers to typed queries that the object map gives: counts, existence, colours, sizes, support.

Every answer in words is read off the same objects that a grounding points at, so words never
contradict the map.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.errors import NotFoundError, QueryError
from spatial3d_ros.geometry import relations as geometry
from spatial3d_ros.research.english import enumeration, plural, with_article
from spatial3d_ros.research.query.resolution import Resolution, Resolver
from spatial3d_ros.research.query.vocabulary import is_anything, singular
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.grounding import object_at
from spatial3d_ros.tasks.grounding import object_name as name
from spatial3d_ros.tasks.layout_parser import Instruction
from spatial3d_ros.tasks.query import Description, ParsedQuery
from spatial3d_ros.tasks.results import ScoredObject

ANSWERED = frozenset(
    {
        "compare", "compare_far", "compare_size", "compare_small", "count", "exists",
        "attribute.color", "is_attribute", "size.height", "size.width", "size.length", "size.all",
        "what_on", "anything_on", "what_near", "what_in", "support", "describe", "list",
    }
)  # fmt: skip
MEMORY = frozenset({"last_seen", "when_seen", "changed", "missing", "moved", "region_of"})
REASONS = {
    "unsupported.language": "this is no English question; this model understands English only",
    "unsupported.greeting": "no question about the room; ask e.g. 'where is the red chair?'",
    "unsupported.other": "I answer where objects are, how far apart, how many, what colour and "
    "size, what is on them, and how the room would look after a change",
    "unsupported.two": "these are two questions; ask one at a time",
}
_EDIT_RELATIONS = {
    "near": "next_to", "in": "on", "opposite": "front", "above": "on", "below": "under",
    "closest": "next_to", "forward": "away", "back": "towards", "leftmost": "to_left",
    "rightmost": "to_right",
}  # fmt: skip
_SEATS = ("chair", "armchair", "sofa", "bed", "stool")
LIKELY = 0.35  # proposal score from which an object is counted
SAME = (
    0.5  # share of the smaller box inside the other from which two boxes of a label are one object
)


@dataclass(frozen=True)
class WordsAnswer:
    """A sentence and the objects it is about, best first."""

    text: str
    objects: tuple[ScoredObject, ...] = ()


def refuse(query: ParsedQuery) -> None:
    """Raise QueryError for a query that nothing here can answer."""
    if query.intent in REASONS:
        raise QueryError(f"query: {REASONS[query.intent]}")
    if query.intent in MEMORY:
        raise QueryError(
            "query: the map holds what is seen now; questions about earlier times, changes and "
            "rooms need a memory of sessions, which this version lacks"
        )


def instruction_of(query: ParsedQuery) -> Instruction:
    """The instruction of an edit. Raises QueryError for what is no edit or lacks a part."""
    action = query.intent.partition("edit.")[2]
    if not action:
        raise QueryError(
            f"query: '{query.text}' asks for no change of the layout, e.g. 'move the chair next to "
            "the door'"
        )
    if action == "remove_all" or (
        query.targets and query.targets[0].text.startswith(("all", "every"))
    ):
        raise QueryError("query: several objects cannot be changed at once; name one")
    if not query.targets:
        raise QueryError(f"query: '{query.text}' names no object to {action}")
    texts = [target.text for target in query.targets]
    if action in ("swap", "remove", "turn"):
        anchors = tuple(texts[1:2]) if action == "swap" else ()
        if action == "swap" and not anchors:
            raise QueryError("query: name both objects to swap")
        turn = (
            query.degrees
            if query.degrees is not None
            else 180.0
            if "around" in query.text
            else 90.0
        )
        clockwise = re.search(r"\bclockwise\b|\bright\b", query.text.lower())
        return Instruction(action, texts[0], anchors=anchors, degrees=-turn if clockwise else turn)
    relation = _EDIT_RELATIONS.get(query.relation, query.relation)
    if not relation and len(texts) > 1:
        relation = "next_to"
    if query.relation in ("forward", "back"):
        texts.append("me")
    if not relation:
        raise QueryError(f"query: where to? '{query.text}' names no place, e.g. 'next to the door'")
    if relation not in ("to_left", "to_right", "up", "down") and len(texts) < 2:
        raise QueryError(
            f"query: '{query.text}' names no object to put it {relation.replace('_', ' ')}"
        )
    target = query.targets[0].text
    if action == "place":
        target = " ".join((*query.targets[0].modifiers, query.targets[0].head)) or target
    return Instruction(action, target, relation, tuple(texts[1:3]), query.viewpoint, query.metres)


class Execution:
    """Answers queries on one object map."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver, self.objects = resolver, resolver.objects

    def answer(self, query: ParsedQuery) -> WordsAnswer:
        """The answer in words to a query of one of ANSWERED. Raises UnknownWordError,
        NotFoundError, QueryError.
        """
        kind = query.intent.partition(".")[0]
        return getattr(self, f"_{kind}")(query)

    def one(self, description: Description) -> tuple[int, Resolution]:
        """The object that a description refers to. Raises NotFoundError where nothing fits."""
        found = self.resolver.resolve([description])[0]
        if found.nothing:
            raise NotFoundError(f"I see nothing that fits '{description.text}'")
        return found.best, found

    def several(self, description: Description) -> list[int]:
        """All objects that fit a description, each once: by label, colour, relations."""
        match = self.resolver.matching(description)
        if description.relations or description.superlative:
            found = self.resolver.resolve([description])[0]
            best = found.scores[:-1].max(initial=-np.inf)
            match &= found.scores[:-1] > best - 3.0
        sure = [i for i in np.flatnonzero(match) if self.objects[i].score >= LIKELY]
        return self._distinct(sure)

    def _distinct(self, indices: Sequence[int]) -> list[int]:
        """Of boxes that largely share their volume only the likeliest."""
        kept: list[int] = []
        for i in sorted(indices, key=lambda i: -self.objects[i].score):
            if all(self.resolver.shared[i, j] < SAME for j in kept):
                kept.append(i)
        return kept

    def _target(self, query: ParsedQuery, at: int = 0) -> Description:
        if len(query.targets) <= at:
            raise QueryError(
                f"query: '{query.text}' names no object; name one, e.g. 'the red chair'"
            )
        return query.targets[at]

    def _scored(self, *indices: int, score: float = 1.0) -> tuple[ScoredObject, ...]:
        return tuple(ScoredObject(self.objects[i], score) for i in indices)

    def _count(self, query: ParsedQuery) -> WordsAnswer:
        description = self._target(query) if query.targets else Description("objects", "object")
        if query.color:
            description = _with_color(description, query.color)
        found = self.several(description)
        noun = _plain(description)
        if not found:
            return WordsAnswer(f"0: I see no {noun}")
        named = "; ".join(name(self.objects[i]) for i in found[:6])
        return WordsAnswer(f"{len(found)}: {named}", self._scored(*found))

    def _exists(self, query: ParsedQuery) -> WordsAnswer:
        description = self._target(query)
        found = self.several(description)
        if not found:
            resolution = self.resolver.resolve([description])[0]
            if resolution.nothing or not self.resolver.matching(description).any():
                return WordsAnswer(f"no, I see no {_plain(description)}")
            found = [resolution.best]
        return WordsAnswer(f"yes, {object_at(self._scored(found[0])[0])}", self._scored(*found))

    def _attribute(self, query: ParsedQuery) -> WordsAnswer:
        best, _ = self.one(self._target(query))
        color = self.objects[best].color or "of a colour I cannot name"
        return WordsAnswer(
            f"the {self.objects[best].label or 'object'} is {color}", self._scored(best)
        )

    def _is_attribute(self, query: ParsedQuery) -> WordsAnswer:
        asked = "gray" if query.color == "grey" else query.color
        if not asked:
            raise QueryError("query: ask for a colour, e.g. 'is the chair red?'")
        best, _ = self.one(self._target(query))
        color = self.objects[best].color
        text = f"yes, it is {color}" if color == asked else f"no, it is {color or 'another colour'}"
        return WordsAnswer(text, self._scored(best))

    def _size(self, query: ParsedQuery) -> WordsAnswer:
        best, _ = self.one(self._target(query))
        size = self.resolver.boxes[best, 3:]
        what = query.intent.partition(".")[2]
        metres = {"height": size[2], "length": max(size[:2]), "width": min(size[:2])}
        if query.targets[0].head in (
            "sofa",
            "couch",
            "shelf",
            "cabinet",
            "door",
            "window",
            "picture",
            "tv",
            "bed",
            "desk",
        ):
            metres["width"] = max(size[:2])
        label = name(self.objects[best])
        if what == "all":
            text = f"{label} is {_extents(size)}"
        else:
            word = {"height": "high", "length": "long", "width": "wide"}[what]
            text = f"{metres[what]:.2f} m: that is how {word} {label} is"
        return WordsAnswer(text, self._scored(best))

    def _what_on(self, query: ParsedQuery) -> WordsAnswer:
        best, _ = self.one(self._target(query))
        on = self._carried(best)
        if not on:
            return WordsAnswer(
                f"nothing that I see is on {name(self.objects[best])}", self._scored(best)
            )
        return WordsAnswer(_listed([self.objects[i] for i in on]), self._scored(*on))

    def _anything_on(self, query: ParsedQuery) -> WordsAnswer:
        best, _ = self.one(self._target(query))
        on = self._carried(best)
        empty = any(word in query.text.lower().split() for word in ("empty", "free", "nothing"))
        if not on:
            text = "yes, " if empty else "no, "
            return WordsAnswer(f"{text}nothing that I see is on it", self._scored(best))
        text = "no, " if empty else "yes, "
        return WordsAnswer(f"{text}{_listed([self.objects[i] for i in on])}", self._scored(*on))

    def _rests(self) -> np.ndarray:
        """(N, N) whether an object rests on another: on its top, or on its seat or mattress."""
        pairs, boxes = self.resolver.pairs, self.resolver.boxes
        on = geometry.resting_on(pairs, tolerance=0.12, min_share=0.4)
        top = boxes[None, :, 2] + boxes[None, :, 5] / 2
        inside = (np.abs(pairs.offset[..., :2]) < pairs.anchor_size[..., :2] / 2).all(-1)
        seat = (
            inside
            & (pairs.low[..., 2] > top - 0.7 * boxes[None, :, 5])
            & (pairs.low[..., 2] < top + 0.12)
        )
        seats = np.array([o.label in _SEATS for o in self.objects], bool)
        area = boxes[:, 3:5].prod(-1)
        return (on | (seat & seats[None])) & (area[:, None] < area[None])

    def _carried(self, best: int) -> list[int]:
        """Objects that rest on an object."""
        label = self.objects[best].label
        return self._distinct(
            [
                int(i)
                for i in np.flatnonzero(self._rests()[:, best])
                if self.objects[i].label != label and self.objects[i].score >= LIKELY
            ]
        )

    def support(self, best: int) -> int | None:
        """The object that carries another; None for the floor."""
        low = self.resolver.pairs.low[best, 0, 2] - self.resolver.floor
        found = np.flatnonzero(self._rests()[best])
        if not len(found) or low < 0.12:
            return None
        return int(max(found, key=lambda i: self.objects[i].score))

    def _support(self, query: ParsedQuery) -> WordsAnswer:
        best, _ = self.one(self._target(query))
        under = self.support(best)
        if under is None:
            return WordsAnswer("the floor", self._scored(best))
        return WordsAnswer(name(self.objects[under]), self._scored(under, best))

    def _what_near(self, query: ParsedQuery) -> WordsAnswer:
        best, _ = self.one(self._target(query))
        anchor = np.eye(len(self.objects))[best]
        holds = self.resolver.relation(query.relation or "next_to", anchor)
        gap = geometry.near(self.resolver.pairs, 0.7)[:, best] if holds is None else holds > 0.5
        found = self._distinct(
            [i for i in np.flatnonzero(gap) if i != best and self.objects[i].score >= LIKELY]
        )
        found = [i for i in found if self.resolver.shared[i, best] < SAME]
        if not found:
            return WordsAnswer(f"I see nothing near {name(self.objects[best])}", self._scored(best))
        return WordsAnswer(_listed([self.objects[i] for i in found]), self._scored(*found))

    _what_in = _what_on

    def _compare(self, query: ParsedQuery) -> WordsAnswer:
        if len(query.targets) < 3:
            raise QueryError(
                "query: name three objects, e.g. 'is the chair closer to the table or the door?'"
            )
        indices = [self.one(query.targets[k])[0] for k in range(3)]
        first, second = (self.resolver.pairs.distance[indices[0], k] for k in indices[1:])
        nearer = first <= second
        chosen = indices[1] if nearer != (query.intent == "compare_far") else indices[2]
        metres = max(first, second) if query.intent == "compare_far" else min(first, second)
        text = f"{name(self.objects[chosen])}, {metres:.2f} m away"
        return WordsAnswer(text, self._scored(chosen, indices[0]))

    _compare_far = _compare

    def _compare_size(self, query: ParsedQuery) -> WordsAnswer:
        self._target(query, 1)
        indices = [self.one(query.targets[k])[0] for k in range(2)]
        tall = any(w in query.text.lower() for w in ("tall", "high", "low", "short"))
        sizes = [
            self.resolver.boxes[i, 5] if tall else self.resolver.boxes[i, 3:].prod()
            for i in indices
        ]
        larger = indices[int(sizes[1] > sizes[0])]
        smaller = indices[int(sizes[1] <= sizes[0])]
        chosen = larger if query.intent == "compare_size" else smaller
        return WordsAnswer(name(self.objects[chosen]), self._scored(chosen))

    _compare_small = _compare_size

    def _describe(self, query: ParsedQuery) -> WordsAnswer:
        best, _ = self.one(self._target(query))
        known, size = self.objects[best], self.resolver.boxes[best, 3:]
        text = f"{name(known)}, {_extents(size)}"
        return WordsAnswer(text, self._scored(best))

    def _list(self, query: ParsedQuery) -> WordsAnswer:
        found = self._distinct([i for i, o in enumerate(self.objects) if o.score >= LIKELY])
        if not found:
            return WordsAnswer("I have seen no objects yet.")
        return WordsAnswer(_listed([self.objects[i] for i in found]), self._scored(*found))


def _extents(size: np.ndarray) -> str:
    sides = sorted(size[:2])
    return f"{sides[1]:.2f} m long, {sides[0]:.2f} m wide and {size[2]:.2f} m high"


def _with_color(description: Description, color: str) -> Description:
    return Description(description.text, description.head, (*description.modifiers, color))


def _plain(description: Description) -> str:
    words = [*description.modifiers, singular(description.head) or "object"]
    return "such thing" if is_anything(description.head) and len(words) == 1 else " ".join(words)


def _listed(objects: Sequence[SceneObject]) -> str:
    """ "two chairs, a red mug and a table"."""
    counts = Counter(" ".join(filter(None, (o.color, o.label))) or "object" for o in objects)
    return enumeration(
        [
            with_article(text) if count == 1 else f"{count} {plural(text)}"
            for text, count in counts.items()
        ]
    )
