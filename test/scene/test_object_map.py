"""The object map: the heading of the walls is revised, and objects keep their ids."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from helpers.camera_recording import make_recording
from spatial3d_ros.bags.folders import frames_from_folder
from spatial3d_ros.geometry.box import Box3D, iou_matrix
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.scene.buffer import Snapshot, View
from spatial3d_ros.scene.object_map import ObjectMap
from spatial3d_ros.scene.proposals import Proposal, region_tree
from spatial3d_ros.scene.view_fusion import ViewFusion
from spatial3d_ros.scene.wall_alignment import rotate_frame


@pytest.fixture(scope="module")
def frames():
    camera = Camera(160, 120, 130.0, 130.0, 79.5, 59.5)
    return make_recording(generate_room(850_001), 1, 8, camera).frames


def snapshot(frames, first=0):
    views = tuple(View(first + k, frame) for k, frame in enumerate(frames))
    return Snapshot(first + len(frames), views)


def no_proposals(_):
    return lambda detected: []


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
    world.update(far, far, lambda _: lambda detected: [given])
    rotated = snapshot([rotate_frame(frame, np.deg2rad(15)) for frame in frames], 50)
    aligned = world.align_to_walls(rotated)
    (kept,) = world.update(rotated, aligned, no_proposals)
    assert kept.id == 0
    back = kept.box.rotated(world.heading)
    assert back.center == pytest.approx((9.0, 9.0, 0.5), abs=0.05)


def mapped(views, every):
    """The boxes of a map that is updated after `every` views, as a node does, and at the end."""
    world, fusion = ObjectMap(), ViewFusion()
    for count in [*range(every, len(views), every), len(views)]:
        seen = snapshot(views[:count])
        aligned = world.align_to_walls(seen)
        ids = [view.id for view in aligned.views]
        objects = world.update(
            seen,
            aligned,
            lambda given, ids=ids: (
                region_tree([v.frame for v in given.views], fusion=fusion, ids=ids).proposals
            ),
        )
    return [known.box.rotated(world.heading) for known in objects]


def agreement(views):
    """Share of the objects of a map made at once that one made view by view has too."""
    once, often = (
        np.array([box.hull().array() for box in mapped(views, every)])
        for every in (len(views), len(views) // 2)
    )
    assert len(once) >= 3
    return (iou_matrix(once, often).max(1) > 0.5).mean()


def test_a_map_updated_view_by_view_is_that_of_all_views_at_once(frames):
    assert agreement([rotate_frame(frame, np.deg2rad(15)) for frame in frames]) >= 0.75


def test_node_and_offline_agree_on_a_real_lounge():
    root = Path(os.environ.get("SPATIAL3D_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    folder = root / "data" / "lounge_3dmatch"
    if not folder.exists():
        pytest.skip(
            "no lounge_3dmatch: set SPATIAL3D_SHARED to the folder with data/lounge_3dmatch"
        )

    assert agreement(list(frames_from_folder(folder))) >= 0.75
