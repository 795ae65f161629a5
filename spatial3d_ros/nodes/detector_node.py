"""Optional node: an open-vocabulary detector for the objects that questions name.

It is not needed with another detector that publishes vision_msgs.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.msg import Answer, DistanceAnswer, Grounding, LayoutEdit
from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.executor import spin
from spatial3d_ros.nodes.optional_messages import vision_messages
from spatial3d_ros.recognition.prompts import PromptList
from spatial3d_ros.runtime.runtime_stats import Throttle
from spatial3d_ros.sensors.frame_builder import COLOR_DECODERS

if TYPE_CHECKING:
    import numpy as np

    from spatial3d_ros.recognition.box_segmenter import BoxSegmenter
    from spatial3d_ros.recognition.open_vocabulary import Detection2D, OpenVocabularyDetector

LOG_PERIOD_S = 5.0  # the same kind of error is logged once in this time
PARAMETERS: dict[str, tuple[Any, str]] = {
    "model": (
        "models/owlv2_base",
        "Folder of an OWLv2 or Grounding DINO model on this computer.",
    ),
    "mask_model": (
        "",
        "Folder of a SAM 2 model on this computer that segments the boxes; empty: no masks.",
    ),
    "device": ("auto", "Device of the models: auto, cpu, cuda, cuda:1, ..."),
    "source": ("grounding_node", "Name of the grounding node whose questions become prompts."),
    "color_transport": ("raw", "Transport of the color image: raw, or compressed."),
    "prompts": ([""], "Prompts in addition to those from questions."),
    "max_prompts": (16, "Largest number of prompts; the newest questions are kept."),
    "min_score": (0.2, "Ignore detections with a lower score, 0 .. 1."),
    "max_hz": (2.0, "Largest rate of images processed [Hz]."),
}


def load_model(folder: str, device: str) -> OpenVocabularyDetector:
    """Load the model in a folder. Raises CheckpointError or ConfigError."""
    from spatial3d_ros.recognition.open_vocabulary import OpenVocabularyDetector  # imports torch

    return OpenVocabularyDetector.load(folder, device)


def load_mask_model(folder: str, device: str) -> BoxSegmenter:
    """Load the model in a folder. Raises CheckpointError or ConfigError."""
    from spatial3d_ros.recognition.box_segmenter import BoxSegmenter  # imports torch

    return BoxSegmenter.load(folder, device)


class DetectorNode(Node):
    """Subscribes to `rgb/image` and to the answers of a grounding node; publishes `~/detections`
    and, with a mask_model, `~/masks`: label images in which pixel n belongs to the n-th box.

    A thread processes the newest image; images that arrive during that are dropped. Raises
    CheckpointError or ConfigError.
    """

    def __init__(
        self,
        load: Callable[[str, str], OpenVocabularyDetector] = load_model,
        load_masks: Callable[[str, str], BoxSegmenter] = load_mask_model,
        **options: Any,
    ) -> None:
        super().__init__("detector_node", **options)
        parameters = {
            name: self.declare_parameter(name, default, ParameterDescriptor(description=text)).value
            for name, (default, text) in PARAMETERS.items()
        }
        self._vision = vision_messages("detector_node")
        self._detector = load(parameters["model"], parameters["device"])
        self._segmenter: BoxSegmenter | None = None
        if parameters["mask_model"]:
            self._segmenter = load_masks(parameters["mask_model"], parameters["device"])
            self._masks = self.create_publisher(Image, "~/masks", qos.result())
        self.prompts = PromptList(parameters["prompts"], parameters["max_prompts"])
        self._min_score = parameters["min_score"]
        self._period_s = 1.0 / max(parameters["max_hz"], 0.01)
        self._decode = COLOR_DECODERS[parameters["color_transport"]]
        self._should_log = Throttle(LOG_PERIOD_S)
        self._publisher = self.create_publisher(
            self._vision.Detection2DArray, "~/detections", qos.result()
        )
        raw = parameters["color_transport"] == "raw"
        topic = "rgb/image" if raw else "rgb/image/compressed"
        self.create_subscription(
            Image if raw else CompressedImage, topic, self._receive, qos.sensor(1)
        )
        for kind, name in (
            (Grounding, "groundings"),
            (DistanceAnswer, "distances"),
            (Answer, "answers"),
            (LayoutEdit, "layout_edits"),
        ):
            answers = f"{parameters['source']}/{name}"
            self.create_subscription(kind, answers, self._add_prompts, qos.result())
        self._newest: Any = None
        self._received, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="detector", daemon=True)
        self._thread.start()
        self.get_logger().info(f"prompts: {', '.join(self.prompts.current()) or 'none yet'}")

    def close(self) -> None:
        """Stop the thread. Call it before `destroy_node`."""
        self._stopped.set()
        self._received.set()
        self._thread.join()

    def _receive(self, message: Any) -> None:
        self._newest = message
        self._received.set()

    def _add_prompts(self, message: Any) -> None:
        if self.prompts.add_question(message.query):
            self.get_logger().info(f"prompts: {', '.join(self.prompts.current())}")

    def _run(self) -> None:
        """Never raises, because an exception would end the thread without a log line."""
        while not self._stopped.is_set():
            self._received.wait()
            self._received.clear()
            message, prompts = self._newest, self.prompts.current()
            if message is None or not prompts or self._stopped.is_set():
                continue
            started = time.monotonic()
            try:
                rgb = self._decode(message, "rgb/image")
                found = self._detector.detect(rgb, prompts, self._min_score)
                # first, because received boxes wait only briefly for their masks
                self._publish_masks(message.header, rgb, found)
                self._publisher.publish(self._message(message.header, found))
            except Exception as error:
                self._log(error)
            self._stopped.wait(max(0.0, self._period_s - (time.monotonic() - started)))

    def _publish_masks(self, header: Any, rgb: np.ndarray, found: list[Detection2D]) -> None:
        """Publish masks; an error is logged, and the boxes are published without them."""
        if self._segmenter is None:
            return
        try:
            labels = self._segmenter.label_image(rgb, [one.corners for one in found])
            self._masks.publish(_label_message(header, labels))
        except Exception as error:
            self._log(error)

    def _log(self, error: Exception) -> None:
        """Log an error in its `except` block; the same kind once in LOG_PERIOD_S."""
        if not self._stopped.is_set() and self._should_log(type(error).__name__):
            known = isinstance(error, Spatial3DError)
            self.get_logger().error(str(error) if known else traceback.format_exc())

    def _message(self, header: Any, found: list[Detection2D]) -> Any:
        """Detection2DArray with the header of its image, by which it is matched with depth."""
        return self._vision.Detection2DArray(
            header=header, detections=[*map(partial(self._box, header), found)]
        )

    def _box(self, header: Any, one: Detection2D) -> Any:
        left, top, right, bottom = one.corners
        detection = self._vision.Detection2D(header=header)
        center = detection.bbox.center.position
        center.x, center.y = (left + right) / 2, (top + bottom) / 2
        detection.bbox.size_x, detection.bbox.size_y = right - left, bottom - top
        hypothesis = self._vision.ObjectHypothesis(class_id=one.label, score=one.score)
        detection.results = [self._vision.ObjectHypothesisWithPose(hypothesis=hypothesis)]
        return detection


def _label_message(header: Any, labels: np.ndarray) -> Image:
    """mono8 or mono16 of labels (H, W) uint8 or uint16."""
    height, width = labels.shape
    return Image(
        header=header,
        height=height,
        width=width,
        encoding="mono8" if labels.itemsize == 1 else "mono16",
        is_bigendian=sys.byteorder == "big",
        step=width * labels.itemsize,
        data=labels.tobytes(),
    )


def main(
    args: list[str] | None = None,
    load: Callable[[str, str], OpenVocabularyDetector] = load_model,
    load_masks: Callable[[str, str], BoxSegmenter] = load_mask_model,
) -> None:
    """Run the node until SIGINT or SIGTERM. A missing model is one log line and exit code 1."""
    rclpy.init(args=args)
    try:
        node = DetectorNode(load, load_masks)
    except Spatial3DError as error:
        rclpy.logging.get_logger("detector_node").fatal(str(error))
        rclpy.try_shutdown()
        raise SystemExit(1) from None
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spin(executor)
    node.close()
    node.destroy_node()
    rclpy.try_shutdown()
