"""Few points for many (METHODS 3.2): voxel means, farthest point sampling, ball query, and
interpolation back.

What is chosen is indices, which nothing is learnt through: they are found on the processor, in
float32 and exactly, scene by scene, so that every device chooses the same. What is gathered by
them keeps its gradients.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from spatial3d_ros.geometry.voxels import voxel_keys


def gather(values: Tensor, index: Tensor) -> Tensor:
    """values (B, N, C) at index (B, ...) -> (B, ..., C)."""
    rows = torch.arange(len(values), device=values.device)
    return values[rows.view(-1, *[1] * (index.dim() - 1)), index]


def voxel_mean(
    points: Tensor, features: Tensor, valid: Tensor, size: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean point and mean feature of each occupied voxel of edge `size`, in order of the voxels.

    points (B, N, 3) metres, features (B, N, C), valid (B, N) -> points (B, M, 3), features (B, M,
    C), valid (B, M), where M is the most that any scene has, at least 1.
    """
    places, means = [], []
    for place, feature, real in zip(points, features, valid, strict=True):
        place, feature = place[real], feature[real]
        keys = voxel_keys(place.detach().cpu().numpy(), size)
        _, inverse, count = np.unique(keys, return_inverse=True, return_counts=True)
        cell = torch.from_numpy(inverse).to(place.device)
        number = torch.from_numpy(count).to(place.device)[:, None]
        for values, out in ((place, places), (feature, means)):
            total = values.new_zeros(len(count), values.shape[1]).index_add(0, cell, values)
            out.append(total / number)
    counts = torch.tensor([len(place) for place in places], device=points.device)
    most = max(1, int(counts.max()))
    spare = points.new_zeros(most, 3), features.new_zeros(most, features.shape[2])
    padded = (
        pad_sequence([*rows, empty], batch_first=True)[:-1]
        for rows, empty in zip((places, means), spare, strict=True)
    )
    return *padded, torch.arange(most, device=points.device) < counts[:, None]


@torch.no_grad()
def farthest_points(points: Tensor, valid: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Farthest point sampling: from the first valid point on, always the point that is farthest
    from all chosen ones; of equal ones the first.

    points (B, N, 3) metres, valid (B, N) -> index (B, count) int64, found (B, count): False, with
    index 0, where there are not so many points.
    """
    index = torch.zeros(len(points), count, dtype=torch.long)
    found = torch.zeros(len(points), count, dtype=torch.bool)
    for row, (place, real) in enumerate(zip(_host(points), _host(valid), strict=True)):
        there = np.flatnonzero(real)
        chosen = _farthest(place[there], count)
        index[row, : len(chosen)] = torch.from_numpy(there[chosen])
        found[row, : len(chosen)] = True
    return index.to(points.device), found.to(points.device)


def _farthest(points: np.ndarray, count: int) -> np.ndarray:
    """Each choice costs one sweep over all points, in memory that is made once: 1,024 of 40,000
    take 30 ms on one core, less than any search tree needs for so few coordinates.
    """
    x, y, z = np.ascontiguousarray(points.T)
    near = np.full(len(points), np.inf, np.float32)
    square, step = np.empty_like(near), np.empty_like(near)
    chosen = np.empty(min(count, len(points)), np.int64)
    last = 0
    for i in range(len(chosen)):
        chosen[i] = last
        np.subtract(x, x[last], out=square)
        np.multiply(square, square, out=square)
        for axis in (y, z):
            np.subtract(axis, axis[last], out=step)
            np.multiply(step, step, out=step)
            np.add(square, step, out=square)
        np.minimum(near, square, out=near)
        near[last] = -1.0  # points at the same place are chosen once each
        last = int(near.argmax())
    return chosen


@torch.no_grad()
def ball_query(
    points: Tensor, valid: Tensor, centers: Tensor, found: Tensor, radius: float, count: int
) -> Tensor:
    """The nearest points within `radius` metres of some of them: at most `count`, the centre itself
    first; where there are fewer, the centre again, which a maximum over them does not notice.

    points (B, N, 3), valid (B, N), centers (B, R) indices of points, found (B, R) -> index (B, R,
    count) int64; rows that are not found hold their own index alone.
    """
    index = centers[..., None].repeat(1, 1, count).cpu()
    parts = (points, valid, centers, found)
    for row, (place, real, own, there) in enumerate(zip(*map(_host, parts), strict=True)):
        if not there.any():
            continue
        usable = np.flatnonzero(real)
        ranks = np.arange(1, count + 1)
        _, near = cKDTree(place[usable]).query(
            place[own[there]], k=ranks, distance_upper_bound=radius
        )
        near = np.append(usable, -1)[near]
        near = np.where(near < 0, own[there][:, None], near)
        near[:, 0] = own[there]
        index[row, torch.from_numpy(there)] = torch.from_numpy(near)
    return index.to(points.device)


def interpolate(
    targets: Tensor,
    points: Tensor,
    valid: Tensor,
    features: Tensor,
    *,
    count: int = 3,
    reach: float = torch.inf,
) -> tuple[Tensor, Tensor]:
    """Mean feature of the `count` nearest points, weighted by inverse squared distance
    (PointNet++).

    targets (B, N, 3), points (B, R, 3) metres, valid (B, R), features (B, R, C) -> (B, N, C), and
    found (B, N): whether any point lies within `reach` metres; zeros where none does.
    """
    distance = torch.cdist(
        targets.float(), points.float(), compute_mode="donot_use_mm_for_euclid_dist"
    )
    distance = distance.masked_fill(~valid[:, None], torch.inf)
    near, index = distance.topk(min(count, points.shape[1]), largest=False)
    weight = torch.where(near <= reach, 1.0 / (near.square() + 1e-6), 0.0)
    weight = weight.masked_fill(near.isinf(), 0.0)
    total = weight.sum(-1, keepdim=True)
    weight = weight / total.clamp(min=1e-12)
    return (weight[..., None] * gather(features, index)).sum(2), total[..., 0] > 0


def _host(values: Tensor) -> np.ndarray:
    values = values.detach().cpu()
    return (values.float() if values.is_floating_point() else values).numpy()
