"""The three stages of progressive spatial awareness (Spatial 3D-LLM, METHODS 3.2), each with a
wider field than the one before.

    intra     seeds vote for the middle of what they lie on; votes in a ball become one referent
    inter     referents hear their neighbours in the room
    context   referents hear every seed of the scene

The paper names the stages; their sizes and forms are our reading of it.
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
    """R referents of B scenes: features (B, R, d), centers (B, R, 3), found (B, R); the seeds in
    each as members (B, R, K), indices that may repeat; votes (B, M, 3) of all seeds.
    """

    features: Tensor
    centers: Tensor
    found: Tensor
    members: Tensor
    votes: Tensor


def sampled(seeds: Seeds, count: int) -> Clusters:
    """Without the first stage: referents are seeds, chosen by farthest point sampling."""
    index, found = farthest_points(seeds.points, seeds.valid, count)
    features, centers = gather(seeds.features, index), gather(seeds.points, index)
    return Clusters(features, centers, found, index[..., None], seeds.points)


class ClusterAbstraction(nn.Module):
    """Intra-referent: every seed votes by itself, and a referent hears the votes in its ball alone.

    Centres are votes, chosen by farthest point sampling. Votes start on their seeds.
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
        place = (gather(votes, members) - centers[:, :, None]) / BALL_M
        merged = self.merge(torch.cat([place, gather(features, members)], dim=-1)).amax(2)
        return Clusters(merged * found[..., None], centers, found, members, votes)


def neighbours(centers: Tensor, found: Tensor, count: int = NEIGHBOURS) -> Tensor:
    """Who is next to whom: the `count` nearest of each, made mutual, without oneself. centers (B,
    R, 3), found (B, R) -> bool (B, R, R).
    """
    distance = _distances(centers).masked_fill(~(found[:, :, None] & found[:, None]), torch.inf)
    distance.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    near, index = distance.topk(min(count, distance.shape[-1]), largest=False)
    adjacent = torch.zeros_like(distance, dtype=torch.bool).scatter(2, index, near.isfinite())
    return adjacent | adjacent.mT


class GraphConvolution(nn.Module):
    """Inter-referent, GCN: neighbours weigh exp(-(distance / 1 m)^2) and oneself 1, normalised by
    degree on both sides; each layer adds ReLU(LN(A h W)).
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
    """Inter-referent, edge-aware: each layer adds the largest over neighbours s of MLP([h_r, h_s -
    h_r, edge]); the edge is the pair's geometry: offset, distance, size ratio and the like.
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
        place = (scene * found.shape[1] + row)[:, None].expand(-1, features.shape[-1])
        for layer, norm in zip(self.layers, self.norms, strict=True):
            own = norm(features)
            said = layer(
                torch.cat([own[scene, row], own[scene, other] - own[scene, row], edge], dim=-1)
            ).float()
            heard = torch.zeros_like(features.flatten(0, 1), dtype=said.dtype)
            heard = heard.scatter_reduce(0, place, said, "amax", include_self=False)
            features = features + heard.view_as(features)
        return features * found[..., None]


def message_passing(kind: Literal["none", "gcn", "edgeconv"], width: int) -> nn.Module | None:
    """The second stage as `psa.inter` says: (features (B, R, d), centers and sizes (B, R, 3), found
    (B, R)) -> features.
    """
    kinds = {"none": None, "gcn": GraphConvolution, "edgeconv": EdgeConvolution}
    return kinds[kind](width) if kinds[kind] else None


class ContextBlock(nn.Module):
    """Contextual: pre-norm cross-attention from referents to all seeds, both with the code of their
    place, then an MLP. A referent hears no other referent here.
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
        asking = self.norm_referents(features) + coordinate_code(centers, width)
        asked = self.norm_seeds(seeds.features) + coordinate_code(seeds.points, width)
        query = self.query(asking).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.key_value(asked).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # A scene without seeds attends to its padding: an empty row would be NaN.
        seen = (seeds.valid | ~seeds.valid.any(-1, keepdim=True))[:, None, None]
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        features = features + self.out(heard.transpose(1, 2).flatten(-2))
        return features + self.mlp(self.norm_mlp(features))


class Context(nn.ModuleList):
    """The third stage: referents -> referents that have heard the scene."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(ContextBlock(width, heads) for _ in range(LAYERS))

    def forward(self, features: Tensor, centers: Tensor, found: Tensor, seeds: Seeds) -> Tensor:
        for block in self:
            features = block(features, centers, seeds)
        return features * found[..., None]


def _distances(centers: Tensor) -> Tensor:
    return torch.cdist(centers, centers, compute_mode="donot_use_mm_for_euclid_dist")
