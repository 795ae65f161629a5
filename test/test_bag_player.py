"""The bag player over real DDS: every message once, in the rhythm asked for, stamped anew."""

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

from spatial3d_ros.data.bag_writer import write_bag
from spatial3d_ros.evaluation.processes import NodeGroup
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
    """Images and calibrations received from a player process, and what it says it sent."""
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
        # Nobody listens to depth and poses, so waiting for subscribers ends by its time limit.
        player = nodes.start(
            "bag_player", str(bag), "--wait", "3", "--summary", str(summary), *options
        )
        end = time.monotonic() + 40
        while player.poll() is None and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.05)
        nodes.check()
        node.destroy_node()
        rclpy.shutdown(context=context)
    return images, infos, json.loads(summary.read_text())


def nanoseconds(message: Image | CameraInfo) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_stamped_anew_at_double_speed(bag: Path) -> None:
    before = time.time_ns()
    images, infos, sent = play(bag, "--rate", "2")
    assert sent == {
        "/camera/pose": 15,
        "/camera/rgb/camera_info": 8,
        "/camera/rgb/image": 8,
        "/camera/depth/image": 8,
    }
    assert [image.data[0] for image in images] == list(range(8))
    stamps = np.array([nanoseconds(image) for image in images])
    assert stamps[0] > before
    np.testing.assert_allclose(np.diff(stamps), 5 * 10**7, atol=1000)
    assert [nanoseconds(info) for info in infos] == stamps.tolist()
    assert (images[0].encoding, images[0].header.frame_id) == ("rgb8", "camera_optical_frame")


def test_recorded_stamps_and_loops(bag: Path) -> None:
    images, _, sent = play(bag, "--keep-stamps", "--loop", "--seconds", "1.2", "--rate", "2")
    assert sent["/camera/rgb/image"] == len(images) > 8
    recorded = [START_NS + k * 10**8 for k in range(8)]
    assert [nanoseconds(image) for image in images[:16]] == (recorded * 2)[: len(images)]


def test_a_bag_that_is_not_there(tmp_path: Path) -> None:
    with NodeGroup(tmp_path / "logs") as nodes:
        player = nodes.start("bag_player", str(tmp_path / "no.mcap"))
        assert player.wait(20) == 1
        assert "no such bag" in nodes.tail("bag_player")
