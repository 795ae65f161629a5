"""An open-vocabulary detector beside the grounding node: finds what questions name.

Optional: with a detector of one's own for the things at hand, it is not needed.
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
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.msg import Answer, DistanceAnswer, Grounding, LayoutEdit
from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.executor import spin
from spatial3d_ros.nodes.vision_messages import vision_messages
from spatial3d_ros.recognition.prompts import PromptList
from spatial3d_ros.runtime.runtime_stats import Throttle
from spatial3d_ros.sensors.frame_builder import COLOR_DECODERS

if TYPE_CHECKING:
    import numpy as np

    from spatial3d_ros.recognition.box_segmenter import BoxSegmenter
    from spatial3d_ros.recognition.open_vocabulary import Detection2D, OpenVocabularyDetector

REPEAT_S = 5.0
PARAMETERS: dict[str, tuple[Any, str]] = {
    "model": (
        "models/owlv2_base",
        "Folder with an OWLv2 or Grounding DINO model, on this computer.",
    ),
    "mask_model": (
        "",
        "Folder with a SAM 2 model, on this computer, that masks the boxes; empty: no masks.",
    ),
    "device": ("auto", "Where the models run: auto, cpu, cuda, cuda:1, ..."),
    "source": ("grounding_node", "Name of the node whose questions tell what to look for."),
    "color_transport": ("raw", "rgb/image as it is (raw), or rgb/image/compressed (compressed)."),
    "prompts": ([""], "What to look for besides what questions name."),
    "max_prompts": (16, "Most things looked for at once; the newest questions count."),
    "min_score": (0.2, "Leave out boxes that the model is less sure of, 0 .. 1."),
    "max_hz": (2.0, "Look at no more images a second than this [Hz]."),
}


def load_model(folder: str, device: str) -> OpenVocabularyDetector:
    """The model of a folder. Raises CheckpointError or ConfigError."""
    from spatial3d_ros.recognition.open_vocabulary import OpenVocabularyDetector  # brings torch

    return OpenVocabularyDetector.load(folder, device)


def load_mask_model(folder: str, device: str) -> BoxSegmenter:
    """The model of a folder. Raises CheckpointError or ConfigError."""
    from spatial3d_ros.recognition.box_segmenter import BoxSegmenter  # brings torch

    return BoxSegmenter.load(folder, device)


class DetectorNode(Node):
    """Subscribes to `rgb/image` and to the answers of a grounding node; publishes `~/detections`
    and, with a mask_model, `~/masks`: label images in which pixel n belongs to the n-th box.

    The newest image is looked at on a thread of its own; images that come meanwhile are passed
    over. Raises CheckpointError or ConfigError, so that what is missing is told at once.
    """

    def __init__(
        self,
        load: Callable[[str, str], OpenVocabularyDetector] = load_model,
        load_masks: Callable[[str, str], BoxSegmenter] = load_mask_model,
        **options: Any,
    ) -> None:
        super().__init__("detector_node", **options)
        given = {
            name: self.declare_parameter(name, default, _described(text)).value
            for name, (default, text) in PARAMETERS.items()
        }
        self._kinds = vision_messages("detector_node")
        self._detector = load(given["model"], given["device"])
        self._segmenter: BoxSegmenter | None = None
        if given["mask_model"]:
            self._segmenter = load_masks(given["mask_model"], given["device"])
            self._masks = self.create_publisher(Image, "~/masks", qos.result())
        self.prompts = PromptList(given["prompts"], given["max_prompts"])
        self._min_score, self._period = given["min_score"], 1.0 / max(given["max_hz"], 0.01)
        self._decode = COLOR_DECODERS[given["color_transport"]]
        self._say = Throttle(REPEAT_S)
        self._publisher = self.create_publisher(
            self._kinds.Detection2DArray, "~/detections", qos.result()
        )
        raw = given["color_transport"] == "raw"
        topic = "rgb/image" if raw else "rgb/image/compressed"
        self.create_subscription(
            Image if raw else CompressedImage, topic, self._keep, qos.sensor(1)
        )
        for kind, name in (
            (Grounding, "groundings"),
            (DistanceAnswer, "distances"),
            (Answer, "answers"),
            (LayoutEdit, "layout_edits"),
        ):
            heard = f"{given['source']}/{name}"
            self.create_subscription(kind, heard, self._hear, qos.result())
        self._newest: Any = None
        self._come, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._look, name="detector", daemon=True)
        self._thread.start()
        self.get_logger().info(f"looking for {', '.join(self.prompts.current()) or 'nothing yet'}")

    def close(self) -> None:
        """End the thread; call it before the node is destroyed."""
        self._stopped.set()
        self._come.set()
        self._thread.join()

    def _keep(self, message: Any) -> None:
        self._newest = message
        self._come.set()

    def _hear(self, message: Any) -> None:
        if self.prompts.add_question(message.query):
            self.get_logger().info(f"looking for {', '.join(self.prompts.current())}")

    def _look(self) -> None:
        """Never raises: a thread that ends without a word would be a node that sees nothing."""
        while not self._stopped.is_set():
            self._come.wait()
            self._come.clear()
            message, prompts = self._newest, self.prompts.current()
            if message is None or not prompts or self._stopped.is_set():
                continue
            started = time.monotonic()
            try:
                rgb = self._decode(message, "rgb/image")
                found = self._detector.detect(rgb, prompts, self._min_score)
                # first: boxes that have come wait for their masks, but not for long
                self._publish_masks(message.header, rgb, found)
                self._publisher.publish(self._message(message.header, found))
            except Exception as error:
                self._tell(error)
            self._stopped.wait(max(0.0, self._period - (time.monotonic() - started)))

    def _publish_masks(self, header: Any, rgb: np.ndarray, found: list[Detection2D]) -> None:
        """Boxes are worth something without masks: what goes wrong here must not cost them."""
        if self._segmenter is None:
            return
        try:
            labels = self._segmenter.label_image(rgb, [one.corners for one in found])
            self._masks.publish(_label_message(header, labels))
        except Exception as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        """Call it where the error is caught; the same kind is told once in a while."""
        if not self._stopped.is_set() and self._say(type(error).__name__):
            known = isinstance(error, Spatial3DError)
            self.get_logger().error(str(error) if known else traceback.format_exc())

    def _message(self, header: Any, found: list[Detection2D]) -> Any:
        """Detection2DArray with the header of its image, by which the boxes find their depth."""
        return self._kinds.Detection2DArray(
            header=header, detections=[*map(partial(self._box, header), found)]
        )

    def _box(self, header: Any, one: Detection2D) -> Any:
        kinds = self._kinds
        left, top, right, bottom = one.corners
        detection = kinds.Detection2D(header=header)
        center = detection.bbox.center.position
        center.x, center.y = (left + right) / 2, (top + bottom) / 2
        detection.bbox.size_x, detection.bbox.size_y = right - left, bottom - top
        hypothesis = kinds.ObjectHypothesis(class_id=one.label, score=one.score)
        detection.results = [kinds.ObjectHypothesisWithPose(hypothesis=hypothesis)]
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


def _described(text: str) -> Any:
    from rcl_interfaces.msg import ParameterDescriptor

    return ParameterDescriptor(description=text)


def main(
    args: list[str] | None = None,
    load: Callable[[str, str], OpenVocabularyDetector] = load_model,
    load_masks: Callable[[str, str], BoxSegmenter] = load_mask_model,
) -> None:
    """Run the node until SIGINT or SIGTERM; what is missing ends it with one line."""
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
