"""Boxes from elsewhere become proposals: with the points that were measured in them, and their
colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.voxels import voxel_downsample
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.proposals import Proposal

VOXEL_M = 0.025
_PIXELS = 20_000  # read of each view


def filled(
    boxes: Sequence[Box3D], scores: Sequence[float], frames: Sequence[Frame]
) -> list[Proposal]:
    """A proposal for each box that holds a measured point, in order; boxes and frames in one world.

    scores 0 .. 1, how likely each is one whole object.
    """
    points, colors, view = _measured(frames)
    found = []
    for box, score in zip(boxes, scores, strict=True):
        inside = box.contains(points)
        if not inside.any():
            continue
        spots, paint, _ = voxel_downsample(points[inside], VOXEL_M, colors[inside])
        rgb = tuple(paint.mean(0).tolist())
        found.append(Proposal(box, spots, rgb, len(np.unique(view[inside])), float(score)))
    return found


def _measured(frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World points (N, 3), colours (N, 3) 0 .. 255 and numbers (N,) of the views they are from."""
    points, colors, view = [np.empty((0, 3))], [np.empty((0, 3))], [np.empty(0, int)]
    for number, frame in enumerate(frames):
        stride = max(1, math.ceil(math.sqrt(frame.depth.size / _PIXELS)))
        spots = frame.points_world(stride).reshape(-1, 3)
        seen = np.isfinite(spots[:, 2])
        points.append(spots[seen])
        colors.append(frame.rgb[::stride, ::stride].reshape(-1, 3)[seen])
        view.append(np.full(int(seen.sum()), number))
    return np.concatenate(points), np.concatenate(colors), np.concatenate(view)
