"""Heading of the walls: the axes of a map are rarely parallel to the walls of a room."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import SceneObject

_STRIDE = 6  # pixels between samples of a depth image
_UPRIGHT = 0.15  # largest z component of the unit normal of a wall
_MIN_CONCENTRATION = 0.25  # mean resultant length (0 .. 1) of the directions of the walls
_PARALLEL = np.deg2rad(2.0)
_ALONG = np.deg2rad(5.0)


def heading_of(directions: Sequence[np.ndarray]) -> float | None:
    """Yaw of the walls from the `wall_directions` of some views, in (-pi/4, pi/4] rad; None while
    it is ambiguous.

    Horizontal surface normals point along the walls or across them, so four times their angle is
    equal for all: the circular mean of that. Within 2 degrees of the axes the heading is 0.
    """
    angles = np.concatenate([*directions, np.empty(0)])
    if len(angles) < 100:
        return None
    mean = np.exp(4j * angles).mean()
    if abs(mean) < _MIN_CONCENTRATION:
        return None
    heading = float(np.angle(mean) / 4)
    return 0.0 if abs(heading) < _PARALLEL else heading


def rotate_frame(frame: Frame, angle: float) -> Frame:
    """The frame after a rotation of the world by `angle` rad about +z."""
    if angle == 0.0:
        return frame
    rotation = np.eye(4)
    cos, sin = np.cos(angle), np.sin(angle)
    rotation[:2, :2] = [[cos, -sin], [sin, cos]]
    return replace(frame, world_T_camera=rotation @ frame.world_T_camera)


def rotate_objects(objects: Iterable[SceneObject], angle: float) -> tuple[SceneObject, ...]:
    """The objects with boxes after a rotation of the world by `angle` rad about +z."""
    return tuple(replace(o, box=o.box.rotated(angle)) for o in objects)


def along_axes(box: Box3D) -> Box3D:
    """The box with yaw 0: by whole quarters if within 5 degrees of them, else its hull."""
    quarters = round(box.yaw / (math.pi / 2))
    if abs(box.yaw - quarters * math.pi / 2) > _ALONG:
        return box.hull()
    x, y, z = box.size
    return Box3D(box.center, (y, x, z) if quarters % 2 else box.size)


def wall_directions(frame: Frame) -> np.ndarray:
    """Directions (n,) rad in the xy plane of the normals of vertical surfaces of one view."""
    points = frame.points_world(_STRIDE).astype(np.float64)
    right = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    normal = np.cross(right, down)
    length = np.linalg.norm(normal, axis=2)
    # A depth discontinuity makes a long false surface; the pixel spacing bounds a real one.
    reach = 0.25 * np.linalg.norm(points[1:-1, 1:-1] - frame.world_T_camera[:3, 3], axis=2)
    smooth = (np.linalg.norm(right, axis=2) < reach) & (np.linalg.norm(down, axis=2) < reach)
    with np.errstate(invalid="ignore", divide="ignore"):
        upright = smooth & (length > 0) & (np.abs(normal[..., 2]) < _UPRIGHT * length)
    flat = normal[upright]
    return np.arctan2(flat[:, 1], flat[:, 0])
