"""Whether the place of an object was in view, and whether it was empty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.geometry.voxels import subsample
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.scene.buffer import View
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.visibility import FREE, NEIGHBOURHOOD, OCCUPIED, classify_points, margin_m

MAX_POINTS = 64
MIN_VALID = 0.3  # share of pixels with depth of a healthy look
MAX_RANGE_M = 5.0  # beyond it depth is too noisy to call a place empty
EMPTY_SHARE = 0.5  # of the telling points of an object that are free, for an empty look
SEEN_SHARE = 0.5  # of them that are occupied, for a look at something
MIN_TELLING = 6  # points of an object that must tell
WHOLE_SHARE, NEAR_M = 0.8, 3.0


class Looks(NamedTuple):
    """What a view shows of the places of n objects, (n,) bool each.

    empty: one can see through where the object was. occupied: something is there. whole: all of the
    place is near and in view, and a surface is there: the object, another one, or what it lay on.
    A place that is hidden, out of view, at the border or without depth is none of them.
    """

    empty: np.ndarray
    occupied: np.ndarray
    whole: np.ndarray


def look_at_places(objects: Sequence[MemoryObject], frame: Frame) -> Looks:
    """Looks at the places of objects in one view."""
    looks = Looks(*(np.zeros(len(objects), bool) for _ in range(3)))
    if not objects or frame.valid_fraction < MIN_VALID:
        return looks
    depth = _depth_in_view(np.array([o.box.center for o in objects]), frame)
    chosen = np.flatnonzero(depth < MAX_RANGE_M).tolist()
    if not chosen:
        return looks
    points = [surface_points(objects[i]) for i in chosen]
    owner = np.repeat(np.arange(len(chosen)), [len(p) for p in points])
    bottom = np.array([objects[i].box.center[2] - objects[i].box.size[2] / 2 for i in chosen])
    everything = np.concatenate(points)
    states = classify_points(everything, frame)
    tells = _telling(everything, bottom[owner], frame)

    def share(kind: int, part: np.ndarray) -> np.ndarray:
        total = np.bincount(owner[part], minlength=len(chosen))
        count = np.bincount(owner[part & (states == kind)], minlength=len(chosen))
        return np.where(total < MIN_TELLING, 0.0, count / np.maximum(total, 1))

    looks.empty[chosen] = share(FREE, tells) > EMPTY_SHARE
    looks.occupied[chosen] = share(OCCUPIED, tells) > SEEN_SHARE
    near = depth[chosen] < NEAR_M
    looks.whole[chosen] = near & (share(OCCUPIED, np.ones(len(states), bool)) > WHOLE_SHARE)
    return looks


def seen_through(known: MemoryObject, views: Sequence[View]) -> bool:
    """Whether the newest of some views that shows the place of an object shows it empty."""
    for view in reversed(views):
        looks = look_at_places([known], view.frame)
        if looks.empty[0] or looks.occupied[0]:
            return bool(looks.empty[0])
    return False


def _telling(points: np.ndarray, bottom: np.ndarray, frame: Frame) -> np.ndarray:
    """Which points (n, 3) tell whether their object is there: what it stands on, at the height
    `bottom` (n,), would be measured well behind them. The lower half of a mug tells nothing.
    """
    offset = points - frame.world_T_camera[:3, 3]
    distance, along = np.linalg.norm(offset, axis=1), np.linalg.norm(offset[:, :2], axis=1)
    drop = np.maximum(-offset[:, 2], 1e-6)
    behind = (points[:, 2] - bottom) * distance / drop
    # The nearest depth of a neighbourhood counts, and the support comes nearer downwards.
    nearer = NEIGHBOURHOOD * distance / frame.camera.fy * along / drop
    return (drop < 0.05) | (behind > margin_m(distance) + 0.02 + nearer)


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


def _depth_in_view(centers: np.ndarray, frame: Frame) -> np.ndarray:
    """Depth (n,) of points (n, 3) in a view, infinite outside of it."""
    camera = transform(invert(frame.world_T_camera), centers)
    uv, z = project(camera, frame.camera)
    u, v = np.nan_to_num(uv, nan=-1.0, posinf=-1.0, neginf=-1.0).T
    height, width = frame.depth.shape
    inside = (z > 0.2) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    return np.where(inside, z, np.inf)
