"""Two robots: what one has seen is in the answers of the other, over DDS."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

from helpers import ros_bench as bench
from helpers.box_world import SECOND, thing
from helpers.engine_scene import proposals_in_a_row, wall_frame
from helpers.fake_engine import FakeEngine
from helpers.small_model import small_model
from spatial3d_ros.memory.records import Event
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.nodes.grounding_node import GroundingNode, build_engine
from spatial3d_ros.srv import Ask

PEER = "/robot2/grounding_node"


class OtherRobot(FakeEngine):
    """Sees a chair and a table, and tells what its memory notices."""

    def __init__(self):
        super().__init__()
        known = {1: thing(1, "chair", 1.0, 2.0)}
        self.memory = SimpleNamespace(known=known, frame_id="map")


@pytest.fixture
def other():
    robots = bench.Bench()
    engine = OtherRobot()
    node = GroundingNode(lambda _: engine, context=robots.context, namespace="robot2")
    robots.add(node)
    assert bench.eventually(lambda: node._sensors)
    yield node, engine
    robots.close()


def test_what_another_robot_saw_is_in_the_answers(tmp_path, other, make_system):
    network, prompt = small_model()
    save_model(tmp_path / "model", network, prompt.tokenizer, torch.float32)
    values = {
        "model": tmp_path / "model", "device": "cpu", "memory_folder": tmp_path / "memory",
        "memory_peers": f"[{PEER}]",
    }  # fmt: skip
    arguments = [part for key, value in values.items() for part in ("-p", f"{key}:={value}")]
    system = make_system(*arguments, build=build_engine).ready()
    engine = system.node._engine
    for number in (1, 2):
        engine.add_frame(wall_frame(number))
        engine.refresh(proposals_in_a_row(1))

    node, robot2 = other
    robot2.frames.append(SimpleNamespace(stamp_ns=100 * SECOND, frame_id="map"))
    node._publish_objects(robot2)
    assert bench.eventually(lambda: len(engine.memory.objects()) == 3)
    reply = system.client.call(Ask, "ask", question="where did you last see the chair?")
    assert reply.success and "(1.00, 2.00, 0.50)" in reply.answer.text, reply.message
    (chair,) = [o for o in engine.memory.objects() if o.source == PEER and o.label == "chair"]

    engine.add_frame(wall_frame(3))
    engine.refresh(proposals_in_a_row(1))
    assert chair.id in {known.id for known in engine.scene().objects}
    assert bench.eventually(lambda: node._memory_server._events.get_subscription_count() == 1)
    robot2.on_events([Event("missing", 200 * SECOND, 1, "chair", before=chair.box)])
    assert bench.eventually(lambda: engine.memory.known[chair.id].state == "missing")

    robot2.frames.append(SimpleNamespace(stamp_ns=300 * SECOND, frame_id="robot2/map"))
    node._publish_objects(robot2)
    assert bench.eventually(lambda: "robot2/map" in str(system.node._peers._problems))
    assert engine.memory.known[chair.id].state == "missing"


def test_peers_need_a_memory_folder(make_system):
    system = make_system("-p", f"memory_peers:=[{PEER}]")
    assert bench.eventually(lambda: "memory_folder" in system.node._failure)
