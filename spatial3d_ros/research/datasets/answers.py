"""Answers to the questions of a public benchmark, from any system, as JSON lines:

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


class GivenAnswer(Record):
    """One line; what a benchmark does not ask for may be absent."""

    id: str
    text: str = ""
    boxes: tuple[BoxRow, ...] = ()
    truth: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @property
    def array(self) -> np.ndarray:
        """The boxes, (N, 6)."""
        return np.array(self.boxes, dtype=float).reshape(-1, 6)


@dataclass(frozen=True)
class Given:
    """Answers by id. `json` tells how they fit the questions of a benchmark."""

    path: Path
    by_id: dict[str, GivenAnswer]

    def text(self, name: str) -> str:
        """What was said, "" where nothing was."""
        return self.by_id[name].text if name in self.by_id else ""

    def boxes(self, name: str) -> np.ndarray:
        """What was found, (N, 6)."""
        return self.by_id[name].array if name in self.by_id else np.empty((0, 6))

    def fits(self, asked: Iterable[str]) -> dict[str, Any]:
        """How many questions have no answer, and which answers belong to no question.

        Raises ConfigError when none fits.
        """
        asked = set(asked)
        if not asked & self.by_id.keys():
            raise ConfigError(
                f"{self.path}: no answer has the id of a question, such as {min(asked)}; are they "
                "of the same split?"
            )
        strange = sorted(self.by_id.keys() - asked)
        return {
            "unanswered": len(asked - self.by_id.keys()),
            "of_no_question": {"count": len(strange), "what": strange},
        }


def read_given_answers(path: str | Path) -> Given:
    """All lines of a file. Raises ConfigError naming file, line and field, for an id that is there
    twice, and for an empty file.
    """
    answers = read_lines(path, GivenAnswer)
    unique_by(answers, path, "id")
    if not answers:
        raise ConfigError(f"{path}: no answer in it; one JSON object a line is expected")
    return Given(Path(path), {one.id: one for one in answers})
