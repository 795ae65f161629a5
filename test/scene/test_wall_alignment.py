"""Wall heading from synthetic and rendered views."""

import numpy as np
import pytest

from helpers.camera_recording import make_recording
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.wall_alignment import heading_of, rotate_frame, wall_directions


def wall_heading(frames):
    return heading_of([wall_directions(frame) for frame in frames])


@pytest.fixture(scope="module")
def frames():
    camera = Camera(160, 120, 130.0, 130.0, 79.5, 59.5)
    return make_recording(generate_room(850_001), 1, 8, camera).frames


@pytest.mark.parametrize("degrees", [0.0, 1.0, 20.0, -35.0])
def test_heading_of_a_rotated_room(frames, degrees):
    seen = [rotate_frame(frame, np.deg2rad(degrees)) for frame in frames]
    expected = 0.0 if degrees < 2 and degrees >= 0 else degrees
    assert np.rad2deg(wall_heading(seen)) == pytest.approx(expected, abs=1.5)
    back = [rotate_frame(frame, -wall_heading(seen)) for frame in seen]
    assert wall_heading(back) == pytest.approx(0.0, abs=0.03)


def test_no_heading_without_walls():
    assert wall_heading([]) is None
    camera = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
    floor = np.eye(4)
    floor[:3, :3] = [[1, 0, 0], [0, -1, 0], [0, 0, -1]]  # looking straight down
    floor[2, 3] = 1.5
    frame = Frame(
        0, np.zeros((48, 64, 3), np.uint8), np.full((48, 64), 1.5, np.float32), camera, floor
    )
    assert wall_heading([frame]) is None


def test_rotation_keeps_the_measured_surface(frames):
    rotated = rotate_frame(frames[0], -0.7)
    angle = np.array([[np.cos(0.7), np.sin(0.7)], [-np.sin(0.7), np.cos(0.7)]])
    old, new = frames[0].points_world(8), rotated.points_world(8)
    np.testing.assert_allclose(new[..., :2], old[..., :2] @ angle.T, atol=1e-4)
    np.testing.assert_allclose(new[..., 2], old[..., 2], atol=1e-4)
