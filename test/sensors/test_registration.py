"""Depth into the pixels of colour: exact on surfaces, nearest wins, no holes, none made up."""

from __future__ import annotations

import numpy as np
import pytest

from spatial3d_ros.geometry.camera import Camera, backproject, project
from spatial3d_ros.geometry.pose import invert, pose_matrix, transform
from spatial3d_ros.sensors.registration import register_depth

DEPTH = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
COLOR = Camera(128, 96, 130.0, 130.0, 63.5, 47.5)  # finer and narrower
BESIDE = pose_matrix((-0.05, 0.01, 0.0), (0.0, 0.0, 0.0, 1.0))


def test_the_same_camera_changes_nothing():
    depth = np.random.default_rng(0).uniform(0.5, 4, (48, 64)).astype(np.float32)
    depth[5:9, 3:20] = 0
    np.testing.assert_array_equal(register_depth(depth, DEPTH, DEPTH, np.eye(4)), depth)


def test_a_wall_is_whole_and_at_its_distance_in_a_finer_image():
    moved = register_depth(np.full((48, 64), 2.0, np.float32), DEPTH, COLOR, BESIDE)
    assert moved.shape == (96, 128)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, 2.0, rtol=1e-5)  # no pixel is left out


def test_a_tilted_wall_seen_by_a_turned_camera_is_where_rays_meet_it():
    turn = pose_matrix((0.1, 0.0, 0.05), (0.0, np.sin(0.1), 0.0, np.cos(0.1)))
    normal, offset = np.array([0.3, 0.1, 1.0]), 2.0  # n . p = offset in the depth camera
    rays = backproject(np.ones((48, 64), np.float32), DEPTH)
    depth = (offset / (rays @ normal)).astype(np.float32)
    moved = register_depth(depth, DEPTH, COLOR, turn)
    color_rays = backproject(np.ones((96, 128), np.float32), COLOR)
    rotated = turn[:3, :3] @ normal
    truth = (offset + rotated @ turn[:3, 3]) / (color_rays @ rotated)
    seen = moved > 0
    assert np.abs(moved - truth)[seen].max() < 0.03
    pixels, _ = project(transform(invert(turn), color_rays * truth[..., None]), DEPTH)
    measured = (pixels > 1).all(-1) & (pixels < (62, 46)).all(-1)
    assert 0.5 < measured.mean() < 0.9  # the depth camera looks another way
    assert seen[measured].mean() > 0.96  # between squares that face the other camera


def test_what_stands_in_front_hides_what_is_behind():
    depth = np.full((48, 64), 3.0, np.float32)
    depth[10:30, 20:40] = 1.0
    moved = register_depth(depth, DEPTH, DEPTH, BESIDE)
    assert set(np.round(np.unique(moved), 3)) == {0.0, 1.0, 3.0}
    near = np.argwhere(np.isclose(moved, 1.0))
    # at 1 m the shift is 3 pixels to the left and 0.6 down
    np.testing.assert_array_equal(near.min(0), (11, 17))
    np.testing.assert_array_equal(near.max(0), (30, 36))
    shadow = moved[15, 37:40]  # the wall is seen there by colour, but not by depth
    assert (shadow[:2] == 0).all()


def test_every_measured_point_in_view_is_at_least_covered():
    rng = np.random.default_rng(1)
    depth = np.where(rng.random((48, 64)) < 0.3, rng.uniform(0.4, 5, (48, 64)), 0)
    depth = depth.astype(np.float32)
    moved = register_depth(depth, DEPTH, COLOR, BESIDE)
    points = backproject(depth, DEPTH)[depth > 0]
    pixels, z = project(transform(BESIDE, points), COLOR)
    u, v = np.round(pixels).astype(int).T
    inside = (u >= 0) & (v >= 0) & (u < 128) & (v < 96)
    there = moved[v[inside], u[inside]]
    assert inside.sum() > 300
    assert (there > 0).all()
    assert (there <= z[inside] + 1e-5).all()


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_nothing_measured_gives_nothing(value):
    assert not register_depth(np.full((48, 64), value, np.float32), DEPTH, COLOR, BESIDE).any()


def test_what_lies_behind_or_at_the_colour_camera_is_left_out():
    ahead = pose_matrix((0.0, 0.0, -1.99), (0.0, 0.0, 0.0, 1.0))
    assert not register_depth(np.full((48, 64), 2.0, np.float32), DEPTH, COLOR, ahead).any()
