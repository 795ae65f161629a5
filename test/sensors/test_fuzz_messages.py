"""Whatever the engine finds becomes a message: every conversion, checked field by field."""

from __future__ import annotations

import math
import os

os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")
pytest.importorskip(
    "spatial3d_ros.msg", reason="the interfaces are not built: run colcon build, source install"
)

from rclpy.serialization import deserialize_message, serialize_message

from helpers.fuzzing import survives
from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.nodes import conversions, diagnostics
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.frame_transform import OutputTransform
from spatial3d_ros.tasks.results import (
    Answer,
    Distance,
    Grounding,
    LayoutEdit,
    ScoredObject,
)

pytestmark = pytest.mark.fuzz
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
METRES = st.floats(-1e6, 1e6)
SCORES = st.floats(0, 1)
COUNTS = st.integers(0, 2**31 - 1)
VECTORS = st.tuples(METRES, METRES, METRES)
SIZES = st.tuples(*[st.floats(0, 1e6)] * 3)
STAMPS = st.integers(0, 2**31 * 10**9 - 1)
MAYBE = st.none() | METRES
OBJECTS = st.builds(
    SceneObject, id=COUNTS, box=st.builds(Box3D, VECTORS, SIZES, st.floats(-10, 10)),
    rgb=st.tuples(*[st.floats(0, 255)] * 3), score=SCORES, views=COUNTS, stamp_ns=STAMPS,
    points=st.just(np.zeros((1, 3), np.float32)), label=TEXT, color=TEXT,
)  # fmt: skip
SCORED = st.builds(ScoredObject, OBJECTS, SCORES)
LISTS = st.lists(SCORED, max_size=3).map(tuple)
TAIL = {
    "views_used": COUNTS, "scene_version": COUNTS, "stamp_ns": STAMPS, "stages_ms": st.just({}),
}  # fmt: skip
GROUNDINGS = st.builds(
    Grounding, query=TEXT, objects=LISTS, no_target=st.booleans(), text=TEXT,
    num_targets=st.integers(0, 255), num_ties=st.integers(0, 255), **TAIL,
)  # fmt: skip
DISTANCES = st.builds(
    Distance, query=TEXT, metres=METRES, kind=st.sampled_from(["center", "surface"]), a=SCORED,
    b=SCORED, point_a=VECTORS, point_b=VECTORS, text=TEXT, uncertainty_m=METRES,
    route=st.just("geometry"), network_m=MAYBE, disagreement_m=MAYBE, alternatives=LISTS, **TAIL,
)  # fmt: skip
ANSWERS = st.builds(Answer, query=TEXT, text=TEXT, objects=LISTS, **TAIL)
EDITS = st.builds(
    LayoutEdit, query=TEXT, action=st.sampled_from(["move", "place", "swap", "remove", "turn"]),
    possible=st.booleans(), reason=TEXT, satisfied=st.booleans(),
    before=st.lists(OBJECTS, max_size=2).map(tuple), after=st.lists(OBJECTS, max_size=2).map(tuple),
    text=TEXT, applied=st.booleans(), **TAIL,
)  # fmt: skip
CONVERTERS = {
    Grounding: conversions.grounding,
    Distance: conversions.distance,
    Answer: conversions.answer,
    LayoutEdit: conversions.layout_edit,
}


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


@given(st.one_of(GROUNDINGS, DISTANCES, ANSWERS, EDITS), TEXT, st.floats(0, 1e6))
def test_results_survive_the_wire(result, frame_id, latency_ms):
    message = CONVERTERS[type(result)](result, frame_id, latency_ms)
    back = over_the_wire(message)
    assert (back.query, back.text) == (message.query, message.text)
    assert back.header.frame_id == frame_id
    stamp = back.header.stamp
    assert stamp.sec * 10**9 + stamp.nanosec == result.stamp_ns
    if isinstance(result, Distance):
        assert back.distance == pytest.approx(result.metres, rel=1e-6)
        assert math.isnan(back.network_distance) == (result.network_m is None)


@given(OBJECTS, st.tuples(METRES, METRES, METRES), st.floats(-4, 4), TEXT)
def test_objects_are_placed_in_another_frame(thing, move, turn, frame_id):
    target_T_world = np.eye(4)
    target_T_world[:2, :2] = [
        [math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]
    ]  # fmt: skip
    target_T_world[:3, 3] = move
    placed = survives(
        lambda: OutputTransform(frame_id, target_T_world).objects([thing])[0], FrameError
    )
    if placed is not None:
        message = over_the_wire(conversions.grounded_object(placed, 0.5, frame_id))
        assert message.id == thing.id
        assert message.size.x == pytest.approx(thing.box.size[0])


@given(st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.floats(), st.none()), max_size=4))
def test_any_facts_can_be_told(facts):
    status = diagnostics.status("node", diagnostics.OK, "", {"part": facts})
    assert len(over_the_wire(status).values) == len(facts)
