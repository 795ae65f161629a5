"""The inputs of docs/INPUTS.md over DDS: what the running node does with each, and what it says.

One node serves all: between tests it is deactivated, gets parameters, and is activated again.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from lifecycle_msgs.msg import Transition
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage

from helpers import ros_bench as bench
from helpers.block_room import CAMERA, turning_frames
from helpers.grounding_system import GroundingSystem
from helpers.messages import jpeg_with_orientation
from spatial3d_ros.geometry.pose import quaternion_xyzw
from spatial3d_ros.runtime.parameters import Parameters
from spatial3d_ros.sensors.plausibility import OPTICAL_T_BODY

SECOND = bench.SECOND
STEP = 2_100_000_000  # of the stamps: every frame is selected, because a keyframe is due
VIEWS = turning_frames(8)
OPTICAL = "camera_optical_frame"


class Field:
    """The node, a client, and the newest diagnostics."""

    def __init__(self):
        # The name of image_proc for rectified images; only the test of row 3 has distortion.
        self.system = GroundingSystem("-r", "rgb/image:=/camera/image_rect_color")
        self.client, self.engine = self.system.client, self.system.engine
        self.received = []
        self.client.create_subscription(DiagnosticArray, "/diagnostics", self.received.append, 10)
        self.now = bench.EPOCH
        self.changed = set()
        self.compressed = self.client.create_publisher(CompressedImage, "rgb/image/compressed", 10)
        assert bench.eventually(lambda: self.system.node._sensors)

    def restart(self, **parameters):
        """Start the sensors anew, with these parameters and the defaults of the others."""
        node, defaults = self.system.node, Parameters()
        assert self.system.change(Transition.TRANSITION_DEACTIVATE)
        values = {name: getattr(defaults, name) for name in self.changed} | parameters
        node.set_parameters([Parameter(name, value=value) for name, value in values.items()])
        self.changed = set(parameters)
        self.engine.frames.clear()
        self.now += 100 * SECOND
        assert self.system.change(Transition.TRANSITION_ACTIVATE)
        unused = {"pose_source": "pose", "color_transport": "rgb/image"}  # with these parameters
        names = self.client._senders.keys() - {unused.get(name, "") for name in parameters}
        used = [self.client._senders[name] for name in names]
        assert bench.eventually(lambda: all(s.get_subscription_count() == 1 for s in used))
        self.received.clear()
        return self

    @property
    def camera(self):
        return self.system.node._sensors.cameras[0]

    @property
    def problem(self):
        return self.camera.last_problem

    def reports(self, text):
        """Whether the problem comes to contain a text."""
        return bench.eventually(lambda: text in self.problem)

    def said(self):
        """All that the newest diagnostics say of the sensors."""
        parts = [part for message in self.received for part in message.status]
        sensors = [part for part in parts if part.name.endswith("sensors")]
        return f"{sensors[-1].message} {self.facts()}" if sensors else ""

    def facts(self):
        parts = [part for message in self.received for part in message.status]
        sensors = [part for part in parts if part.name.endswith("sensors")]
        return {value.key: value.value for value in sensors[-1].values} if sensors else {}

    def messages(self, view, stamp, pose=None, depth=None, encoding="16UC1"):
        """Calibration, pose, colour and depth of a view of the room."""
        info = bench.set_stamp(self.client.info(stamp), stamp, OPTICAL)
        info.width, info.height = CAMERA.width, CAMERA.height
        info.k = [CAMERA.fx, 0.0, CAMERA.cx, 0.0, CAMERA.fy, CAMERA.cy, 0.0, 0.0, 1.0]
        matrix = view.world_T_camera if pose is None else pose
        message = self.client.pose(stamp)
        at, turn = message.pose.position, message.pose.orientation
        at.x, at.y, at.z = map(float, matrix[:3, 3])
        turn.x, turn.y, turn.z, turn.w = map(float, quaternion_xyzw(matrix[:3, :3]))
        values = view.depth * 1000 if depth is None else depth
        kind = {"16UC1": np.uint16, "16SC1": np.int16, "32FC1": np.float32}[encoding]
        return {
            "rgb/camera_info": info,
            "pose": message,
            "rgb/image": bench.image(view.rgb, "rgb8", stamp),
            "depth/image": bench.image(values.astype(kind), encoding, stamp),
        }

    def show(self, views=VIEWS, edit=lambda messages: messages, before=lambda stamp, view: None):
        """Publish one frame for each view, and wait until the node has dealt with it."""
        for view in views:
            done = self.camera.pipeline.counts["decoded"] + sum(self.camera.pipeline.lost.values())

            def dealt_with(done=done):
                counts = self.camera.pipeline.counts
                return counts["decoded"] + sum(self.camera.pipeline.lost.values()) > done

            def publish(view=view):
                self.now += STEP
                before(self.now, view)
                for name, message in edit(self.messages(view, self.now)).items():
                    self.client.send(name, message)
                return bench.eventually(dealt_with, 2.0)

            assert bench.eventually(publish, 20.0), "nothing became of the frame"
        return self


@pytest.fixture(scope="module")
def running():
    made = Field()
    yield made
    assert made.system.bench.spinning, "an exception ended the executor"
    made.system.bench.close()


@pytest.fixture
def field(running):
    return running.restart()


def with_depth(scale=1.0, encoding="16UC1", zero=()):
    """An edit of the depth image: its values and encoding, or zeros in the frames of `zero`."""
    number = iter(range(1000))

    def edit(messages):
        image = messages["depth/image"]
        values = np.frombuffer(image.data, np.uint16).reshape(image.height, image.width)
        values = values * (scale * (next(number) not in zero))
        kind = {"16UC1": np.uint16, "16SC1": np.int16, "32FC1": np.float32}[encoding]
        stamp = image.header.stamp.sec * SECOND + image.header.stamp.nanosec
        return messages | {"depth/image": bench.image(values.astype(kind), encoding, stamp)}

    return edit


def test_right_views_have_no_finding_and_all_are_used(field):
    field.show()
    assert bench.eventually(lambda: field.facts().get("account.used") == "8"), field.said()
    assert field.facts()["geometry"] == field.facts()["last problem"] == ""
    assert len(field.engine.frames) == 8


@pytest.mark.parametrize("late", ["rgb/image", "depth/image"])
def test_row_1_images_that_arrive_late_are_paired_or_the_queue_is_named(running, late):
    for size, named in ((30, ""), (5, "sync_queue_size")):
        field = running.restart(sync_queue_size=size)
        field.show(VIEWS[:1])
        held = []
        for number in range(20):
            stamp = field.now + (number + 1) * SECOND // 5
            messages = field.messages(VIEWS[number % 8], stamp)
            held.append(messages.pop(late))
            for name, message in messages.items():
                field.client.send(name, message)
            time.sleep(0.01)
        for message in held:
            field.client.send(late, message)
            time.sleep(0.01)
        field.now = stamp
        if named:
            assert bench.eventually(lambda f=field, n=named: n in f.said()), field.said()
            assert "sync_slop_s" not in field.said()
        else:
            counts = field.camera.pipeline.counts
            assert bench.eventually(lambda c=counts: c["synced"] == 21), counts


def test_row_2_poses_of_a_body_frame_are_named(field):
    def body(messages):
        view = VIEWS[len(field.engine.frames) % 8]
        stamp = messages["pose"].header.stamp
        return messages | {
            "pose": field.messages(
                view, stamp.sec * SECOND + stamp.nanosec, view.world_T_camera @ OPTICAL_T_BODY
            )["pose"]
        }

    field.show(edit=body)
    assert bench.eventually(lambda: "body frame (x forward)" in field.said()), field.said()
    assert "base_T_camera" in field.said()


def test_row_3_rectified_images_with_distortion_are_not_undistorted_again(field):
    def edit(messages):
        messages["rgb/camera_info"].d = [0.2, -0.3, 0.0, 0.0, 0.1]
        messages["rgb/camera_info"].distortion_model = "plumb_bob"
        return messages

    field.show(VIEWS[:1], edit)
    np.testing.assert_array_equal(field.engine.frames[0].rgb, VIEWS[0].rgb)


def test_row_4_the_calibration_of_another_size_is_refused(field):
    def edit(messages):
        k = messages["rgb/camera_info"].k * np.array([2, 1, 2, 1, 2, 2, 1, 1, 1.0])
        messages["rgb/camera_info"].k = k
        return messages

    field.show(VIEWS[:2], edit)
    assert field.reports("principal point (159, 119)") and not field.engine.frames
    assert bench.eventually(lambda: field.facts().get("account.lost.damaged") == "2"), field.said()


def test_row_5_an_empty_depth_image_is_skipped_and_counted(field):
    field.show(VIEWS[:4], with_depth(zero=(1,)))
    assert len(field.engine.frames) == 3
    assert bench.eventually(lambda: field.facts().get("account.lost.no depth") == "1"), field.said()
    assert field.facts()["account.used"] == "3"


def test_row_6_floats_in_millimetres_are_refused_until_the_unit_is_given(running):
    field = running.restart().show(VIEWS[:2], with_depth(encoding="32FC1"))
    assert field.reports("depth_unit") and not field.engine.frames
    running.restart(depth_unit=0.001).show(VIEWS[:1], with_depth(encoding="32FC1"))
    seen = field.engine.frames[0].depth
    np.testing.assert_allclose(seen, VIEWS[0].depth, atol=2e-3)


@pytest.mark.parametrize("unit", [0.00025, 0.0002])
def test_row_7_whole_numbers_of_another_unit_are_refused_after_eight_views(running, unit):
    edit = with_depth(0.001 / unit)
    field = running.restart().show(edit=edit)
    assert field.reports(f"depth_unit to {unit:g}"), field.problem
    before = len(field.engine.frames)
    field.show(VIEWS[:2], edit)
    assert len(field.engine.frames) == before  # nothing more goes into the memory
    field = running.restart(depth_unit=unit).show(edit=edit)
    assert len(field.engine.frames) == 8 and field.problem == ""


def gray(encoding, height, width):
    """A grey image (value 128) of an encoding, as the bytes and the step of a message."""
    if encoding in ("nv12", "nv21"):
        return np.full((height * 3 // 2, width), 128, np.uint8), width
    if "16" in encoding:
        channels = 3 if encoding == "rgb16" else 1
        return np.full((height, width * channels), 128 << 8, np.uint16), 2 * width * channels
    channels = {"8UC3": 3, "8UC4": 4, "yuv422": 2, "yuv422_yuy2": 2, "uyvy": 2}.get(encoding, 1)
    return np.full((height, width * channels), 128, np.uint8), width * channels


@pytest.mark.parametrize("depth", ["16UC1", "16SC1"])
def test_row_8_encodings_are_decoded(field, depth):
    encodings = iter(
        ("yuv422_yuy2", "uyvy", "yuv422", "nv12", "nv21", "bayer_rggb8", "bayer_grbg16", "8UC1",
         "8UC3", "8UC4", "mono16", "rgb16")
    )  # fmt: skip

    def edit(messages):
        image = messages["rgb/image"]
        image.encoding = next(encodings)
        pixels, image.step = gray(image.encoding, image.height, image.width)
        image.data = pixels.tobytes()
        return with_depth(encoding=depth)(messages)

    field.show([VIEWS[0]] * 12, edit)
    assert len(field.engine.frames) == 12, field.problem
    for frame in field.engine.frames:
        assert np.abs(frame.rgb.astype(int) - 128).max() <= 3
        np.testing.assert_allclose(frame.depth, VIEWS[0].depth, atol=2e-3)


def test_row_8_an_unknown_encoding_is_named(field):
    def edit(messages):
        messages["rgb/image"].encoding = "yuv444p12"
        return messages

    field.show(VIEWS[:1], edit)
    assert field.reports("'yuv444p12', which is not known for a colour image"), field.problem


def test_row_15_a_calibration_published_once_names_the_overrides_and_they_work():
    topic = "/latched/camera_info"
    made = GroundingSystem(
        "-p", "autostart:=false", "-p", "topic_timeout_s:=0.5", "-r", f"rgb/camera_info:={topic}"
    )
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    info = made.client.create_publisher(type(made.client.info(1)), topic, latched)
    info.publish(made.client.info(bench.EPOCH))
    for step in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert made.change(step)
    option = f"qos_overrides.{topic}.subscription"
    wanted = f"{option}.durability to transient_local and {option}.reliability to reliable"
    camera = made.node._sensors.cameras[0]
    assert bench.eventually(lambda: any(wanted in text for text in camera.warnings(0.5)))
    words = [f"{option}.durability:=transient_local", f"{option}.reliability:=reliable"]
    cured = GroundingSystem(
        *("-r", f"rgb/camera_info:={topic}", "-r", "__node:=cured", "-p", words[0], "-p", words[1])
    )
    assert bench.eventually(
        lambda: (
            cured.node._sensors and cured.node._sensors.cameras[0].pipeline.counts["camera_info"]
        )
    )
    for system in (made, cured):
        system.bench.close()


@pytest.mark.parametrize("orientation", [3, 6])
def test_row_20_the_orientation_of_a_photograph_is_ignored(running, orientation):
    field = running.restart(color_transport="compressed")

    def edit(messages):
        image = messages.pop("rgb/image")
        rgb = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
        photo = CompressedImage(header=image.header, format="jpeg")
        photo.data = jpeg_with_orientation(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), orientation)
        field.compressed.publish(photo)
        return messages

    field.show(VIEWS[:1], edit)
    difference = np.abs(field.engine.frames[0].rgb.astype(int) - VIEWS[0].rgb)
    assert np.median(difference) < 6


# ---- transforms


def link(parent, child, stamp, matrix=None):
    message = bench.set_stamp(TransformStamped(child_frame_id=child), stamp, parent)
    message.transform.rotation.w = 1.0
    if matrix is not None:
        move, turn = message.transform.translation, message.transform.rotation
        move.x, move.y, move.z = map(float, matrix[:3, 3])
        turn.x, turn.y, turn.z, turn.w = map(float, quaternion_xyzw(matrix[:3, :3]))
    return message


@pytest.fixture
def tf(running):
    """Publishers of TF: the world is map, above odom and base_link."""
    kind = pytest.importorskip(
        "tf2_msgs.msg", reason="tf2_msgs is not installed (apt ROS)"
    ).TFMessage
    client = running.client
    latched = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    moving = client.create_publisher(kind, "/tf", 100)
    fixed = client.create_publisher(kind, "/tf_static", latched)
    running.restart(pose_source="tf", world_frame="map")
    assert bench.eventually(lambda: moving.get_subscription_count())
    yield SimpleNamespace(
        moving=lambda *links: moving.publish(kind(transforms=list(links))),
        fixed=lambda *links: fixed.publish(kind(transforms=list(links))),
    )
    client.destroy_publisher(moving)
    client.destroy_publisher(fixed)


def test_row_9_a_slow_correction_is_held_and_said(running, tf):
    tf.fixed(link("base_link", OPTICAL, 0))

    def before(stamp, view):
        if not running.engine.frames:
            tf.moving(link("map", "odom", stamp - SECOND))  # once
        for offset in (-SECOND // 10, SECOND // 10):
            tf.moving(link("odom", "base_link", stamp + offset, view.world_T_camera))

    running.show(VIEWS[:4], before=before)
    assert len(running.engine.frames) >= 4
    assert bench.eventually(lambda: "map -> odom" in running.facts().get("held", ""))
    np.testing.assert_allclose(
        running.engine.frames[-1].world_T_camera, VIEWS[3].world_T_camera, atol=1e-6
    )


def test_row_10_a_transform_without_stamp_is_named(running, tf):
    tf.fixed(link("base_link", OPTICAL, 0))

    def before(stamp, view):
        tf.moving(link("map", "odom", 0), link("odom", "base_link", stamp + SECOND // 10))
        tf.moving(link("odom", "base_link", stamp - SECOND // 10))

    running.show(VIEWS[:1], before=before)
    assert "TF map -> odom: field header.stamp is 0" in running.problem


def test_row_11_no_static_transforms_name_the_chain(running, tf):
    def before(stamp, view):
        tf.moving(link("map", "odom", stamp), link("odom", "base_link", stamp))

    running.show(VIEWS[:2], before=before)
    assert f"no chain from 'map' to '{OPTICAL}'" in running.problem
    assert not running.engine.frames
