"""Why there are no frames: every cause has its warning, and there is none when all is well."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from helpers import messages

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from helpers.simulated_robot import COLOR, DEPTH, EPOCH, MS, Robot
from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.watchdog import Watchdog, Watched

KINDS = {"rgb/image": Image, "depth/image": Image, "rgb/camera_info": CameraInfo}
IMAGE = "sensor_msgs/msg/Image"


class Graph:
    """The ROS graph of a node: publishers by topic, as (type, QoS). The node publishes `own`."""

    def __init__(self):
        self.publishers, self.own, self.logged = {}, set(), []

    def get_name(self):
        return "grounding_node"

    def get_namespace(self):
        return "/"

    def get_logger(self):
        return SimpleNamespace(warning=self.logged.append)

    def get_publishers_info_by_topic(self, topic):
        return [
            SimpleNamespace(
                node_name="grounding_node" if topic in self.own else "camera",
                node_namespace="/",
                topic_type=kind,
                qos_profile=profile,
            )
            for kind, profile in self.publishers.get(topic, ())
        ]

    def get_topic_names_and_types(self):
        return [(name, [kind for kind, _ in all_]) for name, all_ in self.publishers.items()]


class SystemUnderTest:
    """A watchdog over silent topics and a real pipeline."""

    def __init__(self, profile=None):
        self.graph, self.robot = Graph(), Robot()
        self.watched = {
            name: Watched(
                SimpleNamespace(
                    topic_name=f"/{name}", qos_profile=profile or qos.sensor(5), msg_type=kind
                ),
                rename=f"remap {name}",
            )
            for name, kind in KINDS.items()
        }
        self.dog = Watchdog(self.graph, self.watched, self.robot.pipeline)

    def silence_warnings(self):
        return self.dog.warnings(-1.0)  # every topic is silent for longer than that

    def general(self):
        return self.dog.warnings(1e9)


def test_a_topic_without_publisher_lists_others_of_its_type():
    world = SystemUnderTest()
    assert "no publisher" in world.silence_warnings()[0]
    assert f"a topic of type {IMAGE} (there is none)" in world.silence_warnings()[0]
    world.graph.publishers["/camera/color/image_raw"] = [(IMAGE, QoSProfile(depth=1))]
    world.graph.publishers["/scan"] = [("sensor_msgs/msg/LaserScan", QoSProfile(depth=1))]
    world.graph.publishers["/grounding_node/annotated"] = [(IMAGE, QoSProfile(depth=1))]
    world.graph.own.add("/grounding_node/annotated")
    text = world.silence_warnings()[0]
    assert text.endswith("remap rgb/image to one of /camera/color/image_raw.")
    assert world.dog.silent() == ["/rgb/image", "/depth/image", "/rgb/camera_info"]


def test_incompatible_quality_of_service_is_named():
    strict = QoSProfile(
        depth=5,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )
    world = SystemUnderTest(strict)
    world.graph.publishers["/rgb/image"] = [(IMAGE, qos.sensor(1))]
    text = world.silence_warnings()[0]
    assert "(best effort, volatile), this node asks for reliable, transient local" in text
    assert "set qos_overrides./rgb/image.subscription.reliability" in text
    world.graph.publishers["/rgb/image"] = [(IMAGE, QoSProfile(depth=1))]
    assert "subscription.durability" in world.silence_warnings()[0]
    world.graph.publishers["/rgb/image"].append((IMAGE, strict))
    assert "These match" in world.silence_warnings()[0]


def test_another_type_on_the_topic_is_named():
    world = SystemUnderTest()
    world.graph.publishers["/rgb/image"] = [("sensor_msgs/msg/CompressedImage", qos.sensor(1))]
    expected = f"CompressedImage but this node subscribes to {IMAGE}: set color_transport"
    assert expected in world.silence_warnings()[0]


def test_there_is_no_warning_when_all_is_well():
    world = SystemUnderTest()
    world.robot.drive(0, 300)
    assert world.general() == []
    assert world.graph.logged == []


def test_stamps_that_never_match_are_reported_with_their_offset():
    world = SystemUnderTest()
    for at in range(0, 300, 33):
        world.robot.pose(at)
        world.robot.images(at, depth=messages.image(np.ones((6, 8), np.uint16), "16UC1", at=10**9))
    assert "no stamp matches /rgb/image; the newest differ by -" in world.general()[0]


def test_two_clocks_are_reported_with_their_offset():
    world = SystemUnderTest()
    world.robot.pose(-8000)
    world.robot.drive(-7000, -6900)
    world.robot.images(0)
    assert "/pose: the newest pose is 6.9 s older than the newest image" in world.general()[0]
    assert world.graph.logged == world.general()  # and it is logged once


def test_the_first_view_is_logged_in_one_line():
    world = SystemUnderTest()
    world.robot.drive(0, 300)
    line = world.dog.first_view(world.robot.frames[0])
    assert line == (
        "first view: 8x6, median depth 1.50 m, 100% valid, aligned yes, pose 60 Hz in frame 'map'"
    )


@pytest.mark.parametrize("late", ["color", "depth"])
def test_images_that_arrive_late_name_the_queue_and_not_the_slop(late):
    world = SystemUnderTest()
    robot = world.robot
    robot.pose(0)
    images = {
        "color": lambda at: robot.add_color(messages.image(COLOR, "rgb8", at=EPOCH + at * MS)),
        "depth": lambda at: robot.add_depth(messages.image(DEPTH, "16UC1", at=EPOCH + at * MS)),
    }
    early = "depth" if late == "color" else "color"
    for at in range(0, 4000, 33):
        images[early](at)
        if at >= 1600:
            images[late](at - 1584)
    (warning,) = [text for text in world.general() if "sync_queue_size" in text]
    assert warning.startswith("/rgb/image" if late == "color" else "/depth/image")
    assert "sync_slop_s" not in warning
    needed = int(re.search(r"sync_queue_size to (\d+)", warning)[1])
    assert 48 <= needed <= 52


def test_a_calibration_that_is_published_once_names_both_overrides():
    world = SystemUnderTest()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    world.graph.publishers["/rgb/camera_info"] = [("sensor_msgs/msg/CameraInfo", latched)]
    (text,) = [w for w in world.silence_warnings() if w.startswith("/rgb/camera_info")]
    option = "qos_overrides./rgb/camera_info.subscription"
    assert f"{option}.durability to transient_local and {option}.reliability to reliable" in text
