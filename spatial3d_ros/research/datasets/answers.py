"""Predicted answers to the questions of a public benchmark, from any system, as JSON lines:

    {"id": "question id", "text": "brown"}                          ScanQA, SQA3D
    {"id": "scene0000_00/3", "text": "a brown chair", "boxes": [[x, y, z, dx, dy, dz]]}    Scan2Cap
    {"id": "scene0000_00/3-5/17", "boxes": [[x, y, z, dx, dy, dz], ...]}               Multi3DRefer
    {"id": "any", "text": "2.3 m", "truth": 2.41}                                     distances

An id is a question's own where it has one, else scene/object, or scene/objects/annotation. Boxes
are centre and full size in metres in the scene's frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, FiniteFloat

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.datasets.files import FiniteSize, Record, read_lines, unique_by

BoxRow = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteSize, FiniteSize, FiniteSize]


class PredictedAnswer(Record):
    """One line; fields that a benchmark does not evaluate may be absent."""

    id: str
    text: str = ""
    boxes: tuple[BoxRow, ...] = ()
    truth: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @property
    def array(self) -> np.ndarray:
        """The boxes, (N, 6)."""
        return np.array(self.boxes, dtype=float).reshape(-1, 6)


@dataclass(frozen=True)
class PredictedAnswers:
    """Predicted answers by question id."""

    path: Path
    by_id: dict[str, PredictedAnswer]

    def text(self, name: str) -> str:
        """The text of an answer, "" without one."""
        return self.by_id[name].text if name in self.by_id else ""

    def boxes(self, name: str) -> np.ndarray:
        """The boxes of an answer, (N, 6)."""
        return self.by_id[name].array if name in self.by_id else np.empty((0, 6))

    def coverage(self, question_ids: Iterable[str]) -> dict[str, Any]:
        """How many questions have no answer, and which answers belong to no question.

        Raises ConfigError when no answer belongs to a question.
        """
        ids = set(question_ids)
        if not ids & self.by_id.keys():
            raise ConfigError(
                f"{self.path}: no answer has the id of a question, such as {min(ids)}; take "
                "answers and questions of the same split"
            )
        unknown = sorted(self.by_id.keys() - ids)
        return {
            "unanswered": len(ids - self.by_id.keys()),
            "of_no_question": {"count": len(unknown), "what": unknown},
        }


def read_predicted_answers(path: str | Path) -> PredictedAnswers:
    """All lines of a file. Raises ConfigError naming file, line and field, for a duplicate id, and
    for an empty file.
    """
    answers = read_lines(path, PredictedAnswer)
    unique_by(answers, path, "id")
    if not answers:
        raise ConfigError(f"{path}: the file has no answers; expected one JSON object per line")
    return PredictedAnswers(Path(path), {one.id: one for one in answers})
