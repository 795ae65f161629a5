"""The inputs of docs/INPUTS.md, built from one consistent recording: each is used or named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from typer.testing import CliRunner

from helpers.block_room import turning_frames
from helpers.rewrite_bag import STORE, rewrite, transform
from spatial3d_ros.bags.bag import Bag
from spatial3d_ros.bags.check import check_bag
from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.bags.reader import BagFrames
from spatial3d_ros.bags.topics import camera_of
from spatial3d_ros.bags.writer import write_bag
from spatial3d_ros.cli import app
from spatial3d_ros.errors import BagError
from spatial3d_ros.geometry.pose import invert, pose_matrix, quaternion_xyzw
from spatial3d_ros.sensors.plausibility import OPTICAL_T_BODY

COLOR, DEPTH = "/camera/rgb/image", "/camera/depth/image"
INFO, POSE = "/camera/rgb/camera_info", "/camera/pose"


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Twenty frames, five a second, of a camera that moves through the room and turns."""
    path = tmp_path_factory.mktemp("field") / "room.mcap"
    write_bag(path, turning_frames())
    return path


def edit_pose(change):
    """An edit of the (4, 4) pose of each message."""

    def edit(topic, message, log_ns):
        if topic == POSE:
            at, turn = message.pose.position, message.pose.orientation
            pose = change(pose_matrix((at.x, at.y, at.z), (turn.x, turn.y, turn.z, turn.w)))
            at.x, at.y, at.z = map(float, pose[:3, 3])
            turn.x, turn.y, turn.z, turn.w = map(float, quaternion_xyzw(pose[:3, :3]))
        return [(topic, message, log_ns)]

    return edit


def edit_depth(scale=1.0, encoding="16UC1", change=lambda image: image):
    def edit(topic, message, log_ns):
        if topic == DEPTH:
            kind = "<f4" if encoding == "32FC1" else "<u2"
            image = message.data.view("<u2").reshape(message.height, message.width)
            image = change(image.astype(np.float64) * scale).astype(kind)
            message.encoding, message.step = encoding, message.width * image.itemsize
            message.data = image.reshape(-1).view(np.uint8)
        return [(topic, message, log_ns)]

    return edit


def edit_info(**fields):
    def edit(topic, message, log_ns):
        if topic == INFO:
            for name, change in fields.items():
                setattr(message, name, change(getattr(message, name)))
        return [(topic, message, log_ns)]

    return edit


def as_tf(map_hz, odom_hz, *, map_stamp=None, static=True):
    """Poses as map -> odom -> base_link -> camera, at those rates; map_hz 0 sends map once."""
    sent = {"map": -1e18, "odom": -1e18, "static": False}

    def due(name, hz, log_ns):
        late = log_ns - sent[name] >= 1e9 / hz - 1e6 if hz else sent[name] < 0
        if late:
            sent[name] = log_ns
        return late

    def edit(topic, message, log_ns):
        if topic != POSE:
            return [(topic, message, log_ns)]
        out, none = [], ((0, 0, 0), (0, 0, 0, 1))
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        at, turn = message.pose.position, message.pose.orientation
        if static and not sent["static"]:
            sent["static"] = True
            link = transform("base_link", "camera_optical_frame", 0, *none)
            out.append(("/tf_static", link, log_ns))
        if due("map", map_hz, log_ns):
            when = stamp if map_stamp is None else map_stamp
            out.append(("/tf", transform("map", "odom", when, *none), log_ns))
        if due("odom", odom_hz, log_ns):
            pose = (at.x, at.y, at.z), (turn.x, turn.y, turn.z, turn.w)
            out.append(("/tf", transform("odom", "base_link", stamp, *pose), log_ns))
        return out

    return edit


def checked(source, tmp_path, edit, options=RecordingOptions()):  # noqa: B008
    return check_bag(rewrite(source, tmp_path / "bag", edit), options)


def test_the_recording_itself_has_no_finding(room):
    report = check_bag(room)
    assert (report.usable, report.problems, report.notes) == (True, [], [])
    assert report.frames["used"] == report.frames["found"] == 20
    assert report.ask.startswith("spatial3d ask ") and report.launch


@pytest.mark.parametrize("late_s", [0.35, 0.6, 1.6, 3.9])
@pytest.mark.parametrize("topic", [COLOR, DEPTH])
def test_an_image_that_is_recorded_late_is_paired_by_its_stamp(room, tmp_path, late_s, topic):
    late = round(late_s * 1e9)
    report = checked(room, tmp_path, lambda t, m, at: [(t, m, at + late * (t == topic))])
    assert report.usable and report.frames["used"] == 20


