"""One batch of training: scenes, questions and their truth; and one room with its questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from torch import Tensor

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.sequence import QuestionBatch
from spatial3d_ros.research.language.qa_generator import OpenQuestion
from spatial3d_ros.research.language.questions import Question
from spatial3d_ros.research.rooms.generator import RoomObject
from spatial3d_ros.research.training.answers import Answers
from spatial3d_ros.research.training.label_noise import Labels


@dataclass(frozen=True)
class Sample:
    """One batch: scenes, tokenised questions, targets (Q, N + 1) bool, roles (Q, N, 2), next-token
    labels (Q, L), and by head of `NamesConfig.heads` the name of each object (B, N), UNKNOWN where
    a box is no object or its name is unknown; by attribute of looks the name that each question
    (Q,) asks of its target, their number for none, UNKNOWN where that is not known.
    kinds: the type of each question. partly: whether no view shows its target as a whole. answers:
    questions with free-form answers.
    """

    scenes: SceneBatch
    words: QuestionBatch
    targets: Tensor
    roles: Tensor
    labels: Tensor
    names: dict[str, Tensor]
    asked: dict[str, Tensor]
    kinds: tuple[str, ...]
    partly: tuple[bool, ...]
    answers: Answers | None = None
    source: str = ""

    def to(self, device: torch.device | str) -> Sample:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {k: v.to(device) for k, v in moved.items() if hasattr(v, "to")}
        names = {head: ids.to(device) for head, ids in self.names.items()}
        asked = {head: ids.to(device) for head, ids in self.asked.items()}
        return replace(self, **changed, names=names, asked=asked)

    @property
    def counts(self) -> dict[str, int]:
        """The number of items that each loss of this batch averages."""
        made = {
            "ground": len(self.targets),
            "accuracy": len(self.targets),
            "head_names": len(self.targets),
            "lang": int((self.labels >= 0).sum()),
            "asked": sum(int((ids >= 0).sum()) for ids in self.asked.values()),
            "role": int(self.scenes.object_valid[self.words.scene].sum()),
        }
        made |= {head: int((ids >= 0).sum()) for head, ids in self.names.items()}
        if self.scenes.has_views:
            known = self.scenes.valid.flatten(2).any(-1) & self.scenes.view_valid
            made["guide"] = int(known.sum())
            made["vote"] = made["objectness"] = len(self.scenes.boxes)
        if self.answers is not None:
            made["answer"] = int((self.answers.replies >= 0).sum())
            made["about"] = int(self.scenes.object_valid[self.answers.words.scene].sum())
        return made

    @property
    def real(self) -> Tensor:
        """Objects of a known class: bool (B, N)."""
        known = self.names.get("class")
        return self.scenes.object_valid & False if known is None else known >= 0

    @property
    def origin(self) -> str:
        """The source of its rooms: "rendered", "boxes", "homes" or "scans"."""
        return self.source or ("rendered" if self.scenes.has_views else "boxes")


@dataclass(frozen=True, eq=False)
class QuestionedRoom:
    """A room with its questions.

    boxes (n, 6) in slot order; owners: the room object of each slot, None for a false box;
    questions for grounding, open_questions with free-form answers; partly: ids of objects that no
    view shows as a whole; labelled: id -> mean color of the objects that have one; labels: id ->
    labels of an object; crops: crop_pixels (n, K, 4, s, s) and crop_valid (n, K) in slot order;
    candidates: of each of `view_questions`, how many objects its noun fits; marks: what is special
    of some objects ("occluded", "moved"), with their ids.
    """

    boxes: np.ndarray
    owners: list[RoomObject | None]
    questions: list[Question]
    views: dict[str, Tensor] | None = None
    partly: frozenset[int] = frozenset()
    labelled: dict[int, np.ndarray] = field(default_factory=dict)
    labels: dict[int, Labels] = field(default_factory=dict)
    crops: dict[str, Tensor] = field(default_factory=dict)
    open_questions: Sequence[OpenQuestion] = ()
    candidates: tuple[int, ...] = ()
    marks: dict[str, frozenset[int]] = field(default_factory=dict)
