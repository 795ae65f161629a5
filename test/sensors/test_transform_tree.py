"""The grounding node with poses from real `/tf` and `/tf_static`, and answers in the map."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from nodes.test_grounding import MS, SystemUnderTest, make_world  # noqa: F401
from rclpy.qos import DurabilityPolicy, QoSProfile

from helpers import ros_bench as bench
from spatial3d_ros.msg import SceneObjects
from spatial3d_ros.srv import GetScene, Ground

TF = ("-p", "pose_source:=tf")


@pytest.fixture
def tf_message():
    return pytest.importorskip(
        "tf2_msgs.msg", reason="tf2_msgs is not here: it comes with ROS, not with its wheels"
    ).TFMessage


def link(parent, child, stamp_ns, x, y=0.0):
    transform = bench.set_stamp(TransformStamped(child_frame_id=child), stamp_ns, parent)
    transform.transform.translation.x, transform.transform.translation.y = float(x), float(y)
    return transform


class Walk:
    """A world whose camera hangs from a base that TF moves through odom; map is beside odom."""

    def __init__(self, world, tf_message, *, localised=True):
        self.world, self.kind, self.localised = world, tf_message, localised
        person = world.person
        self.moving = person.create_publisher(tf_message, "/tf", 100)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        fixed = person.create_publisher(tf_message, "/tf_static", latched)
        # before the node may listen: it is kept
        fixed.publish(tf_message(transforms=[link("base", "camera_optical_frame", 0, 0.0, 0.5)]))
        images = [person._senders[name] for name in ("rgb/image", "depth/image", "rgb/camera_info")]
        heard = [self.moving, *images]
        assert bench.eventually(lambda: min(s.get_subscription_count() for s in heard) == 1)

    def parts(self, at):
        links = [link("odom", "base", at - MS, 0.0), link("odom", "base", at + MS, 0.0)]
        if self.localised:
            links.append(link("map", "odom", at, 100.0))
        self.moving.publish(self.kind(transforms=links))
        return {}

    def see(self):
        enough = len(self.world.engine.frames) + 1
        self.world.play(lambda: len(self.world.engine.frames) >= enough, self.parts)
        return self.world.engine.frames[-1]


def test_poses_come_from_transforms_and_answers_go_out_in_the_map(make_world, tf_message):  # noqa: F811
    world = make_world(*TF, "-p", "target_frame:=map")
    listened = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    world.person.create_subscription(
        SceneObjects, "grounding_node/objects", listened.append, latched
    )
    frame = Walk(world, tf_message).see()
    assert frame.frame_id == "odom"
    np.testing.assert_allclose(frame.world_T_camera[:3, 3], (0.0, 0.5, 0.0), atol=1e-9)
    reply = world.person.call(Ground, "ground", query="the chair")
    assert reply.success, reply.message
    best = reply.grounding.objects[0]
    assert (best.header.frame_id, best.pose.position.x) == ("map", pytest.approx(101.0))
    assert "at (101.00, 2.00, 0.50) m" in reply.grounding.text
    scene = world.person.call(GetScene, "get_scene").scene
    assert (scene.header.frame_id, scene.objects[1].pose.position.x) == ("map", 104.0)
    assert bench.eventually(lambda: listened and listened[-1].header.frame_id == "map")


def test_a_target_frame_that_nobody_links_is_named(make_world, tf_message):  # noqa: F811
    world = make_world(*TF, "-p", "target_frame:=map")
    Walk(world, tf_message, localised=False).see()
    reply = world.person.call(Ground, "ground", query="the chair")
    assert not reply.success
    assert "no chain from 'map' to 'odom'" in reply.message


def test_without_the_messages_of_tf_the_node_says_what_to_install(make_world, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", None)  # importing it fails
    world = make_world(*TF)
    reply = world.person.call(Ground, "ground", query="the chair")
    assert bench.eventually(lambda: "activate failed" in world.node._failure)
    reply = world.person.call(Ground, "ground", query="the chair")
    assert "sudo apt install ros-" in reply.message
    assert "-tf2-msgs" in reply.message