def test_poses_of_a_body_frame_are_named(room, tmp_path):
    report = checked(room, tmp_path, edit_pose(lambda pose: pose @ OPTICAL_T_BODY))
    assert not report.usable and report.launch == report.ask == ""
    assert "body frame (x forward)" in report.problems[0] and "base_T_camera" in report.problems[0]


@pytest.mark.parametrize(
    ("turn", "named"),
    [
        (np.diag([1, -1, -1, 1.0]), "x right, y up, z backward"),  # OpenGL
        (np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]]), "y forward, z up"),
        (np.diag([-1, -1, 1, 1.0]), "x left, y up, z forward"),  # mounted upside down
    ],
)
def test_poses_of_other_axes_are_named(room, tmp_path, turn, named):
    report = checked(room, tmp_path, edit_pose(lambda pose: pose @ turn))
    assert not report.usable and named in report.problems[0]


@pytest.mark.parametrize("factor", [1000.0, 100.0])
def test_positions_that_are_not_in_metres_are_named(room, tmp_path, factor):
    scale = np.array([[factor], [factor], [factor], [1]])
    scaled = edit_pose(lambda pose: np.hstack([pose[:, :3], pose[:, 3:] * scale]))
    report = checked(room, tmp_path, scaled)
    assert not report.usable and "positions of the poses are not in metres" in report.problems[0]


def test_views_that_nothing_makes_agree_stop(room, tmp_path):
    constant = edit_depth(change=lambda image: np.full_like(image, 1500))
    report = checked(room, tmp_path, constant)
    assert not report.usable and report.launch == "" and "K" in report.problems[0]


def test_poses_without_stamp_are_named(room, tmp_path):
    def edit(topic, message, log_ns):
        if topic == POSE:
            message.header.stamp.sec = message.header.stamp.nanosec = 0
        return [(topic, message, log_ns)]

    report = checked(room, tmp_path, edit)
    assert not report.usable and f"{POSE}: field header.stamp is 0" in report.problems[0]
    assert not any("clocks" in problem for problem in report.problems)


def test_images_without_stamp_are_counted_once(room, tmp_path):
    def edit(topic, message, log_ns):
        if topic in (COLOR, DEPTH):
            message.header.stamp.sec = message.header.stamp.nanosec = 0
        return [(topic, message, log_ns)]

    report = checked(room, tmp_path, edit)
    assert report.frames["lost"] == {"no stamp": 20} and "stamp is 0" in report.problems[0]


def test_late_poses_are_told_from_another_clock(room, tmp_path):
    late = checked(room, tmp_path / "late", lambda t, m, at: [(t, m, at + 2 * 10**9 * (t == POSE))])
    assert late.usable and late.problems == []
    assert any("recorded +2.0 s after images of the same stamp" in note for note in late.notes)

    def edit(topic, message, log_ns):
        message.header.stamp.sec += 5000 * (topic != POSE)
        return [(topic, message, log_ns)]

    other = checked(room, tmp_path / "clock", edit)
    assert not other.usable and "clocks 5000.0 s apart" in other.problems[0]


def test_inverted_poses_are_named(room, tmp_path):
    report = checked(room, tmp_path, edit_pose(invert))
    assert not report.usable and "inverted poses" in report.problems[0]


def test_a_world_whose_z_is_not_up_is_named(room, tmp_path):
    y_up = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    report = checked(room, tmp_path, edit_pose(lambda pose: y_up @ pose))
    assert not report.usable and "degrees off the z axis" in report.problems[0]


@pytest.mark.parametrize("degrees", [19, 27])
def test_a_tilted_world_is_named(room, tmp_path, degrees):
    turn = pose_matrix(
        (0, 0, 0), (np.sin(np.radians(degrees / 2)), 0, 0, np.cos(np.radians(degrees / 2)))
    )
    report = checked(room, tmp_path, edit_pose(lambda pose: turn @ pose))
    assert not report.usable and "tilted by" in report.problems[0]


