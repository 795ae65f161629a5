"""The reader of distances: which two things, named points, the robot, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatial3d_ros.errors import QueryError
from spatial3d_ros.research.language.questions import make_questions
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.tasks.distance import fixed_end, read_distance
from spatial3d_ros.tasks.distance_parser import (
    DistanceQuery,
    parse_distance,
    point_words,
    read_point,
)

ROOMS = range(100)


@pytest.mark.parametrize("split", ["train", "test"])
def test_generated_distances_are_parsed(split):
    count = 0
    for seed in ROOMS:
        rng = np.random.default_rng(seed)
        for q in make_questions(generate_room(seed).objects, rng, 12, split=split):
            query = parse_distance(q.text)
            if q.kind == "distance":
                assert query == DistanceQuery(*q.phrases, "center"), q.text
                count += 1
            else:
                assert query is None, q.text
    assert count > 100


@pytest.mark.parametrize(
    ("text", "a", "b"),
    [
        ("How far is the red mug from the sofa?", "the red mug", "the sofa"),
        ("HOW FAR IS CHAIR FROM TABLE", "chair", "table"),
        ("how far is the chair farthest from the door from the table",
         "the chair farthest from the door", "the table"),
        ("how far is the table from the chair that is farthest away from the door?",
         "the table", "the chair that is farthest away from the door"),
        ("Distance between the lamp between the sofa and the bed and the chair",
         "the lamp between the sofa and the bed", "the chair"),
        ("What\u2019s the distance between the sofa and the lamp between the bed and the door",
         "the sofa", "the lamp between the bed and the door"),
        ("distance between the mug on the table and next to the lamp and the sofa",
         "the mug on the table and next to the lamp", "the sofa"),
        ("how far is it from the closest chair to the door to the table?",
         "the closest chair to the door", "the table"),
        ("distance from the closest chair to the door", "the closest chair", "the door"),
        ("how far is it from the chair next to the desk to the bin close to the bed",
         "the chair next to the desk", "the bin close to the bed"),
        ("how far is the chair to the left of the desk from the door",
         "the chair to the left of the desk", "the door"),
        ("How far apart are the table and the chair?", "the table", "the chair"),
        ("how far are the table and the chair from each other?", "the table", "the chair"),
        ("How close is the mug next to the lamp to the laptop?", "the mug next to the lamp",
         "the laptop"),
        ("how close together are the sofa and the table", "the sofa", "the table"),
        ("how many meters is it from the chair closest to the door to the table",
         "the chair closest to the door", "the table"),
        ("How many metres separate the sofa from the table?", "the sofa", "the table"),
        ("How far is the biggest mug away from the smallest box?", "the biggest mug",
         "the smallest box"),
        ("how far from the sofa that is next to the door is the lamp?",
         "the sofa that is next to the door", "the lamp"),
        ("Could you please tell me how far the red chair is from the blue one?", "the red chair",
         "the blue one"),
        ("measure from the chair to the table, please", "the chair", "the table"),
        ("I want to know the distance between the mug and the lamp in metres.", "the mug",
         "the lamp"),
        ("the sofa and the table, how far apart are they?", "the sofa", "the table"),
        ("distance between the black and white chair and my bed", "the black and white chair",
         "my bed"),
    ],
)  # fmt: skip
def test_everyday_questions(text, a, b):
    assert parse_distance(text) == DistanceQuery(a, b, "center")


@pytest.mark.parametrize(
    "text",
    [
        "What's the gap between the bed and the desk?",
        "how much space is there between the bed and the desk",
        "How wide is the gap between the bed and the desk?",
        "measure the clearance between the bed and the desk",
        "what is the shortest distance from the bed to the desk",
    ],
)
def test_gaps_are_between_surfaces(text):
    assert parse_distance(text) == DistanceQuery("the bed", "the desk", "surface")


@pytest.mark.parametrize(
    "text",
    [
        "", "?", "where is the mug", "the chair farthest from the table", "how far is the table?",
        "how far is the chair next to the sofa?", "how big is the sofa", "measure the table",
        "find the chair between the sofa and the bed", "how many chairs are there",
        "how far is the chair between the sofa and the bed", "the mug closest to the lamp",
    ],
)  # fmt: skip
def test_other_questions_are_not_distances(text):
    assert parse_distance(text) is None


@pytest.mark.parametrize(
    ("text", "a", "b", "kind"),
    [
        ("how far am I from the door?", "i", "the door", "center"),
        ("How far is the robot from the red chair", "the robot", "the red chair", "center"),
        ("how far is the lamp from (1.0, 2.0, 0.5)?", "the lamp", "(1, 2, 0.5)", "center"),
        ("how far is the lamp from the point (1, -2, .5)", "the lamp", "(1, -2, 0.5)", "center"),
        ("what is the gap between bed and [0.25 0 1.5]", "bed", "(0.25, 0, 1.5)", "surface"),
        ("distance from the point 1.5, 2, 0 to the sofa", "(1.5, 2, 0)", "the sofa", "center"),
        ("how far is the bed from x=1, y=2, z=3?", "the bed", "(1, 2, 3)", "center"),
        ("how far am I from (0, 0, 0)", "i", "(0, 0, 0)", "center"),
    ],
)
def test_the_robot_and_named_points(text, a, b, kind):
    assert parse_distance(text) == DistanceQuery(a, b, kind)


@given(st.tuples(*[st.floats(-100, 100).map(lambda v: round(v, 3))] * 3))
def test_points_round_trip(point):
    assert read_point(point_words(point)) == pytest.approx(point)
    query = parse_distance(f"how far is the lamp from {point_words(point)}?")
    assert query is not None and read_point(query.b) == pytest.approx(point)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("how far is the lamp from the lamp?", "same object"),
        ("how far is the lamp from lamp", "same object"),
        ("how far am I from the robot", "same object"),
        ("how many feet is it from the lamp to the bed?", "in metres, not in 'feet'"),
        ("how far is the lamp from the bed in inches", "in metres, not in 'inches'"),
        ("the lamp", "does not name two objects"),
    ],
)
def test_invalid_questions_raise(text, says):
    with pytest.raises(QueryError, match=says):
        read_distance(text, "", "", "auto")


def test_ends_that_are_no_objects():
    robot = np.array([1.0, 2.0, 0.8])
    assert fixed_end("the red chair", robot) is None
    me = fixed_end("me", robot)
    assert (me.label, me.box.center, me.box.volume) == ("robot", (1.0, 2.0, 0.8), 0)
    assert fixed_end("(1, 2, 3)", None).box.center == (1, 2, 3)
    with pytest.raises(QueryError, match="no pose arrived"):
        fixed_end("me", None)
    with pytest.raises(QueryError, match="not a point in a room"):
        fixed_end("(1e9, 0, 0)", robot)
