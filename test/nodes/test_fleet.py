"""Two robots, one process: a node in the namespace of each, one network, two maps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

from rclpy.node import Node

from helpers import ros_bench as bench
from helpers.engine_scene import proposals_in_a_row, wall_frame
from helpers.small_model import small_model
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.nodes.fleet_node import FleetBuilder
from spatial3d_ros.nodes.grounding_node import GroundingNode
from spatial3d_ros.srv import GetScene, Ground


def test_two_namespaces_share_one_network_and_keep_their_maps(tmp_path: Path) -> None:
    model, prompt = small_model()
    save_model(tmp_path, model, prompt.tokenizer, torch.float32)
    robots = bench.Bench("-p", f"model:={tmp_path}", "-p", "device:=cpu")
    build = FleetBuilder()
    names = ("robot1", "robot2")
    nodes = [GroundingNode(build, context=robots.context, namespace=name) for name in names]
    asking = Node("asking", context=robots.context)
    for node in (*nodes, asking):
        robots.add(node)
    assert bench.eventually(lambda: all(node._sensors for node in nodes), 60.0)  # loads weights
    engines = [node._engine for node in nodes]
    assert engines[0].network is engines[1].network

    def ask(kind: type, robot: str, name: str, **fields: object) -> object:
        client = asking.create_client(kind, f"/{robot}/grounding_node/{name}")
        assert client.wait_for_service(30.0)
        future = client.call_async(kind.Request(**fields))
        assert bench.eventually(future.done, 30.0)
        return future.result()

    for count, engine in enumerate(engines, 1):
        engine.add_frame(wall_frame(1))
        engine.refresh(proposals_in_a_row(count))
    for count, robot in enumerate(names, 1):
        assert len(ask(GetScene, robot, "get_scene").scene.objects) == count
        found = ask(Ground, robot, "ground", query="the largest object")
        assert found.success, found.message
    robots.close()
