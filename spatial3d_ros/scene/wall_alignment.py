"""Which way the walls run: rooms are boxes, but a map rarely starts parallel to their walls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import SceneObject

_STRIDE = 6  # pixels between samples of a depth image
_UPRIGHT = 0.15  # largest vertical part of the normal of a wall
_CLEAR = 0.25  # concentration (0 .. 1) from which the directions agree
_PARALLEL = np.deg2rad(2.0)


def room_heading(frames: Sequence[Frame]) -> float | None:
    """Yaw of the walls in the world frame, in (-pi/4, pi/4] rad; None while it is not clear.

    Surface normals that lie flat point along the walls or across them, so four times their angle
    is the same for all of them. Within 2 degrees of the axes counts as parallel: 0.
    """
    angles = np.concatenate([_wall_angles(frame) for frame in frames] or [np.empty(0)])
    if len(angles) < 100:
        return None
    mean = np.exp(4j * angles).mean()
    if abs(mean) < _CLEAR:
        return None
    heading = float(np.angle(mean) / 4)
    return 0.0 if abs(heading) < _PARALLEL else heading


def turned(frame: Frame, heading: float) -> Frame:
    """The same frame in a world turned back by `heading` about z, where walls lie along the
    axes.
    """
    if heading == 0.0:
        return frame
    pose = np.eye(4)
    cos, sin = np.cos(heading), np.sin(heading)
    pose[:2, :2] = [[cos, sin], [-sin, cos]]
    return Frame(
        frame.stamp_ns,
        frame.rgb,
        frame.depth,
        frame.camera,
        pose @ frame.world_T_camera,
        frame.frame_id,
    )


def turned_box(box: Box3D, heading: float) -> Box3D:
    """The box after turning the world by `heading` about z."""
    if heading == 0.0:
        return box
    x, y, z = box.center
    cos, sin = float(np.cos(heading)), float(np.sin(heading))
    return Box3D((cos * x - sin * y, sin * x + cos * y, z), box.size, box.yaw + heading)


def turned_points(points: np.ndarray, heading: float) -> np.ndarray:
    """Points (n, 3) after turning the world by `heading` about z."""
    cos, sin = np.cos(heading), np.sin(heading)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], points.dtype)
    return points @ turn


def turned_objects(objects: Iterable[SceneObject], heading: float) -> tuple[SceneObject, ...]:
    """The same objects, their boxes in a world turned by `heading` rad."""
    return tuple(replace(thing, box=turned_box(thing.box, heading)) for thing in objects)


def _wall_angles(frame: Frame) -> np.ndarray:
    """Directions in the plane (n,) of the upright surfaces of one view."""
    points = frame.points_world(_STRIDE).astype(np.float64)
    right = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    normal = np.cross(right, down)
    length = np.linalg.norm(normal, axis=2)
    # A step in depth makes a long false surface; real ones are about as long as they are far.
    reach = 0.25 * np.linalg.norm(points[1:-1, 1:-1] - frame.world_T_camera[:3, 3], axis=2)
    smooth = (np.linalg.norm(right, axis=2) < reach) & (np.linalg.norm(down, axis=2) < reach)
    with np.errstate(invalid="ignore", divide="ignore"):
        upright = smooth & (length > 0) & (np.abs(normal[..., 2]) < _UPRIGHT * length)
    flat = normal[upright]
    return np.arctan2(flat[:, 1], flat[:, 0])
