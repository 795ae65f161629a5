"""The recognition node over real DDS: class images reach the engine, and it may fail or end."""

from __future__ import annotations

import importlib.util
import threading
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String

from helpers import ros_bench as bench
from helpers.fake_engine import FakeEngine
from spatial3d_ros.errors import CheckpointError, ConfigError
from spatial3d_ros.nodes import recognition_node
from spatial3d_ros.nodes.grounding_node import GroundingNode
from spatial3d_ros.nodes.recognition_node import RecognitionNode
from spatial3d_ros.recognition.recogniser import Recognition
from spatial3d_ros.scene.lifting import Detection2D

HAVE = importlib.util.find_spec("vision_msgs") is not None
STEP = 200_000_000
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Halves:
    """The left half of an image is a sofa, the right half a table; it can be slow or fail."""

    labels = ("", "sofa", "table")

    def __init__(self, boxes: tuple[Detection2D, ...] = ()) -> None:
        self.boxes = boxes
        self.failure: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.seen: list[int] = []

    def recognise(self, rgb: np.ndarray, prompts: Any = ()) -> Recognition:
        self.seen.append(int(rgb[0, 0, 0]))
        assert self.gate.wait(10)
        if self.failure:
            raise self.failure
        classes = np.full(rgb.shape[:2], 2, np.int32)
        classes[:, : rgb.shape[1] // 2] = 1
        return Recognition(self.boxes, classes, self.labels)


def recognition(made: bench.Bench, model: Halves) -> RecognitionNode:
    return made.add(RecognitionNode(lambda *_: model, context=made.context))


@pytest.fixture
def made():
    bench_ = bench.Bench(
        "-p", "models:=[tiny]", "-p", "max_hz:=50.0", "-p", "topic_timeout_s:=1.0",
        "-p", "class_images:=recognition_node/classes", "-p", "detection_max_hz:=100.0",
    )  # fmt: skip
    yield bench_
    assert bench_.spinning
    bench_.close()


def input_of(node: GroundingNode) -> Any:
    assert node._sensors is not None
    return node._sensors.cameras[0]


def last_problem(node: GroundingNode) -> str:
    return str(input_of(node).last_problem)


class Camera:
    """Frames with rising stamps; `grey` of the newest."""

    def __init__(self, client: bench.LoadClient) -> None:
        self.client, self.count = client, 0

    def send(self) -> None:
        self.count += 1
        stamp = bench.EPOCH + self.count * STEP
        grey = np.full((bench.HEIGHT, bench.WIDTH, 3), self.count % 250, np.uint8)
        color = bench.image(grey, "rgb8", stamp)
        self.client.frame(stamp, x=0.01 * self.count, color=color)
        time.sleep(0.03)


def test_class_images_reach_the_engine_with_their_frame_and_the_node_survives_failures(made):
    engine, model = FakeEngine(), Halves()
    node = made.add(GroundingNode(lambda _: engine, context=made.context))
    recogniser = recognition(made, model)
    client = made.add(bench.LoadClient(made.context))
    camera = Camera(client)
    assert bench.eventually(client.listeners)

    def until(condition, seconds=20.0):
        return bench.eventually(lambda: camera.send() or condition(), seconds)

    assert until(lambda: engine.class_images)
    image = engine.class_images[0]
    assert image.labels == ("", "sofa", "table") and "wall" in image.structure
    assert (image.classes[:, :32] == 1).all() and (image.classes[:, 32:] == 2).all()
    assert image.frame.depth[0, 0] == pytest.approx(2.0)

    # slower than the camera: the newest image is next, ingest goes on
    model.gate.clear()
    assert until(lambda: len(model.seen) > 1 and model.seen[-1] < camera.count - 8)
    waiting, frames = len(model.seen), input_of(node).pipeline.counts["color"]
    for _ in range(10):
        camera.send()
    assert len(model.seen) == waiting
    assert bench.eventually(lambda: input_of(node).pipeline.counts["color"] >= frames + 8)
    newest = camera.count
    model.gate.set()
    assert bench.eventually(lambda: len(model.seen) > waiting)
    assert model.seen[waiting] >= newest - 1  # none of those between

    # it fails, and goes on with the next image
    logged: list[str] = []
    recogniser._worker._logger = type("Log", (), {"error": lambda _, text: logged.append(text)})()
    for failure, words in ((MemoryError("4 GiB"), "out of memory"), (ValueError("odd"), "odd")):
        model.failure = failure
        assert until(lambda words=words: any(words in text for text in logged)), words
    model.failure = None
    before = len(engine.class_images)
    assert until(lambda: len(engine.class_images) > before)

    # it ends: the grounding node says so and goes on
    made.executor.remove_node(recogniser)
    recogniser.close()
    recogniser.destroy_node()
    made._nodes.remove(recogniser)

    def said():
        camera.send()
        return any("its publisher ended" in w for w in input_of(node).watchdog.warnings(1.0))

    assert bench.eventually(said, 20.0)
    assert camera.count and len(engine.frames)


def test_unusable_class_images_are_counted_and_named(made):
    engine = FakeEngine()
    node = made.add(GroundingNode(lambda _: engine, context=made.context))
    client = made.add(bench.LoadClient(made.context))
    classes = client.create_publisher(Image, "recognition_node/classes", 10)
    names = client.create_publisher(String, "recognition_node/labels", LATCHED)
    assert bench.eventually(lambda: client.listeners() and classes.get_subscription_count())
    stamp = bench.EPOCH

    def sent(shape, value):
        nonlocal stamp
        stamp += STEP
        client.frame(stamp, x=(stamp - bench.EPOCH) / 1e10)
        classes.publish(bench.image(np.full(shape, value, np.uint8), "mono8", stamp))
        time.sleep(0.05)
        return input_of(node).detections.counts["an unusable class image"]

    size = (bench.HEIGHT, bench.WIDTH)
    sent(size, 1)
    assert not engine.class_images  # its names are not known yet
    names.publish(String(data="a\nb"))
    assert bench.eventually(lambda: (sent(size, 1) and False) or engine.class_images, 20.0)
    assert engine.class_images[0].labels == ("a", "b")
    before = len(engine.class_images)
    assert bench.eventually(lambda: sent((4, 4), 0) and "64x48" in last_problem(node), 20.0)
    assert bench.eventually(
        lambda: sent(size, 3) and "class 3, but there are names for 2" in last_problem(node), 20.0
    )
    assert all(image.classes.max() == 1 for image in engine.class_images[before:])


@pytest.mark.skipif(HAVE, reason="vision_msgs are here")
def test_boxes_without_vision_msgs_are_an_error_and_classes_go_on(made):
    model = Halves((Detection2D((1.0, 2.0, 9.0, 9.0), "cup", 0.9),))
    node = recognition(made, model)
    logged: list[str] = []
    node._worker._logger = type("Log", (), {"error": lambda _, text: logged.append(text)})()
    client = made.add(bench.LoadClient(made.context))
    received: list[Any] = []
    client.create_subscription(Image, "recognition_node/classes", received.append, 10)
    camera = Camera(client)
    assert bench.eventually(lambda: camera.send() or (received and logged), 20.0)
    assert "needs vision_msgs" in logged[0]


@pytest.mark.skipif(not HAVE, reason="vision_msgs are not here: apt has them")
def test_boxes_and_masks_have_the_stamp_of_their_image(made):
    from spatial3d_ros.nodes.optional_messages import vision_messages

    mask = np.zeros((bench.HEIGHT, bench.WIDTH), bool)
    mask[2:9, 1:9] = True
    found = (
        Detection2D((1.0, 2.0, 9.0, 9.0), "cup", 0.9, mask),
        Detection2D((0.0, 0.0, 60.0, 40.0), "wall", 0.9),  # no object
    )
    recognition(made, Halves(found))
    client = made.add(bench.LoadClient(made.context))
    boxes: list[Any] = []
    masks: list[Any] = []
    kind = vision_messages("").Detection2DArray
    client.create_subscription(kind, "recognition_node/detections", boxes.append, 10)
    client.create_subscription(Image, "recognition_node/masks", masks.append, 10)
    camera = Camera(client)
    assert bench.eventually(lambda: camera.send() or (boxes and masks), 20.0)
    (one,) = boxes[0].detections
    assert one.results[0].hypothesis.class_id == "cup" and one.bbox.size_x == 8.0
    labels = np.frombuffer(masks[0].data, np.uint8).reshape(bench.HEIGHT, bench.WIDTH)
    assert labels.sum() == mask.sum()


def test_missing_models_are_named(tmp_path, capsys):
    made = bench.Bench()
    with pytest.raises(ConfigError, match="parameter models: empty"):
        RecognitionNode(context=made.context)
    made.close()
    made = bench.Bench("-p", f"models:=[{tmp_path}]")
    with pytest.raises(CheckpointError, match=r"no recogniser\.yaml and no config\.json"):
        RecognitionNode(context=made.context)
    made.close()


def test_parameters_are_described():
    for _, text in recognition_node.PARAMETERS.values():
        assert text[0].isupper() and text.endswith(".")
