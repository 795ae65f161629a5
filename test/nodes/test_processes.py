"""Nodes in separate processes over DDS, ended by signals as launch sends them."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

from ament_index_python.packages import get_package_prefix
from rclpy.qos import DurabilityPolicy, QoSProfile
from visualization_msgs.msg import MarkerArray

from helpers import ros_bench as bench
from spatial3d_ros.srv import Ground

TESTS = Path(__file__).parents[1]
VISUALIZER = "from spatial3d_ros.nodes.visualizer_node import main; main()"
LOADING = """
import sys, time
from spatial3d_ros.nodes.grounding_node import main

def load(_):
    print("loading", file=sys.stderr, flush=True)
    time.sleep(60)

main(build=load)
"""


@pytest.fixture
def nodes():
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ROS_DOMAIN_ID": str(bench.DOMAIN), "PYTHONPATH": path}
    commands = [["-m", "helpers.fake_grounding_node"], ["-c", VISUALIZER]]
    processes = [
        subprocess.Popen(
            [sys.executable, *command], env=environment, text=True, stderr=subprocess.PIPE
        )
        for command in commands
    ]
    yield processes
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_grounding_and_visualizer_nodes_answer_a_client(nodes):
    world = bench.Bench()
    client = world.add(bench.LoadClient(world.context))
    marker_arrays = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    client.create_subscription(
        MarkerArray, "visualizer_node/markers", marker_arrays.append, latched
    )
    assert bench.eventually(lambda: client.listeners() == 1, 90.0)
    stamps = itertools.count(bench.EPOCH, bench.SECOND)

    def frame_question_and_markers():
        """Repeated, because messages during DDS discovery are lost."""
        stamp = next(stamps)
        client.frame(stamp, x=float(stamp - bench.EPOCH) / bench.SECOND)
        reply = client.call(Ground, "ground", query="the chair")
        texts = [marker.text for marker in marker_arrays[-1].markers] if marker_arrays else []
        return reply.success and "red chair 0.80" in texts

    assert bench.eventually(frame_question_and_markers, 60.0)
    world.close()
    for process, stop in zip(nodes, (signal.SIGINT, signal.SIGTERM), strict=True):
        process.send_signal(stop)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_node_that_is_loading_its_network(stop):
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ROS_DOMAIN_ID": str(bench.DOMAIN), "PYTHONPATH": path}
    process = subprocess.Popen(
        [sys.executable, "-c", LOADING], env=environment, text=True, stderr=subprocess.PIPE
    )
    while "loading" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(stop)
    _, errors = process.communicate(timeout=30)  # loading takes 60
    assert process.returncode == 0, errors


def test_web_node_of_the_launch_file_serves_its_page(tmp_path):
    pytest.importorskip("uvicorn", reason="the extra `web` is not installed")
    program = Path(get_package_prefix("spatial3d_ros")) / "lib" / "spatial3d_ros" / "web_node"
    mine, launched = tmp_path / "mine.yaml", tmp_path / "launch_params"
    mine.write_text("/**: {ros__parameters: {port: 0, max_views: 8}}")
    launched.write_text("/**: {ros__parameters: {use_sim_time: true}}")
    process = subprocess.Popen(
        [
            program, "--ros-args", "--log-level", "info", "-r", "__node:=web_node",
            "-r", "__ns:=/robot1", "--params-file", mine, "--params-file", launched,
        ],
        env={**os.environ, "ROS_DOMAIN_ID": str(bench.DOMAIN)}, text=True, stderr=subprocess.PIPE,
    )  # fmt: skip
    found = None
    while found is None and process.poll() is None:
        found = re.search(r"open (http://localhost:\d+/)", process.stderr.readline())
    assert found, process.communicate()
    with urlopen(found[1], timeout=30.0) as page:
        assert "<title>" in page.read().decode()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in errors, errors
