"""OWLv2 or Grounding DINO of `transformers` on one image: words in, boxes with scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatial3d_ros.geometry.box import iou_matrix
from spatial3d_ros.recognition.folders import LOCAL, load_folder, on_device

SAME_BOX = 0.6  # overlap (IoU) from which two boxes of one word are one thing
LEAST_PX = 1.0  # a box with a shorter side shows nothing
KINDS = ("owlv2", "grounding-dino")
CURE = (
    "on a computer that is online: spatial3d download owlv2_base, then give its folder as the "
    "parameter model"
)


@dataclass(frozen=True)
class Detected:
    """A box in pixels (left, top, right, bottom), the prompt that it answers, and a score."""

    corners: tuple[float, float, float, float]
    label: str
    score: float


class OpenVocabularyDetector:
    """A model with its processor, from a folder on this computer; nothing is ever downloaded.

    Raises CheckpointError, naming the folder and how to fill it, and ConfigError for a device that
    is not there.
    """

    def __init__(self, model: Any, processor: Any, device: str = "auto") -> None:
        self._model, self.device = on_device(model, device)
        self._processor = processor

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> OpenVocabularyDetector:
        """From a folder with config.json, weights in safetensors, processor and tokenizer."""
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        def read(folder: Path) -> OpenVocabularyDetector:
            model = AutoModelForZeroShotObjectDetection.from_pretrained(
                folder, use_safetensors=True, **LOCAL
            )
            return cls(model, AutoProcessor.from_pretrained(folder, **LOCAL), device)

        return load_folder(folder, KINDS, CURE, read)

    @torch.inference_mode()
    def detect(
        self, rgb: np.ndarray, prompts: Sequence[str], min_score: float = 0.2
    ) -> list[Detected]:
        """Boxes of things that fit a prompt, best first: rgb (H, W, 3) uint8. No prompt: none."""
        if not prompts:
            return []
        height, width = rgb.shape[:2]
        words = [list(prompts)]
        inputs = self._processor(images=rgb, text=words, return_tensors="pt").to(self.device)
        found = self._processor.post_process_grounded_object_detection(
            self._model(**inputs),
            threshold=min_score,
            target_sizes=[(height, width)],
            text_labels=words,
        )[0]
        boxes = found["boxes"].float().cpu().numpy().reshape(-1, 4)
        np.clip(boxes, 0, [width, height, width, height], out=boxes)
        return _distinct(
            [
                Detected(tuple(map(float, box)), _prompt(label, prompts), float(score))
                for box, score, label in zip(
                    boxes, found["scores"], found["text_labels"], strict=True
                )
                if (box[2:] - box[:2] >= LEAST_PX).all() and _prompt(label, prompts)
            ]
        )


def _prompt(label: str, prompts: Sequence[str]) -> str:
    """The prompt that a label is, or is a part of: Grounding DINO may give a word of several."""
    if label in prompts:
        return label
    return next((prompt for prompt in prompts if label and label in prompt), "")


def _distinct(found: Sequence[Detected]) -> list[Detected]:
    """Best first; of boxes of one word that are nearly the same, the best alone."""
    found = sorted(found, key=lambda one: -one.score)
    corners = np.array([one.corners for one in found]).reshape(-1, 4)
    flat = np.zeros((len(found), 6))  # overlap of rectangles is that of boxes of one height
    flat[:, :2] = (corners[:, :2] + corners[:, 2:]) / 2
    flat[:, 3:5] = corners[:, 2:] - corners[:, :2]
    flat[:, 5] = 1.0
    overlap = iou_matrix(flat, flat)
    kept: list[int] = []
    for place, one in enumerate(found):
        if all(overlap[place, k] < SAME_BOX or found[k].label != one.label for k in kept):
            kept.append(place)
    return [found[place] for place in kept]
