"""3D-SLIM masks against plain loops written after the paper, and every edge case of METHODS 2.5."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.config import SlimConfig, parse_config
from spatial3d_ros.model.slim_mask import geometry_adaptive_mask, object_mask, sequence_mask


def plain_geo(centers, k_min, k_max, space, density="mean_distance", sigma=None, robust=False):
    """Density and neighbours object by object (METHODS 2.3); (N, 3) -> bool (N, N)."""
    n = len(centers)
    points = torch.as_tensor(np.asarray(centers, np.float32))
    if n < 2:
        return np.eye(n, dtype=bool)
    if space == "normalized":
        low, high = points.amin(0), points.amax(0)
        points = (points - low) / (high - low + 1e-7)
    d = [[torch.linalg.vector_norm(p - q).item() for q in points] for p in points]
    if density == "gaussian":
        sigma = sigma or {"normalized": 0.3, "metric": 1.0}[space]
        near = torch.exp(-((torch.tensor(d) / sigma) ** 2)).tolist()
        rho = [sum(row) / n for row in near]
    else:
        rho = [-sum(row) / (n - 1) for row in d]
    if robust:
        rho = np.clip(rho, *np.quantile(rho, [0.05, 0.95])).tolist()
    mask = np.eye(n, dtype=bool)
    for i in range(n):
        density = (rho[i] - min(rho)) / (max(rho) - min(rho) + 1e-6)
        k = min(round(k_min + density * (k_max - k_min)), n - 1)
        others = sorted((j for j in range(n) if j != i), key=lambda j: d[i][j])
        mask[i, others[:k]] = True
    return mask


def geo(centers, **options):
    centers = torch.as_tensor(np.asarray(centers, np.float32)).reshape(1, -1, 3)
    valid = torch.ones(centers.shape[:2], dtype=torch.bool)
    return geometry_adaptive_mask(centers, valid, SlimConfig(**options))[0]


@settings(max_examples=600, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 16),
    grid=st.sampled_from([0.0, 0.5, 2.0, 100.0]),
    bounds=st.sampled_from([(2, 10), (0, 5), (1, 20), (3, 3), (0, 0)]),
    space=st.sampled_from(["normalized", "metric"]),
    density=st.sampled_from(["mean_distance", "gaussian"]),
    sigma=st.sampled_from([None, 0.2, 3.0]),
    robust=st.booleans(),
)
def test_geo_equals_plain_loop(seed, n, grid, bounds, space, density, sigma, robust):
    """Four scenes in one batch: padding, non-finite centres, and ties where `grid` rounds."""
    random = np.random.default_rng(seed)
    centers = random.uniform([-4, -4, 0], [4, 4, 3], (4, n, 3)).astype(np.float32)
    centers = np.round(centers / grid) * np.float32(grid) if grid else centers
    valid = random.random((4, n)) < np.array([[1.0], [0.9], [0.6], [0.1]])
    finite = random.random((4, n)) < np.array([[1.0], [1.0], [0.9], [0.9]])
    centers[~finite] = random.choice([np.nan, np.inf, -np.inf])
    options = {"space": space, "density": density, "sigma": sigma, "robust": robust}
    inputs = torch.from_numpy(centers), torch.from_numpy(valid)
    config = SlimConfig(k_min=bounds[0], k_max=bounds[1], **options)
    ours = geometry_adaptive_mask(*inputs, config).numpy()
    for mask, scene, real in zip(ours, centers, valid & finite, strict=True):
        expected = np.zeros_like(mask)
        expected[np.ix_(real, real)] = plain_geo(scene[real], *bounds, **options)
        np.testing.assert_array_equal(mask, expected)


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
    mask = geometry_adaptive_mask(centers, valid, SlimConfig())[0]
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
    """Two objects of two tokens, P1 (1), I (2), A (1), after a prefix of 3, one of it padded."""
    objects = torch.tensor([[[True, True], [False, True]]])
    real = torch.ones(1, 8, dtype=torch.bool)
    instruction = torch.zeros(1, 8, dtype=torch.bool)
    instruction[:, 5:7] = True
    prefix = torch.tensor([[True, True, False]])
    mask = sequence_mask(objects, real, instruction, prefix, 2)[0]
    assert mask.shape == (8, 11)
    assert (mask[:, :3] == prefix).all()
    first, second, text = mask[0, 3:], mask[2, 3:], mask[4:, 3:]
    assert first.tolist() == [True, True, True, True, False, True, True, False]
    assert second.tolist() == [False, False, True, True, False, True, True, False]
    assert torch.equal(text, torch.ones(8, 8, dtype=torch.bool).tril()[4:])
    causal = sequence_mask(objects, real, torch.zeros_like(instruction), prefix, 2, causal=True)[0]
    assert causal[0, 3:].tolist() == [True] + [False] * 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k_min": 5, "k_max": 2}, "k_min"),
        ({"k_min": -1}, "k_min"),
        ({"space": "polar"}, "'normalized' or 'metric'"),
        ({"density": "kernel"}, "'mean_distance' or 'gaussian'"),
        *(({"density": "gaussian", "sigma": s}, "sigma") for s in (0.0, -1.0, np.nan, np.inf)),
    ],
)
def test_invalid_options_are_refused_by_the_configuration(options, message):
    with pytest.raises(ConfigError, match=message):
        parse_config({"name": "x", "slim": options}, "here")


def test_robust_density_is_not_dominated_by_an_outlier():
    near = np.random.default_rng(0).normal(size=(40, 3))
    centers = np.concatenate([near, [[100.0, 100.0, 100.0]]])
    usual = geo(centers, space="metric")[:40].sum(1).float()
    robust = geo(centers, space="metric", robust=True)[:40].sum(1).float()
    assert usual.min() >= 10 and robust.min() == 3
