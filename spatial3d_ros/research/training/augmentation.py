"""Augmentation: boxes with the errors of proposals, false boxes, rotated and shifted rooms."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def disturb(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shift and scale boxes (n, 6) like a segmentation; one in six loses a part at one side."""
    low, high = boxes[:, :3] - boxes[:, 3:] / 2, boxes[:, :3] + boxes[:, 3:] / 2
    strength = rng.choice([0.0, 0.5, 1.0, 2.0])
    sigma = strength * (0.01 + 0.03 * boxes[:, 3:])
    low, high = (
        low + rng.normal(0, 1, low.shape) * sigma,
        high + rng.normal(0, 1, low.shape) * sigma,
    )
    cut = (rng.random(len(boxes)) < 0.16 * (strength > 0))[:, None] & (
        np.arange(3) == rng.integers(3, size=(len(boxes), 1))
    )
    share = rng.uniform(0.1, 0.45, low.shape) * (high - low)
    upper = rng.random(low.shape) < 0.5
    low, high = np.where(cut & ~upper, low + share, low), np.where(cut & upper, high - share, high)
    size = np.maximum(high - low, 0.02)
    return np.concatenate([(low + high) / 2, size], axis=1)


def false_boxes(boxes: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Boxes without an object (k, 6), at most `share` for each true one: a part of an object, the
    union of two, or an empty region of the room.
    """
    made = []
    most = round(share * len(boxes))
    for _ in range(int(rng.integers(0, most + 1)) if len(boxes) > 1 else 0):
        i, j = rng.choice(len(boxes), 2, replace=False)
        roll = rng.random()
        if roll < 0.65:
            box = boxes[i].copy()
            axis = int(rng.integers(3))
            box[3 + axis] *= rng.uniform(0.2, 0.45)
            box[axis] += rng.choice([-1, 1]) * box[3 + axis] * 0.6
        elif roll < 0.85:
            low = np.minimum(boxes[i, :3] - boxes[i, 3:] / 2, boxes[j, :3] - boxes[j, 3:] / 2)
            high = np.maximum(boxes[i, :3] + boxes[i, 3:] / 2, boxes[j, :3] + boxes[j, 3:] / 2)
            box = np.concatenate([(low + high) / 2, high - low])
        else:
            box = np.concatenate(
                [boxes[:, :3].mean(0) + rng.normal(0, 1, 3), rng.uniform(0.1, 0.8, 3)]
            )
        made.append(box)
    return np.array(made).reshape(-1, 6)


def shift_faces(boxes: np.ndarray, most: float, rng: np.random.Generator) -> np.ndarray:
    """Boxes (n, 6) with each face shifted by up to +- `most` (below 0.5) of the side length."""
    move = rng.uniform(-1, 1, (2, len(boxes), 3)) * most * boxes[:, 3:]
    low = boxes[:, :3] - boxes[:, 3:] / 2 + move[0]
    high = boxes[:, :3] + boxes[:, 3:] / 2 + move[1]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def split_boxes(
    boxes: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 6) of which that share is cut in two across its longest side, at 30 to 70 % of it:
    all with the larger part in place, the smaller parts (k, 6), and the indices (k,) of the cut.
    """
    count = len(boxes)
    cut = np.flatnonzero(rng.random(count) < share)
    at = rng.uniform(0.5, 0.7, count)[cut]
    sign = rng.choice([-1.0, 1.0], count)[cut]
    axis = boxes[cut, 3:].argmax(1)
    rows = np.arange(len(cut))
    large, small = boxes[cut], boxes[cut]
    side = large[rows, 3 + axis]
    large[rows, axis] -= sign * side * (1 - at) / 2
    small[rows, axis] += sign * side * at / 2
    large[rows, 3 + axis], small[rows, 3 + axis] = side * at, side * (1 - at)
    whole = boxes.copy()
    whole[cut] = large
    return whole, small, cut


def turn_boxes(boxes: np.ndarray, quarter: int, shift: np.ndarray) -> np.ndarray:
    """Rotate boxes (n, 6) by `quarter` right angles about z, then translate by `shift` (3,) [m]."""
    turned = boxes.copy()
    turned[:, :3] = boxes[:, :3] @ _quarter_turn(quarter).T + shift
    if quarter % 2:
        turned[:, 3:5] = boxes[:, [4, 3]]
    return turned


def turn_fronts(fronts: np.ndarray, quarter: int) -> np.ndarray:
    """Rotate horizontal directions (n, 2) with their boxes."""
    return fronts @ _quarter_turn(quarter)[:2, :2].T


def turn_views(
    views: dict[str, Tensor] | None, quarter: int, shift: np.ndarray
) -> dict[str, Tensor] | None:
    """Rotate and translate the fields of `stack_views`: points, rays and poses."""
    if views is None:
        return None
    rotation = torch.from_numpy(_quarter_turn(quarter)).float().T
    points = views["points"] @ rotation + torch.from_numpy(shift).float()
    points = torch.where(views["valid"][..., None], points, 0.0)
    motion = torch.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation.T, torch.from_numpy(shift).float()
    rays, poses = views["rays"] @ rotation, motion @ views["poses"]
    return {**views, "points": points, "rays": rays, "poses": poses}


def _quarter_turn(quarter: int) -> np.ndarray:
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter % 4]
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], dtype=np.float64)
