"""One question on one version of the scene: from the typed query to the typed answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from spatial3d_ros.errors import NotAvailableError, NotFoundError, QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.objects import NO_ID, SceneObject
from spatial3d_ros.tasks.conversation import LastTurn, continued
from spatial3d_ros.tasks.descriptions import is_fixed
from spatial3d_ros.tasks.distance import End, distance_answer, fixed_end, kind_of
from spatial3d_ros.tasks.edit_query import instruction_of, taken_off, view_of
from spatial3d_ros.tasks.execution import Execution
from spatial3d_ros.tasks.layout import propose_edit
from spatial3d_ros.tasks.memory_answers import MEMORY_INTENTS, is_for_memory
from spatial3d_ros.tasks.outcome import Outcome
from spatial3d_ros.tasks.points import point_of
from spatial3d_ros.tasks.query import Description, ParsedQuery, RelationPhrase
from spatial3d_ros.tasks.reading import ReadQuestion
from spatial3d_ros.tasks.resolution import PhraseScores, Resolver
from spatial3d_ros.tasks.resolution_weights import Weights
from spatial3d_ros.tasks.results import (
    Answer,
    Distance,
    Grounding,
    LayoutEdit,
    ScoredObject,
)
from spatial3d_ros.tasks.scene_state import Query
from spatial3d_ros.tasks.selection import Choice, Selection, ask_back, means_any
from spatial3d_ros.tasks.vocabulary import Vocabulary

REASONS = {
    "unsupported.language": "this is no English question; this model understands English only",
    "unsupported.greeting": "no question about the room; ask e.g. 'where is the red chair?'",
    "unsupported.other": "I answer where objects are, how far apart, how many, what colour and "
    "size, what is on them, and how the room would look after a change",
    "unsupported.two": "these are two questions; ask one at a time",
    "unsupported.nonsense": "this is no question about the room that I understand; ask in plain "
    "words, e.g. 'where is the red chair?'",
}
DISTANCES = ("distance", "robot_distance")
_FETCH = ("bring", "fetch", "get", "grab", "go", "drive", "take", "lead", "guide", "carry")
_ROBOT = Description("the robot", "robot")

MemoryAnswers = Callable[[ParsedQuery], Outcome]
"""Answers a query about time or regions from the memory across sessions."""


def refuse(query: ParsedQuery, memory: MemoryAnswers | None) -> None:
    """Raise QueryError for a query that nothing here can answer, NotAvailableError for one that
    needs a memory without one.
    """
    if query.intent in REASONS:
        raise QueryError(f"query: {REASONS[query.intent]}")
    if query.intent in MEMORY_INTENTS and memory is None:
        raise NotAvailableError(
            "query: nothing is remembered across sessions, and the map holds what is seen now: set "
            "the parameter memory_folder (launch argument memory)"
        )


class Turn:
    """One question on the newest scene, read: answers it in the form that is asked for.

    asked: the question's scene and clock. read: the question. camera_position: (3,) metres. score:
    phrases to logits (Q, N + 1). last: the turn before it in its conversation. Raises QueryError
    for a query that nothing can answer, UnknownWordError.
    """

    def __init__(
        self,
        asked: Query,
        read: ReadQuestion,
        camera_position: np.ndarray | None,
        score: PhraseScores,
        vocabulary: Vocabulary,
        last: LastTurn | None = None,
        memory: MemoryAnswers | None = None,
        weights: Weights | None = None,
    ) -> None:
        self.asked, self._scene = asked, asked.scene
        self._camera, self._points, self._memory = camera_position, read.points, memory
        scene = asked.scene
        boxes = [known.box.rotated(-scene.heading).array() for known in scene.objects]
        camera = None
        if camera_position is not None:
            x, y, z = map(float, camera_position)
            camera = np.array(Box3D((x, y, z), (0, 0, 0)).rotated(-scene.heading).center[:2])
        ids = [known.id for known in scene.objects]
        meant = last.referred(read.query.text) if last else ()
        referred = [ids.index(k) for k in meant if k in ids]
        self.subject: tuple[int, ...] = ()
        self.selection = Selection(
            Resolver(
                scene.objects,
                np.array(boxes).reshape(-1, 6),
                camera,
                score,
                vocabulary,
                referred,
                weights,
            )
        )
        query = continued(read.query, last)
        refuse(query, memory)
        self._remembered = memory is not None and is_for_memory(query)
        self.query = query if self._remembered else self.selection.known(query)

    @property
    def provenance(self) -> dict[str, Any]:
        """The fields of `results.Provenance` that do not depend on the answer."""
        return {**self.asked.provenance, "intent": self.query.intent}

    def outcome(self) -> Outcome:
        """The objects or words of a query that is no distance and no edit."""
        query = self.query
        if self._memory is not None and self._remembered:
            return self._memory(query)
        outcome = Execution(self.selection).answer(query)
        self.subject = tuple(scored.object.id for scored in outcome.subject)
        with self.asked.stage("decode", 0.9):
            return replace(outcome, text=outcome.text + self._note(outcome))

    def _note(self, outcome: Outcome) -> str:
        """What was corrected in the question, and that "bring me" only points."""
        query = self.query
        note = corrections_note(query)
        first = query.text.lower().split()[:1]
        if query.intent == "locate" and first and first[0] in _FETCH and not outcome.no_target:
            note += "; I point only and do not move"
        return note

    def distance(self, text: str, kind: str, network: Callable[[], float | None]) -> Distance:
        """Metres between two ends; `network` gives the number that the network generates. Raises
        NotFoundError naming the phrase that nothing fits.
        """
        query = self.query
        descriptions = list(query.targets[:2])
        if query.intent == "robot_distance":
            descriptions = [_ROBOT, *descriptions[:1]]
        pair = self.selection.pair(descriptions) if query.intent == "distance" else None
        if len(descriptions) < 2 and pair is None:
            raise QueryError(
                f"query: '{query.text}' does not name two objects; ask 'how far is the chair from "
                "the door?' or fill object_a and object_b"
            )
        measured = kind_of(query.text, kind)
        same = len(descriptions) > 1 and _bare(descriptions[0]) == _bare(descriptions[1])
        if same or "itself" in query.text.lower():
            raise QueryError(
                f"query: '{query.text}': both ends are the same object, 0 m apart; name two"
            )
        ends, alternatives, question = self._ends(descriptions, pair)
        network_m = network()
        with self.asked.stage("decode", 0.9):
            result = distance_answer(
                text, measured, ends, self._scene.objects, alternatives, network_m,
                question_back=question, confidence=min(end.chosen.score for end in ends),
                **self.provenance,
            )  # fmt: skip
            return replace(result, text=result.text + corrections_note(query))

    def edit(self, text: str) -> LayoutEdit:
        """The proposed edit. Raises NotFoundError naming the phrase that nothing fits,
        QueryError.
        """
        query = self.query
        pair = self.selection.pair(query.targets) if query.intent == "edit.swap" else None
        if pair is not None:
            named = query.targets[0]
            other = replace(named, text=f"{named.text} (the other)")
            query = replace(query, targets=(replace(named, quantifier=""), other))
        instruction = instruction_of(query)
        descriptions = list(query.targets[1:] if instruction.action == "place" else query.targets)
        view = view_of(query)
        if view is not None:
            descriptions.append(view)
        if taken_off(query):  # "the radio off the table" is the one on the table
            on = RelationPhrase("on", (descriptions[1],))
            descriptions[0] = replace(descriptions[0], relations=(*descriptions[0].relations, on))
        descriptions = [d for d in descriptions if not is_fixed(d)]
        ends, alternatives, question = self._ends(descriptions, pair)
        with self.asked.stage("layout", 0.6):
            grounded = {
                d.text: end.chosen.object for d, end in zip(descriptions, ends, strict=True)
            }
            result = propose_edit(
                text, instruction, grounded, alternatives, self._scene, self._camera,
                question_back=question,
                confidence=min((end.chosen.score for end in ends), default=1.0),
                **self.provenance,
            )  # fmt: skip
        return replace(result, text=result.text + corrections_note(query))

    def _ends(
        self, descriptions: Sequence[Description], pair: tuple[int, int] | None = None
    ) -> tuple[list[End], list[ScoredObject], str]:
        """One object for each description, all distinct; others that fit about as well; and the
        question back where one is not clear. pair: the two objects, where they are known.
        """
        if pair is not None:
            return [End(ScoredObject(self._scene.objects[i], 1.0)) for i in pair], [], ""
        loose = [d for d in descriptions if not is_fixed(d)]
        choices = self.selection.choose(loose)
        for choice in choices:
            if not choice.objects:
                raise NotFoundError(self.selection.missing(choice))
        chosen = self.selection.assign(choices)
        found = iter(zip(choices, chosen, strict=True))
        ends: list[End] = []
        for description in descriptions:
            if is_fixed(description):
                point = point_of(description.head or description.text, self._points)
                fixed = fixed_end(description.text, point, self._camera)
                ends.append(End(ScoredObject(fixed, 1.0)))
            else:
                choice, index = next(found)
                score = float(choice.shares[index])
                ends.append(End(ScoredObject(self._scene.objects[index], score), choice.shares))
        rivals = [c for c in choices if len(c.objects) > 1 and not means_any(c.description)]
        others = {
            index: choice.scores[at]
            for choice in rivals
            for at, index in enumerate(choice.objects)
            if index not in chosen
        }
        question = self._question(rivals, chosen) if others else ""
        scored = [ScoredObject(self._scene.objects[i], score) for i, score in others.items()]
        return ends, scored, question

    def _question(self, rivals: Sequence[Choice], chosen: Sequence[int]) -> str:
        """Which object is meant, of the first phrase with several left."""
        for choice in rivals:
            if any(index not in chosen for index in choice.objects):
                return ask_back([self._scene.objects[i] for i in choice.objects])
        return ""


def grounding(query: str, outcome: Outcome, limit: int, **provenance: Any) -> Grounding:
    """An outcome as the reply of `ground`, with at most `limit` objects."""
    objects = outcome.objects[:limit]
    return Grounding(
        query, objects, outcome.no_target, outcome.text, min(outcome.num_targets, len(objects)),
        outcome.num_ties, text_points=outcome.text_points, confidence=outcome.confidence,
        question_back=outcome.question_back, **provenance,
    )  # fmt: skip


def words(query: str, outcome: Outcome, **provenance: Any) -> Answer:
    """An outcome as the reply of `ask`."""
    objects = () if outcome.no_target else outcome.objects
    return Answer(
        query, outcome.text, objects, outcome.value, text_points=outcome.text_points,
        confidence=outcome.confidence, question_back=outcome.question_back, **provenance,
    )  # fmt: skip


def distance_in_words(distance: Distance) -> Outcome:
    """A distance as an outcome of `ask`."""
    return Outcome(
        distance.text, (distance.a, distance.b), f"{distance.metres:.2f} m",
        question_back=distance.question_back, confidence=distance.confidence,
        text_points=distance.text_points,
    )  # fmt: skip


def ids_of(result: Grounding | Distance | Answer | LayoutEdit) -> tuple[int, ...]:
    """Ids of the objects that "it" stands for after an answer."""
    found: Sequence[SceneObject]
    if isinstance(result, LayoutEdit):
        found = result.before[:1]
    elif isinstance(result, Distance):
        found = (result.a.object,)
    elif isinstance(result, Grounding):
        count = 0 if result.no_target or result.question_back else max(result.num_targets, 1)
        found = [scored.object for scored in result.objects[:count]]
    else:
        found = [] if result.question_back else [scored.object for scored in result.objects]
    return tuple(known.id for known in found if known.id != NO_ID)


def corrections_note(query: ParsedQuery) -> str:
    """ "; I read 'purpel' as 'purple'", "" without corrections."""
    read = [f"'{before}' as '{after}'" for before, after in query.corrections]
    return f"; I read {' and '.join(read)}" if read else ""


def _bare(description: Description) -> str:
    return " ".join(
        word
        for word in description.text.lower().split()
        if word not in ("the", "a", "an", "this", "that", "my")
    )
