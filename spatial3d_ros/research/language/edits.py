"""Layout instructions for a generated room with their exact outcome (METHODS 3.4).

The instructions are those of `layout_instructions`. As on a robot, `tasks.layout` decides where an
object fits, here with the true boxes: one definition of inside the room, clear of other objects and
supported. Instructions that cannot be carried out are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.language.layout_instructions import (
    LayoutQuestion,
    make_layout_questions,
)
from spatial3d_ros.research.language.qa_generator import EDIT, OpenQuestion
from spatial3d_ros.research.rooms.catalog import Room, RoomObject
from spatial3d_ros.scene.bounds import Bounds
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks import layout
from spatial3d_ros.tasks.edit_query import Instruction
from spatial3d_ros.tasks.edit_scene import EditScene

Action = Literal["move", "place", "remove", "swap", "turn"]


@dataclass(frozen=True)
class Edit:
    """An instruction and its outcome, map frame.

    objects: ids of the objects that change, none for a new one; `before` and `after` are their
    boxes, in that order: no box after removal, one box of a new object.
    """

    question: LayoutQuestion
    action: Action
    objects: tuple[int, ...]
    before: tuple[Box3D, ...]
    after: tuple[Box3D, ...]

    @property
    def box(self) -> Box3D:
        """The box of the first object after the change, or before its removal."""
        return (self.after or self.before)[0]


def possible_edits(room: Room, questions: Iterable[LayoutQuestion]) -> Iterator[Edit]:
    """The instructions that can be carried out, with their outcome."""
    objects = scene_objects(room.objects)
    bounds = true_bounds(room)
    for question in questions:
        edit = _edit(question, objects, bounds)
        if edit is not None:
            yield edit


def edit_questions(
    room: Room, rng: np.random.Generator, n: int, *, split: str = "train"
) -> list[OpenQuestion]:
    """Up to `n` instructions about one object of a room that stays; the answer is its box after
    the change, upright and unturned.
    """
    made = []
    for edit in possible_edits(room, make_layout_questions(room.objects, rng, 3 * n, split=split)):
        if len(edit.objects) != 1 or not edit.after or len(made) == n:
            continue
        box = edit.after[0]
        if abs(math.remainder(box.yaw, math.pi)) < 1e-6:
            values = (*box.center, *box.size)
            made.append(OpenQuestion(EDIT, EDIT, edit.question.text, (), edit.objects, box=values))
    return made


def scene_objects(objects: Sequence[RoomObject]) -> list[SceneObject]:
    """True objects in the form of a robot's object map."""
    none = np.empty((0, 3), np.float32)
    return [
        SceneObject(o.id, o.box, tuple(map(float, o.rgb)), 1.0, 1, 0, none, o.category, o.color)  # type: ignore[arg-type]
        for o in objects
    ]


def true_bounds(room: Room, slack: float = 0.0) -> Bounds:
    """Floor, walls and ceiling of a generated room."""
    x, y, height = room.size
    return Bounds.from_corners(
        (-x / 2 - slack, -y / 2 - slack, 0), (x / 2 + slack, y / 2 + slack, height)
    )


def _edit(question: LayoutQuestion, objects: Sequence[SceneObject], bounds: Bounds) -> Edit | None:
    """A correct outcome with the true boxes; None where there is not enough space."""
    known = {
        f"#{item.id}": item
        for item in objects
        if item.id in (*question.targets, *question.anchors, *question.view)
    }
    instruction = Instruction(
        question.action,
        f"#{question.targets[0]}" if question.targets else question.category,
        question.relation,
        tuple(f"#{i}" for i in question.anchors),
        f"#{question.view[0]}" if question.view else "",
        question.metres,
        question.degrees,
        size=question.size,
    )
    try:
        outcome = layout.change(instruction, EditScene(objects, known, bounds, None))
    except QueryError:
        return None
    if outcome.reason:
        return None
    changing = (*question.targets, *(question.anchors if question.action == "swap" else ()))
    after = tuple(item.box for item in outcome.after)
    if changing and after:
        boxes = {old.id: new.box for old, new in zip(outcome.before, outcome.after, strict=True)}
        after = tuple(boxes[i] for i in changing)
    before = tuple(known[f"#{i}"].box for i in changing)
    return Edit(question, question.action, changing, before, after)
