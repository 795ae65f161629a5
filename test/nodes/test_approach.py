"""The approach node computes a goal in front of the object, with yaw from the quaternions."""

from __future__ import annotations

import math

import pytest

from helpers import ros_bench as bench
from helpers.fake_engine import scene_object
from spatial3d_ros.action import Query
from spatial3d_ros.nodes import approach_node, conversions


@pytest.fixture
def node(monkeypatch):
    monkeypatch.setattr(approach_node, "navigate_to_pose", lambda: Query)  # any action type
    world = bench.Bench("-p", "distance_m:=0.8")
    yield approach_node.ApproachNode(context=world.context)
    world.close()


def test_goal_faces_the_object_at_the_distance(node):
    chair = conversions.grounded_object(scene_object(1, (2.0, 3.0, 0.5), "chair", 1), 0.9, "map")
    goal = node.approach_pose(chair, [chair])
    assert math.atan2(3.0 - goal.y, 2.0 - goal.x) == pytest.approx(goal.yaw)
    assert 0.8 <= math.hypot(2.0 - goal.x, 3.0 - goal.y) - 0.25 <= 1.0
    assert node.get_parameter("distance_m").value == 0.8


def test_box_of_a_message_is_the_box_it_was_made_of():
    chair = scene_object(1, (2.0, 3.0, 0.5), "chair", 1)
    box = conversions.box(conversions.grounded_object(chair, 0.9, "map"))
    assert box.yaw == pytest.approx(chair.box.yaw) and box.yaw != 0
    assert (box.center, box.size) == (chair.box.center, chair.box.size)
