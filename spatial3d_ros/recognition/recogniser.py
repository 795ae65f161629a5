"""One interface to models that recognise objects in a colour image.

A recogniser is a folder on this computer: a `transformers` model (config.json), or an ONNX or
LiteRT file with a recogniser.yaml (`model_file`). Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from spatial3d_ros.object_catalog import OBJECT_KINDS
from spatial3d_ros.scene.class_parts import connected_parts
from spatial3d_ros.scene.label_voting import STRUCTURE
from spatial3d_ros.scene.lifting import Detection2D

SPEC, CONFIG = "recogniser.yaml", "config.json"
HINT = (
    "a recogniser is a folder with a transformers model (config.json and *.safetensors), or with "
    f"one .onnx or .tflite file and a {SPEC}"
)
_USUAL = {"windowpane": "window"}  # the word of a data set, and that of people


def usual_name(name: str) -> str:
    """The usual one of several words for a class, as in "bookcase, bookshelf"."""
    words = [word.strip() for word in name.replace(";", ",").split(",")]
    word = next((word for word in words if word in OBJECT_KINDS), words[0])
    return _USUAL.get(word, word)


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
        return tuple(connected_parts(self.class_image, self.labels, STRUCTURE))


class Recogniser(Protocol):
    """A model that labels a colour image. `labels` are its classes; () for an open vocabulary."""

    labels: tuple[str, ...]

    def recognise(self, rgb: np.ndarray, prompts: Sequence[str] = ()) -> Recognition:
        """Recognises objects in an image (H, W, 3) uint8 RGB.

        `prompts` are the labels to find with an open vocabulary; other models ignore them. Raises
        RecognitionError if the output of the model does not fit its description.
        """
        ...
