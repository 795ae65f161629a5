"""The reader of layout instructions."""

from __future__ import annotations

import numpy as np
import pytest

from spatial3d_ros.errors import QueryError
from spatial3d_ros.research.language.layout_instructions import (
    LAYOUT_KINDS,
    LAYOUT_TEMPLATES,
    make_layout_questions,
)
from spatial3d_ros.research.language.questions import make_questions
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.tasks.layout_parser import Instruction, parse_layout, read_layout
from spatial3d_ros.tasks.unit_parser import take_angle, take_length

ROOMS = range(60)


def move(what, relation, *anchors, **more):
    return Instruction("move", what, relation, anchors, **more)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("move the chair 0.5 m towards the window",
         move("the chair", "towards", "the window", metres=0.5)),
        ("Please move the red chair next to the desk half a metre to the left.",
         move("the red chair next to the desk", "to_left", metres=0.5)),
        ("push the chair closer to the table by 0.3 m",
         move("the chair", "towards", "the table", metres=0.3)),
        ("move the chair closest to the door 1 m away from the bed",
         move("the chair closest to the door", "away", "the bed", metres=1.0)),
        ("move the chair 0,5 m towards me", move("the chair", "towards", "me", metres=0.5)),
        ("move the picture 20 cm up", move("the picture", "up", metres=0.2)),
        ("move the chair 1 m along -y", move("the chair", "axis", metres=1.0, axis=(0, -1, 0))),
        ("seen from the door, move the lamp 50 cm to the right",
         move("the lamp", "to_right", metres=0.5, view="the door")),
        ("move the lamp next to the sofa", move("the lamp", "next_to", "the sofa")),
        ("move the lamp on the desk next to the sofa",
         move("the lamp on the desk", "next_to", "the sofa")),
        ("move the lamp on the desk to the sofa next to the bed",
         move("the lamp on the desk", "next_to", "the sofa next to the bed")),
        ("take the lamp next to the bed and put it on the desk",
         move("the lamp next to the bed", "on", "the desk")),
        ("move the lamp onto the table", move("the lamp", "on", "the table")),
        ("put the lamp 30 cm to the left of the bed, as seen from the door",
         move("the lamp", "left", "the bed", view="the door", metres=0.3)),
        ("move the mug from the desk to the shelf",
         move("the mug on the desk", "next_to", "the shelf")),
        ("place the vase between the lamp and the tv",
         move("the vase", "between", "the lamp", "the tv")),
        ("put a red lamp on the table next to the sofa",
         Instruction("place", "red lamp", "on", ("the table next to the sofa",))),
        ("put a piano of 150 x 60 x 120 cm next to the sofa",
         Instruction("place", "piano", "next_to", ("the sofa",), size=(1.5, 0.6, 1.2))),
        ("swap the lamp with the plant", Instruction("swap", "the lamp", anchors=("the plant",))),
        ("swap the positions of the chair between the bed and the sofa and the plant",
         Instruction("swap", "the chair between the bed and the sofa", anchors=("the plant",))),
        ("take the box away", Instruction("remove", "the box")),
        ("turn the sofa by 90 degrees", Instruction("turn", "the sofa", degrees=90.0)),
        ("rotate the chair 45 degrees clockwise", Instruction("turn", "the chair", degrees=-45.0)),
        ("turn the table around", Instruction("turn", "the table", degrees=180.0)),
        ("slide plant next to door", move("plant", "next_to", "door")),
        ("push red chair half metre to left", move("red chair", "to_left", metres=0.5)),
        ("move bed one and half metres towards window",
         move("bed", "towards", "window", metres=1.5)),
        ("put box to right of bed", move("box", "right", "bed")),
        ("place a vase on the bed", Instruction("place", "vase", "on", ("the bed",))),
        ("add lamp next to sofa", Instruction("place", "lamp", "next_to", ("sofa",))),
        ("add the lamp next to the sofa", move("the lamp", "next_to", "the sofa")),
        ("add new lamp next to sofa", Instruction("place", "lamp", "next_to", ("sofa",))),
    ],
)  # fmt: skip
def test_everyday_instructions(text, wanted):
    assert parse_layout(text) == wanted


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("move the chair 3 feet towards the door", "'feet'; give it in metres"),
        ("move the chair 200 mm towards the door", "'mm'; give it in metres"),
        ("move the chair two steps to the left", "'steps'; give it in metres"),
        ("move the chair 0.5 towards the door", "'0.5' has no unit"),
        ("move the chair -0.5 m towards the door", "negative"),
        ("move the chair 1 m or 2 m towards the door", "two lengths"),
        ("move the chair towards the window", "has no length"),
        ("move the chair to the left", "has no length"),
        ("move the chair", "has no destination"),
        ("move the chair 0.5 m forward", "name an object"),
        ("put the ball in the box", "relation 'in' is not supported"),
        ("put the lamp 0.5 m on the table", "leave it out"),
        ("swap the lamp", "two objects to swap"),
        ("turn the sofa", "has no angle"),
        ("move it to the door", "the object is missing"),
        ("remove the", "the object is missing"),
    ],
)
def test_missing_parts_and_other_units_are_named(text, says):
    with pytest.raises(QueryError, match=says):
        parse_layout(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "the red chair", "move to the red chair", "take me to the sofa", "bring me the mug",
        "turn on the lamp", "turn left", "go to the table", "where is the place mat?",
        "place mat on the table", "stand mixer on the table", "how far is the lamp from the bed",
        "slide door next to the bed", "push button on wall", "take keys from table", "place mats",
    ],
)  # fmt: skip
def test_other_requests_are_no_layout_instructions(text):
    assert parse_layout(text) is None
    with pytest.raises(QueryError, match="is no layout instruction"):
        read_layout(text)


