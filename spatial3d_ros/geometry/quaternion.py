"""Quaternions x, y, z, w: by tf_transformations where it is installed, by SciPy elsewhere.

tf_transformations is a ROS package around transforms3d. The pip wheels of ROS do not include it, so
SciPy, which is required anyway, replaces it there. The two agree to rounding.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

tf_transformations: ModuleType | None
try:
    import tf_transformations  # type: ignore[no-redef]
except Exception:  # transforms3d 0.3, of Ubuntu 22.04, fails with NumPy 1.24: no ImportError
    tf_transformations = None


def rotation_matrix(quaternion_xyzw: ArrayLike) -> np.ndarray:
    """The rotation (3, 3) of a quaternion (4,), which is normalized."""
    if tf_transformations is not None:
        return np.asarray(tf_transformations.quaternion_matrix(quaternion_xyzw))[:3, :3]
    return Rotation.from_quat(quaternion_xyzw).as_matrix()


def quaternion_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """The unit quaternion (4,) with w >= 0 of a rotation (3, 3)."""
    if tf_transformations is not None:
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        quaternion = np.asarray(tf_transformations.quaternion_from_matrix(matrix))
    else:
        quaternion = Rotation.from_matrix(rotation).as_quat()
    return quaternion if quaternion[3] >= 0 else -quaternion


def quaternion_from_yaw(yaw: float) -> np.ndarray:
    """The unit quaternion (4,) of a rotation about z in radians."""
    if tf_transformations is not None:
        return np.asarray(tf_transformations.quaternion_from_euler(0.0, 0.0, yaw))
    return Rotation.from_euler("z", yaw).as_quat()


def yaw_from_quaternion(quaternion_xyzw: ArrayLike) -> float:
    """The yaw in radians, -pi .. pi: rotation about z after roll and pitch (REP 103)."""
    if tf_transformations is not None:
        return float(tf_transformations.euler_from_quaternion(quaternion_xyzw)[2])
    return float(Rotation.from_quat(quaternion_xyzw).as_euler("xyz")[2])
