"""The fit of the weights of proposals: right cuts, gradients, and that a fit finds them."""

from __future__ import annotations

import numpy as np
import pytest

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.training.proposal_weights import (
    TreeExample,
    fit_ranking,
    logistic,
    owners,
    right_cuts,
)
from spatial3d_ros.scene.ranking import FEATURES, logits
from spatial3d_ros.scene.region_choice import IMPOSSIBLE, best_cut
from spatial3d_ros.scene.region_merging import Node

# ((0 1) 2) and 3 alone.
SEGMENTS = [(0,), (1,), (2,), (3,), (0, 1), (0, 1, 2)]
PARTS = [(), (), (), (), (0, 1), (4, 2)]
NODES = [Node(s, p, 1.0, 0.0, np.zeros(6)) for s, p in zip(SEGMENTS, PARTS, strict=True)]


def example(rng: np.random.Generator) -> TreeExample:
    """The object is (0 1): the right region has a feature that no other has."""
    rows = rng.normal(0, 0.3, (6, len(FEATURES)))
    rows[:, 0] = 1
    rows[:, FEATURES.index("frames")] = rng.integers(1, 9) / 8
    rows[4, 1] += 2
    right, background = right_cuts(NODES, np.arange(6), np.eye(6)[:, [4]])
    return TreeExample(PARTS, rows, np.arange(6), right, background)


def test_voxels_belong_to_the_smallest_box_around_them():
    table, mug = Box3D((0, 0, 0.4), (1, 1, 0.8)), Box3D((0, 0, 0.7), (0.1, 0.1, 0.1))
    points = np.array([(0, 0, 0.7), (0.4, 0, 0.4), (3, 0, 0)])
    assert owners(points, [table, mug]).tolist() == [1, 0, 2]


def test_the_best_region_of_each_object_is_right_and_what_nearly_equals_it():
    overlap = np.array([[0.4, 0], [0.3, 0], [0.1, 0], [0, 0.8], [0.7, 0], [0.68, 0]])
    right, background = right_cuts(NODES, np.arange(6), overlap)
    assert np.flatnonzero(right).tolist() == [3, 4, 5]
    assert np.flatnonzero(background == IMPOSSIBLE).tolist() == [0, 1, 3]
    right, background = right_cuts(NODES, np.arange(6), np.full((6, 2), 0.1))
    assert not right.any() and not background.any()


def test_gradient_of_the_loss_agrees_with_differences():
    one = example(np.random.default_rng(0))
    at = np.random.default_rng(1).normal(0, 1, 6)
    _, gradient = one.loss(at)
    for k in range(6):
        step = 1e-5 * np.eye(6)[k]
        change = (one.loss(at + step)[0] - one.loss(at - step)[0]) / 2e-5
        assert gradient[k] == pytest.approx(change, abs=1e-6)


def test_a_fit_makes_the_right_cut_the_best_one():
    rng = np.random.default_rng(2)
    weights = fit_ranking([example(rng) for _ in range(30)])
    new = example(rng)
    assert best_cut(PARTS, logits(new.rows, weights)) == [4]


def test_logistic_regression_separates_two_groups():
    rows = np.column_stack([np.ones(200), np.linspace(-1, 1, 200)])
    weights = logistic(rows, rows[:, 1] > 0.2)
    assert -weights[0] / weights[1] == pytest.approx(0.2, abs=0.03)
