"""What is on, in, next to or between objects, and what carries one: read off the object map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from spatial3d_ros.geometry.relations import SIDES
from spatial3d_ros.tasks.grounding import object_name as name
from spatial3d_ros.tasks.outcome import Outcome, asked_back, compared, target_of
from spatial3d_ros.tasks.query import ParsedQuery
from spatial3d_ros.tasks.relation_terms import NEAR_M, NEXT_TO_M
from spatial3d_ros.tasks.selection import LIKELY, Selection, list_names

AROUND = ("what_on", "what_in", "anything_on", "what_near", "support")
"""Intents that are answered here."""
_MOUNTED = ("picture", "window", "tv")


class Surroundings:
    """Answers about what is around objects of one map."""

    def __init__(self, selection: Selection) -> None:
        self.selection, self.objects = selection, selection.objects
        self.terms = selection.resolver.terms

    def answer(self, query: ParsedQuery) -> Outcome:
        """The answer to a query of one of AROUND. Raises NotFoundError, QueryError."""
        return getattr(self, f"_{query.intent}")(query)

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
        choice = self.selection.one(target_of(query))
        asked = asked_back(self.selection, choice)
        if asked is not None:
            return asked
        best = choice.objects[0]
        carried = self.carried(best, relation)
        if not carried:
            text = f"nothing that I see is {relation} {name(self.objects[best])}"
            return Outcome(text, self.selection.sure(best), "nothing", confidence=choice.confidence)
        names = list_names([self.objects[i] for i in carried], colors=False)
        return Outcome(
            listed(carried), self.selection.sure(*carried), names, confidence=choice.confidence,
            subject=self.selection.sure(best),
        )  # fmt: skip

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
        choice = self.selection.one(target_of(query))
        asked = asked_back(self.selection, choice)
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
        if query.relation == "between":
            return self._what_between(query)
        choice = self.selection.one(target_of(query))
        asked = asked_back(self.selection, choice)
        if asked is not None:
            return asked
        best = choice.objects[0]
        relation = query.relation or "next_to"
        holds = self.terms.to_anchor(relation, np.eye(len(self.objects))[best])
        gap = self.terms.pairs.gap[:, best]
        near = gap < NEXT_TO_M if holds is None else holds > 0.5
        if relation in SIDES and (near & (gap < NEAR_M)).any():
            near &= gap < NEAR_M  # what is at that side, and not all that lies in that direction
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
            subject=self.selection.sure(best),
        )

    def _what_between(self, query: ParsedQuery) -> Outcome:
        pair = self.selection.pair(query.targets)
        if pair is None:
            choices, asked = compared(self.selection, query, 2)
            if asked is not None:
                return asked
            pair = (choices[0].objects[0], choices[1].objects[0])
        shares = np.eye(len(self.objects))
        holds = self.terms.between(shares[pair[0]], shares[pair[1]]) > 0.5
        found = self.selection.distinct(
            [
                i
                for i in np.flatnonzero(holds).tolist()
                if i not in pair and self.objects[i].score >= LIKELY
            ]
        )
        ends = " and ".join(name(self.objects[i]) for i in pair)
        if not found:
            return Outcome(f"I see nothing between {ends}", self.selection.sure(*pair), "nothing")
        objects = [self.objects[i] for i in found]
        return Outcome(
            list_names(objects), self.selection.sure(*found), list_names(objects, colors=False)
        )
