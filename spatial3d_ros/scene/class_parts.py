"""Objects of class images where depth shows none: a poster on a wall, a mug in a heap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.label_distribution import same_kind
from spatial3d_ros.scene.label_voting import ClassImage
from spatial3d_ros.scene.lifting import GAP, GAP_M, Detection2D, lift
from spatial3d_ros.scene.proposals import Proposal

MIN_AREA = 0.001  # share of the image below which a part of a class is nothing
MAX_COVERED = 0.3  # share of the points of a part in the boxes of other objects
SCORE = 0.5  # of a part: a class image has no scores
_MARGIN_M = 0.03


def connected_parts(
    classes: np.ndarray,
    labels: Sequence[str],
    structure: frozenset[str],
    depth: np.ndarray | None = None,
) -> list[Detection2D]:
    """A detection with mask, score 1, for each large connected part of an object class.

    Args:
        classes: (H, W) indices into `labels`; "" and those of `structure` are no objects.
        depth: (H, W) metres; its jumps end a part.
    """
    height, width = classes.shape
    smooth = np.ones(classes.shape, bool) if depth is None else ~_jumps(depth)
    found = []
    for index in np.unique(classes).tolist():
        label = labels[index] if 0 <= index < len(labels) else ""
        if not label or label in structure:
            continue
        count, parts, stats, _ = cv2.connectedComponentsWithStats(
            ((classes == index) & smooth).astype(np.uint8), connectivity=4
        )
        for k in range(1, count):
            left, top, across, down, area = stats[k].tolist()
            if area >= MIN_AREA * height * width:
                corners = (float(left), float(top), float(left + across), float(top + down))
                found.append(Detection2D(corners, label, 1.0, parts == k))
    return found


def parts_in_space(image: ClassImage) -> list[Detection3D]:
    """The parts of the object classes of an image that have depth, with score `SCORE`."""
    parts = connected_parts(image.classes, image.labels, image.structure, image.frame.depth)
    found = []
    for part in parts:
        try:
            found.append(lift(replace(part, score=SCORE), image.frame))
        except FrameError:  # no depth: glass, or out of range
            continue
    return found


def uncovered(parts: Sequence[Proposal], objects: Sequence[Proposal]) -> list[Proposal]:
    """The parts of which little lies in the boxes of the objects, and which hold none of their
    kind.
    """
    kept = []
    for part in parts:
        inside, held = np.zeros(len(part.points), bool), False
        for known in objects:
            inside |= known.box.contains(part.points, _MARGIN_M)
            held |= same_kind(known.label, part.label) and bool(
                part.box.contains(np.array([known.box.center]), _MARGIN_M)[0]
            )
        if len(inside) and inside.mean() <= MAX_COVERED and not held:
            kept.append(part)
    return kept


def _jumps(depth: np.ndarray) -> np.ndarray:
    """Pixels (H, W) without depth, or where it changes as between two surfaces."""
    low = cv2.erode(np.where(depth > 0, depth, np.inf).astype(np.float32), np.ones((3, 3)))
    high = cv2.dilate(depth, np.ones((3, 3)))
    return np.asarray((depth == 0) | (high - low > np.maximum(GAP_M, GAP * depth)))
