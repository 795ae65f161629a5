"""Layout instructions with known answers: drawn from a room, and edits judged in the true room.

An edit is right if the target changes, if its new box is valid in the true room (METHODS 3.4, 5.9),
and if the requested relation holds there. Relations are judged by the predicates of generated
questions (`relations.py` and `viewpoints.py` in `research/language/`), which are independent of the
search for a pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.relations import SIDES
from spatial3d_ros.research.evaluation.metrics.judging import match_box
from spatial3d_ros.research.evaluation.metrics.layout import EditOutcome
from spatial3d_ros.research.language.edits import possible_edits, scene_objects, true_bounds
from spatial3d_ros.research.language.layout_instructions import (
    LayoutQuestion,
    make_layout_questions,
)
from spatial3d_ros.research.language.relations import Relations
from spatial3d_ros.research.language.viewpoints import Viewpoints
from spatial3d_ros.research.rooms.catalog import FLOOR, WALL, Room, RoomObject
from spatial3d_ros.scene.free_space import Body, FreeSpace, moving_with
from spatial3d_ros.tasks.furniture import body

_WALL_M = 0.05  # tolerance at the true walls, about the error of a robot's map
_SHIFT_M = 0.2  # tolerance at the end of a shift
_SWAP_M = 0.5  # tolerance after a swap, on the floor plan
_DRAWN = 4  # instructions drawn for each one used: some have no valid outcome


def layout_questions(
    room: Room, objects: Sequence[RoomObject], seed: int, n: int, split: str = "test"
) -> list[tuple[LayoutQuestion, Box3D]]:
    """Up to `n` instructions about the given objects in sentences of a split, each with one right
    new box (for a removal the old one). Instructions without a right outcome are left out.
    """
    rng = np.random.default_rng((seed, 31))
    made = make_layout_questions(objects, rng, _DRAWN * n, split=split)
    found = [(edit.question, edit.box) for edit in possible_edits(room, made)]
    kinds: dict[str, int] = {}
    order = []
    for index, (question, _) in enumerate(found):  # every kind once before any kind twice
        kinds[question.subkind] = kinds.get(question.subkind, 0) + 1
        order.append((kinds[question.subkind], index))
    return [found[index] for _, index in sorted(order)[:n]]


def judge_edit(
    question: LayoutQuestion,
    room: Room,
    reference: Box3D,
    before: Sequence[Box3D],
    after: Sequence[Box3D],
) -> EditOutcome:
    """Judge an edit by its boxes before and after, the target first; both are empty if no edit was
    returned.
    """
    truth = np.array([o.box.array() for o in room.objects])
    target = room.objects[question.targets[0]] if question.targets else None
    right = None
    if target is not None:
        right = bool(before) and match_box(before[0], truth, ()).object_id == target.id
    old = before[0] if before else None
    if question.relation == "remove":
        gone = bool(before) and not after
        return EditOutcome(reference, old if gone else None, gone, None, right, None)
    if not after:
        return EditOutcome(reference, None, False, False, right, None)
    box = after[0]
    valid = _valid(room, target, box, also=question.anchors if question.relation == "swap" else ())
    relation = _holds(question, room, target, before, after)
    return EditOutcome(reference, box, valid, relation, right, None if target is None else old)


def right(outcome: EditOutcome) -> bool:
    """Right object, valid pose and wanted relation."""
    parts = (outcome.box is not None and outcome.valid, outcome.relation, outcome.right_object)
    return all(part is not False for part in parts)


def _valid(room: Room, target: RoomObject | None, box: Box3D, also: Sequence[int] = ()) -> bool:
    objects = scene_objects(room.objects)
    bodies = [body(o) for o in objects]
    leaving = [target.id, *also] if target is not None else []
    gone = set(leaving)
    for number in leaving:
        rest = [k for k in range(len(bodies)) if k not in leaving]
        going = moving_with(bodies[number], [bodies[k] for k in rest], 0.0)
        gone |= {rest[k] for k in going}
    others = [b for k, b in enumerate(bodies) if k not in gone]
    before = None if target is None else target.box
    return not FreeSpace(true_bounds(room, _WALL_M), others, before).problem(box)


def _holds(
    question: LayoutQuestion,
    room: Room,
    target: RoomObject | None,
    before: Sequence[Box3D],
    after: Sequence[Box3D],
) -> bool:
    """Whether the wanted relation holds in the true room with the target in its new box."""
    box, relation = after[0], question.relation
    anchors = [room.objects[i] for i in question.anchors]
    if relation == "turn":
        turned = np.rad2deg(box.yaw - before[0].yaw) - question.degrees
        return bool(abs((turned + 180) % 360 - 180) < 1)
    if relation == "swap":
        here, there = np.array(anchors[0].box.center), np.array(target.box.center if target else 0)
        ends = [np.array(b.center) for b in after]
        other = min(ends[1:], key=lambda end: np.linalg.norm(end[:2] - there[:2]), default=None)
        return bool(
            np.linalg.norm(ends[0][:2] - here[:2]) < _SWAP_M
            and other is not None
            and np.linalg.norm(other[:2] - there[:2]) < _SWAP_M
        )
    if question.metres is not None and target is not None:
        view = [room.objects[i] for i in question.view]
        wanted = question.metres * _direction(relation, target, [*anchors, *view][0])
        moved = np.subtract(box.center, before[0].center)
        return bool(np.linalg.norm(moved - wanted) < _SHIFT_M)
    return _related(question, room, target, box)


def _direction(relation: str, target: RoomObject, seen: RoomObject) -> np.ndarray:
    """Unit vector (3,) on the floor plan, from true boxes."""
    line = np.subtract(target.box.center, seen.box.center)[:2]
    x, y = line / np.linalg.norm(line)
    flat = {"towards": (-x, -y), "away": (x, y), "to_left": (-y, x), "to_right": (y, -x)}[relation]
    return np.array([*flat, 0.0])


def _related(question: LayoutQuestion, room: Room, target: RoomObject | None, box: Box3D) -> bool:
    """Whether the relation holds in the edited room, by the predicates of generated questions."""
    objects = list(room.objects)
    low, high = box.bounds()
    upright = Box3D.from_bounds(low, high)
    if target is None:
        spot = len(objects)
        objects.append(replace(objects[0], id=spot, category=question.category))
    else:
        spot = target.id
    others = [
        (o.id, body(s)) for o, s in zip(room.objects, scene_objects(room.objects), strict=True)
    ]
    support = _support(upright, [(i, b) for i, b in others if i != spot])
    objects[spot] = replace(objects[spot], box=upright, support=support)
    relations = Relations(objects)
    if question.relation in SIDES:
        viewpoints = Viewpoints(objects, relations)
        slot = viewpoints.slot.get(question.view[0])
        if slot is None:
            return False
        return bool(viewpoints.side(question.relation)[0][slot, question.anchors[0], spot])
    if question.relation == "between":
        return bool(relations.between[0][spot, question.anchors[0], question.anchors[1]])
    return bool(relations.strict[question.relation][spot, question.anchors[0]])


def _support(box: Box3D, bodies: Sequence[tuple[int, Body]]) -> int:
    """The id of the object that supports a box, FLOOR, or WALL if nothing does."""
    if abs(box.bounds()[0][2]) <= 0.05 + 1e-9:
        return FLOOR
    return next((i for i, body in bodies if body.supports(box)), WALL)
