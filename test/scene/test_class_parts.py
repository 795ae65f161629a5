"""Objects of class images where depth shows none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene.buffer import Snapshot, View
from spatial3d_ros.scene.class_parts import connected_parts, parts_in_space, uncovered
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.label_voting import ClassImage
from spatial3d_ros.scene.object_map import MIN_PARTS, ObjectMap
from spatial3d_ros.scene.proposals import Proposal

CAMERA = Camera(160, 120, 120.0, 120.0, 79.5, 59.5)
LABELS = ("", "wall", "poster", "mug")


def wall_with_poster(stamp=1):
    """A flat wall at 2 m: depth shows nothing on it."""
    rgb, depth = np.zeros((120, 160, 3), np.uint8), np.full((120, 160), 2.0, np.float32)
    classes = np.ones((120, 160), np.int32)
    classes[30:60, 40:80] = 2
    return ClassImage(
        Frame(stamp, rgb, depth, CAMERA, look_at((0, 0, 0), (1, 0, 0))), classes, LABELS
    )


def no_proposals(_):
    return lambda detected: []


def test_parts_end_at_jumps_of_depth_and_structure_is_none():
    image = wall_with_poster()
    (poster,) = connected_parts(image.classes, LABELS, frozenset(("wall",)))
    assert poster.label == "poster" and poster.corners == (40, 30, 80, 60)
    depth = image.frame.depth.copy()
    depth[:, 60:] = 3.0
    halves = connected_parts(image.classes, LABELS, frozenset(("wall",)), depth)
    assert len(halves) == 2
    (lifted,) = parts_in_space(image)
    assert abs(lifted.box.center[0] - 2.0) < 0.02 and 0.4 < lifted.box.size[1] < 0.7


def test_a_poster_on_a_flat_wall_becomes_an_object_when_two_images_show_it():
    world = ObjectMap()
    views = Snapshot(1, (View(0, wall_with_poster(9).frame),))
    for stamp in range(1, MIN_PARTS):
        world.add_class_image(wall_with_poster(stamp))
    assert world.update(views, views, no_proposals) == ()
    world.add_class_image(wall_with_poster(MIN_PARTS))
    (poster,) = world.update(views, views, no_proposals)
    assert poster.label == "poster" and poster.label_from_detector
    world.clear()
    assert world.update(views, views, no_proposals) == ()


def test_what_geometry_has_stays_its():
    points = np.random.default_rng(0).uniform(-0.2, 0.2, (50, 3)).astype(np.float32)
    part = Proposal(Box3D((0, 0, 0), (0.4, 0.4, 0.4)), points, (0.0, 0.0, 0.0), 2, 0.5, "mug", 0.5)
    known = replace(part, box=Box3D((0.1, 0, 0), (0.5, 0.5, 0.5)))
    assert uncovered([part], [known]) == []
    assert uncovered([part], [replace(known, box=Box3D((1, 0, 0), (0.5, 0.5, 0.5)))]) == [part]
