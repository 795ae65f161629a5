"""The instruction of a typed query that asks for a change of the layout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from spatial3d_ros.errors import QueryError
from spatial3d_ros.tasks.descriptions import is_self_reference
from spatial3d_ros.tasks.query import Description, ParsedQuery
from spatial3d_ros.tasks.results import Action
from spatial3d_ros.tasks.word_lists import SELF

SHIFTS = ("towards", "away", "to_left", "to_right", "up", "down", "axis")
SIDES = ("left", "right", "front", "behind")
_DIRECTIONS = ("to_left", "to_right", "up", "down", "axis")  # need no anchor
_RELATIONS = {
    "near": "next_to", "in": "on", "opposite": "front", "above": "on", "below": "under",
    "closest": "next_to", "forward": "towards", "back": "away", "leftmost": "to_left",
    "rightmost": "to_right",
}  # fmt: skip
"""Relations of a sentence that an edit carries out as another one."""
_MINUS = re.compile(r"(?:-|\u2212) ?[xyz]\b|\b(?:minus|negative)\b")
_CLOCKWISE = re.compile(r"(?<!counter)(?<!anti)(?<!counter[ -])(?<!anti[ -])clockwise")
_AXES = {name: index for index, name in enumerate("xyz")}


@dataclass(frozen=True)
class Instruction:
    """What to change; phrases as written.

    relation, of "move" and "place": "next_to", "on", "under", "left", "right", "front", "behind",
        "between" with its anchors, with `metres` the gap to them; "floor"; or a shift by `metres`:
        "towards" and "away" with one anchor, "to_left", "to_right" (as seen), "up", "down", "axis".
    target: the phrase of the object; for "place" its noun, without article.
    view: the phrase of the viewpoint, "" for that of the robot.
    degrees: of "turn", counter-clockwise seen from above (REP 103).
    axis: of relation "axis", a unit vector in the map.
    size: of "place", full extents in metres, if given.
    """

    action: Action
    target: str
    relation: str = ""
    anchors: tuple[str, ...] = ()
    view: str = ""
    metres: float | None = None
    degrees: float = 0.0
    axis: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size: tuple[float, float, float] | None = None


def instruction_of(query: ParsedQuery) -> Instruction:
    """The instruction of an edit. Raises QueryError for what is no edit or lacks a part."""
    action = query.intent.partition("edit.")[2]
    if not action:
        raise QueryError(
            f"query: '{query.text}' asks for no change of the layout, e.g. 'move the chair next to "
            "the door'"
        )
    if action == "remove_all" or (query.targets and _is_plural(query.targets[0])):
        raise QueryError("query: several objects cannot be changed at once; name one")
    if not query.targets:
        raise QueryError(f"query: '{query.text}' names no object to {action}")
    if is_self_reference(query.targets[0]):
        raise QueryError(f"query: '{query.targets[0].text}' is the robot, which moves by itself")
    texts = [target.text for target in query.targets]
    if action == "swap":
        if len(texts) < 2:
            raise QueryError("query: name both objects to swap")
        return Instruction("swap", texts[0], anchors=(texts[1],))
    if action == "remove":
        return Instruction("remove", texts[0])
    if action == "turn":
        return Instruction("turn", texts[0], degrees=_degrees(query))
    return _moved(query, cast(Action, action), texts)


def view_of(query: ParsedQuery) -> Description | None:
    """The object from which an edit is seen; None for the robot."""
    words = query.viewpoint.split()
    if not words or words[-1] in SELF:
        return None
    head = [w for w in words if w not in ("the", "a", "an")]
    return Description(query.viewpoint, " ".join(head[-1:]), tuple(head[:-1]))


def taken_off(query: ParsedQuery) -> bool:
    """Whether something is to be taken off what it is on: "take the radio off the table"."""
    words = {*query.text.lower().split()}
    clear = query.intent == "edit.move" and not query.relation and query.metres is None
    return clear and len(query.targets) > 1 and bool(words & {"off", "from"})


def _moved(query: ParsedQuery, action: Action, texts: list[str]) -> Instruction:
    relation, axis = _RELATIONS.get(query.relation, query.relation), (0.0, 0.0, 0.0)
    name = relation.removeprefix("minus_")
    if name in _AXES:
        minus = relation.startswith("minus_") or _MINUS.search(query.text.lower())
        sign = -1.0 if minus else 1.0
        x, y, z = (sign * float(k == _AXES[name]) for k in range(3))
        relation, axis = "axis", (x, y, z)
    words = query.text.lower().split()
    if not relation and query.metres is not None and len(texts) > 1:
        # A shift whose direction the reader did not mark: never its opposite.
        relation = "away" if {"away", "from", "off"} & set(words) else "towards"
    if query.relation in ("forward", "back") and len(texts) < 2:
        texts = [*texts, "me"]
    if relation == "between" and len(texts) == 2 and {"me", "us", "you"} & set(words):
        texts = [*texts, "me"]
    if not relation and len(texts) > 1:
        relation = "next_to"
    if not relation or relation in ("corner", "middle", "wall"):
        raise QueryError(
            f"query: where to? '{query.text}' names no place that I can find, e.g. 'next to the "
            "door'"
        )
    if relation not in (*_DIRECTIONS, "floor") and len(texts) < 2:
        raise QueryError(
            f"query: '{query.text}' names no object to put it {relation.replace('_', ' ')}"
        )
    if relation == "between" and len(texts) < 3:
        raise QueryError("query: name both objects to put it between")
    if relation in SHIFTS and query.metres is None:
        where = relation.replace("_", " ")
        raise QueryError(f"query: '{where}' has no length; give it in metres, e.g. '0.5 m {where}'")
    if query.metres is not None and query.metres < 0:
        raise QueryError(
            f"query: {query.metres:g} m is negative; use the opposite direction instead"
        )
    target = texts[0]
    if action == "place":
        first = query.targets[0]
        target = " ".join((*first.modifiers, first.head)) or target
    anchors = () if relation in (*_DIRECTIONS, "floor") else tuple(texts[1:3])
    view = query.viewpoint if view_of(query) is not None else ""
    return Instruction(
        action, target, relation, anchors, view, query.metres, axis=axis, size=query.size
    )


def _degrees(query: ParsedQuery) -> float:
    """Counter-clockwise degrees; 90 without a number, 180 for "around". A direction that is
    written decides; "to the left" is the reader's.
    """
    degrees = query.degrees
    if degrees is None:
        degrees = 180.0 if "around" in query.text.lower().split() else 90.0
    text = query.text.lower()
    written = "clockwise" in text
    clockwise = bool(_CLOCKWISE.search(text)) if written else query.relation == "clockwise"
    return -degrees if clockwise else degrees


def _is_plural(description: Description) -> bool:
    return description.text.split()[:1] in (["all"], ["every"], ["both"], ["everything"])
