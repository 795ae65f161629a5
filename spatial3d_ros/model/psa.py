"""The three stages of progressive spatial awareness (Spatial 3D-LLM, METHODS 3.2), each with a
larger receptive field than the one before.

    intra     seeds vote for the centre of their object; votes in a ball become one referent
    inter     message passing between neighbouring referents
    context   cross-attention from referents to all seeds of the scene

The paper names the stages; their sizes and forms are our interpretation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.position import coordinate_code
from spatial3d_ros.model.relations import EDGE_FEATURES, pair_geometry
from spatial3d_ros.model.sampling import ball_query, farthest_points, gather
from spatial3d_ros.model.seeds import Seeds

BALL_M, BALL_VOTES = 0.3, 16
NEIGHBOURS, REACH_M = 8, 1.0
LAYERS = 2


@dataclass(frozen=True)
class Clusters:
    """R referents of B scenes: features (B, R, d), centers (B, R, 3) metres, found (B, R) bool,
    False where padded; members (B, R, K), indices of the seeds in each, which may repeat; votes (B,
    M, 3) of all seeds, metres.
    """

    features: Tensor
    centers: Tensor
    found: Tensor
    members: Tensor
    votes: Tensor


def sampled(seeds: Seeds, count: int) -> Clusters:
    """Replaces the first stage: referents are seeds chosen by farthest point sampling."""
    index, found = farthest_points(seeds.points, seeds.valid, count)
    features, centers = gather(seeds.features, index), gather(seeds.points, index)
    return Clusters(features, centers, found, index[..., None], seeds.points)


class ClusterAbstraction(nn.Module):
    """Intra-referent stage: each seed votes from its own feature, and a referent pools the votes in
    its ball.

    Centres are votes chosen by farthest point sampling. At initialisation a vote is its seed.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.vote = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, 3 + width),
        )  # fmt: skip
        for weight in self.vote[-1].parameters():
            nn.init.zeros_(weight)
        self.merge = nn.Sequential(nn.Linear(3 + width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, seeds: Seeds) -> Clusters:
        offset, change = self.vote(seeds.features).float().tensor_split([3], dim=-1)
        votes, features = seeds.points + offset, seeds.features + change
        index, found = farthest_points(votes, seeds.valid, self.count)
        members = ball_query(votes, seeds.valid, index, found, BALL_M, BALL_VOTES)
        centers = gather(votes, index)
        offsets = (gather(votes, members) - centers[:, :, None]) / BALL_M
        merged = self.merge(torch.cat([offsets, gather(features, members)], dim=-1)).amax(2)
        return Clusters(merged * found[..., None], centers, found, members, votes)


def neighbours(centers: Tensor, found: Tensor, count: int = NEIGHBOURS) -> Tensor:
    """Symmetric adjacency of the `count` nearest referents of each, without self-loops: centers (B,
    R, 3), found (B, R) -> bool (B, R, R).
    """
    distance = _distances(centers).masked_fill(~(found[:, :, None] & found[:, None]), torch.inf)
    distance.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    near, index = distance.topk(min(count, distance.shape[-1]), largest=False)
    adjacent = torch.zeros_like(distance, dtype=torch.bool).scatter(2, index, near.isfinite())
    return adjacent | adjacent.mT


class GraphConvolution(nn.Module):
    """Inter-referent stage, GCN: edge weights exp(-(distance / 1 m)^2), self-loops 1, symmetric
    degree normalisation; each layer adds ReLU(LN(A h W)).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(LAYERS))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(LAYERS))

    def forward(self, features: Tensor, centers: Tensor, sizes: Tensor, found: Tensor) -> Tensor:
        weight = torch.exp(-((_distances(centers) / REACH_M) ** 2)) * neighbours(centers, found)
        weight = weight + torch.eye(weight.shape[-1], device=weight.device)
        degree = weight.sum(-1).rsqrt()
        weight = weight * degree[:, :, None] * degree[:, None]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            features = features + F.relu(norm(weight @ layer(features).float()))
        return features * found[..., None]


class EdgeConvolution(nn.Module):
    """Inter-referent stage, edge-aware: each layer adds the maximum over neighbours s of MLP([h_r,
    h_s - h_r, edge]); the edge is `pair_geometry`: offset, distance, size ratio and others.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inputs = 2 * width + EDGE_FEATURES
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(LAYERS)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(LAYERS))

    def forward(self, features: Tensor, centers: Tensor, sizes: Tensor, found: Tensor) -> Tensor:
        scene, row, other = neighbours(centers, found).nonzero(as_tuple=True)
        edge = pair_geometry(torch.cat([centers, sizes], dim=-1))[scene, row, other]
        target = (scene * found.shape[1] + row)[:, None].expand(-1, features.shape[-1])
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h = norm(features)
            messages = layer(
                torch.cat([h[scene, row], h[scene, other] - h[scene, row], edge], dim=-1)
            ).float()
            pooled = torch.zeros_like(features.flatten(0, 1), dtype=messages.dtype)
            pooled = pooled.scatter_reduce(0, target, messages, "amax", include_self=False)
            features = features + pooled.view_as(features)
        return features * found[..., None]


def message_passing(kind: Literal["none", "gcn", "edgeconv"], width: int) -> nn.Module | None:
    """The second stage selected by `psa.inter`: (features (B, R, d), centers and sizes (B, R, 3),
    found (B, R)) -> features; None for `none`.
    """
    if kind == "none":
        return None
    return GraphConvolution(width) if kind == "gcn" else EdgeConvolution(width)


class ContextBlock(nn.Module):
    """Context stage: pre-norm cross-attention from referents to all seeds, both with the coordinate
    code of their position, then an MLP. Referents do not attend to each other.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_referents, self.norm_seeds = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, features: Tensor, centers: Tensor, seeds: Seeds) -> Tensor:
        width = features.shape[-1]
        referents = self.norm_referents(features) + coordinate_code(centers, width)
        context = self.norm_seeds(seeds.features) + coordinate_code(seeds.points, width)
        query = self.query(referents).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key_value = self.key_value(context).unflatten(-1, (2, self.heads, -1))
        key, value = key_value.permute(2, 0, 3, 1, 4)
        # A scene without seeds attends to its padding, because an empty row would be NaN.
        mask = (seeds.valid | ~seeds.valid.any(-1, keepdim=True))[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        features = features + self.out(mixed.transpose(1, 2).flatten(-2))
        return features + self.mlp(self.norm_mlp(features))


class Context(nn.ModuleList):
    """The third stage: referent features (B, R, d) with the context of the whole scene."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(ContextBlock(width, heads) for _ in range(LAYERS))

    def forward(self, features: Tensor, centers: Tensor, found: Tensor, seeds: Seeds) -> Tensor:
        for block in self:
            features = block(features, centers, seeds)
        return features * found[..., None]


def _distances(centers: Tensor) -> Tensor:
    return torch.cdist(centers, centers, compute_mode="donot_use_mm_for_euclid_dist")
