"""What faults have taught: many askers at once, and odd values at the start."""

from __future__ import annotations

from rclpy.parameter import Parameter

from helpers import ros_bench as bench
from helpers.fake_engine import FakeEngine
from spatial3d_ros.nodes.grounding_node import GroundingNode
from spatial3d_ros.srv import Ground

ASKERS = 50


def test_fifty_who_ask_in_the_same_moment_all_hear_something():
    world = bench.Bench()
    person = world.add(bench.LoadClient(world.context))
    node = GroundingNode(lambda _: FakeEngine(), context=world.context)
    asked = [person.call_async(Ground, "ground", query="the chair") for _ in range(ASKERS)]
    world.add(node)  # it hears of all of them only now, at once
    replies = [one.wait(30.0) for one in asked]
    assert len(replies) == ASKERS and all(reply.message for reply in replies)
    world.close()


def test_an_extrinsic_that_is_no_list_is_named_and_the_node_stays_up():
    world = bench.Bench()
    given = [Parameter("base_T_camera", value=False), Parameter("autostart", value=False)]
    node = GroundingNode(lambda _: FakeEngine(), context=world.context, parameter_overrides=given)
    world.add(node)
    assert "base_T_camera" in node._table.problems
    world.close()