@pytest.mark.parametrize(
    ("scale", "encoding", "unit"),
    [(1.0, "32FC1", 0.001), (0.1, "32FC1", 0.01), (4.0, "16UC1", 0.00025),
     (10.0, "16UC1", 0.0001), (8.0, "16UC1", 0.000125), (2.0, "16UC1", 0.0005),
     (5.0, "16UC1", 0.0002), (0.1, "16UC1", 0.01),
     (0.001 / 0.3048, "32FC1", 0.3048), (0.256, "16UC1", 0.003906)],  # feet, KITTI
)  # fmt: skip
def test_depth_of_another_unit_ends_a_command_and_is_read_with_it(
    room, tmp_path, scale, encoding, unit
):
    bag = rewrite(room, tmp_path / "bag", edit_depth(scale, encoding))
    report = check_bag(bag)
    assert not report.usable and not report.launch and "depth_unit" in report.problems[0]
    assert f"{unit:g}" in report.problems[0], report.problems
    right = check_bag(bag, RecordingOptions(depth_unit=unit))
    assert right.usable and f"--depth-unit {unit:g}" in right.ask
    assert f"depth_unit:={unit:g}" in right.launch


def test_a_unit_that_is_not_usual_is_estimated_and_ends_every_command(room, tmp_path):
    bag = rewrite(room, tmp_path / "bag", edit_depth(1 / 1.7))
    with pytest.raises(BagError, match="depth_unit"):
        list(BagFrames(bag))
    (first, *_) = check_bag(bag).problems
    assert float(first.split("set depth_unit to ")[1].split()[0]) == pytest.approx(0.0017, rel=0.03)


def test_exchanged_coordinates_of_the_principal_point_are_refused(room, tmp_path):
    exchanged = edit_info(k=lambda k: k[[0, 1, 5, 3, 4, 2, 6, 7, 8]])
    report = checked(room, tmp_path, exchanged)
    assert not report.usable and "exchanged" in report.problems[0]


def test_a_principal_point_far_from_the_middle_is_refused(room, tmp_path):
    def doubled(k):
        return k * np.array([2, 1, 2, 1, 2, 2, 1, 1, 1.0])

    changes = (
        (doubled, "double"),
        (lambda k: k * np.where(doubled(np.ones(9)) > 1, 0.5, 1), "half"),
        (lambda k: k * np.where(doubled(np.ones(9)) > 1, 1.5, 1), "larger"),
        (lambda k: k + np.eye(9)[2] * 11447, "far"),
    )
    for change, name in changes:
        report = check_bag(rewrite(room, tmp_path / name, edit_info(k=change)))
        assert not report.usable
        assert "principal point" in report.problems[0] and INFO in report.problems[0]


@pytest.mark.parametrize(
    "name", ["rgb/image_rect_color", "rgb/rect/image", "rgb/image_undistorted"]
)
def test_rectified_images_with_distortion_coefficients_are_not_undistorted_again(
    room, tmp_path, name
):
    distorted = edit_info(d=lambda _: np.array([0.2, -0.3, 0.0, 0.0, 0.1]))

    def edit(topic, message, log_ns):
        ((topic, message, log_ns),) = distorted(topic, message, log_ns)
        topic = f"/camera/{name}" if topic == COLOR else topic
        return [(topic, message, log_ns)]

    bag = rewrite(room, tmp_path / "bag", edit)
    report = check_bag(bag)
    assert report.usable and any("rectified by its name" in note for note in report.notes)
    taken, original = (next(iter(BagFrames(path)))[1] for path in (bag, room))
    np.testing.assert_array_equal(taken.rgb, original.rgb)
    again = next(iter(BagFrames(bag, RecordingOptions(rectified=False))))[1]
    assert (again.rgb != original.rgb).any()


@pytest.mark.parametrize("value", [0, 65535])
def test_an_empty_depth_image_is_skipped_and_counted(room, tmp_path, value):
    seen = []

    def empty(image):
        seen.append(image)
        return image if len(seen) != 7 else np.full_like(image, value)

    report = checked(room, tmp_path, edit_depth(change=empty))
    assert report.usable and report.frames["lost"] == {"no depth": 1}


@pytest.mark.parametrize("map_hz", [1.0, 0.5, 0])
def test_a_slow_correction_frame_is_held(room, tmp_path, map_hz):
    report = checked(room, tmp_path, as_tf(map_hz, 20))
    assert report.usable and report.frames["lost_share"] <= 0.1, report.frames
    assert any("map -> odom" in note and "held" in note for note in report.notes)


def test_slow_transforms_are_counted_as_gaps_and_cured_by_the_option_that_is_named(room, tmp_path):
    bag = rewrite(room, tmp_path / "bag", as_tf(1.5, 1.5))
    report = check_bag(bag)
    assert not report.usable and report.launch == "" and report.frames["lost"]["gap"] > 4
    assert any("max_pose_gap_s" in problem for problem in report.problems)
    assert check_bag(bag, RecordingOptions(max_pose_gap_s=1.0)).usable


