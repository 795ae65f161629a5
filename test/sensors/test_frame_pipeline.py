"""From messages to frames: which are decoded, which are skipped, which are refused by name."""

from __future__ import annotations

import re

import numpy as np
import pytest

from helpers import messages
from helpers.simulated_robot import COLOR, DEPTH, EPOCH, MS, Robot
from spatial3d_ros.geometry.pose import pose_matrix
from spatial3d_ros.sensors.frame_builder import no_extrinsics


def test_a_frame_carries_images_calibration_and_the_pose_of_its_stamp():
    robot = Robot()
    robot.drive(0, 30)
    (frame,) = robot.frames
    np.testing.assert_array_equal(frame.rgb, COLOR)
    np.testing.assert_allclose(frame.depth, 1.5)
    assert frame.stamp_ns == EPOCH
    assert (frame.camera.fx, frame.camera.width) == (10.0, 8)
    np.testing.assert_allclose(frame.world_T_camera[:3, 3], 0, atol=1e-9)
    assert frame.frame_id == "map"


def test_only_pairs_that_moved_are_decoded_and_the_rest_counts_as_skipped():
    robot = Robot()
    robot.drive(0, 3300)
    assert 6 <= len(robot.frames) <= 7  # 1 m at one keyframe per 0.15 m
    assert robot.pipeline.counts["skipped"] + robot.pipeline.counts["decoded"] == 100
    assert not robot.problems


def test_frames_of_a_camera_that_stands_still_are_decoded_every_two_seconds():
    robot = Robot()
    for milliseconds in range(0, 6000, 33):
        robot.add_pose(messages.pose_stamped(EPOCH + milliseconds * MS))
        robot.images(milliseconds)
    assert len(robot.frames) == 3


def test_rejected_candidates_are_rate_limited():
    robot = Robot(keyframe=False)
    robot.keyframe = True
    robot.drive(0, 30)
    robot.keyframe = False
    robot.drive(1000, 2000)
    assert 5 <= len(robot.frames) - 1 <= 10


def test_images_wait_for_their_pose_without_blocking():
    robot = Robot()
    robot.pose(0)
    robot.images(10)
    assert (robot.frames, robot.pipeline.pending) == ([], 1)
    robot.pose(20)
    (frame,) = robot.frames
    assert frame.world_T_camera[0, 3] == pytest.approx(0.003)


def test_images_give_up_on_a_pose_that_never_comes():
    robot = Robot()
    robot.pose(0)
    for milliseconds in range(10, 4000, 33):
        robot.images(milliseconds)
    assert robot.pipeline.pending <= 32
    assert "/pose: the newest pose is" in robot.problems[0]
    silent = Robot()
    for milliseconds in range(10, 3000, 33):
        silent.images(milliseconds)
    assert "no pose has arrived yet" in silent.problems[0]


@pytest.mark.parametrize("pose_first", [True, False])
def test_a_looping_bag_is_one_rewind_and_goes_on(pose_first):
    robot = Robot()
    robot.drive(0, 5000)
    before = len(robot.frames)
    if pose_first:
        robot.pose(0)
    else:
        robot.images(0)
    robot.drive(33, 5000)
    assert robot.rewinds == 1
    assert len(robot.frames) >= 2 * before - 1
    assert len(robot.problems) <= 1


def test_a_recording_that_is_played_again_with_new_stamps_is_named_once_and_is_no_jump():
    robot = Robot()
    for start in (0, 10032):
        for step in range(0, 10000, 33):
            at, x = EPOCH + (start + step) * MS, 0.3 * step / 1000
            robot.add_pose(messages.pose_stamped(at, (x, 0, 0)))
            robot.images(start + step)
    (problem,) = [text for text in robot.problems if "restarted" in text]
    assert "the recording restarted: the camera is back at its first pose, 3.0 m away" in problem
    assert (robot.pipeline.counts["restarts"], robot.pipeline.counts["jumps"]) == (1, 0)


