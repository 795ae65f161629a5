"""The object map: the heading of the walls is revised, and objects keep their ids."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.camera_recording import make_recording
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.scene.buffer import Snapshot, View
from spatial3d_ros.scene.object_map import ObjectMap
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.scene.wall_alignment import rotate_frame


@pytest.fixture(scope="module")
def frames():
    camera = Camera(160, 120, 130.0, 130.0, 79.5, 59.5)
    return make_recording(generate_room(850_001), 1, 8, camera).frames


def snapshot(frames, first=0):
    views = tuple(View(first + k, frame) for k, frame in enumerate(frames))
    return Snapshot(first + len(frames), views)


def no_proposals(_):
    return []


def test_heading_is_revised_and_agrees_with_an_estimate_from_all_views(frames):
    rotated = [rotate_frame(frame, np.deg2rad(20)) for frame in frames]
    wrong = [rotate_frame(frame, np.deg2rad(10)) for frame in frames[:2]]
    online, offline = ObjectMap(), ObjectMap()
    online.align_to_walls(snapshot(wrong, 100))
    assert np.rad2deg(online.heading) == pytest.approx(10, abs=4)
    for count in range(2, 9):
        online.align_to_walls(snapshot(rotated[:count]))
    offline.align_to_walls(snapshot(rotated))
    assert np.rad2deg(online.heading) == pytest.approx(np.rad2deg(offline.heading), abs=1.1)
    assert np.rad2deg(offline.heading) == pytest.approx(20, abs=1.5)


def test_objects_keep_id_and_position_when_the_heading_changes(frames):
    world = ObjectMap()
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (400, 3)) * (1.0, 0.4, 0.6) + (9.0, 9.0, 0.5)
    box = Box3D((9.0, 9.0, 0.5), (1.0, 0.4, 0.6))
    given = Proposal(box, points.astype(np.float32), (200.0, 0.0, 0.0), 3, 0.9)
    far = snapshot(frames[:1])
    world.update(far, far, lambda _: [given])
    rotated = snapshot([rotate_frame(frame, np.deg2rad(15)) for frame in frames], 50)
    aligned = world.align_to_walls(rotated)
    (kept,) = world.update(rotated, aligned, no_proposals)
    assert kept.id == 0
    back = kept.box.rotated(world.heading)
    assert back.center == pytest.approx((9.0, 9.0, 0.5), abs=0.05)
