"""ScanQA: questions about scenes with free answers (METHODS 5.4)."""

from __future__ import annotations

from pathlib import Path

from spatial3d_ros.research.datasets.files import Record, read_entries, unique_by


class SceneQuestion(Record):
    """One entry of `ScanQA_v1.0_*.json`; the test files have no answers, and some no objects."""

    scene_id: str
    question_id: str
    question: str
    answers: tuple[str, ...] = ()
    object_ids: tuple[int, ...] = ()
    object_names: tuple[str, ...] = ()


def read_scene_questions(path: str | Path) -> list[SceneQuestion]:
    """All entries. Raises ConfigError naming file, entry and field, and for a duplicate
    id.
    """
    questions = read_entries(path, SceneQuestion)
    unique_by(questions, path, "question_id")
    return questions
