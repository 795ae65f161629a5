"""Regressions: many simultaneous requests, and invalid parameter types at start."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")


from rclpy.parameter import Parameter

from helpers import ros_bench as bench
from helpers.fake_engine import FakeEngine
from spatial3d_ros.nodes.grounding_node import GroundingNode
from spatial3d_ros.srv import Ground

CLIENTS = 50


def test_fifty_simultaneous_requests_all_get_a_reply():
    world = bench.Bench()
    client = world.add(bench.LoadClient(world.context))
    node = GroundingNode(lambda _: FakeEngine(), context=world.context)
    pending = [client.call_async(Ground, "ground", query="the chair") for _ in range(CLIENTS)]
    world.add(node)  # it receives all requests at once, now
    replies = [request.wait(30.0) for request in pending]
    assert len(replies) == CLIENTS and all(reply.message for reply in replies)
    world.close()


def test_pose_parameter_that_is_no_list_is_a_problem_and_the_node_starts():
    world = bench.Bench()
    overrides = [Parameter("base_T_camera", value=False), Parameter("autostart", value=False)]
    node = GroundingNode(
        lambda _: FakeEngine(), context=world.context, parameter_overrides=overrides
    )
    world.add(node)
    assert "base_T_camera" in node._table.problems
    world.close()
