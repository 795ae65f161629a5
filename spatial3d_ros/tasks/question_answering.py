"""Questions about the room, answered in the network's words: read strictly, with the objects they
are about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from spatial3d_ros.errors import NotFoundError
from spatial3d_ros.model.config import Task
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.distance_parser import parse_distance
from spatial3d_ros.tasks.grounding import NEAREST, describe, placed, places_of, rank, ties
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.question_router import described, readable
from spatial3d_ros.tasks.results import Point, ScoredObject

LIKELY = 0.5  # from which an object counts as one that the answer is about


class FreeFormAnswer(NamedTuple):
    """Words, the objects they are about, and the places that they tell."""

    text: str
    objects: tuple[ScoredObject, ...]
    places: tuple[Point, ...] = ()


def answer_question(
    reader: ModelRunner,
    scene: EncodedScene,
    objects: Sequence[SceneObject],
    question: str,
    beams: int = 1,
) -> FreeFormAnswer:
    """The answer in words, and the objects it is about, likeliest first.

    "describe the red chair" finds the object first. Raises NotAvailableError where the weights were
    not trained for it, UnreadableError when the network writes no answer, NotFoundError when
    nothing fits what is to be described, QueryError.
    """
    phrase = described(question)
    if phrase is not None:
        return describe_one(reader, scene, objects, phrase, beams)
    task: Task = "ask" if parse_distance(question) is None else "distance"
    said, likely = reader.read_answer(scene, question, task, beams)
    return FreeFormAnswer(readable(question, said), _about(likely, objects))


def describe_one(
    reader: ModelRunner,
    scene: EncodedScene,
    objects: Sequence[SceneObject],
    phrase: str,
    beams: int = 1,
) -> FreeFormAnswer:
    """The caption of the object that a phrase means, and which others it could mean as well; raises
    as `answer_question`.
    """
    scores = reader.read_phrases(scene, [phrase])[0]
    found, nothing = rank(scores, objects, len(objects))
    if nothing:
        raise NotFoundError(describe(found[:NEAREST], True, phrase))
    alike = ties(found)
    text = describe_known(reader, scene, objects, alike[0].object.id, beams).text
    if len(alike) > 1:
        text += f"; the words could also mean {' or '.join(map(placed, alike[1:]))}"
    return FreeFormAnswer(text, alike, places_of(alike[1:]))


def describe_known(
    reader: ModelRunner,
    scene: EncodedScene | None,
    objects: Sequence[SceneObject],
    object_id: int,
    beams: int = 1,
) -> FreeFormAnswer:
    """The caption of the object of an id; NotFoundError where the map holds none of it."""
    slot = next((i for i, thing in enumerate(objects) if thing.id == object_id), None)
    if scene is None or slot is None:
        raise NotFoundError(f"object {object_id} is not in the map; get_scene tells those that are")
    said = readable("describe it", reader.read_caption(scene, slot, beams))
    return FreeFormAnswer(said, (ScoredObject(objects[slot], 1.0),))


def _about(likely: Tensor, objects: Sequence[SceneObject]) -> tuple[ScoredObject, ...]:
    ordered = likely.argsort(descending=True).tolist()
    return tuple(ScoredObject(objects[i], float(likely[i])) for i in ordered if likely[i] >= LIKELY)
