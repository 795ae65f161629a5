"""The tasks of `evaluate rooms`: the questions of each task about a room, and how to judge replies.

To add a task, add a function to TASKS. `answers.py` has the tasks with free-form answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.evaluation.answers import FREE_FORM_TASKS
from spatial3d_ros.research.evaluation.layout import judge_edit, layout_questions, right
from spatial3d_ros.research.evaluation.metrics.judging import Verdict
from spatial3d_ros.research.evaluation.room_queries import ROOM_KINDS, draw_questions, judge
from spatial3d_ros.research.language.layout_instructions import LayoutQuestion
from spatial3d_ros.research.rooms.catalog import Room
from spatial3d_ros.research.rooms.recorded_rooms import RecordedRoom
from spatial3d_ros.tasks.reply import Reply

EDITS = 8  # layout instructions for a room


@dataclass(frozen=True)
class RoomQuestion:
    """A question and how to judge its reply; kinds "distance" and "layout" have own services."""

    text: str
    kind: str
    judge: Callable[[Reply], Verdict]


def _grounding(recorded: RecordedRoom, seed: int, split: str) -> list[RoomQuestion]:
    return [q for q in _questions(recorded, seed, split) if q.kind != "distance"]


def _distance(recorded: RecordedRoom, seed: int, split: str) -> list[RoomQuestion]:
    return [q for q in _questions(recorded, seed, split) if q.kind == "distance"]


def _questions(recorded: RecordedRoom, seed: int, split: str) -> list[RoomQuestion]:
    """All questions in one draw: the selected tasks do not change which questions are drawn."""
    made = draw_questions(recorded.seen(), seed, ROOM_KINDS, split=split)
    return [RoomQuestion(q.text, q.kind, partial(judge, q, recorded.room)) for q in made]


def _layout(recorded: RecordedRoom, seed: int, split: str) -> list[RoomQuestion]:
    room = recorded.room
    return [
        RoomQuestion(question.text, "layout", partial(_judge_edit, question, room, reference))
        for question, reference in layout_questions(room, recorded.seen(), seed, EDITS, split)
    ]


def _judge_edit(question: LayoutQuestion, room: Room, reference: Box3D, reply: Reply) -> Verdict:
    edit = judge_edit(question, room, reference, reply.boxes, reply.after)
    done = reply.success and right(edit)
    return Verdict(
        "layout", question.subkind, reply.success, done, latency_ms=reply.latency_ms, edit=edit
    )


TASKS: dict[str, Callable[[RecordedRoom, int, str], list[RoomQuestion]]] = {
    "grounding": _grounding,
    "distance": _distance,
    "layout": _layout,
}


def chosen_tasks(names: str) -> tuple[str, ...]:
    """The tasks of "all" or "grounding,layout". Raises ConfigError for an unknown one."""
    known = (*TASKS, *FREE_FORM_TASKS)
    wanted = known if names.strip() == "all" else tuple(n.strip() for n in names.split(","))
    for name in wanted:
        if name not in known:
            raise ConfigError(f"tasks: '{name}' is unknown; use {', '.join(known)}, or all")
    return wanted
