"""What a question led to: a sentence and the objects it is about, or the question asked back."""

from __future__ import annotations

from dataclasses import dataclass

from spatial3d_ros.errors import NotFoundError, QueryError
from spatial3d_ros.tasks.grounding import centers_of, object_at
from spatial3d_ros.tasks.query import Description, ParsedQuery
from spatial3d_ros.tasks.results import Point, ScoredObject
from spatial3d_ros.tasks.selection import Choice, Selection, ask_back, means_any


@dataclass(frozen=True)
class Outcome:
    """What was found: a sentence, the objects it is about, best first, and the answer alone.

    Fields as in `results.Grounding` and `results.Answer`; `subject`: what was asked about where
    the objects are others: the table of "what is on the table?".
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
    subject: tuple[ScoredObject, ...] = ()


def target_of(query: ParsedQuery) -> Description:
    """What a query asks about. Raises QueryError where it names nothing."""
    if not query.targets:
        raise QueryError(f"query: '{query.text}' names no object; name one, e.g. 'the red chair'")
    return query.targets[0]


def asked_back(selection: Selection, choice: Choice) -> Outcome | None:
    """The question which object is meant, None where it is clear or any will do."""
    if len(choice.objects) < 2 or means_any(choice.description):
        return None
    scored = selection.scored(choice)
    question = ask_back([s.object for s in scored])
    listed = "; ".join(map(object_at, scored))
    return Outcome(
        f"{len(scored)} objects fit about equally well: {listed}. Which one: {question}",
        scored, num_ties=len(scored), question_back=question, confidence=choice.confidence,
        text_points=centers_of(scored),
    )  # fmt: skip


def compared(
    selection: Selection, query: ParsedQuery, count: int
) -> tuple[list[Choice], Outcome | None]:
    """The choices of the compared objects, and a question back where one is not clear."""
    if len(query.targets) < count:
        raise QueryError(
            "query: name the objects to compare, e.g. 'is the chair closer to the table or the "
            "door?', 'which is bigger, the bed or the sofa?'"
        )
    choices = selection.choose(query.targets[:count])
    for choice in choices:
        if not choice.objects:
            raise NotFoundError(selection.missing(choice))
        asked = asked_back(selection, choice)
        if asked is not None:
            return choices, asked
    if len({choice.objects[0] for choice in choices}) < count:
        raise QueryError(
            f"query: '{query.text}': two of the names fit the same object; name different ones"
        )
    return choices, None
