"""Detectors' messages: what is taken, what is left out and by which name, and where it ends up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import messages as make
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.pose import pose_matrix, quaternion_xyzw
from spatial3d_ros.sensors.camera_poses import TopicPoses
from spatial3d_ros.sensors.detection_pipeline import DetectionPipeline, DetectionTopics
from spatial3d_ros.sensors.detection_reader import DetectionReader, class_names, clean_label
from spatial3d_ros.sensors.frame_builder import FrameBuilder, SyncedFrame, Topics
from spatial3d_ros.sensors.frame_pipeline import Problem
from spatial3d_ros.sensors.transforms import TransformTree

WIDTH, HEIGHT, FOCAL = 64, 48, 60.0
NAN, INF = math.nan, math.inf


def reader(names=(), min_score=0.3, max_count=100):
    made = DetectionReader(class_names(names), min_score, max_count)
    return made, made.counts, []


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        (make.detection_2d("cup", (NAN, 0, 5, 5)), "a box is not finite"),
        (make.detection_2d("cup", (0, 0, INF, 5)), "a box is not finite"),
        (make.detection_2d("cup", (5, 5, 5, 9)), "a box has no size"),
        (make.detection_2d("cup", (5, 5, 1, 9)), "a box has no size"),
        (make.detection_2d("cup", (0, 0, 5, 5), score=NAN), "a score is not in 0 .. 1"),
        (make.detection_2d("cup", (0, 0, 5, 5), score=87.0), "a score is not in 0 .. 1"),
        (make.detection_2d("cup", (0, 0, 5, 5), score=0.1), "score too low"),
    ],
)
def test_bad_boxes_are_counted_by_reason_and_good_ones_beside_them_are_taken(box, reason):
    made, counts, problems = reader()
    good = make.detection_2d("dining_table", (1, 2, 11, 22), score=0.8)
    found = made.read_2d(make.detections(box, good), problems.append)
    assert [(f.label, f.index) for f in found] == [("dining table", 1)]
    assert found[0].corners == pytest.approx((1, 2, 11, 22))
    assert counts[reason] == 1
    assert reason == "score too low" or len(problems) == 1


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        (make.detection_3d("cup", (NAN, 0, 0), (1, 1, 1)), "a box is not finite"),
        (make.detection_3d("cup", (0, 0, 0), (1, 0, 1)), "a box has no size"),
        (make.detection_3d("cup", (0, 0, 0), (1, -1, 1)), "a box has no size"),
        (make.detection_3d("cup", (0, 0, 0), (1, 1, 99)), "a box is too large"),
        (
            make.detection_3d("cup", (0, 0, 0), (1, 1, 1), quaternion=(3.0, 0, 0, 1)),
            "a box has no orientation",
        ),
    ],
)
def test_bad_boxes_in_space_too(box, reason):
    made, counts, problems = reader()
    assert made.read_3d(make.detections(box), problems.append) == []
    assert counts[reason] == 1 and reason in problems[0]


def test_of_ten_thousand_boxes_the_surest_are_taken():
    made, counts, problems = reader(max_count=50)
    many = [make.detection_2d("cup", (0, 0, 5, 5), score=0.3 + k / 20_000) for k in range(10_000)]
    found = made.read_2d(make.detections(*many), problems.append)
    assert len(found) == 50 and min(f.score for f in found) > 0.79
    assert counts["too many boxes"] == 9950
    assert "detection_max_count" in problems[0]


def test_further_hypotheses_of_a_box_are_kept():
    made, _, problems = reader(names=["17=Katze"])
    box = make.detection_2d("cup", (0, 0, 5, 5), score=0.6)
    box.results += [
        make.hypothesis("17", 0.3),
        make.hypothesis("9", 0.2),
        make.hypothesis("a", NAN),
    ]
    (found,) = made.read_2d(make.detections(box), problems.append)
    assert (found.label, found.others) == ("cup", (("Katze", 0.3),)) and not problems


def test_numbers_are_classes_with_a_name_or_boxes_without_a_label():
    made, counts, problems = reader(names=["person", "bicycle", "17=Katze"])
    ids = ("1", "17", "3", "cat", "1.0", "id_17", "class 0", "-1", "41.0", "id_41")
    boxes = [make.detection_2d(word, (0, 0, 5, 5)) for word in ids]
    found = made.read_2d(make.detections(*boxes), problems.append)
    labels = {f.index: f.label for f in found}
    assert [labels[k] for k in range(4)] == ["bicycle", "Katze", "", "cat"]
    assert [labels[k] for k in range(4, 10)] == ["bicycle", "Katze", "person", "", "", ""]
    assert counts["a class id has no name"] == 4 and "detection_classes" in problems[0]
    with pytest.raises(ConfigError, match="detection_classes"):
        class_names(["person", "7="])


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("traffic_light", "traffic light"),
        ("  a\tb\x00c ", "a b c"),
        ("<OBJ001> <ground>", "OBJ001 ground"),
        ("赤い箱", "赤い箱"),
        ("café \udcff", "café ?"),
        ("x" * 500, "x" * 64),
    ],
)
def test_labels_become_words(text, label):
    assert clean_label(text) == label


def test_a_tilted_box_becomes_the_upright_one_around_it():
    made, _, problems = reader()
    optical = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], float)  # world from optical axes
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = optical, (1, 2, 3)
    turned = make.detection_3d("cup", (0.5, 0.0, 4.0), (0.2, 0.4, 0.6))
    (found,) = made.read_3d(make.detections(turned), problems.append)
    box = found.upright(world)
    assert box.center == pytest.approx((5.0, 1.5, 3.0))
    low, high = box.bounds()
    assert high - low == pytest.approx([0.6, 0.2, 0.4])
    half = pose_matrix((0, 0, 0), (math.sin(0.4), 0, 0, math.cos(0.4)))[:3, :3]
    tilted = make.detection_3d("cup", (0, 0, 0), (1, 1, 1), quaternion=quaternion_xyzw(half))
    (found,) = made.read_3d(make.detections(tilted), problems.append)
    assert found.upright(np.eye(4)).size[1] == pytest.approx(math.cos(0.8) + math.sin(0.8))


NUMBERS = st.floats(width=32) | st.sampled_from([0.0, 1e30, -1e30, NAN, INF])


@given(st.lists(NUMBERS, min_size=10, max_size=10), st.text(max_size=99), NUMBERS)
def test_whatever_stands_in_a_message_nothing_is_raised(numbers, label, score):
    made, _, problems = reader(names=["a"])
    u, v, width, height, theta, *space = numbers
    flat = make.detection_2d(label, (u, v, width, height), score=score, theta=theta)
    solid = make.detection_3d(label, (u, v, width), space[:3], score, (*space[3:], theta, 0.0))
    for found in made.read_2d(make.detections(flat), problems.append):
        assert np.isfinite(found.corners).all() and 0.3 <= found.score <= 1
    for found in made.read_3d(make.detections(solid), problems.append):
        box = found.upright(np.eye(4))
        assert min(box.size) > 0 and len(found.label) <= 64


class Camera:
    """A detection pipeline; its camera faces along the world's x, one metre up."""

    def __init__(self, masks="", transforms=None, **options):
        self.problems, self.detections = [], []
        self.poses = TopicPoses("/pose", "pose")
        topics = Topics("/rgb", "/depth", "/info", "/pose")
        self.pipeline = DetectionPipeline(
            DetectionTopics("/found", "/found3d", masks),
            DetectionReader({}, 0.3, 100),
            FrameBuilder(topics),
            self.poses,
            transforms,
            **options,
        )
        self.counts = self.pipeline.counts

    def handle(self, items):
        for item in items:
            detections, problems = ([], [item]) if isinstance(item, Problem) else item()
            self.detections += detections
            self.problems += map(str, problems)

    def add_2d(self, message):
        self.handle(self.pipeline.add_2d(message))

    def add_3d(self, message):
        self.handle(self.pipeline.add_3d(message))

    def add_mask(self, message):
        self.handle(self.pipeline.add_mask(message))

    def add_frame(self, at, depth=None):
        optical = (-0.5, 0.5, -0.5, 0.5)
        self.poses.take(make.pose_stamped(at, (0.0, 0.0, 1.0), optical, "odom"))
        color = make.image(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), "rgb8", at=at)
        far = np.full((HEIGHT, WIDTH), 3000, np.uint16) if depth is None else depth
        info = make.camera_info(WIDTH, HEIGHT, FOCAL)
        pose = pose_matrix((0.0, 0.0, 1.0), optical)
        depth = make.image(far, "16UC1", at=at)
        self.handle(
            self.pipeline.add_frame(SyncedFrame(at, color, depth, info, None, pose, "odom"))
        )


