"""Multi-level position encoding of S2-MLLM (METHODS 1.5): coordinate code and ray code of tokens.

All geometry is float32 and metric. Patches with too little valid depth get a zero code (1.1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.config import PositionConfig

LOWEST = (-15.0, -15.0, -5.0)
HIGHEST = (15.0, 15.0, 5.0)
VOXEL_M = 0.1
MIN_VALID_FRACTION = 0.1


def coordinate_code(points: Tensor, width: int) -> Tensor:
    """Sinusoid of the 0.1 m voxel index: scene-frame points (..., 3) in metres -> (..., width)
    float32.

    Each axis takes floor(width / 3) channels (x, y, z in turn); remaining channels are zero. Even
    channels are sines, odd ones cosines; the index is discrete, so no gradient flows to the points.
    """
    lowest, highest = points.new_tensor(LOWEST), points.new_tensor(HIGHEST)
    index = torch.round((points.float().clamp(lowest, highest) - lowest) / VOXEL_M)
    code = sinusoid(index, width // 3).flatten(-2)
    return F.pad(code, (0, width - code.shape[-1]))


def sinusoid(index: Tensor, channels: int) -> Tensor:
    """Sines (even channels) and cosines (odd) of a number (...) -> (..., channels) float32.

    An odd number of channels equals the next even number without the last channel.
    """
    i = torch.arange(channels + channels % 2, device=index.device)
    angle = index[..., None] * 10000.0 ** (-2.0 * (i // 2) / len(i))
    return torch.where(i % 2 == 0, angle.sin(), angle.cos())[..., :channels]


def patch_centroids(points: Tensor, valid: Tensor, patch: int, grid: int) -> tuple[Tensor, Tensor]:
    """Mean world point of each patch over its valid pixels.

    points (..., S, S, 3) metres, valid (..., S, S) -> centroids (..., P, 3), usable (..., P). The
    grid covers the top-left `grid * patch` pixels. A patch is usable if at least 10 % of its pixels
    are valid.
    """
    size = grid * patch
    weight = valid[..., :size, :size].unflatten(-1, (grid, patch)).unflatten(-3, (grid, patch))
    cells = points[..., :size, :size, :].unflatten(-2, (grid, patch)).unflatten(-4, (grid, patch))
    count = weight.float().sum((-1, -3))
    total = (cells * weight[..., None]).sum((-2, -4))
    usable = count >= MIN_VALID_FRACTION * patch * patch
    centroid = total / count.clamp(min=1.0)[..., None]
    return centroid.flatten(-3, -2), usable.flatten(-2)


class RayCode(nn.Module):
    """Code of each pooled token's viewing direction in the world frame: unit rays (..., 3), zero
    where unknown -> (..., width).
    """

    def __init__(self, width: int, config: PositionConfig) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(3, config.ray_hidden),
            nn.LayerNorm(config.ray_hidden),
            nn.ReLU(),
            nn.Linear(config.ray_hidden, width),
        )
        scale = torch.tensor([config.ray_scale])
        self.scale = nn.Parameter(scale) if config.ray_scale_learnt else config.ray_scale

    def forward(self, rays: Tensor) -> Tensor:
        known = rays.abs().sum(-1, keepdim=True) > 0
        return self.scale * self.mlp(rays) * known


def pool_views(features: Tensor, grid: int, pooled: int, mode: str) -> Tensor:
    """Pool each view's token grid: (..., grid * grid, D) -> (..., pooled * pooled, D)."""
    lead, width = features.shape[:-2], features.shape[-1]
    image = features.reshape(-1, grid, grid, width).permute(0, 3, 1, 2)
    if mode == "avg":
        image = F.adaptive_avg_pool2d(image, pooled)
    else:
        image = F.interpolate(image, size=(pooled, pooled), mode="bilinear", align_corners=False)
    return image.permute(0, 2, 3, 1).reshape(*lead, pooled * pooled, width)
