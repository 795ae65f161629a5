"""Pieces of one object are joined by label and usual size."""

from __future__ import annotations

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.labelled_parts import join_parts
from spatial3d_ros.scene.proposals import Proposal


def piece(center, size, *labels, share=0.8):
    grid = np.linspace(-0.5, 0.5, 4)
    points = np.stack(np.meshgrid(grid, grid, grid), -1).reshape(-1, 3) * size + center
    named = tuple((label, share) for label in labels)
    return Proposal(
        Box3D(center, size), points.astype(np.float32), (9.0, 9.0, 9.0), 1, 0.5,
        labels[0] if share >= 0.5 else "", share if share >= 0.5 else 0.0, named,
    )  # fmt: skip


SEAT = piece((0, 0, 0.65), (0.5, 0.45, 0.6), "chair")
BASE = piece((0, 0.02, 0.16), (0.55, 0.5, 0.33), "office chair")


def test_seat_and_base_are_one_chair_and_back_and_seat_one_sofa():
    (chair,) = join_parts([SEAT, BASE])
    assert chair.label.endswith("chair") and len(chair.points) == 128
    low, high = chair.box.bounds()
    assert low[2] < 0.01 and abs(high[2] - 0.95) < 1e-6 and 0.5 < chair.label_score <= 0.8
    back = piece((0, 0.4, 0.4), (1.8, 0.2, 0.8), "couch", share=0.4)
    seat = piece((0, 0, 0.22), (1.8, 0.6, 0.44), "sofa", share=0.6)
    (sofa,) = join_parts([back, seat])
    assert sofa.label == "sofa" and sofa.box.size[1] > 0.75


def test_two_wholes_other_labels_gaps_and_unusual_sizes_stay_apart():
    whole = piece((0, 0, 0.45), (0.5, 0.5, 0.9), "chair")
    for other in (
        piece((0.5, 0, 0.45), (0.5, 0.5, 0.9), "chair"),  # beside it
        piece((0, 0, 0.16), (0.5, 0.5, 0.33), "table"),
        piece((0, 0, 0.16), (0.5, 0.5, 0.33), "chair", share=0.2),
        piece((0.8, 0, 0.16), (0.5, 0.5, 0.33), "chair"),
    ):
        assert len(join_parts([SEAT, other])) == 2
        assert len(join_parts([whole, other])) == 2
    boxes = [piece((0, 0, 0.2 * k), (0.3, 0.3, 0.2), "box") for k in range(3)]
    assert len(join_parts(boxes)) == 3 and join_parts([]) == []