def block():
    """A wall at 3 m with a block at 2 m before its middle."""
    depth = np.full((HEIGHT, WIDTH), 3000, np.uint16)
    depth[16:32, 24:40] = 2000
    return depth


S = make.SECOND


@pytest.mark.parametrize("order", ["image first", "boxes first"])
def test_a_box_in_the_image_becomes_a_box_in_the_world(order):
    run = Camera()
    found = make.detections(make.detection_2d("zorbik", (22, 14, 42, 34)), at=5 * S)
    steps = [lambda: run.add_frame(5 * S, block()), lambda: run.add_2d(found)]
    for step in steps if order == "image first" else reversed(steps):
        step()
    (detection,) = run.detections
    assert (detection.label, detection.score, detection.stamp_ns) == ("zorbik", 0.9, 5 * S)
    low, high = detection.box.bounds()
    assert low[0] == high[0] == pytest.approx(2.0, abs=1e-3)
    assert (low[1], high[1]) == pytest.approx((-0.26, 0.26), abs=0.05)
    assert (low[2], high[2]) == pytest.approx((0.74, 1.26), abs=0.05)
    assert not run.problems


def test_a_mask_separates_an_object_from_one_in_front_of_it():
    run = Camera(masks="/masks")
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[20:40, 2:22] = 2
    other = make.detection_2d("post", (24, 16, 40, 32))
    behind = make.detection_2d("rug", (0, 18, 60, 42), score=0.5)
    run.add_frame(5 * S, block())
    run.add_2d(make.detections(other, behind, at=5 * S))
    assert not run.detections  # the mask is still to come
    run.add_mask(make.image(labels, "mono8", at=5 * S))
    assert {s.label for s in run.detections} == {"post", "rug"}
    (rug,) = (s for s in run.detections if s.label == "rug")
    assert rug.box.center[0] == pytest.approx(3.0, abs=1e-3)
    assert rug.box.bounds()[0][1] > 0.4  # left of the middle


