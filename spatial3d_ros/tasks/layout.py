"""Layout edits (METHODS 3.4): from an instruction, and who is meant by it, to new boxes that can
stand there.

The network says which objects the phrases mean; the rest is geometry. Among the places that satisfy
what was asked for, the one nearest to the ideal where the box is inside the room, clear of others
and supported is proposed (`scene.places`); if there is none, the reason is given. What stands on a
thing, or in it, goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.bounds import Bounds
from spatial3d_ros.scene.free_space import GAP_M, Body, FreeSpace, moved_along, moving_with
from spatial3d_ros.scene.objects import NO_ID, SceneObject
from spatial3d_ros.scene.wall_alignment import rotate_objects
from spatial3d_ros.tasks import layout_goals as goals
from spatial3d_ros.tasks.furniture import body, category, color, usual_size
from spatial3d_ros.tasks.grounding import is_self, name, placed, places_of
from spatial3d_ros.tasks.layout_goals import Goal, Level
from spatial3d_ros.tasks.layout_parser import SHIFTS, SIDES, Instruction
from spatial3d_ros.tasks.results import LayoutEdit, Point, ScoredObject, in_words

_SWAPPED_M = 0.3  # beside the exact place of the other
_TURNED_M = 0.5  # to the side, so that a turned thing fits
_HINTS = np.arange(0.95, 0.0, -0.05)  # shares of a shift that are tried when all of it is too much


@dataclass(frozen=True, eq=False)
class Room:
    """What an edit is about, in one world; `bounds` are those of `turned`, see there.

    `named` are the objects that the phrases of the instruction mean; `robot` (3,) where the camera
    is, None if not known; `heading` the yaw of the walls (rad).
    """

    objects: Sequence[SceneObject]
    named: Mapping[str, SceneObject]
    bounds: Bounds
    robot: np.ndarray | None
    heading: float = 0.0

    def turned(self) -> Room:
        """The same in a world turned back, where the walls lie along the axes."""
        robot = None
        if self.robot is not None:
            robot = np.array(Box3D(tuple(self.robot), (0, 0, 0)).rotated(-self.heading).center)
        return Room(
            rotate_objects(self.objects, -self.heading),
            dict(zip(self.named, rotate_objects(self.named.values(), -self.heading), strict=True)),
            self.bounds,
            robot,
        )


@dataclass(frozen=True)
class Change:
    """The outcome, as in `results.LayoutEdit`."""

    before: tuple[SceneObject, ...]
    after: tuple[SceneObject, ...]
    text: str
    reason: str = ""
    satisfied: bool = False
    places: tuple[Point, ...] = ()


def phrases_of(instruction: Instruction) -> list[str]:
    """The phrases that name objects: not the new thing, not the robot."""
    said = [*instruction.anchors, instruction.view]
    if instruction.action != "place":
        said.insert(0, instruction.what)
    return list(dict.fromkeys(phrase for phrase in said if phrase and not is_self(phrase)))


def change(instruction: Instruction, room: Room) -> Change:
    """The change that an instruction wants, or the reason why it is impossible; in the world of
    `room`.

    Raises QueryError for what cannot be meant: a relation to itself, a place on a lamp.
    """
    way = Box3D(instruction.axis, (0, 0, 0))
    along = replace(instruction, axis=way.rotated(-room.heading).center)
    made = _change(along, room.turned())
    before, after = (rotate_objects(objects, room.heading) for objects in (made.before, made.after))
    text, places = made.text, ()
    if after and instruction.action in ("move", "place"):
        places = (after[0].box.center,)
        text += f"; to {in_words(*places)} m"
    text = f"{text[:1].upper()}{text[1:]}"
    return replace(made, before=before, after=after, text=text, places=places)


def edit(
    query: str,
    instruction: Instruction,
    made: Change,
    alternatives: Sequence[ScoredObject],
    **provenance: Any,
) -> LayoutEdit:
    """The typed answer; `alternatives` are what the phrases could mean as well."""
    text = made.text
    if alternatives:
        text += f"; the words could also mean {' or '.join(map(placed, alternatives))}"
    return LayoutEdit(
        query, instruction.action, not made.reason, made.reason, made.satisfied, made.before,
        made.after, text, places=(*made.places, *places_of(alternatives)), **provenance,
    )  # fmt: skip


def _change(instruction: Instruction, room: Room) -> Change:
    if instruction.action == "place":
        return _place(instruction, room)
    if is_self(instruction.what):
        raise QueryError(f"query: '{instruction.what}' is the robot, which moves by itself")
    thing = room.named[instruction.what]
    others = [room.named.get(phrase) for phrase in (*instruction.anchors, instruction.view)]
    if any(other is not None and other.id == thing.id for other in others):
        raise QueryError(f"query: {name(thing)} is both what changes and where to; name two things")
    return {"move": _move, "turn": _turn, "remove": _remove, "swap": _swap}[instruction.action](
        instruction, room, thing
    )


def _move(instruction: Instruction, room: Room, thing: SceneObject) -> Change:
    mover = _Mover(room, thing, instruction.what)
    words = _words(instruction, room)
    reasons = []
    for goal in _goals(instruction, room, mover):
        box, reason = mover.places.nearest(thing.box, goal.centers())
        if box is not None:
            metres = float(np.linalg.norm(np.subtract(box.center, thing.box.center)))
            text = f"{name(thing)} moved by {metres:.2f} m, {words}"
            return mover.change(box, text, bool(goal.holds(np.array([box.center]))[0]))
        reasons.append(reason)
    reason = reasons[0]
    if instruction.relation in SHIFTS:
        reason += _hint(instruction, room, mover)
    return mover.refusal(f"move {words}", reason)


def _turn(instruction: Instruction, room: Room, thing: SceneObject) -> Change:
    mover = _Mover(room, thing, instruction.what)
    yaw = (thing.box.yaw + np.deg2rad(instruction.degrees) + np.pi) % (2 * np.pi) - np.pi
    turned = replace(thing.box, yaw=float(yaw))
    box, reason = mover.places.nearest(turned, goals.at(thing.box.center, _TURNED_M).centers())
    words = f"by {instruction.degrees:g} degrees"
    if box is None:
        return mover.refusal(f"turn {words}", reason)
    aside = float(np.linalg.norm(np.subtract(box.center, thing.box.center)))
    moved = f", moved by {aside:.2f} m so that it fits" if aside > 0.01 else ""
    return mover.change(box, f"{name(thing)} turned {words}{moved}", True)


def _remove(instruction: Instruction, room: Room, thing: SceneObject) -> Change:
    mover = _Mover(room, thing, instruction.what)
    before = (thing, *mover.carried)
    return Change(before, (), f"{name(thing)} removed{_with(mover.carried)}", satisfied=True)


def _swap(instruction: Instruction, room: Room, thing: SceneObject) -> Change:
    phrase = instruction.anchors[0]
    if is_self(phrase):
        raise QueryError("query: the robot is no furniture and swaps with nothing")
    other = room.named[phrase]
    first, second = _Mover(room, thing, instruction.what), _Mover(room, other, phrase)
    both = {o.id for o in (thing, *first.carried, other, *second.carried)}
    rest = [o for o in room.objects if o.id not in both]
    before = (thing, *first.carried, other, *second.carried)
    placed: list[SceneObject] = []
    for mover, place in ((first, other), (second, thing)):
        bodies = [body(o) for o in (*rest, *placed)]
        places = FreeSpace(room.bounds, bodies, mover.thing.box, [o.box for o in mover.carried])
        low = place.box.center[2] - place.box.size[2] / 2
        center = (*place.box.center[:2], low + mover.thing.box.size[2] / 2)
        box, reason = places.nearest(mover.thing.box, goals.at(center, _SWAPPED_M).centers())
        if box is None:
            reason = f"{name(mover.thing)} does not fit where {name(place)} is: {reason}"
            text = f"{name(thing)} and {name(other)} cannot swap: {reason}"
            return Change(before, (), text, reason)
        placed += mover.moved(box)
    return Change(before, tuple(placed), f"{name(thing)} and {name(other)} swapped", satisfied=True)


def _place(instruction: Instruction, room: Room) -> Change:
    small = instruction.relation == "on"
    size = instruction.size or usual_size(instruction.what, room.objects, small=small)
    label = category(instruction.what) or instruction.what.split()[-1]
    words = _words(instruction, room)
    start = room.robot if room.robot is not None else np.zeros(3)
    new = SceneObject(
        NO_ID, Box3D(tuple(start), size), (128.0, 128.0, 128.0), 1.0, 0, 0,
        np.empty((0, 3), np.float32), label, color(instruction.what),
    )  # fmt: skip
    mover = _Mover(room, new, instruction.what)
    reasons = []
    for goal in _goals(instruction, room, mover):
        # Of a new thing nobody knows how it is turned: along the walls, one way or the other.
        for yaw in (0.0, np.pi / 2):
            box, reason = mover.places.nearest(replace(new.box, yaw=yaw), goal.centers())
            if box is not None:
                after = replace(new, box=box)
                holds = bool(goal.holds(np.array([box.center]))[0])
                return Change((), (after,), f"{name(new)} put {words}", "", holds)
            reasons.append(reason)
    reason = reasons[0]
    return Change((), (), f"{name(new)} cannot be put {words}: {reason}", reason)


class _Mover:
    """A thing that is to move, what it carries, and the room around them."""

    def __init__(self, room: Room, thing: SceneObject, phrase: str) -> None:
        self.thing = thing
        rest = [o for o in room.objects if o.id != thing.id]
        self.is_new = thing.id == NO_ID
        self.body = body(thing, phrase)
        bodies = [body(o) for o in rest]
        going = [] if self.is_new else moving_with(self.body, bodies, float(room.bounds.low[2]))
        named = {o.id for o in room.named.values()}
        going = [k for k in going if rest[k].id not in named]  # an anchor stays where it is
        self.carried = tuple(rest[k] for k in going)
        self.places = FreeSpace(
            room.bounds,
            [b for k, b in enumerate(bodies) if k not in going],
            None if self.is_new else thing.box,
            [o.box for o in self.carried],
        )
        low, high = thing.box.bounds()
        self.half = (high - low) / 2

    def moved(self, box: Box3D) -> list[SceneObject]:
        """The thing in its new box, and what it carries with it."""
        return [_moved(o, self.thing.box, box) for o in (self.thing, *self.carried)]

    def change(self, box: Box3D, text: str, satisfied: bool) -> Change:
        """The change that puts the thing there."""
        before = (self.thing, *self.carried)
        return Change(before, tuple(self.moved(box)), text + _with(self.carried), "", satisfied)

    def refusal(self, verb: str, reason: str) -> Change:
        """That the thing cannot do so, and why."""
        text = f"{name(self.thing)} cannot {verb}: {reason}"
        return Change((self.thing, *self.carried), (), text, reason)


def _goals(instruction: Instruction, room: Room, mover: _Mover) -> list[Goal]:
    """What is asked for, at the level of the anchor first; and, where that is furniture or a wall,
    on the floor below.
    """
    relation, thing, half = instruction.relation, mover.thing, mover.half
    if relation in SHIFTS:
        return [goals.shifted(thing.box.center, *_shift(instruction, room, thing))]
    if any(is_self(phrase) for phrase in instruction.anchors):
        anchors = [_robot_body(room)]
    else:
        anchors = [body(room.named[p], p) for p in instruction.anchors]
    anchor, floor = anchors[0], float(room.bounds.low[2])
    if relation == "on":
        return [goals.on(half, anchor)]
    if relation == "under":
        return [goals.under(half, anchor, floor)]
    gap, made = instruction.metres, []
    for level in _levels(room, mover, anchor):
        if relation == "next_to":
            start = room.robot if mover.is_new else np.array(thing.box.center)
            start = np.array(anchor.box.center) if start is None else start
            made.append(goals.next_to(half, anchor, level, start[:2], gap))
        elif relation in SIDES:
            viewer = _viewer(instruction, room)[:2]
            made.append(goals.beside(relation, half, anchor, level, viewer, gap))
        else:
            made.append(goals.between(half, *anchors, level))
    return made


def _levels(room: Room, mover: _Mover, anchor: Body) -> list[Level]:
    """The heights at which the thing could stand beside the anchor."""
    floor = float(room.bounds.low[2])
    if not mover.places.needs_support:  # it hangs, and stays at its height
        return [Level(float(mover.thing.box.bounds()[0][2]))]
    below = [b for b in mover.places.bodies if b.box != anchor.box and b.supports(anchor.box)]
    tops = [b.top for b in below if b.top is not None and b.top > floor + GAP_M]
    return [*(Level(top, raised=True) for top in tops[:1]), Level(floor)]


def _shift(instruction: Instruction, room: Room, thing: SceneObject) -> tuple[np.ndarray, float]:
    """Direction (3,) and metres of a shift."""
    metres, relation = instruction.metres or 0.0, instruction.relation
    if relation in ("up", "down"):
        return np.array([0.0, 0.0, 1.0 if relation == "up" else -1.0]), metres
    if relation == "axis":
        return np.array(instruction.axis), metres
    if relation in ("to_left", "to_right"):
        start, known = _viewer(instruction, room), name(thing)
    elif is_self(instruction.anchors[0]):
        start, known = _robot(room), "the robot"
    else:
        start, known = np.array(room.named[instruction.anchors[0]].box.center), name(thing)
    return goals.heading(start, thing.box.center, relation, known), metres


def _hint(instruction: Instruction, room: Room, mover: _Mover) -> str:
    """How much of a shift would be possible, in words."""
    way, metres = _shift(instruction, room, mover.thing)
    center = np.array(mover.thing.box.center)
    for share in _HINTS:
        there = replace(mover.thing.box, center=tuple(center + share * metres * way))
        if not mover.places.problem(there):
            return f"; {share * metres:.2f} m would be possible"
    return ""


def _viewer(instruction: Instruction, room: Room) -> np.ndarray:
    view = instruction.view
    if view and not is_self(view):
        return np.array(room.named[view].box.center)
    return _robot(room)


def _robot(room: Room) -> np.ndarray:
    if room.robot is None:
        raise QueryError(
            "query: where the robot is is not known, no pose arrived since the memory was cleared; "
            "say 'seen from the door', or name a thing"
        )
    return room.robot


def _robot_body(room: Room) -> Body:
    x, y, _ = _robot(room)
    return Body(Box3D((x, y, float(room.bounds.low[2]) + 0.5), (0.5, 0.5, 1.0)), name="the robot")


def _words(instruction: Instruction, room: Room) -> str:
    """The relation in words, with the objects as they are known."""
    relation, metres = instruction.relation, instruction.metres
    known = ["the robot" if is_self(p) else name(room.named[p]) for p in instruction.anchors]
    viewer = room.named.get(instruction.view)
    seen = f", seen from {'the robot' if viewer is None else name(viewer)}"
    if relation in SHIFTS:
        way = {
            "towards": lambda: f"towards {known[0]}",
            "away": lambda: f"away from {known[0]}",
            "to_left": lambda: f"to the left{seen}",
            "to_right": lambda: f"to the right{seen}",
            "axis": lambda: "along an axis of the map",
        }
        return f"{metres:g} m {way.get(relation, lambda: relation)()}"
    text = {
        "next_to": "next to {}", "on": "on {}", "under": "under {}", "between": "between {} and {}",
        "left": "to the left of {}", "right": "to the right of {}", "front": "in front of {}",
        "behind": "behind {}",
    }[relation].format(*known)  # fmt: skip
    gap = "" if metres is None else f"{metres:g} m "
    return gap + text + (seen if relation in SIDES else "")


def _with(carried: Sequence[SceneObject]) -> str:
    return f", with {', '.join(map(name, carried))}" if carried else ""


def _moved(thing: SceneObject, before: Box3D, after: Box3D) -> SceneObject:
    turn = after.yaw - before.yaw
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    points = (thing.points - before.center) @ rotation.T + after.center
    return replace(
        thing, box=moved_along(thing.box, before, after), points=points.astype(np.float32)
    )
