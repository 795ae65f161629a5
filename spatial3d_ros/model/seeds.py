"""Where referents come from (METHODS 3.2, scene encoder): seeds, points of the room that carry a
feature.

`patches` are the network's own, back-projected and averaged by voxel; `points` go through an
encoder of their own. Both give the same shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.point_encoder import PointEncoder
from spatial3d_ros.model.position import patch_centroids
from spatial3d_ros.model.sampling import farthest_points, gather, voxel_mean

SEED_M = 0.1
"""Edge of the voxels by which patches are averaged: what one seed stands for."""
RAW_FEATURES = 4  # colour, and height above the floor of the scene frame


@dataclass(frozen=True)
class Seeds:
    """points (B, M, 3) in the scene frame, metres; features (B, M, d); valid (B, M)."""

    points: Tensor
    features: Tensor
    valid: Tensor


class PatchSeeds(nn.Module):
    """Patch features with their place in the room, brought to width d, averaged in voxels of 0.1 m
    over all views, then thinned to `seeds` by farthest point sampling. Patches with too little
    depth (METHODS 1.1) and padded views have no part in it.

    batch, projected patches (B, V, P, D) -> Seeds.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # Linear, so that the mean of what is narrowed is the narrowed mean of the patches.
        self.narrow = nn.Linear(config.text.width, config.psa.width)
        self.norm = nn.LayerNorm(config.psa.width)

    def forward(self, batch: SceneBatch, projected: Tensor) -> Seeds:
        vision = self.config.vision
        centroid, usable = patch_centroids(
            batch.points, batch.valid, vision.patch_size, vision.grid
        )
        usable = usable & batch.view_valid[..., None] & centroid.isfinite().all(-1)
        narrow = self.narrow(projected).float()
        points, features, valid = voxel_mean(
            centroid.flatten(1, 2), narrow.flatten(1, 2), usable.flatten(1, 2), SEED_M
        )
        index, found = farthest_points(points, valid, self.config.psa.seeds)
        features = self.norm(gather(features, index)) * found[..., None]
        return Seeds(gather(points, index), features, found)


class PointSeeds(nn.Module):
    """At most `points` pixels with depth, evenly out of all, with their colour and height, through
    a point encoder. batch, (projected patches are not read) -> Seeds.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.count = config.psa.points
        self.encoder = PointEncoder(RAW_FEATURES, config.psa.width, config.psa.seeds)
        self.norm = nn.LayerNorm(config.psa.width)

    def forward(self, batch: SceneBatch, projected: Tensor) -> Seeds:
        points = batch.points.flatten(1, 3)
        real = (batch.valid & batch.view_valid[..., None, None]).flatten(1)
        index, found = evenly(real & points.isfinite().all(-1), self.count)
        colors = batch.pixels.movedim(2, -1).flatten(1, 3).float()
        points = gather(points, index)
        raw = torch.cat([gather(colors, index), points[..., 2:]], dim=-1)
        places, features, valid = self.encoder(points, raw, found)
        return Seeds(places, self.norm(features) * valid[..., None], valid)


def evenly(valid: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """At most `count` of the valid places of each row, at equal steps: valid (B, N) -> index (B,
    K), found (B, K), K at least 1.
    """
    total = valid.sum(1)
    kept = total.clamp(max=count)
    most = max(1, int(kept.max()))
    ranks = torch.arange(most, device=valid.device)
    # The rank-th valid place is the first at which so many have been counted.
    wanted = ranks * total[:, None] // kept.clamp(min=1)[:, None] + 1
    index = torch.searchsorted(valid.cumsum(1), wanted)
    found = ranks < kept[:, None]
    return index.masked_fill(~found, 0), found