def test_boxes_of_a_slow_detector_wait_for_their_mask_too():
    run = Camera(masks="/masks", max_delay_s=9.0)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[20:40, 2:22] = 1
    for at in (5, 6, 7):
        run.add_frame(at * S, block())
    run.add_2d(make.detections(make.detection_2d("rug", (0, 18, 60, 42)), at=5 * S))
    assert not run.detections  # what was sent first need not come first
    run.add_mask(make.image(labels, "mono8", at=5 * S))
    assert [s.label for s in run.detections] == ["rug"]
    assert run.detections[0].box.center[0] == pytest.approx(3.0, abs=1e-3)
    assert not run.counts["without its mask"]


def test_without_its_mask_a_box_is_taken_by_itself_after_a_while():
    run = Camera(masks="/masks")
    run.add_frame(5 * S, block())
    run.add_2d(make.detections(make.detection_2d("zorbik", (22, 14, 42, 34)), at=5 * S))
    run.add_frame(6 * S)
    assert len(run.detections) == 1 and run.counts["without its mask"] == 1
    run.add_2d(make.detections(make.detection_2d("zorbik", (22, 14, 42, 34)), at=6 * S))
    run.add_mask(make.image(np.ones((4, 4), np.uint8), "mono8", at=6 * S))
    assert run.counts["an unusable mask"] == 1 and "4x4" in run.problems[-1]


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"at": 0}, "no stamp", "header.stamp"),
        ({"at": 2 * S}, "no frame of that stamp", "detection_delay_s"),
        ({"frame_id": "rear_camera"}, "no frame of that stamp", "rear_camera"),
    ],
)
def test_what_fits_no_image_is_named(change, reason, words):
    run = Camera()
    run.add_frame(5 * S)
    box = make.detection_2d("cup", (22, 14, 42, 34))
    run.add_2d(make.detections(box, **{"at": 5 * S, **change}))
    assert not run.detections and run.counts[reason] == 1
    assert words in run.problems[0] and run.problems[0].startswith("/found: ")


