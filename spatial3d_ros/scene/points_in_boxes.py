"""Proposals from given boxes: with the points measured in them and their mean colour."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.geometry.voxels import voxel_downsample
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.scene.surface_color import Light

VOXEL_M = 0.025
_PIXELS = 20_000  # sampled from each view


def points_in_boxes(
    boxes: Sequence[Box3D], scores: Sequence[float], frames: Sequence[Frame]
) -> list[Proposal]:
    """A proposal for each box that contains a measured point, in order of the boxes.

    Args:
        boxes: in the world frame of the frames.
        scores: 0 .. 1, probability that the box is one whole object.
        frames: views whose depth is sampled.
    """
    points, colors, view = _measured(frames)
    light = Light.of([frame.rgb for frame in frames])
    found = []
    for box, score in zip(boxes, scores, strict=True):
        inside = box.contains(points)
        if not inside.any():
            continue
        centroids, rgb, _ = voxel_downsample(points[inside], VOXEL_M, colors[inside])
        views = len(np.unique(view[inside]))
        mean, names = vector(rgb.mean(0)), light.color_names(rgb)
        found.append(Proposal(box, centroids, mean, views, float(score), colors=names))
    return found


def _measured(frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World points (N, 3), colours (N, 3) 0 .. 255 and indices (N,) of their views."""
    points, colors, view = [np.empty((0, 3))], [np.empty((0, 3))], [np.empty(0, int)]
    for index, frame in enumerate(frames):
        stride = max(1, math.ceil(math.sqrt(frame.depth.size / _PIXELS)))
        world = frame.points_world(stride).reshape(-1, 3)
        measured = np.isfinite(world[:, 2])
        points.append(world[measured])
        colors.append(frame.rgb[::stride, ::stride].reshape(-1, 3)[measured])
        view.append(np.full(int(measured.sum()), index))
    return np.concatenate(points), np.concatenate(colors), np.concatenate(view)
