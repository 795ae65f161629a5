"""3D-SLIM masks against plain loops written as the paper reads, and every edge case of methods
2.5.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.config import SlimConfig
from spatial3d_ros.model.slim_mask import geometry_adaptive_mask, object_mask, sequence_mask


def plain_geo(centers, k_min, k_max, space):
    """Density and neighbours object by object (methods 2.3)."""
    n = len(centers)
    points = centers.astype(np.float32)
    if space == "normalized":
        low, high = points.min(0), points.max(0)
        points = (points - low) / (high - low + np.float32(1e-7))
    mask = np.eye(n, dtype=bool)
    if n == 1:
        return mask
    mean = []
    for i in range(n):
        mean.append(
            sum(np.linalg.norm(points[i] - points[j]) for j in range(n) if j != i) / (n - 1)
        )
    for i in range(n):
        density = (max(mean) - mean[i]) / (max(mean) - min(mean) + 1e-6)
        k = min(round(k_min + density * (k_max - k_min)), n - 1)
        others = sorted(
            (j for j in range(n) if j != i), key=lambda j: np.linalg.norm(points[i] - points[j])
        )
        mask[i, others[:k]] = True
    return mask


def geo(centers, **options):
    centers = torch.as_tensor(np.asarray(centers, np.float32)).reshape(1, -1, 3)
    return geometry_adaptive_mask(
        centers, torch.ones(centers.shape[:2], dtype=torch.bool), **options
    )[0]


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    bounds=st.sampled_from([(2, 10), (0, 5), (1, 20), (3, 3)]),
    space=st.sampled_from(["normalized", "metric"]),
)
def test_geo_equals_plain_loop(seed, n, bounds, space):
    centers = np.random.default_rng(seed).uniform([-4, -4, 0], [4, 4, 3], (n, 3))
    k_min, k_max = bounds
    ours = geo(centers, k_min=k_min, k_max=k_max, space=space).numpy()
    plain = plain_geo(centers, k_min, k_max, space)
    # Rounding k half-way may differ in the last bit of a float; everything else must agree.
    rows = (ours != plain).any(1)
    assert rows.sum() <= 1
    assert np.abs(ours.sum(1) - plain.sum(1)).max() <= 1


def test_edge_cases():
    assert geo(np.empty((0, 3))).shape == (0, 0)
    assert geo([[1, 2, 3]]).tolist() == [[True]]
    assert geo([[0, 0, 0], [5, 0, 0]]).all()
    assert geo(np.random.default_rng(0).normal(size=(3, 3)), k_min=4, k_max=6).all()
    same = geo(np.zeros((6, 3)), k_min=2, k_max=5)
    assert (same.sum(1) == 3).all() and same.diagonal().all()
    flat = geo([[x, 0, 0] for x in (0.0, 1.0, 3.0, 3.1)], k_min=1, k_max=1)
    assert flat[3].tolist() == [False, False, True, True]


def test_padding_and_non_finite_objects_take_no_part():
    centers = torch.tensor([[[0.0, 0, 0], [torch.nan, 0, 0], [1, 0, 0], [9, 9, 9]]])
    valid = torch.tensor([[True, True, True, False]])
    mask = geometry_adaptive_mask(centers, valid)[0]
    assert not mask[1].any() and not mask[:, 1].any()
    assert not mask[3].any() and not mask[:, 3].any()
    assert mask[0].tolist() == [True, False, True, False]


def test_metric_neighbours_survive_a_rigid_motion():
    rng = np.random.default_rng(3)
    centers = rng.uniform(-3, 3, (20, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    assert torch.equal(geo(centers, space="metric"), geo(centers @ turn.T + 1.0, space="metric"))


def test_modes():
    centers = torch.rand(1, 6, 3, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(1, 6, dtype=torch.bool)

    def mask(**options):
        return object_mask(centers, valid, SlimConfig(**options))[0]

    assert mask(objects="full").all()
    assert torch.equal(mask(objects="diagonal"), torch.eye(6, dtype=torch.bool))
    assert torch.equal(mask(objects="causal"), torch.ones(6, 6, dtype=torch.bool).tril())
    assert (mask(objects="fixed_n", fixed_n=3).sum(1) == 4).all()


def test_sequence_mask_truth_table():
    """Two objects of two places, P1 (1), I (2), A (1), behind a prefix of 3 with one padded
    place.
    """
    among = torch.tensor([[[True, True], [False, True]]])
    real = torch.ones(1, 8, dtype=torch.bool)
    instruction = torch.zeros(1, 8, dtype=torch.bool)
    instruction[:, 5:7] = True
    prefix = torch.tensor([[True, True, False]])
    mask = sequence_mask(among, real, instruction, prefix, 2)[0]
    assert mask.shape == (8, 11)
    assert (mask[:, :3] == prefix).all()
    first, second, words = mask[0, 3:], mask[2, 3:], mask[4:, 3:]
    assert first.tolist() == [True, True, True, True, False, True, True, False]
    assert second.tolist() == [False, False, True, True, False, True, True, False]
    assert torch.equal(words, torch.ones(8, 8, dtype=torch.bool).tril()[4:])
    causal = sequence_mask(among, real, torch.zeros_like(instruction), prefix, 2, causal=True)[0]
    assert causal[0, 3:].tolist() == [True] + [False] * 7


@pytest.mark.parametrize("options", [{"k_min": 5, "k_max": 2}, {"k_min": -1}])
def test_impossible_bounds(options):
    with pytest.raises(ConfigError, match="k_min"):
        geo(np.zeros((3, 3)), **options)


def test_unknown_space():
    with pytest.raises(ConfigError, match="normalized or metric"):
        geo(np.zeros((3, 3)), space="polar")
