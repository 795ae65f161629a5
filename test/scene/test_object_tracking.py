"""Object tracking: persistent ids, better boxes, removal of objects whose volume is free."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.geometry.box import Box3D, iou
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene.buffer import Snapshot, View
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import ObjectTracker
from spatial3d_ros.scene.proposals import Proposal

CAMERA = Camera(160, 120, 120.0, 120.0, 79.5, 59.5)
RED, BLUE = (200.0, 30.0, 30.0), (30.0, 30.0, 200.0)
NOWHERE = Snapshot(0, ())


def proposal(center, size=(0.4, 0.4, 0.4), rgb=RED, n=200, seed=0, score=0.8) -> Proposal:
    points = np.random.default_rng(seed).uniform(-0.5, 0.5, (n, 3)) * size + center
    return Proposal(Box3D(center, size), points.astype(np.float32), rgb, 3, score)


def views(distance: float, stamp: int = 0, n: int = 3, yaw: float = 0.0) -> Snapshot:
    """Views from the origin along x (rotated by yaw) at a wall `distance` away."""
    pose = look_at((0, 0, 0), (np.cos(yaw), np.sin(yaw), 0))
    rgb, depth = np.zeros((120, 160, 3), np.uint8), np.full((120, 160), distance, np.float32)
    frames = [Frame(stamp + k, rgb, depth, CAMERA, pose) for k in range(n)]
    return Snapshot(stamp, tuple(View(k, f) for k, f in enumerate(frames)))


def test_ids_persist_in_any_order():
    scene = ObjectTracker()
    a, b = proposal((1, 0, 0)), proposal((3, 0, 0), rgb=BLUE)
    first = scene.update([a, b], NOWHERE)
    moved = [
        replace(b, box=Box3D((3.03, 0, 0), (0.42, 0.4, 0.4))),
        replace(a, box=Box3D((1, 0.02, 0), (0.4,) * 3)),
    ]
    second = scene.update(moved, NOWHERE)
    assert [o.id for o in first] == [o.id for o in second] == [0, 1]
    assert second[0].rgb[0] > 150 and second[1].rgb[2] > 150


def test_color_decides_between_neighbors():
    scene = ObjectTracker()
    scene.update([proposal((1, 0, 0), rgb=RED), proposal((1.25, 0, 0), rgb=BLUE)], NOWHERE)
    after = scene.update([proposal((1.12, 0, 0), rgb=BLUE)], NOWHERE)
    assert len(after) == 2
    assert after[1].box.center[0] == pytest.approx(1.185, abs=0.02)


def test_more_points_replace_the_box_and_fewer_hardly_move_it():
    scene = ObjectTracker()
    scene.update([proposal((1, 0, 0), (0.2, 0.4, 0.4), n=60)], NOWHERE)
    whole = proposal((1.05, 0, 0), (0.4, 0.4, 0.4), n=400)
    assert iou(scene.update([whole], NOWHERE)[0].box, whole.box) == pytest.approx(1)
    part = proposal((0.95, 0, 0), (0.2, 0.4, 0.4), n=40)
    (kept,) = scene.update([part], NOWHERE)
    assert kept.id == 0 and iou(kept.box, whole.box) > 0.85 and len(kept.points) == 400


def test_objects_out_of_view_keep_their_stamp():
    scene = ObjectTracker()
    scene.update([proposal((2, 0, 0))], views(2.0, stamp=5))
    for k in range(5):
        (kept,) = scene.update([], views(4.0, stamp=100 + k, yaw=np.pi))
    assert kept.stamp_ns == 7


def test_a_weak_proposal_does_not_replace_the_surer_object_inside_it():
    scene = ObjectTracker(max_misses=1)
    scene.update([proposal((2, 0, 0), (0.05, 0.5, 0.5), score=0.8)], views(2.0))
    merged = proposal((2, 1.5, 0), (0.3, 4, 3), rgb=BLUE, score=0.1)
    (kept,) = scene.update([merged], views(2.0))
    assert kept.id == 0
    (new,) = scene.update([replace(merged, score=0.7)], views(2.0))
    assert new.id == 1
    scene.update([proposal((2, 0, 0), (0.05, 0.5, 0.5), score=0.8)], views(2.0))
    left = scene.update([merged], views(5.0))
    assert all(known.box.size[1] > 1 for known in left)  # its volume is free now


def test_occluded_objects_stay():
    scene = ObjectTracker()
    scene.update([proposal((2, 0, 0))], views(2.0))
    for k in range(5):
        assert len(scene.update([], views(1.0, stamp=100 + k))) == 1


def test_objects_in_free_space_are_removed_and_ids_not_reused():
    scene = ObjectTracker(max_misses=2)
    scene.update([proposal((2, 0, 0))], views(2.0))
    assert len(scene.update([], views(4.0, stamp=100))) == 1
    assert scene.update([], views(4.0, stamp=200)) == ()
    assert scene.update([proposal((2, 0, 0))], views(2.0, stamp=300))[0].id == 1


def test_oldest_objects_are_removed_first():
    scene = ObjectTracker(max_objects=5)
    scene.update([proposal((k, 0, 0)) for k in range(4)], views(9.0, stamp=1, yaw=np.pi))
    after = scene.update([proposal((k, 9, 0)) for k in range(4)], views(9.0, stamp=10, yaw=np.pi))
    assert len(after) == 5 and sum(o.stamp_ns > 5 for o in after) == 4
    assert after == scene.objects


def test_clear_keeps_the_id_counter():
    scene = ObjectTracker()
    scene.update([proposal((1, 0, 0))], NOWHERE)
    scene.clear()
    assert scene.objects == () and scene.update([], NOWHERE) == ()
    assert scene.update([proposal((1, 0, 0))], NOWHERE)[0].id == 1
