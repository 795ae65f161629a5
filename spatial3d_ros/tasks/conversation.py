"""What "it" stands for: the last question of a conversation and the objects of its answer."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from spatial3d_ros.errors import QueryError
from spatial3d_ros.tasks.query import Description, ParsedQuery
from spatial3d_ros.tasks.word_lists import PLURAL_PRONOUNS, SELF

KEEP_S = 60.0
MAX_CONVERSATIONS = 100
MAX_ID_LETTERS = 200
_IT = Description("it", "", pronoun=True)
_NO_TARGET = ("list", "changed", "missing", "count", "unsupported", "edit", "region_of")


@dataclass(frozen=True)
class LastTurn:
    """A question, the ids of the objects of its answer, when it was answered (s), and the ids of
    what it was about where those are others: the table of "what is on the table?".
    """

    query: ParsedQuery
    objects: tuple[int, ...]
    time_s: float
    subject: tuple[int, ...] = ()

    def referred(self, text: str) -> tuple[int, ...]:
        """The ids that "it", or "they", stands for in the next question."""
        many = {*text.lower().replace("?", " ").split()} & {*PLURAL_PRONOUNS}
        return self.objects if many or not self.subject else self.subject


class Conversations:
    """The last turn of each conversation of the last minute. The caller locks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turns: OrderedDict[str, LastTurn] = OrderedDict()

    def last(self, name: str) -> LastTurn | None:
        """The last turn of a conversation; None for an unknown or forgotten one and for "".

        Raises QueryError for a name that is too long.
        """
        if len(name) > MAX_ID_LETTERS:
            raise QueryError(
                f"conversation_id: {len(name)} letters; at most {MAX_ID_LETTERS}, choose a shorter "
                "one"
            )
        turn = self._turns.get(name)
        if turn is None or self._clock() - turn.time_s > KEEP_S:
            self._turns.pop(name, None)
            return None
        return turn

    def remember(
        self,
        name: str,
        query: ParsedQuery,
        objects: tuple[int, ...],
        subject: tuple[int, ...] = (),
    ) -> None:
        """Keep a turn of a conversation with a name."""
        if not name:
            return
        self._turns.pop(name, None)
        self._turns[name] = LastTurn(query, objects, self._clock(), subject)
        while len(self._turns) > MAX_CONVERSATIONS:
            self._turns.popitem(last=False)


def continued(query: ParsedQuery, last: LastTurn | None) -> ParsedQuery:
    """The query with what it takes from the last one: "and the lamp?" asks the last question of the
    lamp; "how tall?" is about the last object. Raises QueryError for "and the lamp?" alone.
    """
    if query.intent == "follow_up":
        if last is None:
            raise QueryError(
                f"query: '{query.text}' continues no question; ask it in full, or with the "
                "conversation_id of a question of the last minute"
            )
        targets = (*query.targets[:1], *last.query.targets[1:]) or last.query.targets
        return replace(last.query, text=query.text, targets=targets)
    if last is not None and query.intent == "robot_distance" and _leaves_out_an_end(query):
        return replace(query, intent="distance", targets=(_IT, *query.targets))
    if last is not None and query.intent == "edit.move" and _leaves_out_its_object(query):
        return replace(query, targets=(_IT, *query.targets))
    needs_target = query.intent.partition(".")[0] not in _NO_TARGET
    if last is not None and needs_target and not query.targets:
        return replace(query, targets=(_IT,))
    return query


def _leaves_out_an_end(query: ParsedQuery) -> bool:
    """ "how far from the ball" after a question about the mug."""
    words = query.text.lower().replace("?", " ").split()
    asked = len(query.targets) == 1 and words[:3] == ["how", "far", "from"]
    return asked and not {*words} & {*SELF}


def _leaves_out_its_object(query: ParsedQuery) -> bool:
    """ "put it on the sofa", where only the sofa was read."""
    words = query.text.lower().split()
    return (
        len(query.targets) == 1
        and bool({*words} & {"it", "that", "this"})
        and (not query.targets[0].pronoun and query.relation not in ("", "floor"))
    )
