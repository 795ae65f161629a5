"""Seeds of the referents (METHODS 3.2, scene encoder): points of the room with a feature.

`PatchSeeds` back-projects the features of the vision tower and averages them by voxel; `PointSeeds`
runs a point encoder. Both return the same shapes.
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
"""Edge of the voxels in which patches are averaged, and extent of one seed."""
RAW_FEATURES = 4  # color, and height above the floor of the scene frame


@dataclass(frozen=True)
class Seeds:
    """points (B, M, 3) in the scene frame, metres; features (B, M, d); valid (B, M) bool."""

    points: Tensor
    features: Tensor
    valid: Tensor


class PatchSeeds(nn.Module):
    """Patch features projected to width d, averaged in voxels of 0.1 m over all views, then reduced
    to `seeds` by farthest point sampling. Patches with too little depth (METHODS 1.1) and padded
    views are left out.

    batch, projected patches (B, V, P, D) -> Seeds.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # Linear, so that it commutes with the mean over patches.
        self.narrow = nn.Linear(config.text.width, config.psa.width)
        self.norm = nn.LayerNorm(config.psa.width)

    def forward(self, batch: SceneBatch, projected: Tensor) -> Seeds:
        vision, views = self.config.vision, batch.views
        centroid, usable = patch_centroids(
            views.points, views.valid, vision.patch_size, vision.grid
        )
        usable = usable & views.view_valid[..., None] & centroid.isfinite().all(-1)
        narrow = self.narrow(projected).float()
        points, features, valid = voxel_mean(
            centroid.flatten(1, 2), narrow.flatten(1, 2), usable.flatten(1, 2), SEED_M
        )
        index, found = farthest_points(points, valid, self.config.psa.seeds)
        features = self.norm(gather(features, index)) * found[..., None]
        return Seeds(gather(points, index), features, found)


class PointSeeds(nn.Module):
    """At most `points` pixels with depth, at equal steps, with color and height, through a point
    encoder. batch -> Seeds; the projected patches are not read.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.count = config.psa.points
        self.encoder = PointEncoder(RAW_FEATURES, config.psa.width, config.psa.seeds)
        self.norm = nn.LayerNorm(config.psa.width)

    def forward(self, batch: SceneBatch, projected: Tensor) -> Seeds:
        views = batch.views
        points = views.points.flatten(1, 3)
        real = (views.valid & views.view_valid[..., None, None]).flatten(1)
        index, found = evenly(real & points.isfinite().all(-1), self.count)
        colors = views.pixels.movedim(2, -1).flatten(1, 3).float()
        points = gather(points, index)
        raw = torch.cat([gather(colors, index), points[..., 2:]], dim=-1)
        points, features, valid = self.encoder(points, raw, found)
        return Seeds(points, self.norm(features) * valid[..., None], valid)


def evenly(valid: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """At most `count` of the valid indices of each row, at equal steps: valid (B, N) -> index (B,
    K), found (B, K), K at least 1.
    """
    total = valid.sum(1)
    kept = total.clamp(max=count)
    most = max(1, int(kept.max()))
    ranks = torch.arange(most, device=valid.device)
    # The rank-th valid index is the first at which the cumulative count reaches the rank.
    target_count = ranks * total[:, None] // kept.clamp(min=1)[:, None] + 1
    index = torch.searchsorted(valid.cumsum(1), target_count)
    found = ranks < kept[:, None]
    return index.masked_fill(~found, 0), found
