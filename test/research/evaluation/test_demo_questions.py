"""What the demo asks, how its replies are judged, and how edits are drawn."""

from types import SimpleNamespace

import pytest

from spatial3d_ros.demo.demo import _requests
from spatial3d_ros.demo.figures import _answers
from spatial3d_ros.demo.report import Row
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.evaluation.demo_questions import demo_questions, missed
from spatial3d_ros.research.evaluation.layout import layout_questions
from spatial3d_ros.research.evaluation.metrics.judging import EditOutcome
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.tasks.reply import Reply

ROOM = generate_room(12)
RECORDED = SimpleNamespace(room=ROOM, seen=lambda: list(ROOM.objects))
ALL = ("ground", "distance", "ask", "caption")
BOX, THERE = Box3D((0, 0, 0.5), (1, 1, 1)), Box3D((2, 0, 0.5), (1, 1, 1))


@pytest.fixture(scope="module")
def asked():
    return demo_questions(RECORDED, 12, ALL)


def test_every_task_is_asked_as_far_as_the_weights_were_trained(asked):
    kinds = [question.kind for question in asked]
    assert kinds.count("layout") == 4 and kinds.count("distance") == 1 and "ground" in kinds
    words = [q.text.lower() for q in asked if q.kind == "ask"]
    kinds_asked = [q.row(Reply("x"), "").kind for q in asked if q.kind == "ask"]
    assert kinds_asked == ["color", "count", "things", "exists", "caption"]
    assert not any("{" in text for text in words)
    plain = demo_questions(RECORDED, 12, ("ground",))
    assert [q.text for q in plain] == [q.text for q in asked[:-1]], "captions alone are learnt"
    assert demo_questions(RECORDED, 12, ALL)[3].text == asked[3].text


def test_an_answer_in_words_is_judged_by_its_value(asked):
    color = next(q for q in asked if q.row(Reply("x"), "").kind == "color")
    truth = color.row(Reply("x"), "").truth.split(" or ")[0]
    assert color.row(Reply(f"the chair is {truth}", value=truth), "").right
    assert not color.row(Reply(f"the chair is {truth}", value="mauve"), "").right


def test_services_and_the_action_take_turns(asked):
    data = _requests(asked, [])
    assert [one["text"] for one in data] == [q.text for q in asked]
    assert {one["kind"] for one in data if one["via"] == "action"} >= {"ground", "layout", "ask"}
    assert {one["kind"] for one in data if one["via"] == "service"} >= {"ground", "layout", "ask"}
    assert _requests([], ["where?"]) == [{"text": "where?", "kind": "unknown", "via": "action"}]


def test_edits_are_judged_in_the_true_room(asked):
    question = next(q for q in asked if q.kind == "layout")
    made = layout_questions(ROOM, ROOM.objects, 12, 4)
    edit, outcome = next(pair for pair in made if pair[0].text == question.text)
    before = tuple(ROOM.objects[i].box for i in edit.targets)
    if edit.relation != "swap":
        row = question.row(Reply("done", before, after=(outcome,)), "action")
        assert (row.right, row.missed, row.via) == (True, "", "action")
        assert row.after_boxes == (outcome,) and row.json()["after"][0]["center"]
    refused = question.row(Reply("no room", before, possible=False), "service")
    assert refused.right is False and refused.score == "no edit, not as asked"
    failed = question.row(Reply("busy", success=False), "service")
    assert failed.failed and failed.right is False and failed.score == ""


def test_what_is_wrong_with_an_edit_is_told():
    right = EditOutcome(BOX, BOX, valid=True, relation=True, right_object=True)
    assert missed(right) == ""
    wrong = EditOutcome(BOX, THERE, valid=False, relation=False, right_object=False)
    assert missed(wrong) == "another object, no valid pose, not as asked"


def test_words_are_judged_by_their_truth(asked):
    for question in (q for q in asked if q.kind == "ask"):
        truth = question.row(Reply("x"), "").truth.split(" or ")[0]
        assert question.row(Reply(truth), "").right, question.text
        wrong = question.row(Reply("a zebra"), "")
        assert wrong.right is False and wrong.score.startswith("wrong ")
        assert question.row(Reply(truth, success=False), "").right is False
    caption = [q for q in asked if q.kind == "ask"][-1]
    truth = caption.row(Reply("x"), "").truth
    also = f"{truth}; the words could also mean the red chair at (1.00, 2.00, 0.50) m"
    assert caption.row(Reply(also), "").right


def test_edits_are_drawn_before_and_after():
    row = Row("q", "layout", "moved", boxes=(BOX, BOX), after_boxes=(THERE, THERE))
    drawn = _answers(row, "green")
    assert [item.label for item in drawn] == ["before", "", "after", ""]
    assert [item.translucent for item in drawn] == [False, False, True, True]
    assert [item.emphasized for item in drawn] == [True, False, True, False]
    ends = _answers(Row("q", "distance", "2 m", metres=2.0, boxes=(BOX, THERE)), "green")
    assert [item.label for item in ends] == ["from", "to"]
    several = _answers(Row("q", "count", "2", boxes=(BOX, THERE)), "green")
    assert [(item.label, item.color) for item in several] == [("answer", "green")] * 2
