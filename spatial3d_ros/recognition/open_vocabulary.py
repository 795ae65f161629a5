"""Open-vocabulary detection with OWLv2 or Grounding DINO of `transformers`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatial3d_ros.geometry.box import iou_matrix
from spatial3d_ros.recognition.folders import LOCAL, load_folder, on_device
from spatial3d_ros.scene.lifting import Detection2D, pixel_corners

MAX_IOU = 0.6  # of two boxes of one label that overlap more the better one stays
MIN_SIDE_PX = 1.0  # a box with a shorter side is dropped
KINDS = ("owlv2", "grounding-dino")
HINT = (
    "on a computer that is online: spatial3d download owlv2_base, then give its folder as the "
    "parameter model"
)


class OpenVocabularyDetector:
    """A zero-shot detector with its processor, from a local folder; nothing is downloaded."""

    def __init__(self, model: Any, processor: Any, device: str = "auto") -> None:
        self._model, self.device = on_device(model, device)
        self._processor = processor

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> OpenVocabularyDetector:
        """Loads a folder with config.json, safetensors, processor and tokenizer.

        Raises:
            CheckpointError: names the folder and how to fill it.
            ConfigError: the device does not exist.
        """
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        def read(folder: Path) -> OpenVocabularyDetector:
            model = AutoModelForZeroShotObjectDetection.from_pretrained(
                folder, use_safetensors=True, **LOCAL
            )
            return cls(model, AutoProcessor.from_pretrained(folder, **LOCAL), device)

        return load_folder(folder, KINDS, HINT, read)

    @torch.inference_mode()
    def detect(
        self, rgb: np.ndarray, prompts: Sequence[str], min_score: float = 0.2
    ) -> list[Detection2D]:
        """Boxes in an image (H, W, 3) uint8 RGB, each labelled with a prompt; highest score first.

        Returns an empty list if there are no prompts.
        """
        if not prompts:
            return []
        height, width = rgb.shape[:2]
        labels = [list(prompts)]
        inputs = self._processor(images=rgb, text=labels, return_tensors="pt").to(self.device)
        found = self._processor.post_process_grounded_object_detection(
            self._model(**inputs),
            threshold=min_score,
            target_sizes=[(height, width)],
            text_labels=labels,
        )[0]
        boxes = found["boxes"].float().cpu().numpy().reshape(-1, 4)
        np.clip(boxes, 0, [width, height, width, height], out=boxes)
        return suppress_duplicates(
            [
                Detection2D(pixel_corners(box), _prompt(label, prompts), float(score))
                for box, score, label in zip(
                    boxes, found["scores"], found["text_labels"], strict=True
                )
                if (box[2:] - box[:2] >= MIN_SIDE_PX).all() and _prompt(label, prompts)
            ]
        )


def _prompt(label: str, prompts: Sequence[str]) -> str:
    """The prompt that equals or contains a label: Grounding DINO may return a part of a prompt."""
    if label in prompts:
        return label
    return next((prompt for prompt in prompts if label and label in prompt), "")


def suppress_duplicates(found: Sequence[Detection2D]) -> list[Detection2D]:
    """Non-maximum suppression for each label; highest score first."""
    found = sorted(found, key=lambda one: -one.score)
    corners = np.array([one.corners for one in found]).reshape(-1, 4)
    boxes = np.zeros((len(found), 6))  # rectangles as boxes of one height
    boxes[:, :2] = (corners[:, :2] + corners[:, 2:]) / 2
    boxes[:, 3:5] = corners[:, 2:] - corners[:, :2]
    boxes[:, 5] = 1.0
    iou = iou_matrix(boxes, boxes)
    kept: list[int] = []
    for i, one in enumerate(found):
        if all(iou[i, k] < MAX_IOU or found[k].label != one.label for k in kept):
            kept.append(i)
    return [found[i] for i in kept]
