"""The direction of the walls, from made-up and from rendered views."""

import numpy as np
import pytest

from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.research.rooms.camera_recording import make_recording
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.wall_alignment import room_heading, turned


@pytest.fixture(scope="module")
def frames():
    camera = Camera(160, 120, 130.0, 130.0, 79.5, 59.5)
    return make_recording(generate_room(850_001), 1, 8, camera).frames


@pytest.mark.parametrize("degrees", [0.0, 1.0, 20.0, -35.0])
def test_walls_of_a_turned_room(frames, degrees):
    seen = [turned(frame, -np.deg2rad(degrees)) for frame in frames]
    expected = 0.0 if degrees < 2 and degrees >= 0 else degrees
    assert np.rad2deg(room_heading(seen)) == pytest.approx(expected, abs=1.5)
    back = [turned(frame, room_heading(seen)) for frame in seen]
    assert room_heading(back) == pytest.approx(0.0, abs=0.03)


def test_no_walls_no_heading():
    assert room_heading([]) is None
    camera = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
    floor = np.eye(4)
    floor[:3, :3] = [[1, 0, 0], [0, -1, 0], [0, 0, -1]]  # looking straight down
    floor[2, 3] = 1.5
    frame = Frame(
        0, np.zeros((48, 64, 3), np.uint8), np.full((48, 64), 1.5, np.float32), camera, floor
    )
    assert room_heading([frame]) is None


def test_turning_keeps_what_is_seen(frames):
    there = turned(frames[0], 0.7)
    angle = np.array([[np.cos(0.7), np.sin(0.7)], [-np.sin(0.7), np.cos(0.7)]])
    old, new = frames[0].points_world(8), there.points_world(8)
    np.testing.assert_allclose(new[..., :2], old[..., :2] @ angle.T, atol=1e-4)
    np.testing.assert_allclose(new[..., 2], old[..., 2], atol=1e-4)
