"""Poses by stamp: interpolation, waiting, gaps, loops, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers import messages
from spatial3d_ros.errors import ConfigError, FrameError
from spatial3d_ros.geometry.pose import pose_matrix
from spatial3d_ros.sensors.pose_source import PoseReader, PoseTrack
from spatial3d_ros.sensors.synchronizer import SECOND

TOPIC = "/camera/pose"
EPOCH = 1_700_000_000 * SECOND
MS = 1_000_000


def at_x(x, yaw=0.0):
    return pose_matrix((x, 0, 0), Rotation.from_euler("z", yaw).as_quat())


def track(*entries, **options):
    poses = PoseTrack(TOPIC, **options)
    for milliseconds, pose in entries:
        poses.add(EPOCH + milliseconds * MS, pose)
    return poses


def test_between_two_poses_position_is_linear_and_turn_is_slerp():
    poses = track((0, at_x(0.0)), (100, at_x(1.0, yaw=0.8)))
    pose = poses.at(EPOCH + 25 * MS)
    np.testing.assert_allclose(pose, at_x(0.25, yaw=0.2), atol=1e-9)


def test_exact_stamp_is_returned_and_a_later_one_waits():
    poses = track((0, at_x(0.0)), (100, at_x(1.0)))
    np.testing.assert_array_equal(poses.at(EPOCH + 100 * MS), at_x(1.0))
    assert poses.at(EPOCH + 101 * MS) is None
    poses.add(EPOCH + 150 * MS, at_x(2.0))
    assert poses.at(EPOCH + 101 * MS)[0, 3] == pytest.approx(1.02)


def test_late_and_repeated_poses_are_sorted_in():
    poses = track((0, at_x(0.0)), (200, at_x(2.0)), (100, at_x(5.0)), (100, at_x(1.0)))
    assert poses.at(EPOCH + 150 * MS)[0, 3] == pytest.approx(1.5)


def test_gap_and_time_before_the_first_pose_are_named():
    poses = track((0, at_x(0.0)), (500, at_x(1.0)), max_gap_s=0.3)
    with pytest.raises(FrameError, match=rf"{TOPIC}.*0\.500 s.*max_pose_gap_s"):
        poses.at(EPOCH + 100 * MS)
    with pytest.raises(FrameError, match=rf"{TOPIC}.*before the camera"):
        poses.at(EPOCH - 100 * MS)


def test_history_is_bounded():
    poses = track(*[(10 * k, at_x(k)) for k in range(500)], history_s=1.0)
    with pytest.raises(FrameError, match="first pose"):
        poses.at(EPOCH + 3900 * MS)
    assert poses.at(EPOCH + 4000 * MS) is not None


def test_a_clock_that_goes_back_starts_a_new_track():
    poses = track((5000, at_x(9.0)), (0, at_x(0.0)), (100, at_x(1.0)))
    assert poses.rewinds == 1
    assert poses.at(EPOCH + 50 * MS)[0, 3] == pytest.approx(0.5)
    assert poses.at(EPOCH + 5000 * MS) is None


def test_odometry_needs_the_camera_on_the_robot():
    base_T_camera = (0.1, 0.0, 0.5, 0.0, 0.0, 1.0, 0.0)
    message = messages.odometry(EPOCH, (1.0, 0.0, 0.0), child="base_link")
    reader = PoseReader(TOPIC, "odom", base_T_camera)
    np.testing.assert_allclose(reader.read(message)[:3, 3], (1.1, 0.0, 0.5))
    reader.check_camera_frame(messages.CAMERA)
    assert reader.frame_id == "odom"

    bare = PoseReader(TOPIC, "odom")
    bare.read(message)
    with pytest.raises(FrameError, match=r"child_frame_id.*base_link.*base_T_camera"):
        bare.check_camera_frame(messages.CAMERA)
    bare.read(messages.odometry(EPOCH, child=messages.CAMERA))
    bare.check_camera_frame(messages.CAMERA)


@pytest.mark.parametrize(
    ("position", "quaternion"),
    [
        ((0, 0, 0), (0, 0, 0, 0)),
        ((0, 0, 0), (0, 0, 0, 1.2)),
        ((0, 0, 0), (0, 0, 0, float("nan"))),
    ],
)
def test_impossible_quaternions_name_topic_and_field(position, quaternion):
    for source, message in (
        ("pose", messages.pose_stamped(EPOCH, position, quaternion)),
        ("odom", messages.odometry(EPOCH, position, quaternion)),
    ):
        with pytest.raises(FrameError, match=rf"{TOPIC}: field (pose\.)?pose\.orientation.*unit"):
            PoseReader(TOPIC, source).read(message)


def test_impossible_position_and_changing_world_are_named():
    reader = PoseReader(TOPIC, "pose")
    with pytest.raises(FrameError, match=rf"{TOPIC}: field pose\.position.*finite"):
        reader.read(messages.pose_stamped(EPOCH, (float("inf"), 0, 0)))
    reader.read(messages.pose_stamped(EPOCH))
    with pytest.raises(FrameError, match=r"frame_id.*'map'.*'odom'"):
        reader.read(messages.pose_stamped(EPOCH, frame_id="odom"))


@pytest.mark.parametrize("numbers", [(1.0,), (0.0,) * 7, (0, 0, 0, 0, 0, 0, 5)])
def test_impossible_extrinsics_name_the_parameter(numbers):
    with pytest.raises(ConfigError, match="base_T_camera"):
        PoseReader(TOPIC, "odom", numbers)
