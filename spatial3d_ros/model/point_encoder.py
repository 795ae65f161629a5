"""A PointNet++-style encoder of colored points (METHODS 3.2), with the sizes of VoteNet.

Four levels of set abstraction with decreasing numbers of centres, then feature propagation back to
the second level, whose centres are the seeds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spatial3d_ros.model.sampling import ball_query, farthest_points, gather, interpolate

RADII_M = (0.2, 0.4, 0.8, 1.2)
SAMPLES = (64, 32, 16, 16)


class SetAbstraction(nn.Module):
    """Set abstraction: centres by farthest point sampling, an MLP on the points in each centre's
    ball (offsets in units of the radius, and features), and a maximum over them.

    points (B, N, 3) metres, features (B, N, C), valid (B, N) -> the same for `count` centres.
    """

    def __init__(self, inputs: int, width: int, count: int, radius: float, samples: int) -> None:
        super().__init__()
        self.count, self.radius, self.samples = count, radius, samples
        self.mlp = nn.Sequential(
            nn.Linear(3 + inputs, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(
        self, points: Tensor, features: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        index, found = farthest_points(points, valid, self.count)
        near = ball_query(points, valid, index, found, self.radius, self.samples)
        centers = gather(points, index)
        offset = (gather(points, near) - centers[:, :, None]) / self.radius
        pooled = self.mlp(torch.cat([offset, gather(features, near)], dim=-1)).amax(2)
        return centers, pooled * found[..., None], found


class PointEncoder(nn.Module):
    """points (B, N, 3) metres, raw features (B, N, C), valid (B, N) -> seeds (B, M, 3), features
    (B, M, width), valid (B, M), with M = `seeds` of the points.
    """

    def __init__(self, inputs: int, width: int, seeds: int) -> None:
        super().__init__()
        counts = (2 * seeds, seeds, seeds // 2, seeds // 4)
        widths = (inputs, *[width] * 3)
        self.levels = nn.ModuleList(
            SetAbstraction(inner, width, count, radius, samples)
            for inner, count, radius, samples in zip(widths, counts, RADII_M, SAMPLES, strict=True)
        )
        self.back = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(2)
        )

    def forward(
        self, points: Tensor, features: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        levels = []
        for level in self.levels:
            points, features, valid = level(points, features, valid)
            levels.append((points, features, valid))
        for mlp, (fine, skip, fine_valid) in zip(self.back, levels[2:0:-1], strict=True):
            coarse = interpolate(fine, points, valid, features)[0]
            features = mlp(torch.cat([coarse, skip], dim=-1)) * fine_valid[..., None]
            points, valid = fine, fine_valid
        return points, features, valid
