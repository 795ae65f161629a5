"""Layout edits (METHODS 3.4): from an instruction and its grounded objects to new boxes.

The network grounds the phrases; the rest is geometry. Of the poses that satisfy the instruction,
the one nearest to the ideal whose box is inside the room, free of collisions and supported is
proposed (`scene.free_space`); if there is none, the reason is given. Objects that rest on or lie in
a moved object move with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spatial3d_ros.categories import find_color
from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.pose import rotate_points
from spatial3d_ros.scene.free_space import GAP_M, Body, FreeSpace, moved_along, moving_with
from spatial3d_ros.scene.objects import NO_ID, SceneObject
from spatial3d_ros.scene.wall_alignment import rotate_objects
from spatial3d_ros.tasks import layout_goals as goals
from spatial3d_ros.tasks.edit_query import SHIFTS, SIDES, Instruction
from spatial3d_ros.tasks.edit_scene import EditScene
from spatial3d_ros.tasks.furniture import body, label_of, usual_size
from spatial3d_ros.tasks.grounding import (
    centers_of,
    is_self,
    list_alternatives,
    object_name,
)
from spatial3d_ros.tasks.layout_goals import Goal, Level
from spatial3d_ros.tasks.results import LayoutEdit, Point, ScoredObject, format_point
from spatial3d_ros.tasks.scene_state import SceneState

_SWAP_TOLERANCE_M = 0.3  # of the center of a swapped object to that of the other
_TURN_TOLERANCE_M = 0.5  # by which a turned object may move so that it fits
_FLOOR_REACH_M = 2.0  # from an object to where it is put on the floor
_SHIFT_FRACTIONS = np.arange(0.95, 0.0, -0.05)  # tried if the whole shift is impossible


@dataclass(frozen=True)
class Change:
    """The outcome; fields as in `results.LayoutEdit`, `reason` is "" if the edit is possible."""

    before: tuple[SceneObject, ...]
    after: tuple[SceneObject, ...]
    text: str
    reason: str = ""
    satisfied: bool = False
    text_points: tuple[Point, ...] = ()


def propose_edit(
    query: str,
    instruction: Instruction,
    grounded: Mapping[str, SceneObject],
    alternatives: Sequence[ScoredObject],
    scene: SceneState,
    camera_position: np.ndarray | None,
    **provenance: Any,
) -> LayoutEdit:
    """The answer, from the objects that the phrases of the instruction refer to, and others that
    they fit about as well. Raises as `change`.
    """
    made = change(
        instruction,
        EditScene(scene.objects, grounded, scene.bounds, camera_position, scene.heading),
    )
    return LayoutEdit(
        query,
        instruction.action,
        not made.reason,
        made.reason,
        made.satisfied,
        made.before,
        made.after,
        made.text + list_alternatives(alternatives),
        text_points=(*made.text_points, *centers_of(alternatives)),
        **provenance,
    )


def change(instruction: Instruction, scene: EditScene) -> Change:
    """The change that an instruction asks for, or the reason why it is impossible, in the frame of
    `scene`.

    Raises QueryError for a contradictory instruction: a relation of an object to itself, a mug on
    a lamp.
    """
    axis = Box3D(instruction.axis, (0, 0, 0)).rotated(-scene.heading).center
    made = _change(replace(instruction, axis=axis), scene.aligned())
    before, after = (
        rotate_objects(objects, scene.heading) for objects in (made.before, made.after)
    )
    text, points = made.text, made.text_points
    if after and instruction.action in ("move", "place"):
        points = (after[0].box.center,)
        text += f"; to {format_point(points[0])} m"
    text = f"{text[:1].upper()}{text[1:]}"
    return replace(made, before=before, after=after, text=text, text_points=points)


def _change(instruction: Instruction, scene: EditScene) -> Change:
    if instruction.action == "place":
        return _place(instruction, scene)
    if is_self(instruction.target):
        raise QueryError(f"query: '{instruction.target}' is the robot, which moves by itself")
    target = scene.grounded[instruction.target]
    others = [scene.grounded.get(phrase) for phrase in (*instruction.anchors, instruction.view)]
    if any(other is not None and other.id == target.id for other in others):
        raise QueryError(
            f"query: {object_name(target)} is both the object to change and a reference; name two "
            "objects"
        )
    edit = {"move": _move, "turn": _turn, "remove": _remove, "swap": _swap}[instruction.action]
    return edit(instruction, scene, _Mover(scene, target, instruction.target))


def _move(instruction: Instruction, scene: EditScene, mover: _Mover) -> Change:
    start = mover.target.box
    relation = _describe_relation(instruction, scene)
    box, satisfied, reason = mover.best_pose(_goals(instruction, scene, mover), [start.yaw])
    if box is not None:
        metres = float(np.linalg.norm(np.subtract(box.center, start.center)))
        return mover.change(box, f"moved by {metres:.2f} m, {relation}", satisfied)
    if instruction.relation in SHIFTS:
        reason += _possible_shift(instruction, scene, mover)
    return mover.refusal(f"move {relation}", reason)


def _turn(instruction: Instruction, scene: EditScene, mover: _Mover) -> Change:
    start = mover.target.box
    yaw = (start.yaw + np.deg2rad(instruction.degrees) + np.pi) % (2 * np.pi) - np.pi
    box, _, reason = mover.best_pose([goals.at(start.center, _TURN_TOLERANCE_M)], [float(yaw)])
    turn = f"by {instruction.degrees:g} degrees"
    if box is None:
        return mover.refusal(f"turn {turn}", reason)
    metres = float(np.linalg.norm(np.subtract(box.center, start.center)))
    moved = f", moved by {metres:.2f} m so that it fits" if metres > 0.01 else ""
    return mover.change(box, f"turned {turn}{moved}", True)


def _remove(_: Instruction, __: EditScene, mover: _Mover) -> Change:
    return Change(mover.before, (), f"{mover.name} removed{mover.with_carried}", satisfied=True)


def _swap(instruction: Instruction, scene: EditScene, first: _Mover) -> Change:
    phrase = instruction.anchors[0]
    if is_self(phrase):
        raise QueryError("query: the robot is not furniture and cannot be swapped")
    second = _Mover(scene, scene.grounded[phrase], phrase)
    before = (*first.before, *second.before)
    ids = {known.id for known in before}
    rest = [known for known in scene.objects if known.id not in ids]
    after: list[SceneObject] = []
    for mover, other in ((first, second), (second, first)):
        mover.obstacles([body(known) for known in (*rest, *after)])
        low = other.target.box.center[2] - other.target.box.size[2] / 2
        x, y, _ = other.target.box.center
        center = (x, y, low + mover.target.box.size[2] / 2)
        goal = goals.at(center, _SWAP_TOLERANCE_M)
        box, _, reason = mover.best_pose([goal], [mover.target.box.yaw])
        if box is None:
            reason = f"{mover.name} does not fit where {other.name} is: {reason}"
            return Change(
                before, (), f"{first.name} and {second.name} cannot swap: {reason}", reason
            )
        after += mover.moved_to(box)
    return Change(before, tuple(after), f"{first.name} and {second.name} swapped", satisfied=True)


def _place(instruction: Instruction, scene: EditScene) -> Change:
    on_furniture = instruction.relation == "on"
    size = instruction.size or usual_size(instruction.target, scene.objects, small=on_furniture)
    relation = _describe_relation(instruction, scene)
    start = scene.camera_position if scene.camera_position is not None else np.zeros(3)
    new = SceneObject(
        NO_ID, Box3D(tuple(start), size), (128.0, 128.0, 128.0), 1.0, 0, 0,
        np.empty((0, 3), np.float32), label_of(instruction.target), find_color(instruction.target),
    )  # fmt: skip
    mover = _Mover(scene, new, instruction.target)
    # The heading of a new object is not given: along the walls, either way.
    box, satisfied, reason = mover.best_pose(
        _goals(instruction, scene, mover), [0.0, float(np.pi / 2)]
    )
    if box is None:
        return mover.refusal(f"be put {relation}", reason)
    return mover.change(box, f"put {relation}", satisfied)


class _Mover:
    """An object to move, the objects it carries, and the free space for them."""

    def __init__(self, scene: EditScene, target: SceneObject, phrase: str) -> None:
        self.target = target
        self.name = object_name(target)
        self.is_new = target.id == NO_ID
        rest = [known for known in scene.objects if known.id != target.id]
        bodies = [body(known) for known in rest]
        carried: list[int] = []
        if not self.is_new:
            grounded = {known.id for known in scene.grounded.values()}
            carried = [
                k
                for k in moving_with(body(target, phrase), bodies, scene.floor)
                if rest[k].id not in grounded  # an anchor stays where it is
            ]
        self.carried = tuple(rest[k] for k in carried)
        self.before = () if self.is_new else (target, *self.carried)
        self._bounds = scene.bounds
        self.obstacles([b for k, b in enumerate(bodies) if k not in carried])
        low, high = target.box.bounds()
        self.half = (high - low) / 2

    @property
    def with_carried(self) -> str:
        """The end of a sentence that names what moves along."""
        return f", with {', '.join(map(object_name, self.carried))}" if self.carried else ""

    def obstacles(self, bodies: list[Body]) -> None:
        """Set what the target must not collide with."""
        start = None if self.is_new else self.target.box
        self.free_space = FreeSpace(self._bounds, bodies, start, [o.box for o in self.carried])

    def best_pose(
        self, wanted: Sequence[Goal], yaws: Sequence[float]
    ) -> tuple[Box3D | None, bool, str]:
        """The first free box of the goals in their order, and whether it satisfies its goal; else
        None, and the reason of the first goal.
        """
        reasons = []
        for goal in wanted:
            for yaw in yaws:
                box, reason = self.free_space.nearest(
                    replace(self.target.box, yaw=yaw), goal.centers()
                )
                if box is not None:
                    return box, bool(goal.holds(np.array([box.center]))[0]), ""
                reasons.append(reason)
        return None, False, reasons[0]

    def moved_to(self, box: Box3D) -> list[SceneObject]:
        """The target in its new box, and what it carries with it."""
        if self.is_new:
            return [replace(self.target, box=box)]
        return [_moved(known, self.target.box, box) for known in (self.target, *self.carried)]

    def change(self, box: Box3D, verb: str, satisfied: bool) -> Change:
        """The change that moves the target to a box."""
        text = f"{self.name} {verb}{self.with_carried}"
        return Change(self.before, tuple(self.moved_to(box)), text, "", satisfied)

    def refusal(self, verb: str, reason: str) -> Change:
        """The impossible change, and its reason."""
        return Change(self.before, (), f"{self.name} cannot {verb}: {reason}", reason)


def _goals(instruction: Instruction, scene: EditScene, mover: _Mover) -> list[Goal]:
    """The goals of an instruction: at the level of the anchor first, then on the floor if the
    anchor stands on furniture or hangs on a wall.
    """
    relation, target, half = instruction.relation, mover.target, mover.half
    if relation in SHIFTS:
        return [goals.shifted(target.box.center, *_shift(instruction, scene, target))]
    if relation == "floor":
        start = scene.camera_position if mover.is_new else np.array(target.box.center)
        x, y = (np.zeros(3) if start is None else start)[:2]
        return [goals.at((x, y, scene.floor + half[2]), _FLOOR_REACH_M)]
    anchors = [scene.anchor(phrase) for phrase in instruction.anchors]
    anchor = anchors[0]
    if relation == "on":
        return [goals.on(half, anchor)]
    if relation == "under":
        return [goals.under(half, anchor, scene.floor)]
    gap, made = instruction.metres, []
    for level in _levels(scene, mover, anchor):
        if relation == "next_to":
            start = scene.camera_position if mover.is_new else np.array(target.box.center)
            start = np.array(anchor.box.center) if start is None else start
            made.append(goals.next_to(half, anchor, level, start[:2], gap))
        elif relation in SIDES:
            viewer = scene.position(instruction.view)[:2]
            made.append(goals.on_side(relation, half, anchor, level, viewer, gap))
        else:
            made.append(goals.between(half, anchor, anchors[1], level))
    return made


def _levels(scene: EditScene, mover: _Mover, anchor: Body) -> list[Level]:
    """The heights at which the target could stand next to the anchor."""
    if not mover.free_space.needs_support:  # it hangs, and stays at its height
        return [Level(float(mover.target.box.bounds()[0][2]))]
    below = [b for b in mover.free_space.bodies if b.box != anchor.box and b.supports(anchor.box)]
    tops = [b.top for b in below if b.top is not None and b.top > scene.floor + GAP_M]
    return [*(Level(top, raised=True) for top in tops[:1]), Level(scene.floor)]


def _shift(
    instruction: Instruction, scene: EditScene, target: SceneObject
) -> tuple[np.ndarray, float]:
    """Direction (3,) and metres of a shift."""
    metres, relation = instruction.metres or 0.0, instruction.relation
    if relation in ("up", "down"):
        return np.array([0.0, 0.0, 1.0 if relation == "up" else -1.0]), metres
    if relation == "axis":
        return np.array(instruction.axis), metres
    if relation in ("to_left", "to_right"):
        start, reference = scene.position(instruction.view), object_name(target)
    else:
        anchor = instruction.anchors[0]
        start = scene.position(anchor)
        reference = scene.name(anchor) if is_self(anchor) else object_name(target)
    return goals.shift_direction(start, target.box.center, relation, reference), metres


def _possible_shift(instruction: Instruction, scene: EditScene, mover: _Mover) -> str:
    """How much of a shift is possible; "" if nothing is."""
    direction, metres = _shift(instruction, scene, mover.target)
    center = np.array(mover.target.box.center)
    for fraction in _SHIFT_FRACTIONS:
        shifted = replace(mover.target.box, center=tuple(center + fraction * metres * direction))
        if not mover.free_space.problem(shifted):
            return f"; {fraction * metres:.2f} m would be possible"
    return ""


_RELATION_TEXTS = {
    "towards": "towards {}", "away": "away from {}", "to_left": "to the left",
    "to_right": "to the right", "axis": "along an axis of the map", "up": "up", "down": "down",
    "next_to": "next to {}", "on": "on {}", "under": "under {}", "between": "between {} and {}",
    "left": "to the left of {}", "right": "to the right of {}", "front": "in front of {}",
    "behind": "behind {}", "floor": "on the floor",
}  # fmt: skip


def _describe_relation(instruction: Instruction, scene: EditScene) -> str:
    """The relation as answers print it, with the names of the grounded objects."""
    relation, metres = instruction.relation, instruction.metres
    text = _RELATION_TEXTS[relation].format(*map(scene.name, instruction.anchors))
    if metres is not None:
        text = f"{metres:g} m {text}"
    if relation in (*SIDES, "to_left", "to_right"):
        text += f", seen from {scene.name(instruction.view)}"
    return text


def _moved(known: SceneObject, before: Box3D, after: Box3D) -> SceneObject:
    """An object that is rigidly attached to a box that moves, metres and rad."""
    turn = after.yaw - before.yaw
    points = rotate_points(known.points - before.center, turn) + after.center
    return replace(
        known, box=moved_along(known.box, before, after), points=points.astype(np.float32)
    )
