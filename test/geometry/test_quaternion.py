"""Quaternions agree between tf_transformations and SciPy, whichever is installed."""

from __future__ import annotations

import importlib
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from spatial3d_ros.geometry import quaternion
from spatial3d_ros.geometry.pose import pose_matrix, quaternion_xyzw

ANGLES = (0.0, 0.3, -1.2, math.pi / 2, 3.1, -3.1)


def quaternion_from_euler(roll, pitch, yaw):
    """The formula of the static axes x, y, z, as tf_transformations defines them."""
    (sr, cr), (sp, cp), (sy, cy) = (
        (math.sin(angle / 2), math.cos(angle / 2)) for angle in (roll, pitch, yaw)
    )
    return (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )


def euler_from_quaternion(xyzw):
    x, y, z, w = xyzw
    return (
        math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)),
        math.asin(2 * (w * y - z * x)),
        math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
    )


def quaternion_matrix(xyzw):
    x, y, z, w = np.asarray(xyzw) / np.linalg.norm(xyzw)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix = np.eye(4)
    matrix[:3, :3] += 2 * w * skew + 2 * skew @ skew
    return matrix


def quaternion_from_matrix(matrix):
    """By the eigenvector of eigenvalue 1 of the rotation; enough for angles apart from 0."""
    angle = math.acos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1))
    if angle < 1e-9:
        return np.array([0.0, 0.0, 0.0, -1.0])  # -q is the same rotation
    antisymmetric = matrix[:3, :3] - matrix[:3, :3].T
    axis = np.array([antisymmetric[2, 1], antisymmetric[0, 2], antisymmetric[1, 0]])
    axis /= np.linalg.norm(axis)
    return np.array([*axis * math.sin(angle / 2), math.cos(angle / 2)])


FAKE_TF_TRANSFORMATIONS = SimpleNamespace(
    quaternion_from_euler=quaternion_from_euler,
    euler_from_quaternion=euler_from_quaternion,
    quaternion_matrix=quaternion_matrix,
    quaternion_from_matrix=quaternion_from_matrix,
)


@pytest.fixture(params=["tf_transformations", "scipy", "installed"])
def backend(request, monkeypatch):
    if request.param != "installed":
        module = FAKE_TF_TRANSFORMATIONS if request.param == "tf_transformations" else None
        monkeypatch.setattr(quaternion, "tf_transformations", module)
    return request.param


@pytest.mark.parametrize("yaw", ANGLES)
def test_yaw_and_quaternion_are_inverse(backend, yaw):
    xyzw = quaternion.quaternion_from_yaw(yaw)
    assert xyzw == pytest.approx([0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)])
    assert quaternion.yaw_from_quaternion(xyzw) == pytest.approx(yaw)


@pytest.mark.parametrize("yaw", ANGLES)
def test_yaw_is_independent_of_roll_and_pitch(backend, yaw):
    tilted = quaternion_from_euler(0.2, -0.4, yaw)
    assert quaternion.yaw_from_quaternion(tilted) == pytest.approx(yaw)


@pytest.mark.parametrize("yaw", ANGLES)
def test_rotation_and_quaternion_are_inverse(backend, yaw):
    xyzw = np.array(quaternion_from_euler(0.2, -0.4, yaw))
    expected = quaternion_matrix(xyzw)[:3, :3]
    assert quaternion.rotation_matrix(2 * xyzw) == pytest.approx(expected)
    assert pose_matrix((1.0, 2.0, 3.0), xyzw)[:3, :3] == pytest.approx(expected)
    found = quaternion_xyzw(expected)
    assert found == pytest.approx(xyzw if xyzw[3] >= 0 else -xyzw)
    assert quaternion.quaternion_from_rotation(np.eye(3)) == pytest.approx([0, 0, 0, 1])


def test_tf_transformations_is_used_if_it_can_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf_transformations", FAKE_TF_TRANSFORMATIONS)
    assert importlib.reload(quaternion).tf_transformations is FAKE_TF_TRANSFORMATIONS
    monkeypatch.setitem(sys.modules, "tf_transformations", None)  # import raises ImportError
    assert importlib.reload(quaternion).tf_transformations is None
    monkeypatch.undo()
    importlib.reload(quaternion)
