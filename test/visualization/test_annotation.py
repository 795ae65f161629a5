"""Boxes in a picture: where their edges lie, and that none of them can break it."""

from __future__ import annotations

import numpy as np
import pytest

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.visualization.annotation import EDGES, ORANGE, Mark, annotated

BLACK = Frame(
    1,
    np.zeros((120, 160, 3), np.uint8),
    np.full((120, 160), 4.0, np.float32),
    Camera(160, 120, 100.0, 100.0, 79.5, 59.5),
    look_at((0, 0, 0), (1, 0, 0)),
)


def drawn(box, text="", color=(0, 255, 0)):
    return np.argwhere(annotated(BLACK, [Mark(box, text, color)]).any(2))


def test_edges_join_corners_that_differ_in_one_axis():
    corners = Box3D((0, 0, 0), (1, 2, 3)).corners()
    lengths = sorted(np.linalg.norm(corners[a] - corners[b]) for a, b in EDGES)
    assert np.allclose(lengths, [1] * 4 + [2] * 4 + [3] * 4)


def test_a_box_is_drawn_where_it_is_seen():
    pixels = drawn(Box3D((2.0, 0.0, 0.0), (0.0, 0.8, 0.4)))
    (top, left), (bottom, right) = pixels.min(0), pixels.max(0)
    assert (left, right) == pytest.approx((59.5, 99.5), abs=2)
    assert (top, bottom) == pytest.approx((49.5, 69.5), abs=2)


@pytest.mark.parametrize(
    ("box", "is_seen"),
    [
        (Box3D((-2, 0, 0), (0.5, 0.5, 0.5)), False),  # behind
        (Box3D((2, 9, 0), (0.5, 0.5, 0.5)), False),  # beside
        (Box3D((0, 0, 0), (1e4, 1e4, 1e4)), False),  # around
        (Box3D((0.1, 0, 0), (1.0, 0.2, 0.2)), True),  # through the camera
        (Box3D((2, 0, 0), (0, 0, 0)), True),
    ],
)
def test_boxes_anywhere(box, is_seen):
    assert bool(len(drawn(box, "x" * 100))) == is_seen


def test_letters_stay_inside_and_those_that_cannot_be_drawn_are_left_out():
    plain = drawn(Box3D((2.0, 0.0, 0.9), (0.1, 0.1, 0.3)))
    named = annotated(
        BLACK, [Mark(Box3D((2, 0, 0.9), (0.1, 0.1, 0.3)), "赤い red box 0.5", ORANGE)]
    )
    assert named.any(2).sum() > len(plain) + 500  # the field behind the letters
    assert annotated(BLACK, []).sum() == 0
