"""Optional node: recognisers from local folders label the images of the camera.

It is a process of its own: if it is slow, runs out of memory or dies, the grounding node goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rcl_interfaces.msg import ParameterDescriptor
from sensor_msgs.msg import Image
from std_msgs.msg import String

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.detection_messages import boxes_message, class_message, label_message
from spatial3d_ros.nodes.executor import ClosableNode, run_node
from spatial3d_ros.nodes.image_worker import ImageWorker
from spatial3d_ros.nodes.optional_messages import have_vision_messages, vision_messages
from spatial3d_ros.scene.label_voting import STRUCTURE

if TYPE_CHECKING:
    from spatial3d_ros.recognition.recogniser import Recogniser
    from spatial3d_ros.scene.lifting import Detection2D

PARAMETERS: dict[str, tuple[Any, str]] = {
    "models": ([""], "Folders of recognisers on this computer; the first may be of any kind, at "
               "most one may give a class for every pixel."),
    "device": ("auto", "Device of transformers models: auto, cpu, cuda, cuda:1, ..."),
    "color_transport": ("raw", "Transport of the color image: raw, or compressed."),
    "prompts": ([""], "What an open-vocabulary model looks for."),
    "min_score": (0.3, "Ignore detections with a lower score, 0 .. 1."),
    "max_hz": (2.0, "Largest rate of images processed [Hz]."),
}  # fmt: skip


def load_models(folders: Sequence[str], device: str, min_score: float) -> Recogniser:
    """The recognisers of folders as one. Raises CheckpointError or ConfigError."""
    from spatial3d_ros.recognition.loading import load_recognisers  # may import torch

    return load_recognisers(folders, device, min_score)


class RecognitionNode(ClosableNode):
    """Subscribes to `rgb/image`; publishes `~/classes` (Image: the class of every pixel) with
    `~/labels` (String, latched: the name of class k in line k), `~/detections` (Detection2DArray),
    and `~/masks`: label images in which pixel n belongs to the n-th box.

    Only the newest image is processed. Raises CheckpointError or ConfigError.
    """

    def __init__(
        self, load: Callable[[Sequence[str], str, float], Recogniser] = load_models, **options: Any
    ) -> None:
        super().__init__("recognition_node", **options)
        parameters = {
            name: self.declare_parameter(name, default, ParameterDescriptor(description=text)).value
            for name, (default, text) in PARAMETERS.items()
        }
        folders = [folder for folder in parameters["models"] if folder]
        if not folders:
            raise ConfigError("parameter models: empty; name a folder with a model")
        self._recogniser = load(folders, parameters["device"], parameters["min_score"])
        self._prompts = tuple(prompt for prompt in parameters["prompts"] if prompt)
        self._classes = self.create_publisher(Image, "~/classes", qos.result())
        self._labels = self.create_publisher(String, "~/labels", qos.latched())
        self._published: tuple[str, ...] = ()
        self._vision = self._detections = None
        if have_vision_messages():
            self._vision = vision_messages("recognition_node")
            self._masks = self.create_publisher(Image, "~/masks", qos.result())
            self._detections = self.create_publisher(
                self._vision.Detection2DArray, "~/detections", qos.result()
            )
        self._worker = ImageWorker(
            self, parameters["color_transport"], parameters["max_hz"], self._recognise
        )
        count = len([label for label in self._recogniser.labels if label])
        self.get_logger().info(f"recognising {count or 'prompted'} classes: {', '.join(folders)}")

    def close(self) -> None:
        """Stop the thread. Call it before `destroy_node`."""
        self._worker.close()

    def _recognise(self, header: Any, rgb: np.ndarray) -> None:
        found = self._recogniser.recognise(rgb, self._prompts)
        if found.class_image is not None:
            if found.labels != self._published:
                self._labels.publish(String(data="\n".join(found.labels)))
                self._published = found.labels
            self._classes.publish(class_message(header, found.class_image, len(found.labels)))
        boxes = [one for one in found.detections if one.label not in STRUCTURE]
        if self._vision is not None:
            self._publish_boxes(header, rgb.shape[:2], boxes)
        elif boxes:
            vision_messages("~/detections of recognition_node")  # raises: how to install it

    def _publish_boxes(
        self, header: Any, size: tuple[int, ...], found: Sequence[Detection2D]
    ) -> None:
        from spatial3d_ros.recognition.box_segmenter import stack_masks  # imports torch

        assert self._vision is not None and self._detections is not None
        if any(one.mask is not None for one in found):
            empty = np.zeros(size, bool)
            masks = [empty if one.mask is None else one.mask for one in found]
            # first, because received boxes wait only briefly for their masks
            self._masks.publish(label_message(header, stack_masks(masks, (size[0], size[1]))))
        self._detections.publish(boxes_message(self._vision, header, found))


def main(
    args: list[str] | None = None,
    load: Callable[[Sequence[str], str, float], Recogniser] = load_models,
) -> None:
    """Run the node until SIGINT or SIGTERM. A missing model is one log line and exit code 1."""
    run_node(args, "recognition_node", lambda: RecognitionNode(load))
