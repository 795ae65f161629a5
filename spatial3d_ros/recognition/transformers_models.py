"""Closed-set detectors and segmenters of `transformers` from local folders, by the Auto classes.

The class of the model in config.json ("architectures") decides how it is loaded: object detection
(DETR, RT-DETR, D-FINE), universal and instance segmentation (Mask2Former, OneFormer, MaskFormer),
semantic segmentation (SegFormer and others), and zero-shot detection (OWLv2, Grounding DINO).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.recognition.folders import LOCAL, load_folder, on_device
from spatial3d_ros.recognition.open_vocabulary import KINDS, OpenVocabularyDetector
from spatial3d_ros.recognition.recogniser import (
    CONFIG,
    HINT,
    Recogniser,
    Recognition,
    usual_name,
)
from spatial3d_ros.scene.lifting import Detection2D, pixel_corners

# Endings of the class names of models, and the Auto class that loads them.
AUTO_CLASSES = {
    "ForObjectDetection": "AutoModelForObjectDetection",
    "ForUniversalSegmentation": "AutoModelForUniversalSegmentation",
    "ForInstanceSegmentation": "AutoModelForInstanceSegmentation",
    "ForSemanticSegmentation": "AutoModelForSemanticSegmentation",
}
MIN_SIDE_PX = 1.0


def load_transformers(folder: Path, device: str, min_score: float) -> Recogniser:
    """The recogniser of a folder with config.json. Raises CheckpointError and ConfigError."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        architecture = str((config.get("architectures") or [""])[0])
        kind = str(config.get("model_type", ""))
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / CONFIG}: cannot be read ({error}); {HINT}") from error
    if kind in KINDS:
        detector = OpenVocabularyDetector.load(folder, device)
        return OpenVocabularyRecogniser(detector, min_score)
    for ending, auto_class in AUTO_CLASSES.items():
        if architecture.endswith(ending):
            return _load(folder, kind, auto_class, device, min_score)
    raise CheckpointError(
        f"{folder / CONFIG}: architecture {architecture!r} of model_type {kind!r} is none of "
        f"*{', *'.join(AUTO_CLASSES)}, {', '.join(KINDS)}; {HINT}"
    )


def _load(folder: Path, kind: str, auto_class: str, device: str, min_score: float) -> Recogniser:
    import transformers

    def read(folder: Path) -> TransformersRecogniser:
        loader = getattr(transformers, auto_class)
        loaded: Any = loader.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **LOCAL
        )
        model, report = loaded
        if missing := sorted(report["missing_keys"]):  # they would stay random
            raise ValueError(f"{len(missing)} weights are missing, for example {missing[0]}")
        processor = transformers.AutoImageProcessor.from_pretrained(folder, **LOCAL)
        return TransformersRecogniser(model, processor, device, min_score)

    return load_folder(folder, [kind], HINT, read)


class OpenVocabularyRecogniser:
    """OWLv2 or Grounding DINO: finds the prompts."""

    labels: tuple[str, ...] = ()

    def __init__(self, detector: OpenVocabularyDetector, min_score: float) -> None:
        self._detector, self._min_score = detector, min_score

    def recognise(self, rgb: np.ndarray, prompts: Sequence[str] = ()) -> Recognition:
        """Recognises the prompts in an image (H, W, 3) uint8 RGB; see `Recogniser`."""
        return Recognition(tuple(self._detector.detect(rgb, prompts, self._min_score)))


class TransformersRecogniser:
    """A closed-set detector or segmenter with its image processor."""

    def __init__(self, model: Any, processor: Any, device: str, min_score: float) -> None:
        self._model, self.device = on_device(model, device)
        self._processor, self._min_score = processor, min_score
        names = {int(k): str(v) for k, v in model.config.id2label.items()}
        self.labels = tuple(clean_class(names.get(k, "")) for k in range(max(names) + 1))
        self._ending = next(e for e in AUTO_CLASSES if type(model).__name__.endswith(e))

    @torch.inference_mode()
    def recognise(self, rgb: np.ndarray, prompts: Sequence[str] = ()) -> Recognition:
        """Recognises objects in an image (H, W, 3) uint8 RGB; see `Recogniser`."""
        inputs = self._inputs(rgb)
        outputs = self._model(**inputs)
        size = rgb.shape[:2]
        if self._ending == "ForObjectDetection":
            return Recognition(self._boxes(outputs, size), None, self.labels)
        if self._ending == "ForSemanticSegmentation":
            (classes,) = self._processor.post_process_semantic_segmentation(
                outputs, target_sizes=[size]
            )
            return Recognition((), classes.cpu().numpy().astype(np.int32), self.labels)
        return self._segments(outputs, size)

    def _inputs(self, rgb: np.ndarray) -> Any:
        options = {}
        if "task_inputs" in getattr(self._processor, "model_input_names", ()):  # OneFormer
            options["task_inputs"] = ["panoptic"]
        return self._processor(images=rgb, return_tensors="pt", **options).to(self.device)

    def _boxes(self, outputs: Any, size: tuple[int, int]) -> tuple[Detection2D, ...]:
        (found,) = self._processor.post_process_object_detection(
            outputs, threshold=self._min_score, target_sizes=[size]
        )
        height, width = size
        boxes = found["boxes"].float().cpu().numpy().reshape(-1, 4)
        boxes = np.clip(boxes, 0, [width, height, width, height])
        scores, classes = found["scores"].tolist(), found["labels"].tolist()
        rows = sorted(range(len(boxes)), key=lambda k: -scores[k])
        return tuple(
            Detection2D(pixel_corners(boxes[k]), self._label(classes[k]), scores[k])
            for k in rows
            if (boxes[k, 2:] - boxes[k, :2] >= MIN_SIDE_PX).all() and self._label(classes[k])
        )

    def _segments(self, outputs: Any, size: tuple[int, int]) -> Recognition:
        """Segments of a panoptic result: instances become detections, all pixels classes."""
        (found,) = self._processor.post_process_panoptic_segmentation(
            outputs, threshold=self._min_score, target_sizes=[size]
        )
        segmentation = found["segmentation"].cpu().numpy()
        classes = np.full(size, len(self.labels), np.int32)
        detections = []
        for segment in found["segments_info"]:
            mask = segmentation == segment["id"]
            if not mask.any():
                continue
            classes[mask] = segment["label_id"]
            label = self._label(segment["label_id"])
            if label:
                corners = mask_corners(mask)
                detections.append(Detection2D(corners, label, float(segment["score"]), mask))
        detections.sort(key=lambda one: -one.score)
        return Recognition(tuple(detections), classes, (*self.labels, ""))

    def _label(self, index: int) -> str:
        return self.labels[index] if 0 <= index < len(self.labels) else ""


def mask_corners(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Corners of the pixels of a mask (H, W) bool, which is not empty."""
    rows, columns = np.nonzero(mask)
    return pixel_corners((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))


def clean_class(name: str) -> str:
    """A class name as a label: "potted-plant" is "potted plant", "N/A" is "" and "LABEL_3" too.

    Of several words for one class, as in "bookcase, bookshelf", the usual one is the label.
    """
    text = " ".join(name.replace("_", " ").replace("-", " ").lower().split())
    text = usual_name(text)
    return "" if text in ("n/a", "background", "unlabeled") or text.startswith("label ") else text
