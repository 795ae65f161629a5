"""Arms at test time: the same weights with other switches, proposals or wording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.research.evaluation.prompt_styles import NOISY, apply_style
from spatial3d_ros.research.experiments.experiment import TestArm, switched
from spatial3d_ros.research.experiments.knockout_parts import replaced
from spatial3d_ros.research.experiments.robustness import split
from spatial3d_ros.research.training.augmentation import shift_faces
from spatial3d_ros.research.training.sample import QuestionedRoom


def hurried(room: QuestionedRoom) -> QuestionedRoom:
    """The room with its questions in hurried typing."""
    asked = [replace(q, text=apply_style(q.text, NOISY, 0)) for q in room.questions]
    written = [replace(q, text=apply_style(q.text, NOISY, 0)) for q in room.open_questions]
    return replace(room, questions=asked, open_questions=written)


def with_errors(
    room: QuestionedRoom, arm: TestArm, rng: np.random.Generator
) -> list[tuple[QuestionedRoom, list[int]]]:
    """The room with the errors of proposals of an arm, as up to two rooms, each with the indices of
    its questions: no box is missed that a question asks for.
    """
    if arm.jitter:
        room = replace(room, boxes=shift_faces(room.boxes, arm.jitter, rng))
    if arm.split:
        room, _ = split(room, arm.split, rng)
    every = list(range(len(room.questions)))
    if not arm.missed:
        return [(room, every)]
    gone = {o.id for o in room.owners if o is not None and rng.random() < arm.missed}
    first = [k for k in every if gone.isdisjoint(room.questions[k].targets)]
    rest = [k for k in every if k not in first]
    wanted = {i for k in rest for i in room.questions[k].targets}
    other = {o.id for o in room.owners if o is not None and rng.random() < arm.missed} - wanted
    made = []
    for missing, those in ((gone, first), (other, rest)):
        kept = [i for i, o in enumerate(room.owners) if o is None or o.id not in missing]
        part = replace(
            room, boxes=room.boxes[kept], owners=[room.owners[i] for i in kept],
            questions=[room.questions[k] for k in those],
            open_questions=() if made else room.open_questions,
        )  # fmt: skip
        made += [(part, those)] if those else []
    return made


@contextmanager
def asked_as(model: SpatialModel, arm: TestArm) -> Iterator[None]:
    """The network with the switches of an arm in a `with` block."""
    config = switched(model.config, arm, "at_test")
    off: dict[str, Any] = {}
    off |= {} if config.s2.mpe.ray else {"ray": None}
    off |= {} if config.s2.se.enabled else {"structure": None}
    psa = model.psa
    stages: dict[str, Any] = {}
    if psa is not None:
        stages |= {} if config.psa.intra else {"intra": None}
        stages |= {} if config.psa.inter != "none" else {"inter": None}
        stages |= {} if config.psa.context else {"context": None}
    changes = [(model, "config", config), *((model, name, None) for name in off)]
    changes += [(psa, name, None) for name in stages if getattr(psa, name) is not None]
    with _all(changes):
        yield


@contextmanager
def _all(changes: list[tuple[Any, str, Any]]) -> Iterator[None]:
    if not changes:
        yield
        return
    owner, name, value = changes[0]
    with replaced(owner, name, value), _all(changes[1:]):
        yield