def test_distorted_images_are_rectified_unless_they_are_already():
    projection = [9.0, 0, 3, 0, 0, 9.0, 2, 0, 0, 0, 1, 0]
    info = messages.camera_info(d=[0.1, 0, 0, 0, 0], model="plumb_bob", p=projection)
    robot = Robot(info=info)
    robot.drive(0, 30)
    assert robot.frames[0].camera.distortion == ()
    assert robot.frames[0].camera.fx == 10.0
    rectified = Robot(info=info, rectified=True)
    rectified.drive(0, 30)
    assert rectified.frames[0].camera.fx == 9.0
    np.testing.assert_array_equal(rectified.frames[0].rgb, COLOR)


@pytest.mark.parametrize("model", ["fisheye", "kannala_brandt", "equidistant"])
def test_fisheye_has_several_names(model):
    robot = Robot(info=messages.camera_info(d=[0.1, 0.0, 0.0, 0.0], model=model))
    robot.drive(0, 30)
    assert len(robot.frames) == 1, robot.problems


def test_a_calibration_without_k_is_that_of_rectified_images():
    projection = [9.0, 0, 3, 0, 0, 9.0, 2, 0, 0, 0, 1, 0]
    info = messages.camera_info(d=[0.1, 0, 0, 0, 0], model="plumb_bob", p=projection)
    info.k = [0.0] * 9
    robot = Robot(info=info)
    robot.drive(0, 30)
    assert robot.frames[0].camera.fx == 9.0
    np.testing.assert_array_equal(robot.frames[0].rgb, COLOR)


def test_compressed_transports():
    robot = Robot(color_transport="compressed", depth_transport="compressedDepth")
    robot.pose(0)
    robot.images(
        0,
        messages.compressed(messages.png(COLOR[..., ::-1]), "rgb8; png", at=EPOCH),
        messages.compressed_depth(DEPTH, at=EPOCH),
    )
    (frame,) = robot.frames
    np.testing.assert_array_equal(frame.rgb, COLOR)
    np.testing.assert_allclose(frame.depth, 1.5)


def bad_images():
    small = messages.image(DEPTH[:3, :4], "16UC1", at=EPOCH)
    empty = messages.image(np.full((6, 8), np.nan, np.float32), "32FC1", at=EPOCH)
    infinite = messages.image(np.full((6, 8), np.inf, np.float32), "32FC1", at=EPOCH)
    yuv = messages.image(COLOR, "yuv444", at=EPOCH)
    bigger = messages.camera_info(16, 12)
    return [
        pytest.param({"depth": small}, None, r"/depth/image: .*4x3.*/rgb/image is 8x6", id="sizes"),
        pytest.param({"depth": empty}, None, r"/depth/image: .*NaN", id="nan"),
        pytest.param({"depth": infinite}, None, r"/depth/image: .*infinite", id="infinite"),
        pytest.param({"color": yuv}, None, r"/rgb/image: field encoding.*rgb8", id="encoding"),
        pytest.param({}, False, r"/rgb/camera_info: no CameraInfo", id="no-info"),
        pytest.param({}, messages.camera_info(focal=0.0), r"/rgb/camera_info: .*fx is 0", id="fx"),
        pytest.param({}, bigger, r"/rgb/camera_info: .*16x12.*/rgb/image is 8x6", id="other-info"),
    ]


@pytest.mark.parametrize(("images", "info", "problem"), bad_images())
def test_bad_input_is_named_and_the_next_good_one_is_taken(images, info, problem):
    robot = Robot(info=info)
    robot.pose(0)
    robot.images(0, **images)
    assert robot.frames == []
    (reported,) = robot.problems
    assert re.search(problem, reported)
    robot.pipeline.add_camera_info(messages.camera_info())
    robot.drive(133, 160)
    assert len(robot.frames) == 1


def test_partly_invalid_depth_is_used_where_it_is_valid():
    depth = np.full((6, 8), np.nan, np.float32)
    depth[2:4] = 2.0
    depth[4] = -np.inf
    robot = Robot()
    robot.pose(0)
    robot.images(0, depth=messages.image(depth, "32FC1", at=EPOCH))
    assert robot.frames[0].valid_fraction == pytest.approx(16 / 48)


def test_zero_stamps_and_bad_poses_are_named():
    robot = Robot()
    robot.add_color(messages.image(COLOR, "rgb8", at=0))
    robot.pose(0, quaternion=(0, 0, 0, 0))
    assert "/rgb/image: field header.stamp" in robot.problems[0]
    assert "/pose: field pose.orientation" in robot.problems[1]
    robot.drive(0, 30)
    assert len(robot.frames) == 1


