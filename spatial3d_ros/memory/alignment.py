"""Alignment of a remembered map with another origin by the constellation of its objects."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.memory.association import labels_agree, similar_size
from spatial3d_ros.memory.records import MemoryObject

MIN_OBJECTS = 3
TOLERANCE_M = 0.25  # of the centre of an object after the alignment
_MIN_BASE_M = 0.5  # between two objects that give the direction
_MAX_OBJECTS, _MAX_HYPOTHESES = 60, 2000
_SAME_M, _SAME_RAD = 0.5, math.radians(10.0)  # two hypotheses closer than this are one


@dataclass(frozen=True)
class Alignment:
    """`world_T_memory` (4, 4): yaw and translation; how many objects agree, with which root mean
    square distance in metres; `reason` why there is none, "" if there is one.
    """

    world_T_memory: np.ndarray
    objects: int = 0
    residual_m: float = 0.0
    reason: str = ""


def align(remembered: Sequence[MemoryObject], seen: Sequence[MemoryObject]) -> Alignment:
    """The transform that brings remembered objects to where they are seen now.

    Two pairs of objects with agreeing labels and sizes give a hypothesis, which counts the objects
    that it explains. Refused with fewer than three, or if another hypothesis explains as many.
    """
    labelled = [o for o in remembered if o.label and not o.dynamic][:_MAX_OBJECTS]
    present = [o for o in seen if o.label and not o.dynamic][:_MAX_OBJECTS]
    pairs = [
        (i, j)
        for i, a in enumerate(labelled)
        for j, b in enumerate(present)
        if labels_agree(a, b) and similar_size(a.box, b.box)
    ]
    old = np.array([o.box.center for o in labelled]).reshape(-1, 3)
    new = np.array([o.box.center for o in present]).reshape(-1, 3)
    allowed = np.zeros((len(old), len(new)), bool)
    for i, j in pairs:
        allowed[i, j] = True
    found: list[tuple[int, float, np.ndarray]] = []
    middle = old.mean(0) if len(old) else np.zeros(3)
    for i, j, k, m in _bases(pairs, old, new):
        pose = _from_two(old[[i, k]], new[[j, m]])
        count, residual, pose = _support(pose, old, new, allowed)
        if count >= MIN_OBJECTS:
            found.append((count, residual, pose))
    if not found:
        return Alignment(
            np.eye(4),
            reason=f"fewer than {MIN_OBJECTS} of the {len(labelled)} remembered objects with a "
            "label are recognised; look at more of the room",
        )
    found.sort(key=lambda entry: (-entry[0], entry[1]))
    count, residual, pose = found[0]
    others = [e for e in found[1:] if e[0] >= count and not _alike(e[2], pose, middle)]
    if others:
        return Alignment(
            np.eye(4), count, residual,
            "several alignments explain the same number of objects; look at more of the room",
        )  # fmt: skip
    return Alignment(pose, count, residual)


def _bases(
    pairs: list[tuple[int, int]], old: np.ndarray, new: np.ndarray
) -> list[tuple[int, int, int, int]]:
    """Two pairs each, whose distances agree; the longest ones, which give the best direction."""
    chosen = []
    for (i, j), (k, m) in itertools.combinations(pairs, 2):
        if i != k and j != m:
            a, b = old[k] - old[i], new[m] - new[j]
            length, other = float(np.hypot(a[0], a[1])), float(np.hypot(b[0], b[1]))
            if length >= _MIN_BASE_M and abs(length - other) <= TOLERANCE_M >= abs(a[2] - b[2]):
                chosen.append((length, (i, j, k, m)))
    return [base for _, base in sorted(chosen, reverse=True)[:_MAX_HYPOTHESES]]


def _from_two(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    a, b = old[1] - old[0], new[1] - new[0]
    return _pose(math.atan2(b[1], b[0]) - math.atan2(a[1], a[0]), old.mean(0), new.mean(0))


def _support(
    pose: np.ndarray, old: np.ndarray, new: np.ndarray, allowed: np.ndarray
) -> tuple[int, float, np.ndarray]:
    """Objects explained and their residual, after a fit to all of them."""
    rows, columns = _matches(pose, old, new, allowed)
    if len(rows) < MIN_OBJECTS:
        return len(rows), math.inf, pose
    a, b = old[rows], new[columns]
    p, q = a[:, :2] - a[:, :2].mean(0), b[:, :2] - b[:, :2].mean(0)
    yaw = math.atan2(float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()), float((p * q).sum()))
    pose = _pose(yaw, a.mean(0), b.mean(0))
    rows, columns = _matches(pose, old, new, allowed)
    offset = (old[rows] @ pose[:3, :3].T + pose[:3, 3]) - new[columns]
    residual = float(np.sqrt((offset**2).sum(1).mean())) if len(rows) else math.inf
    return len(rows), residual, pose


def _matches(
    pose: np.ndarray, old: np.ndarray, new: np.ndarray, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    placed = old @ pose[:3, :3].T + pose[:3, 3]
    distance = np.linalg.norm(placed[:, None] - new[None], axis=2)
    distance[~allowed] = np.inf
    nearest = distance.argmin(1)
    mutual = distance.argmin(0)[nearest] == np.arange(len(old))
    rows = np.flatnonzero(mutual & (distance.min(1) < TOLERANCE_M))
    return rows, nearest[rows]


def _pose(yaw: float, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    cos, sin = math.cos(yaw), math.sin(yaw)
    pose[:2, :2] = [[cos, -sin], [sin, cos]]
    pose[:3, 3] = new - pose[:3, :3] @ old
    return pose


def _alike(a: np.ndarray, b: np.ndarray, point: np.ndarray) -> bool:
    """Whether two poses turn alike and bring a point to about the same place."""
    turn = math.remainder(math.atan2(a[1, 0], a[0, 0]) - math.atan2(b[1, 0], b[0, 0]), 2 * math.pi)
    offset = (a[:3, :3] - b[:3, :3]) @ point + a[:3, 3] - b[:3, 3]
    return abs(turn) < _SAME_RAD and float(np.linalg.norm(offset)) < _SAME_M
