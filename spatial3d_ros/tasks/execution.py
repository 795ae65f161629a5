"""Answers to typed queries that the object map gives: counts, existence, colours, sizes, support.

Every answer in words is read off the same objects that a grounding points at, so words never
contradict the map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from spatial3d_ros.errors import NotFoundError, QueryError
from spatial3d_ros.tasks.grounding import centers_of, object_at
from spatial3d_ros.tasks.grounding import object_name as name
from spatial3d_ros.tasks.looks import asked_look, look_confirmed, look_in_words
from spatial3d_ros.tasks.query import Description, ParsedQuery
from spatial3d_ros.tasks.relation_terms import NEXT_TO_M
from spatial3d_ros.tasks.results import Point, ScoredObject
from spatial3d_ros.tasks.selection import (
    LIKELY,
    Choice,
    Selection,
    ask_back,
    list_names,
    means_all,
    means_any,
    plain_name,
)
from spatial3d_ros.tasks.vocabulary import is_anything, singular

_WIDE = ("sofa", "shelf", "cabinet", "door", "window", "picture", "tv", "bed", "desk", "sink")
"""Their width is the longer side."""
_MOUNTED = ("picture", "window", "tv")


@dataclass(frozen=True)
class Outcome:
    """What was found: a sentence, the objects it is about, best first, and the answer alone.

    Fields as in `results.Grounding` and `results.Answer`.
    """

    text: str
    objects: tuple[ScoredObject, ...] = ()
    value: str = ""
    no_target: bool = False
    num_targets: int = 1
    num_ties: int = 1
    question_back: str = ""
    confidence: float = 1.0
    text_points: tuple[Point, ...] = ()


_ELSEWHERE = {
    "edit": "asks for a change of the layout; use edit_layout, or the action query",
    "distance": "asks for a distance; use measure_distance, ask or the action query",
    "robot_distance": "asks for a distance; use measure_distance, ask or the action query",
}


class Execution:
    """Answers queries of known nouns on one object map."""

    def __init__(self, selection: Selection) -> None:
        self.selection, self.objects = selection, selection.objects
        self.resolver, self.terms = selection.resolver, selection.resolver.terms

    def answer(self, query: ParsedQuery) -> Outcome:
        """The objects or the answer in words to a query that changes and measures nothing.

        Raises NotFoundError, QueryError.
        """
        kind = query.intent.partition(".")[0]
        if kind in _ELSEWHERE:
            raise QueryError(f"query: '{query.text}' {_ELSEWHERE[kind]}")
        return getattr(self, f"_{kind}")(query)

    def _locate(self, query: ParsedQuery) -> Outcome:
        description = self._target(query)
        if means_all(description):
            return self._locate_all(query)
        choice = self.selection.choose([description])[0]
        if not choice.objects:
            near = tuple(ScoredObject(self.objects[i], 0.0) for i in choice.near)
            return Outcome(
                f"{self.selection.missing(choice)}.", near, no_target=True, num_targets=0,
                confidence=0.0,
            )  # fmt: skip
        asked = self._asked_back(choice)
        if asked is not None:
            return asked
        scored = self.selection.scored(choice)[:1]
        text = object_at(scored[0])
        return Outcome(
            text[:1].upper() + text[1:], scored, confidence=choice.confidence,
            text_points=centers_of(scored),
        )  # fmt: skip

    def _locate_all(self, query: ParsedQuery) -> Outcome:
        description = self._target(query)
        found = self.selection.several(description)
        if not found and is_anything(description.head) and description.faced:
            return Outcome("I see nothing there.", no_target=True, num_targets=0, confidence=0.0)
        if not found:
            return self._locate(replace(query, targets=(_singular(description),)))
        scored = self.selection.sure(*found)
        listed = "; ".join(map(object_at, scored))
        text = f"{len(scored)} objects: {listed}" if len(scored) > 1 else listed.capitalize()
        return Outcome(text, scored, num_targets=len(scored), text_points=centers_of(scored))

    def _count(self, query: ParsedQuery) -> Outcome:
        description = query.targets[0] if query.targets else Description("objects", "object")
        if query.color and query.color not in description.modifiers:
            description = replace(
                description, modifiers=(*description.modifiers, *query.color.split())
            )
        found = self.selection.several(description)
        if not found:
            return Outcome(f"0: I see no {plain_name(description)}", value="0")
        named = "; ".join(name(self.objects[i]) for i in found[:6])
        more = ", ..." if len(found) > 6 else ""
        return Outcome(
            f"{len(found)}: {named}{more}", self.selection.sure(*found), str(len(found)),
            num_targets=len(found),
        )  # fmt: skip

    def _exists(self, query: ParsedQuery) -> Outcome:
        description = self._target(query)
        found = self.selection.several(_singular(description))
        if not found and not description.relations and not is_anything(description.head):
            # None is called so first of all: there is what "where is it" would point at.
            found = list(self.selection.choose([description])[0].objects[:1])
        if not found:
            return Outcome(f"no, I see no {plain_name(description)}", value="no")
        scored = self.selection.sure(*found)
        text = f"yes, {object_at(scored[0])}"
        if len(scored) > 1:
            text += f", and {len(scored) - 1} more"
        return Outcome(text, scored, "yes", text_points=centers_of(scored[:1]))

    def _attribute(self, query: ParsedQuery) -> Outcome:
        what = query.intent.partition(".")[2]
        if what != "color" and not any(known.looks.get(what) for known in self.objects):
            raise QueryError(
                f"query: the object map holds no {what} of objects; ask for colour, size or place"
            )
        return self._about(query, lambda best: look_in_words(self.objects[best], what))

    def _is_attribute(self, query: ParsedQuery) -> Outcome:
        what, value = asked_look(query.color)
        return self._about(query, lambda best: look_confirmed(self.objects[best], what, value))

    def _size(self, query: ParsedQuery) -> Outcome:
        what = query.intent.partition(".")[2]

        def measure(best: int) -> tuple[str, str]:
            size, known = self.resolver.boxes[best, 3:].copy(), self.objects[best]
            size[2] = self.terms.own_height(best, self.carried(best))
            if what == "all":
                return f"{name(known)} is {_extents(size)}", _extents(size)
            if what == "volume":
                value = f"{size.prod():.2f} m3"
                return f"{value}: that is the volume of the box of {name(known)}", value
            long, short = max(size[:2]), min(size[:2])
            wide = long if known.label in _WIDE else short
            metres = {"height": size[2], "length": long, "width": wide, "depth": short}[what]
            word = {"height": "high", "length": "long", "width": "wide", "depth": "deep"}[what]
            value = f"{metres:.2f} m"
            return f"{value}: that is how {word} {name(known)} is", value

        return self._about(query, measure)

    def _what_on(self, query: ParsedQuery) -> Outcome:
        return self._carried_by(query, "on", lambda on: list_names([self.objects[i] for i in on]))

    def _what_in(self, query: ParsedQuery) -> Outcome:
        return self._carried_by(query, "in", lambda on: list_names([self.objects[i] for i in on]))

    def _anything_on(self, query: ParsedQuery) -> Outcome:
        empty = any(w in query.text.lower().split() for w in ("empty", "free", "nothing", "clear"))
        yes, no = ("no", "yes") if empty else ("yes", "no")

        def listed(on: list[int]) -> str:
            return f"{yes}, {list_names([self.objects[i] for i in on])}"

        outcome = self._carried_by(query, "on", listed)
        if outcome.question_back:
            return outcome
        if outcome.value == "nothing":
            return replace(outcome, text=f"{no}, {outcome.text}", value=no)
        return replace(outcome, value=yes)

    def _carried_by(
        self, query: ParsedQuery, relation: str, listed: Callable[[list[int]], str]
    ) -> Outcome:
        choice = self.selection.one(self._target(query))
        asked = self._asked_back(choice)
        if asked is not None:
            return asked
        best = choice.objects[0]
        carried = self.carried(best, relation)
        if not carried:
            text = f"nothing that I see is {relation} {name(self.objects[best])}"
            return Outcome(text, self.selection.sure(best), "nothing", confidence=choice.confidence)
        names = list_names([self.objects[i] for i in carried], colors=False)
        return Outcome(
            listed(carried), self.selection.sure(*carried), names, confidence=choice.confidence
        )

    def carried(self, best: int, relation: str = "on") -> list[int]:
        """Objects that rest on an object, or with `relation` "in" lie in it."""
        matrix = self.terms.rests
        if relation == "in":
            matrix = matrix | self.terms.inside
        label = self.objects[best].label
        return self.selection.distinct(
            [
                int(i)
                for i in np.flatnonzero(matrix[:, best])
                if self.objects[i].label != label and self.objects[i].score >= LIKELY
            ]
        )

    def _support(self, query: ParsedQuery) -> Outcome:
        choice = self.selection.one(self._target(query))
        asked = self._asked_back(choice)
        if asked is not None:
            return asked
        best = choice.objects[0]
        under = self.support(best)
        if under is not None:
            text = name(self.objects[under])
            return Outcome(text, self.selection.sure(under, best), text.removeprefix("the "))
        low = self.terms.pairs.low[best, 0, 2] - self.terms.floor
        what = "the wall" if self.objects[best].label in _MOUNTED and low > 0.2 else "the floor"
        return Outcome(what, self.selection.sure(best), what.removeprefix("the "))

    def support(self, best: int) -> int | None:
        """The object that carries another; None for the floor or a wall."""
        low = self.terms.pairs.low[best, 0, 2] - self.terms.floor
        found = np.flatnonzero(self.terms.rests[best])
        if not len(found) or low < 0.12:
            return None
        return int(max(found, key=lambda i: self.objects[i].score))

    def _what_near(self, query: ParsedQuery) -> Outcome:
        choice = self.selection.one(self._target(query))
        asked = self._asked_back(choice)
        if asked is not None:
            return asked
        best = choice.objects[0]
        relation = query.relation or "next_to"
        holds = self.terms.to_anchor(relation, np.eye(len(self.objects))[best])
        near = self.terms.pairs.gap[:, best] < NEXT_TO_M if holds is None else holds > 0.5
        found = self.selection.distinct(
            [
                i
                for i in np.flatnonzero(near).tolist()
                if i != best and self.objects[i].score >= LIKELY
            ]
        )
        found = [i for i in found if self.terms.shared[i, best] < 0.5]
        if not found:
            text = f"I see nothing {relation.replace('_', ' ')} {name(self.objects[best])}"
            return Outcome(text, self.selection.sure(best), "nothing")
        near_objects = [self.objects[i] for i in found]
        return Outcome(
            list_names(near_objects),
            self.selection.sure(*found),
            list_names(near_objects, colors=False),
        )

    def _compare(self, query: ParsedQuery) -> Outcome:
        choices, asked = self._compared(query, 3)
        if asked is not None:
            return asked
        first, second, third = (choice.objects[0] for choice in choices)
        metres = [self.terms.pairs.distance[first, k] for k in (second, third)]
        far = query.intent == "compare_far"
        chosen = int(np.argmax(metres) if far else np.argmin(metres))
        best = (second, third)[chosen]
        text = f"{name(self.objects[best])}, {metres[chosen]:.2f} m away"
        return Outcome(
            text, self.selection.sure(best, first), self.objects[best].label,
            confidence=min(choice.confidence for choice in choices),
        )  # fmt: skip

    _compare_far = _compare

    def _compare_size(self, query: ParsedQuery) -> Outcome:
        choices, asked = self._compared(query, 2)
        if asked is not None:
            return asked
        indices = [choice.objects[0] for choice in choices]
        sizes = self.resolver.boxes[indices, 3:]
        tall = any(w in query.text.lower() for w in ("tall", "high", "low", "short"))
        measure = sizes[:, 2] if tall else sizes.prod(-1)
        small = query.intent == "compare_small"
        best = indices[int(measure.argmin() if small else measure.argmax())]
        text = name(self.objects[best])
        return Outcome(text, self.selection.sure(best), text.removeprefix("the "))

    _compare_small = _compare_size

    def _compared(self, query: ParsedQuery, count: int) -> tuple[list[Choice], Outcome | None]:
        """The choices of the compared objects, and a question back where one is not clear."""
        if len(query.targets) < count:
            raise QueryError(
                "query: name the objects to compare, e.g. 'is the chair closer to the table or the "
                "door?', 'which is bigger, the bed or the sofa?'"
            )
        choices = self.selection.choose(query.targets[:count])
        for choice in choices:
            if not choice.objects:
                raise NotFoundError(self.selection.missing(choice))
            asked = self._asked_back(choice)
            if asked is not None:
                return choices, asked
        if len({choice.objects[0] for choice in choices}) < count:
            raise QueryError(
                f"query: '{query.text}': two of the names fit the same object; name different ones"
            )
        return choices, None

    def _describe(self, query: ParsedQuery) -> Outcome:
        def described(best: int) -> tuple[str, str]:
            text = f"{name(self.objects[best])}, {_extents(self.resolver.boxes[best, 3:])}"
            under, on = self.support(best), self.carried(best)
            if under is not None:
                text += f", on {name(self.objects[under])}"
            if on:
                text += f", with {list_names([self.objects[i] for i in on])} on it"
            return text, ""

        return self._about(query, described)

    def _list(self, query: ParsedQuery) -> Outcome:
        found = self.selection.distinct(
            [i for i, known in enumerate(self.objects) if self.objects[i].score >= LIKELY]
        )
        if not found:
            return Outcome("I have seen no objects yet")
        return Outcome(
            list_names([self.objects[i] for i in found]), self.selection.sure(*found),
            num_targets=len(found),
        )  # fmt: skip

    def _about(self, query: ParsedQuery, tell: Callable[[int], tuple[str, str]]) -> Outcome:
        """What `tell` says (sentence, value) of the one object that a query is about."""
        choice = self.selection.one(self._target(query))
        asked = self._asked_back(choice)
        if asked is not None:
            return asked
        text, value = tell(choice.objects[0])
        return Outcome(
            text, self.selection.sure(choice.objects[0]), value, confidence=choice.confidence
        )

    def _asked_back(self, choice: Choice) -> Outcome | None:
        """The question which object is meant, None where it is clear or any will do."""
        if len(choice.objects) < 2 or means_any(choice.description):
            return None
        scored = self.selection.scored(choice)
        question = ask_back([s.object for s in scored])
        listed = "; ".join(map(object_at, scored))
        return Outcome(
            f"{len(scored)} objects fit about equally well: {listed}. Which one: {question}",
            scored, num_ties=len(scored), question_back=question, confidence=choice.confidence,
            text_points=centers_of(scored),
        )  # fmt: skip

    def _target(self, query: ParsedQuery) -> Description:
        if not query.targets:
            raise QueryError(
                f"query: '{query.text}' names no object; name one, e.g. 'the red chair'"
            )
        return query.targets[0]


def _singular(description: Description) -> Description:
    """The description of one: "chairs" -> "chair"."""
    return replace(description, head=singular(description.head), quantifier="")


def _extents(size: np.ndarray) -> str:
    sides = sorted(size[:2])
    return f"{sides[1]:.2f} m long, {sides[0]:.2f} m wide and {size[2]:.2f} m high"