def test_no_depth_in_a_box_is_named_and_the_others_are_taken():
    run = Camera()
    depth = block()
    depth[:, :20] = 0
    run.add_frame(5 * S, depth)
    places = {"glass": (2, 2, 18, 30), "cup": (22, 14, 42, 34), "far": (900, 0, 1e30, 9)}
    boxes = [make.detection_2d(*place) for place in places.items()]
    run.add_2d(make.detections(*boxes, at=5 * S))
    assert [s.label for s in run.detections] == ["cup"]
    assert run.counts["no depth"] == 2 and "glass" in run.problems[0]


def test_boxes_of_another_time_wait_in_a_bounded_queue_and_rates_are_held():
    run = Camera(max_hz=5.0)
    run.add_frame(S)
    for k in range(100):
        run.add_2d(make.detections(at=10 * S + k * S // 10))
    assert run.pipeline.waiting == 16
    assert run.counts["skipped"] == 50 + 34
    run.pipeline.clear()
    assert run.pipeline.waiting == 0


def test_boxes_in_space_are_placed_from_any_frame_that_is_known():
    tree = TransformTree(0.3, live=True)
    tree.add(make.transforms(("odom", "lidar", 0, (0.0, 0.0, 2.0))), fixed=True)
    run = Camera(transforms=tree)
    run.add_frame(5 * S)
    box = make.detection_3d("zorbik", (1.0, 0.0, 0.0), (0.2, 0.2, 0.2))
    for k, frame in enumerate(("odom", "/lidar", make.CAMERA)):
        run.add_frame((6 + k) * S)
        run.add_3d(make.detections(box, at=(6 + k) * S, frame_id=frame))
    centers = [s.box.center for s in run.detections]
    assert np.allclose(centers, [(1, 0, 0), (1, 0, 2), (0, -1, 1)])
    run.add_3d(make.detections(box, at=20 * S, frame_id=""))
    assert run.counts["no transform"] == 1 and "frame_id is empty" in run.problems[0]


def test_a_frame_that_nobody_knows_is_named_after_a_while(monkeypatch):
    run = Camera()
    run.add_frame(5 * S)
    box = make.detection_3d("zorbik", (1.0, 0.0, 0.0), (0.2, 0.2, 0.2))
    run.add_3d(make.detections(box, at=5 * S, frame_id="nowhere"))
    assert run.pipeline.waiting == 1
    monkeypatch.setattr("spatial3d_ros.sensors.detection_pipeline.GIVE_UP_S", 0.0)
    run.add_frame(6 * S)
    assert run.pipeline.waiting == 0 and "'nowhere'" in run.problems[0]


@pytest.mark.parametrize(
    ("corners", "words"),
    [
        ((0.2, 0.2, 0.6, 0.7), "as if normalised, but the image is 64x48"),
        ((200, 100, 400, 260), "boxes reach (400, 260), but the image is 64x48"),
    ],
)
def test_boxes_of_another_pixel_space_are_named(corners, words):
    run = Camera()
    run.add_frame(5 * S, block())
    run.add_2d(make.detections(make.detection_2d("cup", corners), at=5 * S))
    assert not run.detections and run.counts["another pixel space"] == 1
    assert words in run.problems[0] and "publish boxes in pixels of /rgb" in run.problems[0]
