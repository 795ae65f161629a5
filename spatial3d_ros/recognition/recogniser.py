"""One interface to models that recognise objects in a colour image.

A recogniser is a folder on this computer: a `transformers` model (config.json), or an ONNX or
LiteRT file with a recogniser.yaml (`model_file`). Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from spatial3d_ros.scene.label_voting import STRUCTURE
from spatial3d_ros.scene.lifting import Detection2D

SPEC = "recogniser.yaml"
HINT = (
    "a recogniser is a folder with a transformers model (config.json and *.safetensors), or with "
    f"one .onnx or .tflite file and a {SPEC}"
)
MIN_AREA = 0.001  # share of the image below which a part of a class image is no detection


@dataclass(frozen=True, eq=False)
class Recognition:
    """What a recogniser found in one image of H x W pixels.

    `detections`: boxes, with masks if the model gives them. `class_image` (H, W) int32: index into
    `labels`; a label "" is a pixel of no known class. None from a model of boxes.
    """

    detections: tuple[Detection2D, ...] = ()
    class_image: np.ndarray | None = None
    labels: tuple[str, ...] = field(default=(), repr=False)

    def objects(self) -> tuple[Detection2D, ...]:
        """The detections without structure; without any, connected parts of the class image."""
        if self.detections or self.class_image is None:
            return tuple(one for one in self.detections if one.label not in STRUCTURE)
        return tuple(_connected_parts(self.class_image, self.labels))


class Recogniser(Protocol):
    """A model that labels a colour image. `labels` are its classes; () for an open vocabulary."""

    labels: tuple[str, ...]

    def recognise(self, rgb: np.ndarray, prompts: Sequence[str] = ()) -> Recognition:
        """Recognises objects in an image (H, W, 3) uint8 RGB.

        `prompts` are the labels to find with an open vocabulary; other models ignore them. Raises
        RecognitionError if the output of the model does not fit its description.
        """
        ...


def _connected_parts(class_image: np.ndarray, labels: Sequence[str]) -> list[Detection2D]:
    """A detection with mask for each large connected part of an object class; score 1."""
    height, width = class_image.shape
    found = []
    for index in np.unique(class_image).tolist():
        label = labels[index]
        if not label or label in STRUCTURE:
            continue
        count, parts, stats, _ = cv2.connectedComponentsWithStats(
            (class_image == index).astype(np.uint8), connectivity=4
        )
        for k in range(1, count):
            left, top, across, down, area = stats[k].tolist()
            if area >= MIN_AREA * height * width:
                corners = (float(left), float(top), float(left + across), float(top + down))
                found.append(Detection2D(corners, label, 1.0, parts == k))
    return found
