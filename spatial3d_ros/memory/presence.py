"""Whether the place of an object was in view, and whether it was empty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.geometry.voxels import subsample
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.visibility import FREE, OCCUPIED, classify_points

MAX_POINTS = 64
MIN_VALID = 0.3  # share of pixels with depth of a healthy look
MAX_RANGE_M = 5.0  # beyond it depth is too noisy to call a place empty
EMPTY_SHARE = 0.4  # of the points of an object that are free, for an empty look; the rest of a mug
# is too close to the table to tell
SEEN_SHARE = 0.5  # of the points that are occupied, for a look at something


def look_at_places(objects: Sequence[MemoryObject], frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Which objects (n,) have an empty place in a view, and which an occupied one.

    A place that is hidden, out of view, at the border or without depth is neither.
    """
    empty, occupied = np.zeros(len(objects), bool), np.zeros(len(objects), bool)
    if not objects or frame.valid_fraction < MIN_VALID:
        return empty, occupied
    near = _in_view(np.array([o.box.center for o in objects]), frame)
    chosen = np.flatnonzero(near).tolist()
    if not chosen:
        return empty, occupied
    points = [surface_points(objects[i]) for i in chosen]
    owner = np.repeat(np.arange(len(chosen)), [len(p) for p in points])
    states = classify_points(np.concatenate(points), frame)
    total = np.bincount(owner, minlength=len(chosen))
    free, full = (
        np.bincount(owner[states == kind], minlength=len(chosen)) / total
        for kind in (FREE, OCCUPIED)
    )
    empty[chosen] = free > EMPTY_SHARE
    occupied[chosen] = full > SEEN_SHARE
    return empty, occupied


def surface_points(known: MemoryObject) -> np.ndarray:
    """Points (n, 3) of an object, or of its box where none were measured."""
    return known.points if len(known.points) >= 8 else box_points(known.box)


def box_points(box: Box3D) -> np.ndarray:
    """Points (27, 3) float32 of a grid in a box."""
    grid = np.stack(np.meshgrid(*[(-0.4, 0.0, 0.4)] * 3), axis=-1).reshape(-1, 3) * box.size
    cos, sin = np.cos(box.yaw), np.sin(box.yaw)
    grid[:, :2] = grid[:, :2] @ np.array([[cos, sin], [-sin, cos]])
    return (grid + box.center).astype(np.float32)


def kept_points(points: np.ndarray) -> np.ndarray:
    """At most `MAX_POINTS` of the points of an object, float32."""
    if len(points) <= MAX_POINTS:
        return points.astype(np.float32)
    return subsample(points, MAX_POINTS).astype(np.float32)


def _in_view(centers: np.ndarray, frame: Frame) -> np.ndarray:
    camera = transform(invert(frame.world_T_camera), centers)
    uv, z = project(camera, frame.camera)
    u, v = np.nan_to_num(uv, nan=-1.0, posinf=-1.0, neginf=-1.0).T
    height, width = frame.depth.shape
    return (z > 0.2) & (z < MAX_RANGE_M) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