@pytest.mark.parametrize("split", ["train", "test"])
def test_other_questions_are_no_layout_instructions(split):
    for seed in ROOMS:
        rng = np.random.default_rng(seed)
        for q in make_questions(generate_room(seed).objects, rng, 12, split=split):
            assert parse_layout(q.text) is None, q.text


@pytest.mark.parametrize("split", ["train", "test"])
def test_generated_instructions_are_parsed(split):
    seen = set()
    for seed in ROOMS:
        rng = np.random.default_rng(seed)
        for q in make_layout_questions(generate_room(seed).objects, rng, 12, split=split):
            read = parse_layout(q.text)
            assert read is not None, q.text
            assert (read.relation or read.action) == q.relation, q.text
            assert (read.action == "place") == q.subkind.startswith("put"), q.text
            assert read.metres == (q.metres and pytest.approx(q.metres)), q.text
            assert read.degrees == q.degrees, q.text
            assert (len(read.anchors), bool(read.view)) == (len(q.anchors), bool(q.view)), q.text
            seen.add(q.subkind)
    assert seen == set(LAYOUT_KINDS)


def test_splits_share_no_frame():
    for kind, frames in LAYOUT_TEMPLATES["train"].items():
        assert not set(frames) & set(LAYOUT_TEMPLATES["test"][kind])
    room = generate_room(3).objects
    rows = [make_layout_questions(room, np.random.default_rng(3), 9) for _ in range(2)]
    assert rows[0] == rows[1] and len({q.text for q in rows[0]}) == 9
    assert make_layout_questions((), np.random.default_rng(0), 5) == []


@pytest.mark.parametrize(
    ("words", "metres"),
    [
        ("0.5 m", 0.5), ("50cm", 0.5), ("fifty centimetres", 0.5), ("half a meter", 0.5),
        ("one and a half metres", 1.5), ("a metre and a half", 1.5), ("two point five m", 2.5),
        ("a quarter of a metre", 0.25), ("twenty-five cm", 0.25), (".5 m", 0.5), ("1.5m", 1.5),
    ],
)  # fmt: skip
def test_lengths_in_words(words, metres):
    assert take_length(f"move {words} on") == (pytest.approx(metres), "move on")


@pytest.mark.parametrize("text", ["put by", "PUT:BY", "move by 1 m"])
def test_missing_objects_are_refused(text):
    with pytest.raises(QueryError):
        parse_layout(text)


def test_angles_in_words():
    for words, degrees in (("90 degrees", 90), ("ninety degrees", 90), ("3.14159265 rad", 180)):
        assert take_angle(f"turn {words}") == (pytest.approx(degrees), "turn")
    assert take_length("a foot stool") == (None, "a foot stool")
