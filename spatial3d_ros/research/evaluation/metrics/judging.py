"""Judging of answers: boxes by their IoU with the truth, distances by their error in metres.

An answered box is *the right object* if the true object that it overlaps most is a target.
Thresholds on the IoU (Acc@0.25, Acc@0.5) are reported in addition (METHODS 5.1, 5.8).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.geometry.box import Box3D, iou_matrix
from spatial3d_ros.research.evaluation.metrics.layout import EditOutcome, layout_scores

MRA_THRESHOLDS = np.arange(0.50, 0.951, 0.05)
GROUNDING_KINDS = ("attribute", "relation", "size")


@dataclass(frozen=True)
class Verdict:
    """The judgement of one question. iou: with the best target; error_m: answer minus truth;
    uncertainty_m: of the answer; edit: of a layout instruction.
    """

    kind: str
    subkind: str = ""
    answered: bool = True
    right: bool = False
    iou: float | None = None
    error_m: float | None = None
    truth_m: float | None = None
    latency_ms: float | None = None
    uncertainty_m: float | None = None
    edit: EditOutcome | None = None


@dataclass(frozen=True)
class BoxMatch:
    """The true object that an answered box overlaps most (-1: none), and the IoUs."""

    object_id: int
    iou: float
    target_iou: float


def match_box(answer: Box3D, truth: np.ndarray, targets: Sequence[int]) -> BoxMatch:
    """Compare an answered box with all true boxes, `truth` (N, 6) centre and size."""
    if not len(truth):
        return BoxMatch(-1, 0.0, 0.0)
    overlaps = iou_matrix(answer.array()[None], truth)[0]
    best = int(overlaps.argmax())
    target = float(overlaps[list(targets)].max()) if len(targets) else 0.0
    return BoxMatch(best if overlaps[best] > 0 else -1, float(overlaps[best]), target)


def judge_grounding(
    kind: str,
    answer: Box3D | None,
    truth: np.ndarray,
    targets: Sequence[int],
    *,
    subkind: str = "",
    answered: bool = True,
    latency_ms: float | None = None,
) -> Verdict:
    """Judge the first object of a grounding; answer None: no object matches.

    Without targets None is right. answered False: the question raised an error; it is wrong.
    """
    if not targets:
        return Verdict(kind, subkind, answered, answered and answer is None, latency_ms=latency_ms)
    if answer is None:
        return Verdict(kind, subkind, answered, False, 0.0, latency_ms=latency_ms)
    match = match_box(answer, truth, targets)
    right = match.object_id in targets
    return Verdict(kind, subkind, answered, right, match.target_iou, latency_ms=latency_ms)


def judge_distance(
    metres: float | None,
    truth_m: float,
    *,
    tolerance_m: float = 0.25,
    ends_right: bool = True,
    subkind: str = "",
    latency_ms: float | None = None,
    uncertainty_m: float | None = None,
) -> Verdict:
    """Judge a distance; right means within `tolerance_m`, and between the right objects.

    metres None: the question has no answer.
    """
    if metres is None:
        return Verdict("distance", subkind, False, truth_m=truth_m, latency_ms=latency_ms)
    error = metres - truth_m
    right = ends_right and abs(error) <= tolerance_m
    return Verdict(
        "distance", subkind, True, right, None, error, truth_m, latency_ms, uncertainty_m
    )


def grounding_scores(verdicts: Iterable[Verdict]) -> dict[str, float | int]:
    """Number of questions, right object first, Acc@0.25 and Acc@0.5 (where there is a target)."""
    chosen = list(verdicts)
    overlaps = np.array([v.iou for v in chosen if v.iou is not None])
    scores: dict[str, float | int] = {"n": len(chosen), "right": _mean([v.right for v in chosen])}
    if len(overlaps):
        scores |= {f"acc@{t}": float((overlaps >= t).mean()) for t in (0.25, 0.5)}
    return scores


def distance_scores(verdicts: Iterable[Verdict]) -> dict[str, float | int]:
    """Errors in metres over the answered questions; `answered` is their share (METHODS 5.8).

    "within_1_sigma" and "within_2_sigma": shares of errors within one and two times the answer's
    uncertainty; 0.68 and 0.95 if errors are normal and the uncertainty is right.
    """
    chosen = list(verdicts)
    pairs = [(abs(v.error_m), v.truth_m) for v in chosen if v.error_m is not None]
    scores: dict[str, float | int] = {
        "n": len(chosen),
        "right": _mean([v.right for v in chosen]),
        "answered": _mean([v.answered for v in chosen]),
    }
    if pairs:
        errors, truths = np.array(pairs).T
        relative = errors / np.maximum(truths, 0.1)
        scores |= {
            "median_m": float(np.median(errors)),
            "mean_m": float(errors.mean()),
            "rmse_m": float(np.sqrt((errors**2).mean())),
            "abs_rel": float(relative.mean()),
            "within_0.1m": float((errors <= 0.1).mean()),
            "within_0.25m": float((errors <= 0.25).mean()),
            "mra": float((relative[:, None] < 1 - MRA_THRESHOLDS).mean()),
        }
    normalized = [
        abs(v.error_m) / max(v.uncertainty_m, 1e-9)
        for v in chosen
        if v.error_m is not None and v.uncertainty_m is not None
    ]
    if normalized:
        scores |= {f"within_{k}_sigma": float((np.array(normalized) <= k).mean()) for k in (1, 2)}
    return scores


def edit_scores(verdicts: Iterable[Verdict]) -> dict[str, float | int]:
    """Measures of layout edits (METHODS 5.9); `right`: right object, valid pose, wanted
    relation.
    """
    chosen = list(verdicts)
    scores = layout_scores([v.edit for v in chosen if v.edit is not None])
    return {"n": len(chosen), "right": _mean([v.right for v in chosen])} | scores


def latency_scores(milliseconds: Iterable[float]) -> dict[str, float]:
    """Median, 95th percentile and maximum."""
    values = np.array(list(milliseconds))
    if not len(values):
        return {}
    return {
        "median_ms": float(np.median(values)),
        "p95_ms": float(np.percentile(values, 95)),
        "max_ms": float(values.max()),
    }


def summarise(verdicts: Sequence[Verdict]) -> dict[str, dict[str, float | int]]:
    """Scores by kind, by kind and subkind ("relation/closest"), and over all grounding."""
    groups: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.kind in GROUNDING_KINDS:
            groups["grounding"].append(verdict)
        groups[verdict.kind].append(verdict)
        if verdict.subkind:
            groups[f"{verdict.kind}/{verdict.subkind}"].append(verdict)
    order = ["grounding", *GROUNDING_KINDS, "none", "distance", "layout"]
    names = [n for n in order if n in groups] + sorted(n for n in groups if "/" in n)
    scorers = {"distance": distance_scores, "layout": edit_scores}
    return {
        name: scorers.get(name.partition("/")[0], grounding_scores)(groups[name]) for name in names
    }


def _mean(values: Sequence[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")
