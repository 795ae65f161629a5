"""SQA3D: questions from a described position in a scene (METHODS 5.5)."""

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
    """A question, the agent's situation, and the answers.

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
    unmatched = {one.question_id for one in asked} ^ by_id.keys()
    if unmatched:
        raise ConfigError(
            f"{questions}, {annotations}: {len(unmatched)} questions are in one file only, "
            f"such as {min(unmatched)}; take both files of the same split"
        )
    return [_joined(one, by_id[one.question_id]) for one in asked]


def _joined(question: _Question, annotation: _Annotation) -> SituatedQuestion:
    rotation, position = annotation.rotation, annotation.position
    return SituatedQuestion(
        question.scene_id,
        question.question_id,
        question.question,
        question.situation,
        question.alternative_situation,
        tuple(one.answer for one in annotation.answers),
        (position.x, position.y, position.z),
        (rotation.x, rotation.y, rotation.z, rotation.w),
    )
