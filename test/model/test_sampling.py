"""Sampling against plain loops: exact, also with padding, too few points and equal ones."""

import numpy as np
import pytest
import torch

from spatial3d_ros.model.point_encoder import SetAbstraction
from spatial3d_ros.model.sampling import (
    ball_query,
    farthest_points,
    interpolate,
    voxel_mean,
)
from spatial3d_ros.model.seeds import evenly


def cloud(batch=2, count=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(batch, count, 3, generator=generator) * torch.tensor([4.0, 3.0, 2.0])
    return points, torch.rand(batch, count, generator=generator) > 0.3


def plain_farthest(points, valid, count):
    left = [i for i in range(len(points)) if valid[i]]
    chosen = left[:1]
    while len(chosen) < min(count, len(left)):
        gaps = [min((points[i] - points[j]).norm().item() for j in chosen) for i in left]
        chosen.append(left[int(np.argmax(gaps))])
    return chosen


@pytest.mark.parametrize("count", [1, 7, 80])
def test_farthest_points_are_those_of_the_plain_loop(count):
    points, valid = cloud()
    index, found = farthest_points(points, valid, count)
    assert index.shape == found.shape == (2, count)
    for row in range(2):
        expected = plain_farthest(points[row], valid[row], count)
        assert index[row, found[row]].tolist() == expected
        assert not index[row, ~found[row]].any()


def test_coincident_points_are_chosen_once_each_and_none_from_none():
    points = torch.ones(2, 5, 3)
    valid = torch.tensor([[True, False, True, True, False], [False] * 5])
    index, found = farthest_points(points, valid, 4)
    assert sorted(index[0, found[0]].tolist()) == [0, 2, 3]
    assert not found[1].any() and not index[1].any()


def test_a_ball_holds_its_centre_and_the_nearest_within_reach():
    points, valid = cloud()
    centers, found = farthest_points(points, valid, 9)
    found[0, 4] = False
    members = ball_query(points, valid, centers, found, 0.8, 6)
    for row in range(2):
        for place, own in enumerate(centers[row].tolist()):
            gaps = (points[row] - points[row, own]).norm(dim=-1)
            near = [i for i in gaps.argsort().tolist() if valid[row, i] and gaps[i] < 0.8]
            expected = near[:6] if found[row, place] else [own]
            assert members[row, place, 0] == own
            assert set(members[row, place].tolist()) == set(expected)
    assert not valid.all() and found.any()


def test_a_centre_is_in_its_ball_of_coincident_points():
    points, valid = torch.zeros(1, 40, 3), torch.ones(1, 40, dtype=torch.bool)
    members = ball_query(points, valid, torch.tensor([[33]]), valid[:, :1], 0.3, 4)
    assert members[0, 0, 0] == 33


def test_voxel_means_of_padded_scenes():
    points = torch.tensor([[[0.02, 0.0, 0.0], [0.08, 0.0, 0.0], [0.55, 0, 0]], [[9.0, 9, 9]] * 3])
    valid = torch.tensor([[True, True, True], [False] * 3])
    features = torch.tensor([[[1.0], [3.0], [7.0]], [[5.0]] * 3], requires_grad=True)
    place, mean, there = voxel_mean(points, features, valid, 0.1)
    assert there.tolist() == [[True, True], [False, False]]
    torch.testing.assert_close(place[0, :, 0], torch.tensor([0.05, 0.55]))
    assert mean[0, :, 0].tolist() == [2.0, 7.0] and not mean[1].any()
    mean[0, 0].sum().backward()
    assert features.grad[..., 0].tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    nothing = voxel_mean(points, features, valid & False, 0.1)
    assert nothing[2].tolist() == [[False], [False]] and not nothing[1].any()


def test_voxel_means_do_not_depend_on_the_order_of_points():
    points, valid = cloud(1, 300)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    once = voxel_mean(points, points, valid, 0.5)
    again = voxel_mean(points[:, order], points[:, order], valid[:, order], 0.5)
    for a, b in zip(once, again, strict=True):
        torch.testing.assert_close(a, b)


def test_interpolation_is_the_weighted_mean_of_the_nearest_within_reach():
    points = torch.tensor([[[0.0, 0, 0], [0.5, 0, 0], [3.0, 0, 0], [0.1, 0, 0]]])
    valid = torch.tensor([[True, True, True, False]])
    features = torch.tensor([[[1.0], [2.0], [50.0], [99.0]]])
    targets = torch.tensor([[[0.25, 0.0, 0.0], [0.1, 0, 0], [9.0, 0, 0], [0.5, 0, 0]]])
    mean, found = interpolate(targets, points, valid, features, reach=1.0)
    assert found[0].tolist() == [True, True, False, True]
    near, far = 1 / 0.1**2, 1 / 0.4**2
    expected = [1.5, (near + 2 * far) / (near + far), 0.0, 2.0]
    torch.testing.assert_close(mean[0, :, 0], torch.tensor(expected), atol=1e-3, rtol=1e-3)
    unbounded, all_found = interpolate(targets[:, 2:3], points, valid, features, count=1)
    assert all_found.all() and unbounded.item() == 50
    assert not interpolate(targets, points, valid & False, features)[1].any()


def test_points_are_taken_evenly():
    valid = torch.tensor([[True, False, True, True, True], [False, False, True, False, False]])
    index, found = evenly(valid, 2)
    assert index[0].tolist() == [0, 3] and found.tolist() == [[True, True], [True, False]]
    assert index[1, 0] == 2
    index, found = evenly(valid, 9)
    assert index[0].tolist() == [0, 2, 3, 4] and found[1].tolist() == [True, False, False, False]
    assert not evenly(valid & False, 3)[1].any()


def test_set_abstraction_depends_on_its_ball_only():
    torch.manual_seed(0)
    level = SetAbstraction(2, 8, 6, 0.7, 16)
    points, valid = cloud(1, 40)
    features = torch.randn(1, 40, 2)
    centers, before, found = level(points, features, valid)
    assert found.all()
    reached = 0
    for row in range(40):
        changed = features.clone()
        changed[0, row] += torch.tensor([3.0, -2.0])
        moved = (level(points, changed, valid)[1] - before).abs().amax(-1)[0] > 1e-6
        inside = (centers[0] - points[0, row]).norm(dim=-1) < 0.7
        assert not (moved & ~(inside & valid[0, row])).any()
        reached += int(moved.sum())
    assert reached > 5
