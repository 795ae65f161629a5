"""The grounding node with poses from real `/tf` and `/tf_static`, and answers in the map."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile

from helpers import ros_bench as bench
from helpers.grounding_system import MS
from spatial3d_ros.msg import SceneObjects
from spatial3d_ros.srv import GetScene, Ground

TF = ("-p", "pose_source:=tf")


@pytest.fixture
def tf_message():
    return pytest.importorskip(
        "tf2_msgs.msg", reason="tf2_msgs is not installed (apt ROS)"
    ).TFMessage


def link(parent, child, stamp_ns, x, y=0.0):
    transform = bench.set_stamp(TransformStamped(child_frame_id=child), stamp_ns, parent)
    transform.transform.translation.x, transform.transform.translation.y = float(x), float(y)
    return transform


class MovingBase:
    """Publishes TF: map to odom, odom to a moving base, base to the camera."""

    def __init__(self, system, tf_message, *, localized=True):
        self.system, self.kind, self.localized = system, tf_message, localized
        client = system.client
        self.moving = client.create_publisher(tf_message, "/tf", 100)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        fixed = client.create_publisher(tf_message, "/tf_static", latched)
        # published before the node subscribes, because it is latched
        fixed.publish(tf_message(transforms=[link("base", "camera_optical_frame", 0, 0.0, 0.5)]))
        images = [client._senders[name] for name in ("rgb/image", "depth/image", "rgb/camera_info")]
        publishers = [self.moving, *images]
        assert bench.eventually(lambda: min(s.get_subscription_count() for s in publishers) == 1)

    def parts(self, at):
        links = [link("odom", "base", at - MS, 0.0), link("odom", "base", at + MS, 0.0)]
        if self.localized:
            links.append(link("map", "odom", at, 100.0))
        self.moving.publish(self.kind(transforms=links))
        return {}

    def publish_frame(self):
        target = len(self.system.engine.frames) + 1
        self.system.publish_until(lambda: len(self.system.engine.frames) >= target, self.parts)
        return self.system.engine.frames[-1]


def test_poses_by_tf_and_answers_in_the_target_frame(make_system, tf_message):
    system = make_system(*TF, "-p", "target_frame:=map")
    scenes = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    system.client.create_subscription(
        SceneObjects, "grounding_node/objects", scenes.append, latched
    )
    frame = MovingBase(system, tf_message).publish_frame()
    assert frame.frame_id == "odom"
    np.testing.assert_allclose(frame.world_T_camera[:3, 3], (0.0, 0.5, 0.0), atol=1e-9)
    reply = system.client.call(Ground, "ground", query="the chair")
    assert reply.success, reply.message
    best = reply.grounding.objects[0]
    assert (best.header.frame_id, best.pose.position.x) == ("map", pytest.approx(101.0))
    assert "at (101.00, 2.00, 0.50) m" in reply.grounding.text
    scene = system.client.call(GetScene, "get_scene").scene
    assert (scene.header.frame_id, scene.objects[1].pose.position.x) == ("map", 104.0)
    assert bench.eventually(lambda: scenes and scenes[-1].header.frame_id == "map")


def test_unconnected_target_frame_is_named(make_system, tf_message):
    system = make_system(*TF, "-p", "target_frame:=map")
    MovingBase(system, tf_message, localized=False).publish_frame()
    reply = system.client.call(Ground, "ground", query="the chair")
    assert not reply.success
    assert "no chain from 'map' to 'odom'" in reply.message


def test_missing_tf2_msgs_names_the_package_to_install(make_system, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", None)  # import raises ImportError
    system = make_system(*TF)
    reply = system.client.call(Ground, "ground", query="the chair")
    assert bench.eventually(lambda: "activate failed" in system.node._failure)
    reply = system.client.call(Ground, "ground", query="the chair")
    assert "sudo apt install ros-" in reply.message
    assert "-tf2-msgs" in reply.message
