"""Scan2Cap: a caption counts only if its box is right (METHODS 5.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.geometry.box import iou_matrix
from spatial3d_ros.research.datasets.scan2cap import CaptionTarget, wrapped
from spatial3d_ros.research.evaluation.metrics.text import caption_words, text_scores

THRESHOLDS = (0.25, 0.5)


@dataclass(frozen=True)
class Caption:
    """The caption of a proposal, not wrapped, and its box (6,) center and size."""

    text: str
    box: np.ndarray


def caption_scores(
    targets: Sequence[CaptionTarget],
    boxes: Mapping[tuple[str, int], np.ndarray],
    captions: Mapping[tuple[str, int], Caption],
) -> dict[str, float | int]:
    """m@kIoU over all annotated objects, times 100: "cider@0.5" and its like.

    boxes: the true box (6,) of each (scene, object); captions: by the same key. An object
    without a caption, or whose caption has a box with an IoU below k, has an empty caption.
    """
    references = [[caption_words(one) for one in target.references] for target in targets]
    scores: dict[str, float | int] = {"n": len(targets)}
    for threshold in THRESHOLDS:
        predicted = []
        for target in targets:
            key = (target.scene_id, target.object_id)
            caption, text = captions.get(key), ""
            if caption is not None and iou_matrix(caption.box, boxes[key])[0, 0] >= threshold:
                text = caption.text
            predicted.append(caption_words(wrapped(text)))
        scores |= {f"{m}@{threshold}": v for m, v in text_scores(predicted, references).items()}
    return scores
