"""Referents (Spatial 3D-LLM, METHODS 3.2 and 4): a few points of the room, each with a feature of
its surroundings, projected to the decoder's width.

They do not depend on the question and are computed with the scene prefix, once for each map
version.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from spatial3d_ros.geometry.box import iou_matrix
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.position import coordinate_code
from spatial3d_ros.model.psa import ClusterAbstraction, Context, message_passing, sampled
from spatial3d_ros.model.sampling import gather, interpolate
from spatial3d_ros.model.seeds import SEED_M, PatchSeeds, PointSeeds, Seeds

NEAREST_REFERENTS, NEAREST_REFERENTS_M = 3, 1.0
"""The token of an object interpolates so many referents within this distance of its centre."""
MAX_IOU = 0.25
"""Of two referents whose boxes overlap more, the one of higher objectness becomes an object."""


@dataclass(frozen=True)
class Referents:
    """R referents of B scenes, scene frame, metres: features (B, R, d), centers (B, R, 3), boxes
    (B, R, 6) around their clusters, valid (B, R), objectness (B, R) logits, and the feature of the
    whole scene (B, d), None without the third stage. The losses read seeds and votes (B, M, 3).
    """

    features: Tensor
    centers: Tensor
    boxes: Tensor
    valid: Tensor
    objectness: Tensor
    scene: Tensor | None
    seeds: Seeds
    votes: Tensor


class SpatialAwareness(nn.Module):
    """The referents of each scene: batch, projected patches (B, V, P, D) -> Referents. Scenes
    without depth have none.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config, psa = config, config.psa
        width = config.text.width
        self.seeds = (PatchSeeds if psa.source == "patches" else PointSeeds)(config)
        self.intra = ClusterAbstraction(psa.width, psa.referents) if psa.intra else None
        self.inter = message_passing(psa.inter, psa.width)
        self.context = Context(psa.width, psa.heads) if psa.context else None
        # Equal at initialisation: the referents sampled first, the farthest apart, come first then.
        self.objectness = nn.Linear(psa.width, 1)
        nn.init.zeros_(self.objectness.weight)
        self.project = nn.Sequential(
            nn.Linear(psa.width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.nothing = nn.Parameter(torch.randn(width) * 0.02)

    def forward(self, batch: SceneBatch, projected: Tensor) -> Referents:
        return self.from_seeds(self.seeds(batch, projected))

    def from_seeds(self, seeds: Seeds) -> Referents:
        """Apply those of the three stages that are enabled."""
        if self.intra is not None:
            clusters = self.intra(seeds)
        else:
            clusters = sampled(seeds, self.config.psa.referents)
        features, centers, found = clusters.features, clusters.centers, clusters.found
        boxes = _extents(seeds, clusters.members)
        if self.inter is not None:
            features = self.inter(features, centers, boxes[..., 3:], found)
        scene = None
        if self.context is not None:
            features = self.context(features, centers, found, seeds)
            scene = features.sum(1) / found.sum(1, keepdim=True).clamp(min=1)
        objectness = self.objectness(features)[..., 0]
        return Referents(features, centers, boxes, found, objectness, scene, seeds, clusters.votes)

    def sequence_tokens(self, referents: Referents) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, D) for the sequence, with coordinate code, the scene token last, and valid
        (B, T). Of more than `psa.tokens` referents, those of highest objectness, in sampling order;
        T is no more than the scene with the most referents needs.
        """
        config, mpe = self.config, self.config.s2.mpe
        most = min(config.psa.tokens, int(referents.valid.sum(1).max()))
        if not most:
            empty = referents.features.new_zeros(len(referents.valid), 0, config.text.width)
            return empty, referents.valid[:, :0]
        objectness = referents.objectness.detach().masked_fill(~referents.valid, -torch.inf)
        index = objectness.argsort(descending=True, stable=True)[:, :most].sort().values
        valid = referents.valid.gather(1, index)
        tokens = self.project(gather(referents.features, index))
        code = coordinate_code(gather(referents.centers, index), config.text.width)
        tokens = tokens + mpe.coord_scale * mpe.coord * code
        if referents.scene is None:
            return tokens, valid
        tokens = torch.cat([tokens, self.project(referents.scene)[:, None]], dim=1)
        return tokens, torch.cat([valid, valid.any(1, keepdim=True)], dim=1)

    def referent_tokens(self, boxes: Tensor, referents: Referents | None) -> Tensor:
        """One token for each box from the referents near it: boxes (B, N, 6) -> (B, N, D); a
        learned vector if there are none.
        """
        if referents is None:
            return self.nothing.expand(*boxes.shape[:2], -1)
        mean, near = interpolate(
            boxes[..., :3],
            referents.centers,
            referents.valid,
            referents.features,
            count=NEAREST_REFERENTS,
            reach=NEAREST_REFERENTS_M,
        )
        return torch.where(near[..., None], self.project(mean), self.nothing)


def with_referent_objects(
    batch: SceneBatch, referents: Referents, most: int
) -> tuple[SceneBatch, Tensor]:
    """The batch with referents as its objects, for scenes without other proposals (METHODS 4): the
    boxes of at most `most` clusters by falling objectness, after non-maximum suppression at
    MAX_IOU; and the objectness (B, N) in [0, 1]. Labels and colors are unknown.
    """
    logits = referents.objectness.detach()
    kept = [
        _suppressed(boxes[valid], objectness[valid], most)
        for boxes, objectness, valid in zip(referents.boxes, logits, referents.valid, strict=True)
    ]
    boxes, objectness = (
        nn.utils.rnn.pad_sequence([one[part] for one in kept], batch_first=True) for part in (0, 1)
    )
    counts = torch.tensor([len(one) for one, _ in kept], device=boxes.device)
    valid = torch.arange(boxes.shape[1], device=boxes.device) < counts[:, None]
    batch = replace(batch, boxes=boxes, object_valid=valid, labels=None, colors=None)
    return batch, objectness.sigmoid()


def _suppressed(boxes: Tensor, objectness: Tensor, most: int) -> tuple[Tensor, Tensor]:
    order = objectness.argsort(descending=True, stable=True)
    boxes, objectness = boxes[order].detach(), objectness[order]
    overlapping = iou_matrix(*[boxes.cpu().numpy()] * 2) > MAX_IOU
    kept: list[int] = []
    for i in range(len(boxes)):
        if len(kept) < most and not overlapping[i, kept].any():
            kept.append(i)
    return boxes[kept], objectness[kept]


def _extents(seeds: Seeds, members: Tensor) -> Tensor:
    """Boxes (B, R, 6) around the seeds of each cluster; a seed has the extent of its voxel."""
    points = gather(seeds.points, members)
    low, high = points.amin(2) - SEED_M / 2, points.amax(2) + SEED_M / 2
    return torch.cat([(low + high) / 2, high - low], dim=-1)
