"""Labels by votes of the pixels of class images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene import label_voting
from spatial3d_ros.scene.buffer import Snapshot, View
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.label_voting import ClassImage, label_by_votes, label_shares
from spatial3d_ros.scene.object_map import MAX_CLASS_IMAGES, ObjectMap
from spatial3d_ros.scene.proposals import Proposal

CAMERA = Camera(160, 120, 120.0, 120.0, 79.5, 59.5)
LABELS = ("", "sofa", "wall", "zorbik")
STRUCTURE = frozenset(("wall",))


def frame(stamp=1, distance=2.0):
    rgb, depth = np.zeros((120, 160, 3), np.uint8), np.full((120, 160), distance, np.float32)
    return Frame(stamp, rgb, depth, CAMERA, look_at((0, 0, 0), (1, 0, 0)))


def classes(left, right, stamp=1):
    """Class `left` in the left half of the image and `right` in the other."""
    image = np.full((120, 160), right, np.int32)
    image[:, :80] = left
    return ClassImage(frame(stamp), image, LABELS, STRUCTURE)


def proposal(y, distance=2.0, label=""):
    """A patch of 0.4 m at `distance` in front of the camera, at `y` to its left."""
    side = np.linspace(-0.2, 0.2, 20)
    points = np.array([(distance, y + a, b) for a in side for b in side], np.float32)
    box = Box3D((distance, y, 0), (0.02, 0.4, 0.4))
    return Proposal(box, points, (9.0, 9.0, 9.0), 1, 0.5, label, 0.7 if label else 0.0)


def test_label_is_that_of_most_visible_pixels():
    given = [proposal(0.5), proposal(-0.5)]
    left, right = label_by_votes(given, [classes(1, 3)])
    assert (left.label, right.label) == ("sofa", "zorbik")
    assert left.label_score == pytest.approx(1.0)


def test_structure_is_removed_and_a_detectors_label_stays():
    given = [proposal(0.5), proposal(-0.5), proposal(-0.5, label="mug")]
    kept = label_by_votes(given, [classes(2, 3)])
    assert [one.label for one in kept] == ["zorbik", "mug"]


def test_what_is_wall_and_floor_at_once_is_in_doubt_and_stays():
    both = ClassImage(frame(), np.full((120, 160), 2), ("", "sofa", "wall", "floor"))
    assert not label_by_votes([proposal(0.5)], [both])
    striped = both.classes.copy()
    striped[::2] = 3
    assert label_by_votes([proposal(0.5)], [replace(both, classes=striped)])


def test_what_has_depth_and_a_good_score_stays_whatever_segmenters_call_it():
    chair = replace(proposal(0.5), box=Box3D((2.2, 0.5, 0), (0.4, 0.4, 0.4)))
    assert label_by_votes([chair], [classes(2, 2)]) == [chair]
    assert label_by_votes([replace(chair, score=0.1)], [classes(2, 2)]) == []


def test_hidden_points_unknown_pixels_and_views_without_classes_do_not_name():
    hidden = proposal(0.5, distance=3.0)
    assert label_by_votes([hidden], [classes(1, 1)]) == [hidden]
    assert label_by_votes([proposal(0.5)], [classes(0, 0)])[0].label == ""
    assert label_by_votes([proposal(0.5)], [])[0].label == ""


def test_votes_are_shared_and_near_views_weigh_more():
    half = label_shares(proposal(0.0).points, [classes(1, 3)])
    assert half["sofa"] == pytest.approx(0.5, abs=0.05) and sum(half.values()) == pytest.approx(1)
    back = replace(frame(2, 4.0), world_T_camera=look_at((-2, 0, 0), (1, 0, 0)))
    votes = label_shares(proposal(0.0).points, [classes(1, 1), replace(classes(3, 3), frame=back)])
    assert votes["sofa"] == pytest.approx(0.8, abs=0.01)


def test_a_class_image_of_another_size_is_named():
    with pytest.raises(FrameError, match="80 x 60 differs from the color image"):
        replace(classes(1, 1), classes=np.zeros((60, 80), np.int32))


def test_class_images_name_the_objects_of_the_map_and_are_bounded():
    world = ObjectMap()
    for stamp in range(MAX_CLASS_IMAGES + 9):
        world.add_class_image(classes(1, 3, stamp))
    newest = MAX_CLASS_IMAGES + 8
    views = Snapshot(1, (View(0, frame(newest)),))
    named, part = world.update(views, views, lambda _: lambda detected: [proposal(0.5)])
    assert named.label == "sofa" and named.label_from_detector
    assert (
        part.label == "zorbik" and part.box.center[1] < 0
    )  # the other half, which has no proposal
    world.clear()
    (unnamed,) = world.update(views, views, lambda _: lambda detected: [proposal(0.5)])
    assert unnamed.label == ""


def view_of_wall(eye, target, index):
    """All pixels of class `index`; the frame looks at a wall at x = 2."""
    pose = look_at(eye, target)
    v, u = np.mgrid[:120, :160]
    rays = np.stack([(u - 79.5) / 120, (v - 59.5) / 120, np.ones(u.shape)], -1) @ pose[:3, :3].T
    depth = (2 - eye[0]) / np.maximum(rays[..., 0], 1e-3)
    shown = Frame(1, np.zeros((120, 160, 3), np.uint8), depth.astype(np.float32), CAMERA, pose)
    return ClassImage(shown, np.full((120, 160), index, np.int32), LABELS, STRUCTURE)


ONES = staticmethod(lambda frame: np.ones((30, 40)))


@pytest.mark.parametrize(
    ("name", "nothing", "eye", "target"),
    [("_AT_BORDER", 1.0, (0, -1.3, 0), (1, -1.3, 0)), ("_facing", ONES, (1.3, -1.9, 0), (2, 0, 0))],
)
def test_a_view_at_its_border_or_at_an_angle_counts_less(monkeypatch, name, nothing, eye, target):
    point = replace(proposal(0.0), points=np.array([[2.0, 0.0, 0.0]], np.float32))
    frontal, other = view_of_wall((0, 0, 0), (1, 0, 0), 1), view_of_wall(eye, target, 3)
    votes = dict(label_by_votes([point], [frontal, other])[0].labels)
    assert votes["sofa"] > 1.5 * votes["zorbik"]
    monkeypatch.setattr(label_voting, name, nothing)  # without this part the two are alike
    votes = dict(label_by_votes([point], [frontal, other])[0].labels)
    assert votes["sofa"] == pytest.approx(votes["zorbik"], rel=0.1)
