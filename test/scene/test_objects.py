"""The object map: ids stay, boxes get better, objects go when their place is seen empty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.geometry.box import Box3D, iou
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene.buffer import Snapshot, View
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import ObjectMap
from spatial3d_ros.scene.proposals import Proposal

CAMERA = Camera(160, 120, 120.0, 120.0, 79.5, 59.5)
RED, BLUE = (200.0, 30.0, 30.0), (30.0, 30.0, 200.0)
NOWHERE = Snapshot(0, ())


def thing(center, size=(0.4, 0.4, 0.4), rgb=RED, n=200, seed=0, score=0.8) -> Proposal:
    points = np.random.default_rng(seed).uniform(-0.5, 0.5, (n, 3)) * size + center
    return Proposal(Box3D(center, size), points.astype(np.float32), rgb, 3, score)


def looking(distance: float, stamp: int = 0, n: int = 3, yaw: float = 0.0) -> Snapshot:
    """Views from the origin along x (turned by yaw) at a wall `distance` away."""
    pose = look_at((0, 0, 0), (np.cos(yaw), np.sin(yaw), 0))
    rgb, depth = np.zeros((120, 160, 3), np.uint8), np.full((120, 160), distance, np.float32)
    frames = [Frame(stamp + k, rgb, depth, CAMERA, pose) for k in range(n)]
    return Snapshot(stamp, tuple(View(k, f) for k, f in enumerate(frames)))


def test_ids_stay_with_their_objects_in_any_order():
    scene = ObjectMap()
    a, b = thing((1, 0, 0)), thing((3, 0, 0), rgb=BLUE)
    first = scene.update([a, b], NOWHERE)
    moved = [
        replace(b, box=Box3D((3.03, 0, 0), (0.42, 0.4, 0.4))),
        replace(a, box=Box3D((1, 0.02, 0), (0.4,) * 3)),
    ]
    second = scene.update(moved, NOWHERE)
    assert [o.id for o in first] == [o.id for o in second] == [0, 1]
    assert second[0].rgb[0] > 150 and second[1].rgb[2] > 150


def test_colour_decides_between_neighbours():
    scene = ObjectMap()
    scene.update([thing((1, 0, 0), rgb=RED), thing((1.25, 0, 0), rgb=BLUE)], NOWHERE)
    after = scene.update([thing((1.12, 0, 0), rgb=BLUE)], NOWHERE)
    assert len(after) == 2
    assert after[1].box.center[0] == pytest.approx(1.185, abs=0.02)


def test_a_better_look_replaces_the_box_and_a_worse_one_hardly_moves_it():
    scene = ObjectMap()
    scene.update([thing((1, 0, 0), (0.2, 0.4, 0.4), n=60)], NOWHERE)
    whole = thing((1.05, 0, 0), (0.4, 0.4, 0.4), n=400)
    assert iou(scene.update([whole], NOWHERE)[0].box, whole.box) == pytest.approx(1)
    part = thing((0.95, 0, 0), (0.2, 0.4, 0.4), n=40)
    (kept,) = scene.update([part], NOWHERE)
    assert kept.id == 0 and iou(kept.box, whole.box) > 0.85 and len(kept.points) == 400


def test_objects_out_of_view_stay_with_the_stamp_of_their_last_sight():
    scene = ObjectMap()
    scene.update([thing((2, 0, 0))], looking(2.0, stamp=5))
    for k in range(5):
        (kept,) = scene.update([], looking(4.0, stamp=100 + k, yaw=np.pi))
    assert kept.stamp_ns == 7


def test_objects_behind_something_stay():
    scene = ObjectMap()
    scene.update([thing((2, 0, 0))], looking(2.0))
    for k in range(5):
        assert len(scene.update([], looking(1.0, stamp=100 + k))) == 1


def test_objects_whose_place_is_seen_empty_go_and_their_ids_are_not_reused():
    scene = ObjectMap(patience=2)
    scene.update([thing((2, 0, 0))], looking(2.0))
    assert len(scene.update([], looking(4.0, stamp=100))) == 1
    assert scene.update([], looking(4.0, stamp=200)) == ()
    assert scene.update([thing((2, 0, 0))], looking(2.0, stamp=300))[0].id == 1


def test_the_map_is_bounded_and_the_oldest_go_first():
    scene = ObjectMap(max_objects=5)
    scene.update([thing((k, 0, 0)) for k in range(4)], looking(9.0, stamp=1, yaw=np.pi))
    after = scene.update([thing((k, 9, 0)) for k in range(4)], looking(9.0, stamp=10, yaw=np.pi))
    assert len(after) == 5 and sum(o.stamp_ns > 5 for o in after) == 4
    assert after == scene.objects


def test_clear_forgets_all_but_the_ids():
    scene = ObjectMap()
    scene.update([thing((1, 0, 0))], NOWHERE)
    scene.clear()
    assert scene.objects == () and scene.update([], NOWHERE) == ()
    assert scene.update([thing((1, 0, 0))], NOWHERE)[0].id == 1
