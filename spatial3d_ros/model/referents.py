"""Referents (Spatial 3D-LLM, METHODS 3.2 and 4): few places of the room, each with what is there,
in the decoder's terms.

They do not depend on the question, so that they are found with the scene prefix, once for each
version of the memory.
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

BESIDE, BESIDE_M = 3, 1.0
"""An object hears so many of the nearest referents, no farther than this from its centre."""
MAX_IOU = 0.25
"""Of two referents whose clusters overlap more, the likelier one is an object."""


@dataclass(frozen=True)
class Referents:
    """R referents of B scenes, scene frame, metres: features (B, R, d), centers (B, R, 3), boxes
    (B, R, 6) around their clusters, valid (B, R), objectness (B, R) logits, and the scene's own
    feature (B, d), None without the third stage. seeds, and votes (B, M, 3) they cast, for losses.
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
    """forward(batch, projected patches (B, V, P, D)) -> Referents. Scenes without a point with
    depth have none.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config, psa = config, config.psa
        width = config.text.width
        self.seeds = (PatchSeeds if psa.source == "patches" else PointSeeds)(config)
        self.intra = ClusterAbstraction(psa.width, psa.referents) if psa.intra else None
        self.inter = message_passing(psa.inter, psa.width)
        self.context = Context(psa.width, psa.heads) if psa.context else None
        # Equal for all until it is learnt: then those chosen first, the farthest apart, come first.
        self.objectness = nn.Linear(psa.width, 1)
        nn.init.zeros_(self.objectness.weight)
        self.project = nn.Sequential(
            nn.Linear(psa.width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.nothing = nn.Parameter(torch.randn(width) * 0.02)

    def forward(self, batch: SceneBatch, projected: Tensor) -> Referents:
        return self.refer(self.seeds(batch, projected))

    def refer(self, seeds: Seeds) -> Referents:
        """The three stages, as far as they are switched on."""
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

    def tokens(self, referents: Referents) -> tuple[Tensor, Tensor]:
        """Referents in the sequence, with the code of their place, and the scene's token last: (B,
        T, D) and which are real (B, T). The likeliest objects where there are more than
        `psa.tokens`, in the order of their choice; T is no more than the fullest scene needs.
        """
        config, mpe = self.config, self.config.s2.mpe
        most = min(config.psa.tokens, int(referents.valid.sum(1).max()))
        if not most:
            empty = referents.features.new_zeros(len(referents.valid), 0, config.text.width)
            return empty, referents.valid[:, :0]
        likely = referents.objectness.detach().masked_fill(~referents.valid, -torch.inf)
        index = likely.argsort(descending=True, stable=True)[:, :most].sort().values
        valid = referents.valid.gather(1, index)
        tokens = self.project(gather(referents.features, index))
        place = coordinate_code(gather(referents.centers, index), config.text.width)
        tokens = tokens + mpe.coord_scale * mpe.coord * place
        if referents.scene is None:
            return tokens, valid
        tokens = torch.cat([tokens, self.project(referents.scene)[:, None]], dim=1)
        return tokens, torch.cat([valid, valid.any(1, keepdim=True)], dim=1)

    def beside(self, boxes: Tensor, referents: Referents | None) -> Tensor:
        """What the referents next to each box say: boxes (B, N, 6) -> (B, N, D); a learned vector
        where there are none.
        """
        if referents is None:
            return self.nothing.expand(*boxes.shape[:2], -1)
        mean, near = interpolate(
            boxes[..., :3],
            referents.centers,
            referents.valid,
            referents.features,
            count=BESIDE,
            reach=BESIDE_M,
        )
        return torch.where(near[..., None], self.project(mean), self.nothing)


def with_referent_objects(
    batch: SceneBatch, referents: Referents, most: int
) -> tuple[SceneBatch, Tensor]:
    """The batch with referents as its objects, for scenes that nothing proposes objects in (methods
    4): the boxes of at most `most` clusters, the likeliest objects first, none of which overlap by
    more than MAX_IOU; and how likely each is one (B, N). Labels and colours are unknown.
    """
    odds = referents.objectness.detach()
    kept = [
        _distinct(boxes[valid], likely[valid], most)
        for boxes, likely, valid in zip(referents.boxes, odds, referents.valid, strict=True)
    ]
    boxes, likely = (
        nn.utils.rnn.pad_sequence([one[part] for one in kept], batch_first=True) for part in (0, 1)
    )
    counts = torch.tensor([len(one) for one, _ in kept], device=boxes.device)
    valid = torch.arange(boxes.shape[1], device=boxes.device) < counts[:, None]
    made = replace(batch, boxes=boxes, object_valid=valid, labels=None, colors=None)
    return made, likely.sigmoid()


def _distinct(boxes: Tensor, likely: Tensor, most: int) -> tuple[Tensor, Tensor]:
    order = likely.argsort(descending=True, stable=True)
    boxes, likely = boxes[order].detach(), likely[order]
    alike = iou_matrix(*[boxes.cpu().numpy()] * 2) > MAX_IOU
    kept: list[int] = []
    for i in range(len(boxes)):
        if len(kept) < most and not alike[i, kept].any():
            kept.append(i)
    return boxes[kept], likely[kept]


def _extents(seeds: Seeds, members: Tensor) -> Tensor:
    """Boxes (B, R, 6) around the seeds of each cluster, each seed as wide as its voxel."""
    points = gather(seeds.points, members)
    low, high = points.amin(2) - SEED_M / 2, points.amax(2) + SEED_M / 2
    return torch.cat([(low + high) / 2, high - low], dim=-1)