def test_a_transform_without_stamp_is_named(room, tmp_path):
    report = checked(room, tmp_path, as_tf(1, 20, map_stamp=0))
    assert not report.usable
    assert "TF map -> odom: field header.stamp is 0" in report.problems[0]


def test_a_bag_without_static_transforms_stops(room, tmp_path):
    report = checked(room, tmp_path, as_tf(1, 20, static=False))
    assert not report.usable and report.launch == ""
    assert "no /tf_static" in report.problems[0]


def renamed(names):
    return lambda topic, message, log_ns: [(names.get(topic, topic), message, log_ns)]


@pytest.mark.parametrize(
    ("depth", "encoding"), [("/oak/stereo/image_raw", "16UC1"), ("/oak/range/image", "mono16")]
)
def test_depth_is_found_by_its_encoding(room, tmp_path, depth, encoding):
    names = {DEPTH: depth, COLOR: "/oak/rgb/image_raw", INFO: "/oak/rgb/info"}

    def edit(topic, message, log_ns):
        if topic == DEPTH:
            message.encoding = encoding
        return renamed(names)(topic, message, log_ns)

    report = checked(room, tmp_path, edit)
    assert report.usable and report.roles["depth"] == depth


@pytest.mark.parametrize(
    ("topic", "camera"),
    [
        ("/camera/rgb/image", "camera"),
        ("/left/rgb/image", "left"),
        ("/camera_left/color/image_raw/compressed", "camera_left"),
        ("/robot/left_camera/depth/image", "robot/left_camera"),
        ("/robot/depth_camera_1/color/image", "robot/depth_camera_1"),
        ("/zed/zed_node/left/image_rect_color", "zed/zed_node"),
        ("/image_raw", ""),
    ],
)
def test_the_camera_of_a_topic(topic, camera):
    assert camera_of(topic) == camera


@pytest.mark.parametrize("front", ["front", "left"])
def test_of_two_cameras_one_is_named(room, tmp_path, front):
    def edit(topic, message, log_ns):
        if topic == POSE:
            return [(topic, message, log_ns)]
        return [
            (topic.replace("/camera", f"/{name}", 1), message, log_ns) for name in (front, "rear")
        ]

    bag = rewrite(room, tmp_path / "bag", edit)
    (problem,) = check_bag(bag).problems
    assert f"several cameras ({front}, rear)" in problem and f"--camera {front}" in problem
    options = RecordingOptions(camera="rear")
    assert options.topics(bag).rgb == "/rear/rgb/image"
    report = check_bag(bag, options)
    assert report.usable and "--camera rear" in report.ask
    assert "rgb_image:=/rear/rgb/image" in report.launch


@pytest.mark.parametrize("pixels", [8, 14])
def test_depth_that_is_some_pixels_off_colour_is_told(room, tmp_path, pixels):
    moved = edit_depth(change=lambda image: np.roll(image, pixels, 1))
    report = checked(room, tmp_path, moved)
    assert any(f"about {pixels} pixels off colour" in note for note in report.notes), report.notes


@pytest.mark.parametrize("profile", ["ros1", ""])
def test_an_mcap_of_ros_1_is_named(room, tmp_path, profile):
    data = room.read_bytes()
    at = data.index(b"\x04\0\0\0ros2")
    path = tmp_path / "old.mcap"
    length = int.from_bytes(data[9:17], "little") - (4 - len(profile))
    head = data[:9] + length.to_bytes(8, "little") + len(profile).to_bytes(4, "little")
    path.write_bytes(head + profile.encode() + data[at + 8 :])
    with pytest.raises(BagError, match="ROS 1"), Bag(path):
        pass


@pytest.mark.parametrize(
    ("encoding", "named"), [("ros1", "recording of ROS 1"), ("json", "serialised as json")]
)
def test_messages_of_ros_1_in_an_mcap_of_ros_2_are_named(tmp_path, encoding, named):
    folder = tmp_path / "old"
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection(
            COLOR, "std_msgs/msg/String", typestore=STORE, serialization_format=encoding
        )
        writer.write(topic, 10**9, b"\x05\0\0\0hello")
    for path in (folder, next(folder.glob("*.mcap"))):
        with pytest.raises(BagError, match=named), Bag(path):
            pass


def test_the_check_command_fails_above_a_fifth_lost(room, tmp_path):
    bag = rewrite(room, tmp_path / "bag", as_tf(1.5, 1.5))
    result = CliRunner().invoke(app, ["check", str(bag), "--json"])
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and report["usable"] is False and report["launch"] == ""
    given = CliRunner().invoke(app, ["check", str(bag), "--max-pose-gap-s", "1"])
    assert given.exit_code == 0, given.output
