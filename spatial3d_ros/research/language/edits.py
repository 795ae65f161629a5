"""Instructions about the furniture of a generated room with their exact outcome (METHODS 3.4).

The words are those of `layout_language`. Where a thing can go is decided as for a robot, by
`tasks.layout`, here among the true boxes: so there is one idea of what is inside the room, clear of
others and supported. Instructions that there is no room for are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.language.layout_instructions import LayoutQuestion
from spatial3d_ros.research.rooms.catalog import Room, RoomObject
from spatial3d_ros.scene.bounds import Bounds
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks import layout
from spatial3d_ros.tasks.layout_parser import Instruction

Action = Literal["move", "place", "remove", "swap", "turn"]


@dataclass(frozen=True)
class Edit:
    """An instruction and its outcome, map frame.

    objects: ids of what is named and changes, none of what is new; `before` are their boxes and
    `after` those that they then have, in that order: none of what is removed, one of what is new.
    """

    question: LayoutQuestion
    action: Action
    objects: tuple[int, ...]
    before: tuple[Box3D, ...]
    after: tuple[Box3D, ...]

    @property
    def box(self) -> Box3D:
        """Where what was named first then stands, or stood."""
        return (self.after or self.before)[0]


def possible_edits(room: Room, questions: Iterable[LayoutQuestion]) -> Iterator[Edit]:
    """The instructions that there is room for, with what comes of them."""
    objects = scene_objects(room.objects)
    bounds = true_bounds(room)
    for question in questions:
        edit = _edit(question, objects, bounds)
        if edit is not None:
            yield edit


def scene_objects(objects: Sequence[RoomObject]) -> list[SceneObject]:
    """True objects as a robot would know them that sees everything."""
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
    """A right outcome, found among the true boxes; None where there is no room."""
    known = {
        f"#{thing.id}": thing
        for thing in objects
        if thing.id in (*question.targets, *question.anchors, *question.view)
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
        made = layout.change(instruction, layout.Room(objects, known, bounds, None))
    except QueryError:
        return None
    if made.reason:
        return None
    changing = (*question.targets, *(question.anchors if question.action == "swap" else ()))
    after = tuple(thing.box for thing in made.after)
    if changing and after:
        boxes = {old.id: new.box for old, new in zip(made.before, made.after, strict=True)}
        after = tuple(boxes[i] for i in changing)
    before = tuple(known[f"#{i}"].box for i in changing)
    return Edit(question, question.action, changing, before, after)
