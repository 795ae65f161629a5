"""Detections over real DDS: vision_msgs in and out, the detector node, missing packages."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

from helpers import ros_bench as bench
from helpers.fake_engine import FakeEngine, scene_object
from spatial3d_ros.errors import CheckpointError, ConfigError
from spatial3d_ros.msg import Grounding
from spatial3d_ros.nodes import detector_node
from spatial3d_ros.nodes.annotated_image import marks_of
from spatial3d_ros.nodes.detector_node import DetectorNode
from spatial3d_ros.nodes.grounding_node import GroundingNode
from spatial3d_ros.nodes.optional_messages import vision_messages
from spatial3d_ros.recognition.open_vocabulary import Detection2D
from spatial3d_ros.runtime.parameters import Parameters
from spatial3d_ros.srv import Ground
from spatial3d_ros.tasks.results import Grounding as Grounded
from spatial3d_ros.tasks.results import ScoredObject
from spatial3d_ros.visualization.annotation import GREEN, ORANGE

HAVE = importlib.util.find_spec("vision_msgs") is not None
with_messages = pytest.mark.skipif(not HAVE, reason="vision_msgs are not here: apt has them")
STEP = 200_000_000
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def boxes_2d(stamp_ns, *found, frame="camera_optical_frame"):
    kinds = vision_messages("")
    message = bench.set_stamp(kinds.Detection2DArray(), stamp_ns, frame)
    for label, u, v, width, height in found:
        hypothesis = kinds.ObjectHypothesis(class_id=label, score=0.8)
        box = kinds.Detection2D(results=[kinds.ObjectHypothesisWithPose(hypothesis=hypothesis)])
        box.bbox.center.position.x, box.bbox.center.position.y = u, v
        box.bbox.size_x, box.bbox.size_y = width, height
        message.detections.append(box)
    return message


@pytest.fixture
def world():
    made = bench.Bench("-p", "detections_2d:=boxes", "-p", "detections_3d:=solids")
    engine = FakeEngine()
    node = made.add(GroundingNode(lambda _: engine, context=made.context))
    client = made.add(bench.LoadClient(made.context))
    yield engine, node, client
    assert made.spinning
    made.close()


@with_messages
def test_detections_reach_the_engine_despite_invalid_ones(world):
    engine, node, client = world
    kinds = vision_messages("")
    boxes = client.create_publisher(kinds.Detection2DArray, "boxes", 10)
    solids = client.create_publisher(kinds.Detection3DArray, "solids", 10)
    reports, listed = [], []
    client.create_subscription(DiagnosticArray, "/diagnostics", reports.append, 10)
    client.create_subscription(
        kinds.Detection3DArray, "grounding_node/detections", listed.append, LATCHED
    )
    assert bench.eventually(lambda: client.listeners() and boxes.get_subscription_count())
    now = bench.EPOCH
    nan = float("nan")
    good, bad = ("zorbik", 32.0, 24.0, 20.0, 20.0), ("cup", nan, 0.0, 5.0, 5.0)

    def labels():
        return {s.label for s in engine.sightings}

    def published():
        nonlocal now
        now += STEP
        client.frame(now, x=(now - bench.EPOCH) / STEP)
        boxes.publish(
            boxes_2d(now, good, bad, ("7", 32.0, 24.0, 9.0, 9.0), ("", 1.0, 1.0, 0.0, 0.0))
        )
        boxes.publish(boxes_2d(0, good))
        boxes.publish(boxes_2d(now - 100 * bench.SECOND, good))
        solid = bench.set_stamp(kinds.Detection3DArray(), now, "map")
        solid.detections.append(kinds.Detection3D())
        solid.detections[0].bbox.size.x = solid.detections[0].bbox.size.y = 1.0
        solid.detections[0].bbox.size.z = 1.0
        solids.publish(solid)
        time.sleep(0.05)
        return {"zorbik", ""} <= labels() and any(not len(s.points) for s in engine.sightings)

    assert bench.eventually(published, 20.0)
    zorbik = next(s for s in engine.sightings if s.label == "zorbik")
    assert zorbik.score == pytest.approx(0.8) and len(zorbik.points) > 50
    counts = node._sensors.cameras[0].detections.counts
    for reason in (
        "a box is not finite",
        "a box has no size",
        "a class id has no name",
        "no stamp",
    ):
        assert bench.eventually(lambda reason=reason: published() and counts[reason]), reason
    facts = {}

    def collected():
        for status in (s for r in reports for s in r.status if s.name.endswith("sensors")):
            facts.update({value.key: value.value for value in status.values})
        return "detections.a box is not finite" in facts

    assert bench.eventually(collected)
    assert bench.eventually(lambda: listed and listed[-1].detections)
    (chair, _) = listed[-1].detections
    assert (chair.id, chair.results[0].hypothesis.class_id) == ("1", "chair")
    assert chair.bbox.size.z == 1.0 and listed[-1].header.frame_id == "map"


@pytest.mark.skipif(HAVE, reason="vision_msgs are here")
def test_missing_vision_msgs_is_in_the_reply(world):
    _, _, client = world
    reply = bench.eventually(
        lambda: (r := client.call(Ground, "ground", query="x")) and "vision" in r.message and r
    )
    assert "vision-msgs" in reply.message and not reply.success


def test_annotated_image_is_published_to_a_subscriber():
    made = bench.Bench()
    engine = FakeEngine()
    made.add(GroundingNode(lambda _: engine, context=made.context))
    client = made.add(bench.LoadClient(made.context))
    assert bench.eventually(lambda: client.listeners() == 1)
    stamps = iter(range(bench.EPOCH, 2 * bench.EPOCH, STEP))

    def seen(count):
        client.frame(stamp := next(stamps), x=(stamp - bench.EPOCH) / STEP)
        time.sleep(0.05)
        return len(engine.frames) >= count

    assert bench.eventually(lambda: seen(1))
    assert client.call(Ground, "ground", query="the chair").success
    pictures = []
    client.create_subscription(Image, "grounding_node/annotated", pictures.append, 10)
    assert bench.eventually(lambda: seen(2) and pictures, 20.0)
    assert (pictures[-1].width, pictures[-1].encoding) == (bench.WIDTH, "rgb8")
    assert made.spinning
    made.close()


def test_only_targets_and_likely_candidates_are_drawn():
    chair, table = two_objects()
    answer = grounding(ScoredObject(chair, 0.9), ScoredObject(table, 0.02))
    (mark,) = marks_of(answer)
    assert (mark.text, mark.color) == ("red chair 0.90", GREEN)
    several = grounding(
        ScoredObject(chair, 0.5), ScoredObject(table, 0.4), ScoredObject(table, 0.1)
    )
    assert [mark.color for mark in marks_of(several)] == [GREEN, ORANGE, ORANGE]
    assert marks_of(replace(answer, no_target=True)) == []


def two_objects():
    return [scene_object(k, (k, 0, 0), name, 1) for k, name in enumerate(("chair", "table"))]


def grounding(*found):
    return Grounded("the chair", found, False, "", 1, views_used=1, scene_version=1, stamp_ns=1,
                    stages_ms={})  # fmt: skip


class FakeDetector:
    """Detects every prompt in the middle of the image."""

    def __init__(self):
        self.prompts = []

    def detect(self, rgb, prompts, min_score):
        self.prompts.append(prompts)
        if "trouble" in prompts:
            raise RuntimeError("the model broke")
        return [Detection2D((10.0, 20.0, 30.0, 60.0), prompt, 0.5) for prompt in prompts]


@with_messages
def test_detector_node_takes_prompts_from_questions():
    made = bench.Bench("-p", "prompts:=[door]", "-p", "max_hz:=50.0")
    detector = FakeDetector()
    made.add(DetectorNode(lambda folder, device: detector, context=made.context))
    client = made.add(bench.LoadClient(made.context))
    answers = client.create_publisher(Grounding, "grounding_node/groundings", 10)
    received = []
    kind = vision_messages("").Detection2DArray
    client.create_subscription(kind, "detector_node/detections", received.append, 10)
    assert bench.eventually(answers.get_subscription_count)
    pixels = np.zeros((bench.HEIGHT, bench.WIDTH, 3), np.uint8)
    stamps = iter(range(bench.EPOCH, 2 * bench.EPOCH, STEP))

    def detected(wanted):
        client.send("rgb/image", bench.image(pixels, "rgb8", next(stamps)))
        time.sleep(0.03)
        newest = received[-1].detections if received else []
        return {d.results[0].hypothesis.class_id for d in newest} == wanted

    assert bench.eventually(lambda: detected({"door"}), 20.0)
    answers.publish(Grounding(query="where is the red mug next to the sink?"))
    assert bench.eventually(lambda: detected({"door", "sink", "mug"}))
    box = received[-1].detections[0].bbox
    assert (box.center.position.x, box.center.position.y) == (20.0, 40.0)
    assert (box.size_x, box.size_y) == (20.0, 40.0)
    assert received[-1].header.frame_id == "camera_optical_frame"
    answers.publish(Grounding(query="trouble"))
    assert bench.eventually(lambda: detected(set()) or "trouble" in detector.prompts[-1])
    assert made.spinning
    made.close()


class FakeSegmenter:
    """Segments the left part of the first box and all of the others; `broken` makes it raise."""

    broken = False

    def label_image(self, rgb, corners):
        if self.broken:
            raise RuntimeError("the mask model broke")
        labels = np.zeros(rgb.shape[:2], np.uint8)
        for index, (left, top, right, bottom) in reversed([*enumerate(corners)]):
            across = left + 0.4 * (right - left) if index == 0 else right
            labels[int(top) : int(bottom), int(left) : int(across)] = index + 1
        return labels


@with_messages
def test_masks_of_the_detector_node_limit_the_points_of_a_detection():
    made = bench.Bench(
        "-p", "detections_2d:=detector_node/detections",
        "-p", "detection_masks:=detector_node/masks", "-p", "detection_delay_s:=20.0",
        "-p", "prompts:=[lamp]", "-p", "max_hz:=50.0", "-p", "mask_model:=somewhere",
    )  # fmt: skip
    engine, segmenter, masks, boxes = FakeEngine(), FakeSegmenter(), [], []
    node = made.add(GroundingNode(lambda _: engine, context=made.context))
    made.add(
        DetectorNode(
            lambda *_: FakeDetector(), lambda folder, device: segmenter, context=made.context
        )
    )
    client = made.add(bench.LoadClient(made.context))
    client.create_subscription(Image, "detector_node/masks", masks.append, 10)
    kind = vision_messages("").Detection2DArray
    client.create_subscription(kind, "detector_node/detections", boxes.append, 10)
    assert bench.eventually(client.listeners)
    stamps = iter(range(bench.EPOCH, 2 * bench.EPOCH, STEP))

    def published(done):
        stamp = next(stamps)
        # the middle of the box is far behind its left part; only the mask excludes it
        depth = np.full((bench.HEIGHT, bench.WIDTH), 2000, np.uint16)
        depth[:, 18:] = 4000
        client.frame(
            stamp, x=(stamp - bench.EPOCH) / STEP, depth=bench.image(depth, "16UC1", stamp)
        )
        time.sleep(0.05)
        return done()

    counts = node._sensors.cameras[0].detections.counts

    def lifted():  # the camera looks along the world's z, in these poses
        return any(s.box.center[2] == pytest.approx(2.0, abs=0.01) for s in engine.sightings)

    assert bench.eventually(lambda: published(lifted), 30.0)
    assert masks[-1].encoding == "mono8" and masks[-1].header.frame_id == "camera_optical_frame"
    stamped = {(m.header.stamp.sec, m.header.stamp.nanosec) for m in masks}
    assert stamped & {(m.header.stamp.sec, m.header.stamp.nanosec) for m in boxes}
    assert not counts["a mask of no use"]
    segmenter.broken = True
    already = len(boxes)
    assert bench.eventually(lambda: published(lambda: len(boxes) > already + 2))
    assert made.spinning
    made.close()


@with_messages
def test_detector_node_without_weights_names_the_folder(tmp_path):
    made = bench.Bench("-p", f"model:={tmp_path}/owl")
    with pytest.raises(CheckpointError, match=r"owl: no config\.json.*spatial3d download"):
        DetectorNode(context=made.context)
    made.context.try_shutdown()


def test_approach_node_needs_nav2_msgs():
    from spatial3d_ros.nodes.optional_messages import navigate_to_pose

    if importlib.util.find_spec("nav2_msgs") is not None:
        assert navigate_to_pose().Goal is not None
        return
    with pytest.raises(ConfigError, match="nav2-msgs"):
        navigate_to_pose()


def test_parameters_of_the_detector_node_are_described():
    for _, text in detector_node.PARAMETERS.values():
        assert text.endswith(".")
    assert Parameters().detections_2d == ""
