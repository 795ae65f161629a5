"""Object tokens of Chat-Scene, on which 3D-SLIM is built (METHODS 2.1): for each object its
identifier, a token of its points and one of its patches. Boxes do not enter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.heads import TOKEN_LENGTH
from spatial3d_ros.model.object_points import ObjectPointEncoder, object_points
from spatial3d_ros.model.objects import PooledObjects


class ChatSceneTokens(nn.Module):
    """Pooled patches and colored points of each object -> one token each, (B, N, D).

    Both features have norm 1 before their MLP, as published. The points are relative to the middle
    of the object and divided by its half diagonal, so that they tell its shape but not its place.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.points = ObjectPointEncoder(width)
        self.read_points, self.read_patches = (
            nn.Sequential(
                nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width),
                nn.LayerNorm(width),
            )
            for _ in range(2)
        )  # fmt: skip
        self.unseen = nn.Parameter(torch.randn(2, width) * 0.02)
        for norm in (self.read_points[-1], self.read_patches[-1]):
            nn.init.constant_(norm.get_parameter("weight"), TOKEN_LENGTH)

    def forward(self, batch: SceneBatch, pooled: PooledObjects) -> tuple[Tensor, Tensor]:
        """Tokens of patches and of points."""
        no_patches, no_points = self.unseen
        patches = self.read_patches(F.normalize(pooled.visual.float(), dim=-1))
        patches = torch.where(pooled.visible[..., None], patches, no_patches)
        if not batch.has_views:
            return patches, no_points.expand_as(patches)
        points, present = object_points(batch)
        found = self.read_points(F.normalize(self.points(points).float(), dim=-1))
        return patches, torch.where(present[..., None], found, no_points)