def test_a_pose_gap_costs_its_images_only():
    robot = Robot()
    robot.drive(0, 500)
    before = len(robot.frames)
    robot.images(800)
    robot.drive(1200, 2000)
    assert any("max_pose_gap_s" in problem for problem in robot.problems)
    assert len(robot.frames) > before


def test_images_just_before_the_first_pose_are_no_problem_but_much_older_ones_are():
    robot = Robot()
    robot.images(0)
    robot.pose(100)
    robot.images(120)
    robot.pose(140)
    assert (len(robot.frames), robot.problems) == (1, [])
    assert robot.pipeline.counts["before the first pose"] == 1
    late = Robot()
    late.images(0)
    late.pose(1500)
    assert "older than the first pose" in late.problems[0]


def test_while_one_pair_is_decoded_the_others_are_skipped_and_a_rewind_keeps_its_order():
    queue = []
    robot = Robot(run=queue.append)
    robot.drive(0, 3000)
    assert (len(queue), robot.frames) == (1, [])
    robot.drive(0, 30)
    assert (len(queue), robot.rewinds) == (2, 0)
    for work in queue:
        work()
    assert (len(robot.frames), robot.rewinds) == (1, 1)
    robot.drive(66, 100)
    queue[-1]()
    assert len(robot.frames) == 2, "the view of the old loop must not hold the new one back"


def test_an_unexpected_error_does_not_stop_the_stream():
    robot = Robot()
    robot.add_frame = lambda frame: 1 / 0
    with pytest.raises(ZeroDivisionError):
        robot.drive(0, 30)
    del robot.add_frame
    robot.drive(133, 160)
    assert len(robot.frames) == 1


DEPTH_FRAME = "camera_depth_optical_frame"


def far_camera(**options):
    """A robot whose depth comes from a camera 5 cm to the left, and its images of one moment."""
    moved = pose_matrix((-0.05, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    options.setdefault("extrinsics", lambda color, depth: {DEPTH_FRAME: moved}[depth])
    robot = Robot(**options)
    robot.pose(-5)
    depth = messages.image(
        np.full((3, 4), 1000, np.uint16), "16UC1", at=EPOCH, frame_id=DEPTH_FRAME
    )
    return robot, depth


def test_depth_of_another_camera_is_registered_to_colour():
    robot, depth = far_camera()
    robot.pipeline.add_depth_info(messages.camera_info(4, 3, focal=5.0))
    robot.images(0, depth=depth)
    robot.pose(5)
    (frame,) = robot.frames
    assert robot.pipeline.aligned == "by us"
    assert frame.depth.shape == (6, 8)
    # half a pixel to the left at 1 m with a focal length of 10: the last column is not seen
    assert (frame.depth[:, :7] == 1.0).all()
    assert (frame.depth[:, 7] == 0.0).all()


@pytest.mark.parametrize(
    ("options", "info", "words"),
    [
        ({}, None, "publish the calibration of depth on depth/camera_info"),
        ({"alignment": "refuse"}, True, "set depth_alignment to auto"),
        ({"alignment": "given"}, True, "4x3, but /rgb/image is 8x6"),
        ({"extrinsics": no_extrinsics}, True, "not linked.*color_T_depth"),
        ({}, messages.camera_info(8, 6), "depth/camera_info: fields width and height"),
    ],
)
def test_depth_that_cannot_be_registered_is_refused_with_the_way_out(options, info, words):
    robot, depth = far_camera(**options)
    if info:
        robot.pipeline.add_depth_info(messages.camera_info(4, 3, 5.0) if info is True else info)
    robot.images(0, depth=depth)
    robot.pose(5)
    assert robot.frames == []
    assert re.search(words, robot.problems[0]), robot.problems


def test_frames_of_headers_may_be_declared_meaningless():
    robot = Robot(alignment="given")
    robot.pose(-5)
    robot.images(0, depth=messages.image(DEPTH, "16UC1", at=EPOCH, frame_id=DEPTH_FRAME))
    robot.pose(5)
    np.testing.assert_allclose(robot.frames[0].depth, 1.5, rtol=1e-6)
    assert robot.pipeline.aligned == "yes"
