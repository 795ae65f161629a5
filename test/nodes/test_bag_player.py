"""The bag player over real DDS: its rate, and current or recorded stamps.

Images go out with sensor-data QoS, so on a busy machine some may be missing: that is allowed here.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not in this Python")

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from spatial3d_ros.bags.writer import write_bag
from spatial3d_ros.demo.processes import DEMO, NodeGroup
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.scene.frame import Frame

START_NS = 7 * 10**9


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    camera = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
    frames = [
        Frame(
            START_NS + k * 10**8,
            np.full((48, 64, 3), k, np.uint8),
            np.full((48, 64), 1.0 + k, np.float32),
            camera,
            np.eye(4),
        )
        for k in range(8)
    ]
    write_bag(tmp_path / "b.mcap", frames)
    return tmp_path / "b.mcap"


def play(bag: Path, *options: str) -> tuple[list[Image], list[CameraInfo], dict[str, int]]:
    """Images and camera infos received from a player process, and its summary of those sent."""
    images: list[Image] = []
    infos: list[CameraInfo] = []
    summary = bag.parent / "sent.json"
    with NodeGroup(bag.parent / "logs") as nodes:
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=int(nodes.environment["ROS_DOMAIN_ID"]))
        node = rclpy.create_node("listener", context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        sensor = qos_profile_sensor_data
        node.create_subscription(Image, "/camera/rgb/image", images.append, sensor)
        node.create_subscription(CameraInfo, "/camera/rgb/camera_info", infos.append, sensor)
        # Depth and poses have no subscriber, so the wait for subscribers ends by its time limit.
        player = nodes.start(
            "bag_player", str(bag), "--wait", "3", "--summary", str(summary), *options, package=DEMO
        )
        end = time.monotonic() + 120
        while player.poll() is None and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.05)
        nodes.check()
        node.destroy_node()
        rclpy.shutdown(context=context)
    return images, infos, json.loads(summary.read_text())


def nanoseconds(message: Image | CameraInfo) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_current_stamps_at_double_rate(bag: Path) -> None:
    before = time.time_ns()
    images, infos, sent = play(bag, "--rate", "2")
    assert sent == {
        "/camera/pose": 15,
        "/camera/rgb/camera_info": 8,
        "/camera/rgb/image": 8,
        "/camera/depth/image": 8,
    }
    numbers = np.array([image.data[0] for image in images])
    assert len(numbers) >= 2
    assert (np.diff(numbers.astype(int)) > 0).all()
    stamps = np.array([nanoseconds(image) for image in images])
    assert stamps[0] > before
    start = stamps - 5 * 10**7 * numbers  # start of the recording, from each image
    assert np.ptp(start) < 1000
    for info in infos:
        steps = (nanoseconds(info) - start[0]) / 5e7
        assert steps == pytest.approx(round(steps), abs=1e-4)
    assert (images[0].encoding, images[0].header.frame_id) == ("rgb8", "camera_optical_frame")


def test_recorded_stamps_and_loops(bag: Path) -> None:
    images, _, sent = play(bag, "--keep-stamps", "--loop", "--seconds", "2.4", "--rate", "2")
    assert sent["/camera/rgb/image"] > 8
    stamps = [nanoseconds(image) for image in images]
    assert set(stamps) <= {START_NS + k * 10**8 for k in range(8)}
    assert (np.diff(stamps) < 0).any()  # the bag looped


def test_missing_bag_is_an_error(tmp_path: Path) -> None:
    with NodeGroup(tmp_path / "logs") as nodes:
        player = nodes.start("bag_player", str(tmp_path / "no.mcap"), package=DEMO)
        assert player.wait(90) == 1
        assert "no such bag" in nodes.tail("bag_player")
