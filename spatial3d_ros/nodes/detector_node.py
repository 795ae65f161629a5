"""Optional node: an open-vocabulary detector for the objects that questions name.

It is not needed with another detector that publishes vision_msgs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import ParameterDescriptor
from sensor_msgs.msg import Image

from spatial3d_ros.msg import Answer, DistanceAnswer, Grounding, LayoutEdit
from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.detection_messages import boxes_message, label_message
from spatial3d_ros.nodes.executor import ClosableNode, run_node
from spatial3d_ros.nodes.image_worker import ImageWorker
from spatial3d_ros.nodes.optional_messages import vision_messages
from spatial3d_ros.recognition.prompts import PromptList

if TYPE_CHECKING:
    import numpy as np

    from spatial3d_ros.recognition.box_segmenter import BoxSegmenter
    from spatial3d_ros.recognition.open_vocabulary import Detection2D, OpenVocabularyDetector

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


class DetectorNode(ClosableNode):
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
        self._publisher = self.create_publisher(
            self._vision.Detection2DArray, "~/detections", qos.result()
        )
        for kind, name in (
            (Grounding, "groundings"),
            (DistanceAnswer, "distances"),
            (Answer, "answers"),
            (LayoutEdit, "layout_edits"),
        ):
            answers = f"{parameters['source']}/{name}"
            self.create_subscription(kind, answers, self._add_prompts, qos.result())
        self._worker = ImageWorker(
            self,
            parameters["color_transport"],
            parameters["max_hz"],
            self._detect,
            ready=lambda: bool(self.prompts.current()),
        )
        self.get_logger().info(f"prompts: {', '.join(self.prompts.current()) or 'none yet'}")

    def close(self) -> None:
        """Stop the thread. Call it before `destroy_node`."""
        self._worker.close()

    def _add_prompts(self, message: Any) -> None:
        if self.prompts.add_question(message.query):
            self.get_logger().info(f"prompts: {', '.join(self.prompts.current())}")

    def _detect(self, header: Any, rgb: np.ndarray) -> None:
        found = self._detector.detect(rgb, self.prompts.current(), self._min_score)
        # first, because received boxes wait only briefly for their masks
        self._publish_masks(header, rgb, found)
        self._publisher.publish(boxes_message(self._vision, header, found))

    def _publish_masks(self, header: Any, rgb: np.ndarray, found: list[Detection2D]) -> None:
        """Publish masks; an error is logged, and the boxes are published without them."""
        if self._segmenter is None:
            return
        try:
            labels = self._segmenter.label_image(rgb, [one.corners for one in found])
            self._masks.publish(label_message(header, labels))
        except Exception as error:
            self._worker.log(error)


def main(
    args: list[str] | None = None,
    load: Callable[[str, str], OpenVocabularyDetector] = load_model,
    load_masks: Callable[[str, str], BoxSegmenter] = load_mask_model,
) -> None:
    """Run the node until SIGINT or SIGTERM. A missing model is one log line and exit code 1."""
    run_node(args, "detector_node", lambda: DetectorNode(load, load_masks))
