"""Answers to typed queries that the object map gives: counts, existence, colours, sizes, support.

Every answer in words is read off the same objects that a grounding points at, so words never
contradict the map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from spatial3d_ros.english import enumeration
from spatial3d_ros.errors import QueryError
from spatial3d_ros.tasks.comparison import (
    SAME_EXTENT_M,
    UNIT_WORDS,
    asks_whether,
    counts_compared,
    measure_asked,
    one_verdict,
)
from spatial3d_ros.tasks.grounding import centers_of, object_at
from spatial3d_ros.tasks.grounding import object_name as name
from spatial3d_ros.tasks.looks import asked_look, look_confirmed, look_in_words
from spatial3d_ros.tasks.outcome import Outcome, asked_back, compared, target_of
from spatial3d_ros.tasks.query import Description, ParsedQuery
from spatial3d_ros.tasks.results import ScoredObject
from spatial3d_ros.tasks.selection import (
    LIKELY,
    Choice,
    Selection,
    list_names,
    means_all,
    plain_name,
)
from spatial3d_ros.tasks.surroundings import AROUND, Surroundings
from spatial3d_ros.tasks.vocabulary import is_anything, singular
from spatial3d_ros.tasks.word_lists import PLURAL_PRONOUNS

_SURE = 0.5  # probability below which an answer says that it is not sure
_WIDE = ("sofa", "shelf", "cabinet", "door", "window", "picture", "tv", "bed", "desk", "sink")
"""Their width is the longer side."""


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
        self.around = Surroundings(selection)

    def answer(self, query: ParsedQuery) -> Outcome:
        """The objects or the answer in words to a query that changes and measures nothing.

        Raises NotFoundError, QueryError.
        """
        kind = query.intent.partition(".")[0]
        if kind in _ELSEWHERE:
            raise QueryError(f"query: '{query.text}' {_ELSEWHERE[kind]}")
        if kind in AROUND:
            return self.around.answer(query)
        return getattr(self, f"_{kind}")(query)

    def _locate(self, query: ParsedQuery) -> Outcome:
        description = target_of(query)
        if means_all(description):
            return self._locate_all(query)
        choice = self.selection.choose([description])[0]
        if not choice.objects:
            near = tuple(ScoredObject(self.objects[i], 0.0) for i in choice.near)
            return Outcome(
                f"{self.selection.missing(choice)}.", near, no_target=True, num_targets=0,
                confidence=0.0,
            )  # fmt: skip
        asked = asked_back(self.selection, choice)
        if asked is not None:
            return asked
        scored = self.selection.scored(choice)[:1]
        text = object_at(scored[0])
        if choice.confidence < _SURE:
            text += "; I am not sure"
        return Outcome(
            text[:1].upper() + text[1:], scored, confidence=choice.confidence,
            text_points=centers_of(scored),
        )  # fmt: skip

    def _locate_all(self, query: ParsedQuery) -> Outcome:
        description = target_of(query)
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
        if len(query.targets) > 1:
            kinds = [self.selection.several(description) for description in query.targets[:2]]
            nouns = [plain_name(description) for description in query.targets[:2]]
            text, value = counts_compared(query.text, [len(found) for found in kinds], nouns)
            return Outcome(text, self.selection.sure(*kinds[0], *kinds[1]), value)
        description = query.targets[0] if query.targets else Description("objects", "object")
        if query.color and query.color not in description.modifiers:
            description = replace(
                description, modifiers=(*description.modifiers, *query.color.split())
            )
        found = self.selection.several(description)
        if not found:
            return Outcome(f"0: I see no {plain_name(description)}", value="0")
        sure = self.resolver.named(description)[found].prod()
        named = "; ".join(name(self.objects[i]) for i in found[:6])
        more = ", ..." if len(found) > 6 else ""
        return Outcome(
            f"{len(found)}: {named}{more}", self.selection.sure(*found), str(len(found)),
            num_targets=len(found), confidence=float(sure),
        )  # fmt: skip

    def _exists(self, query: ParsedQuery) -> Outcome:
        description = target_of(query)
        found = self.selection.several(_singular(description))
        if not found and not description.relations and not is_anything(description.head):
            # None is called so first of all: there is what "where is it" would point at.
            found = list(self.selection.choose([description])[0].objects[:1])
        if not found:
            return Outcome(f"no, I see no {plain_name(description)}", value="no")
        named = self.resolver.named(description)[found]
        found = [found[k] for k in np.argsort(-named, kind="stable")]
        scored = self.selection.sure(*found)
        text = f"yes, {object_at(scored[0])}"
        if len(scored) > 1:
            text += f", and {len(scored) - 1} more"
        return Outcome(
            text, scored, "yes", confidence=float(named.max()), text_points=centers_of(scored[:1])
        )

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
            size, known = self._extents_of(best), self.objects[best]
            if what == "all":
                return f"{name(known)} is {_extents(size)}", _extents(size)
            if what == "volume":
                value = f"{size.prod():.2f} m3"
                return f"{value}: that is the volume of the box of {name(known)}", value
            value = f"{self._extent(best, what):.2f} m"
            return f"{value}: that is how {UNIT_WORDS[what]} {name(known)} is", value

        return self._about(query, measure)

    def _extents_of(self, best: int) -> np.ndarray:
        """(3,) extents in metres, the height without what the object carries."""
        size = self.resolver.boxes[best, 3:].copy()
        size[2] = self.terms.own_height(best, self.around.carried(best))
        return size

    def _extent(self, best: int, what: str) -> float:
        """Height, length, width or depth in metres, or volume in cubic metres."""
        size = self._extents_of(best)
        long, short = max(size[:2]), min(size[:2])
        wide = long if self.objects[best].label in _WIDE else short
        return float(
            {
                "height": size[2], "length": long, "width": wide, "depth": short,
                "volume": size.prod(),
            }[what]
        )  # fmt: skip

    def _compare(self, query: ParsedQuery) -> Outcome:
        choices, asked = compared(self.selection, query, 3)
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
        choices, asked = compared(self.selection, query, 2)
        if asked is not None:
            return asked
        pair = [choice.objects[0] for choice in choices]
        what = measure_asked(query.text)
        sizes = [self._extent(i, what) for i in pair]
        small = query.intent == "compare_small"
        at = int(np.argmin(sizes) if small else np.argmax(sizes))
        best, text = pair[at], name(self.objects[pair[at]])
        word = UNIT_WORDS.get(what, "large")
        if what != "volume" and abs(sizes[0] - sizes[1]) < SAME_EXTENT_M:
            text = f"they are about as {word}: {sizes[0]:.2f} m and {sizes[1]:.2f} m"
            return Outcome(text, self.selection.sure(*pair), "about the same")
        value = text.removeprefix("the ")
        if asks_whether(query.text):
            text = f"{'no' if at else 'yes'}, {text}"
        if what != "volume":
            other = name(self.objects[pair[1 - at]])
            text += f", {sizes[at]:.2f} m {word}; {other} {sizes[1 - at]:.2f} m"
        return Outcome(text, self.selection.sure(best), value)

    _compare_small = _compare_size

    def _describe(self, query: ParsedQuery) -> Outcome:
        def described(best: int) -> tuple[str, str]:
            text = f"{name(self.objects[best])}, {_extents(self.resolver.boxes[best, 3:])}"
            under, on = self.around.support(best), self.around.carried(best)
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
        """What `tell` says (sentence, value) of the one object that a query is about, or of all."""
        description = target_of(query)
        choice = self.selection.one(description)
        several = self._all_of(description, choice)
        if len(several) > 1:
            return self._about_all(query, several, tell)
        asked = asked_back(self.selection, choice)
        if asked is not None:
            return asked
        text, value = tell(choice.objects[0])
        return Outcome(
            text, self.selection.sure(choice.objects[0]), value, confidence=choice.confidence
        )

    def _all_of(self, description: Description, choice: Choice) -> list[int]:
        """The objects of a plural: "the boxes", "they", "any of the boxes"."""
        if description.pronoun and not description.head:
            many = {*description.text.split()} & {*PLURAL_PRONOUNS}
            return list(choice.objects) if many else []
        return self.selection.several(description) if means_all(description) else []

    def _about_all(
        self, query: ParsedQuery, found: list[int], tell: Callable[[int], tuple[str, str]]
    ) -> Outcome:
        objects = [self.objects[i] for i in found]
        values = [tell(i)[1] or "unknown" for i in found]
        verdict = one_verdict(query.text, values, "any" in query.text.lower().split())
        text = "; ".join(f"{name(o)}: {value}" for o, value in zip(objects, values, strict=True))
        if query.intent == "attribute.color" or {*values} <= {"yes", "no"}:
            text = list_names(objects)
        return Outcome(
            f"{verdict}, {text}" if verdict else text, self.selection.sure(*found),
            verdict or enumeration(list(dict.fromkeys(values))), num_targets=len(found),
        )  # fmt: skip


def _singular(description: Description) -> Description:
    """The description of one: "chairs" -> "chair"."""
    return replace(description, head=singular(description.head), quantifier="")


def _extents(size: np.ndarray) -> str:
    sides = sorted(size[:2])
    return f"{sides[1]:.2f} m long, {sides[0]:.2f} m wide and {size[2]:.2f} m high"
