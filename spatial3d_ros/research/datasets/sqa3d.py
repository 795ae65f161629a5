"""SQA3D: questions asked from a told place in a scene (METHODS 5.5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, FiniteFloat

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.datasets.files import Record, read_entries, unique_by

TYPES = ("what", "is", "how", "can", "which")


class _Question(Record):
    scene_id: str
    question_id: str
    question: str
    situation: str
    alternative_situation: tuple[str, ...] = ()


class _Answer(Record):
    answer: str


class _Position(Record):
    x: FiniteFloat
    y: FiniteFloat
    z: FiniteFloat


class _Rotation(Record):
    x: FiniteFloat = Field(alias="_x")
    y: FiniteFloat = Field(alias="_y")
    z: FiniteFloat = Field(alias="_z")
    w: FiniteFloat = Field(alias="_w")


class _Annotation(Record):
    scene_id: str
    question_id: str
    answers: tuple[_Answer, ...] = Field(min_length=1)
    position: _Position
    rotation: _Rotation


@dataclass(frozen=True)
class SituatedQuestion:
    """A question, where it is asked from, and its answers.

    `position` in metres in the scene's frame, `rotation` a quaternion x, y, z, w. Training may
    repeat a question with each of `alternatives`; evaluation uses `situation`.
    """

    scene_id: str
    question_id: str
    question: str
    situation: str
    alternatives: tuple[str, ...]
    answers: tuple[str, ...]
    position: tuple[float, float, float]
    rotation: tuple[float, float, float, float]

    @property
    def type(self) -> str:
        """First word of the question, or "other"."""
        first = self.question.split(" ", 1)[0].lower()
        return first if first in TYPES else "other"


def read_situated_questions(
    questions: str | Path, annotations: str | Path
) -> list[SituatedQuestion]:
    """`v1_balanced_questions_*.json` with `v1_balanced_sqa_annotations_*.json`, in the order of the
    questions.

    Raises ConfigError naming file, entry and field, and when the two files are not about the same
    questions.
    """
    asked = read_entries(questions, _Question, "questions")
    answered = read_entries(annotations, _Annotation, "annotations")
    unique_by(asked, questions, "question_id")
    unique_by(answered, annotations, "question_id")
    by_id = {one.question_id: one for one in answered}
    lonely = {one.question_id for one in asked} ^ by_id.keys()
    if lonely:
        raise ConfigError(
            f"{questions}, {annotations}: {len(lonely)} questions are in one file only, "
            f"{min(lonely)} is one; take both files of the same split"
        )
    return [_joined(one, by_id[one.question_id]) for one in asked]


def _joined(question: _Question, known: _Annotation) -> SituatedQuestion:
    turn, place = known.rotation, known.position
    return SituatedQuestion(
        question.scene_id,
        question.question_id,
        question.question,
        question.situation,
        question.alternative_situation,
        tuple(one.answer for one in known.answers),
        (place.x, place.y, place.z),
        (turn.x, turn.y, turn.z, turn.w),
    )
