"""Layout edits judged in the true room, the tasks of a room, and their scores."""

from __future__ import annotations

import pytest

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.evaluation.layout import judge_edit, layout_questions, right
from spatial3d_ros.research.evaluation.metrics.judging import Verdict, judge_distance, summarise
from spatial3d_ros.research.evaluation.room_tasks import TASKS, chosen_tasks
from spatial3d_ros.research.evaluation.rooms import RoomsReport
from spatial3d_ros.research.rooms.generator import generate_room


def moved(box: Box3D, dx: float) -> Box3D:
    return Box3D((box.center[0] + dx, *box.center[1:]), box.size)


def edited(subkind="next_to"):
    """A room, an instruction of a kind about it, and a right new box."""
    room = generate_room(11)
    asked = layout_questions(room, room.objects, 11, 40)
    question, reference = next(q for q in asked if q[0].subkind == subkind)
    return room, question, reference


def test_the_reference_of_an_instruction_is_right() -> None:
    room, question, reference = edited()
    before = room.objects[question.targets[0]].box
    outcome = judge_edit(question, room, reference, [before], [reference])
    assert (outcome.right_object, outcome.valid, outcome.relation) == (True, True, True)
    assert right(outcome)


def test_wrong_edits_are_told_apart() -> None:
    room, question, reference = edited()
    before = room.objects[question.targets[0]].box
    other = next(o for o in room.objects if o.id != question.targets[0] and o.support == -1).box
    wrong = judge_edit(question, room, reference, [other], [reference])
    assert wrong.right_object is False and not right(wrong)
    outside = judge_edit(question, room, reference, [before], [moved(reference, 20.0)])
    assert not outside.valid and outside.relation is False
    nothing = judge_edit(question, room, reference, [before], [])
    assert nothing.box is None and not right(nothing)


def test_removals_and_turns() -> None:
    room, question, reference = edited("remove")
    box = room.objects[question.targets[0]].box
    assert reference == box and right(judge_edit(question, room, reference, [box], []))
    assert not right(judge_edit(question, room, reference, [box], [box]))
    room, question, reference = edited("turn")
    box = room.objects[question.targets[0]].box
    assert right(judge_edit(question, room, reference, [box], [reference]))
    if abs(question.degrees) == 90:
        assert not judge_edit(question, room, reference, [box], [box]).relation


def test_tasks_are_chosen_by_name() -> None:
    assert set(TASKS) <= set(chosen_tasks("all"))
    assert chosen_tasks("distance, layout") == ("distance", "layout")
    with pytest.raises(ConfigError, match="'cooking' is unknown; use grounding"):
        chosen_tasks("layout,cooking")


def test_edits_have_scores_of_their_own() -> None:
    room, question, reference = edited()
    before = room.objects[question.targets[0]].box
    good = judge_edit(question, room, reference, [before], [reference])
    bad = judge_edit(question, room, reference, [], [])
    verdicts = [Verdict("layout", "next_to", right=right(edit), edit=edit) for edit in (good, bad)]
    scores = summarise(verdicts)
    assert scores["layout"]["n"] == 2 and scores["layout"]["right"] == 0.5
    assert scores["layout/next_to"]["valid"] == scores["layout"]["relation"] == 0.5
    table = RoomsReport(verdicts=verdicts).edits_table()
    assert table is not None and table.row_count == 2
    assert RoomsReport().edits_table() is None


def test_the_uncertainty_of_distances_is_checked() -> None:
    verdicts = [
        judge_distance(2.0 + error, 2.0, uncertainty_m=0.1) for error in (0.05, 0.15, 0.5, -0.05)
    ]
    scores = summarise(verdicts)["distance"]
    assert (scores["within_1_sigma"], scores["within_2_sigma"]) == (0.5, 0.75)
