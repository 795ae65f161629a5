"""Boxes against true boxes: Acc@IoU of one answer, F1 of any number of them (METHODS 5.1, 5.3).

Boxes are (N, 6) centre and size, axis-aligned, metres. An IoU equal to a threshold reaches it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from spatial3d_ros.geometry.box import iou_matrix

THRESHOLDS = (0.25, 0.5)


def accuracy_at(answers: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    """Share of the answers (N, 6) that overlap their own true box (N, 6) by the threshold."""
    overlaps = np.diagonal(iou_matrix(answers, truth))
    return float((overlaps >= threshold).mean())


def f1_at(answers: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    """F1 of one question (METHODS 5.3): answers (M, 6) and true boxes (N, 6) matched one to one
    for the greatest total overlap; a pair is right from the threshold on.

    1 if both are empty, 0 if only one is.
    """
    if not len(answers) or not len(truth):
        return float(len(answers) == len(truth))
    overlaps = iou_matrix(answers, truth)
    pairs = linear_sum_assignment(overlaps, maximize=True)
    right = int((overlaps[pairs] >= threshold).sum())
    return 2 * right / (len(answers) + len(truth))


def multi_scores(
    answers: Sequence[np.ndarray], truth: Sequence[np.ndarray], types: Sequence[str]
) -> dict[str, dict[str, float | int]]:
    """Mean F1@0.25 and F1@0.5 over all questions and by Multi3DRefer's `eval_type`."""
    groups: dict[str, list[int]] = defaultdict(list)
    for k, kind in enumerate(types):
        groups["overall"].append(k)
        groups[kind].append(k)
    values = {t: [f1_at(a, b, t) for a, b in zip(answers, truth, strict=True)] for t in THRESHOLDS}
    return {
        name: {
            "n": len(indices),
            **{f"f1@{t}": float(np.mean([values[t][k] for k in indices])) for t in THRESHOLDS},
        }
        for name, indices in groups.items()
    }
