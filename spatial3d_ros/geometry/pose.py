"""Rigid poses as 4x4 matrices: `a_T_b` maps points in frame b to frame a. Metres and radians."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation, Slerp

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.quaternion import quaternion_from_rotation, rotation_matrix

# Unit quaternions that went through float32 or text are off by less than this.
NORM_TOLERANCE = 1e-2


def pose_matrix(position: ArrayLike, quaternion_xyzw: ArrayLike) -> np.ndarray:
    """The (4, 4) float64 pose of a position (3,) in metres and a unit quaternion (4,) x, y, z, w.

    Raises:
        FrameError: a number is not finite, or the quaternion is zero or far from unit length.
    """
    position = np.asarray(position, dtype=np.float64)
    quaternion = np.asarray(quaternion_xyzw, dtype=np.float64)
    if not np.isfinite(position).all():
        raise FrameError(
            f"pose: position {position.tolist()} is not finite; check the localisation"
        )
    norm = np.linalg.norm(quaternion)
    if not abs(norm - 1) <= NORM_TOLERANCE:  # also true for NaN
        raise FrameError(
            f"pose: orientation {quaternion.tolist()} (x, y, z, w) has length {norm:.3g}; "
            "it must be a unit quaternion, identity is (0, 0, 0, 1)"
        )
    return _matrix(rotation_matrix(quaternion), position)


def quaternion_xyzw(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternion (4,) x, y, z, w with w >= 0, of a rotation (3, 3) or a pose (4, 4)."""
    return quaternion_from_rotation(rotation[:3, :3])


def invert(pose: np.ndarray) -> np.ndarray:
    """b_T_a from a_T_b."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverse


def transform(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 3) moved by a pose (4, 4). float32 stays float32, all else becomes float64."""
    points = np.asarray(points)
    if points.dtype != np.float32:
        points = points.astype(np.float64)
    if not points.size:
        return points.copy()
    # Thin matrices are slow in numpy; this is some thirty times faster on an image of points.
    return cv2.transform(points.reshape(1, -1, 3), pose[:3]).reshape(points.shape)


def rotate_points(points: np.ndarray, angle: float) -> np.ndarray:
    """Points (n, 3) after a rotation of the world by `angle` rad about +z."""
    cos, sin = np.cos(angle), np.sin(angle)
    transposed = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], points.dtype)
    return points @ transposed


def interpolate(
    pose0: np.ndarray, stamp0_ns: int, pose1: np.ndarray, stamp1_ns: int, stamp_ns: int
) -> np.ndarray:
    """The pose at `stamp_ns` on the straight line and constant turn from pose0 to pose1.

    Raises:
        FrameError: the stamp is not between the two poses.
    """
    if not stamp0_ns <= stamp_ns <= stamp1_ns:
        raise FrameError(
            f"pose: stamp {stamp_ns} ns is outside of the known poses {stamp0_ns} .. {stamp1_ns} ns"
        )
    if stamp0_ns == stamp1_ns:
        return pose0.copy()
    # Relative times: nanoseconds since 1970 do not fit a float64.
    part = (stamp_ns - stamp0_ns) / (stamp1_ns - stamp0_ns)
    turn = Slerp([0.0, 1.0], Rotation.from_matrix([pose0[:3, :3], pose1[:3, :3]]))
    return _matrix(turn(part).as_matrix(), (1 - part) * pose0[:3, 3] + part * pose1[:3, 3])


def motion(pose0: np.ndarray, pose1: np.ndarray) -> tuple[float, float]:
    """Distance (metres) and rotation angle (radians, 0 .. pi) from pose0 to pose1."""
    turn = Rotation.from_matrix(pose0[:3, :3].T @ pose1[:3, :3])
    return float(np.linalg.norm(pose1[:3, 3] - pose0[:3, 3])), float(turn.magnitude())


def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> np.ndarray:
    """world_T_camera of an optical frame at `eye` whose z axis points at `target`; `up` is up in
    the image.

    With the z axis along `up` the roll is undefined; the top of the image then points to world x.

    Raises:
        FrameError: eye and target are the same point.
    """
    eye = np.asarray(eye, dtype=np.float64)
    forward = np.asarray(target, dtype=np.float64) - eye
    length = np.linalg.norm(forward)
    if length < 1e-9:
        raise FrameError("pose: look_at needs a target away from the eye")
    forward /= length
    right = np.cross(forward, np.asarray(up, dtype=np.float64))
    if np.linalg.norm(right) < 1e-6:
        right = np.cross(forward, (1.0, 0.0, 0.0))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    return pose


def check_pose(pose: ArrayLike, name: str) -> np.ndarray:
    """A float64 copy of a (4, 4) rigid pose.

    Raises:
        FrameError: wrong shape, not finite, or the rotation is not orthonormal and right-handed.
    """
    pose = np.array(pose, dtype=np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise FrameError(f"{name}: must be a finite 4x4 matrix, got {pose.tolist()}")
    rotation = pose[:3, :3]
    rigid = np.abs(rotation.T @ rotation - np.eye(3)).max() < 1e-3 and np.linalg.det(rotation) > 0
    if not rigid or np.abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise FrameError(
            f"{name}: must be a rotation and a translation without scale or mirroring, "
            f"got {pose.tolist()}; build it with pose_matrix"
        )
    return pose


def _matrix(rotation: np.ndarray, position: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = position
    return pose
