"""Object tokens (METHODS 1.7 and 4): what a box brings into the sequence.

The visual part is S2-MLLM's: the mean over views of the patches that lie in the box, plus the code
of its centre. To it come the box's size, its mean colour, where a detector gave one its label in
words, and what the referents beside it say, each of which may be missing. Labels go through the
same embedding table as the words of a question, so that any noun can be matched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.patch_box_assignment import box_membership
from spatial3d_ros.model.position import coordinate_code
from spatial3d_ros.model.relations import RelationLayer


@dataclass(frozen=True)
class SeenObjects:
    """visual (B, N, D): the features of 1.7; seen (B, N): whether any patch belongs to the object;
    colors (B, N, 3) in [0, 1], NaN where unknown.
    """

    visual: Tensor
    seen: Tensor
    colors: Tensor


def see_objects(batch: SceneBatch, features: Tensor | None, config: ModelConfig) -> SeenObjects:
    """What the views show of each box: mean of the member patches' features (B, V * P, D) plus the
    code of the box's centre (METHODS 1.7). A colour that comes with the box is kept.
    """
    boxes, width, mpe = batch.boxes, config.text.width, config.s2.mpe
    place = mpe.coord_scale * mpe.coord * coordinate_code(boxes[..., :3], width)
    colors = torch.full_like(boxes[..., :3], torch.nan) if batch.colors is None else batch.colors
    if features is None:
        return SeenObjects(place, torch.zeros_like(batch.object_valid), colors)
    found = box_membership(
        batch.points,
        batch.valid,
        boxes,
        patch=config.vision.patch_size,
        grid=config.vision.grid,
        fraction=config.objects.member_fraction,
        images=batch.pixels.float(),
    )
    count = found.patches.sum(-1, keepdim=True)
    visual = found.patches.to(features.dtype) @ features / count.clamp(min=1) + place
    colors = torch.where(colors.isnan(), found.colors, colors)
    return SeenObjects(visual, count[..., 0] > 0, colors)


class ObjectTokens(nn.Module):
    """What was seen in each box and what is known of it -> one vector per object (B, N, D). beside
    (B, N, D) is added, where referents have no tokens of their own.

    Parts that are missing (no pixels, no colour, no label) are replaced by learned vectors.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.text.width
        self.visual = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.extent = nn.Sequential(nn.Linear(8, width), nn.GELU(), nn.Linear(width, width))
        self.color = nn.Sequential(nn.Linear(9, width), nn.GELU(), nn.Linear(width, width))
        self.label = nn.Linear(width, width, bias=False)
        # A label starts louder than the other parts: it is what a question's noun has to match.
        nn.init.eye_(self.label.weight).data.mul_(4.0)
        self.missing = nn.Parameter(torch.randn(3, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        nn.init.constant_(self.norm.weight, 0.2)  # objects start as long as words, or hear nothing

    def forward(
        self,
        batch: SceneBatch,
        seen: SeenObjects,
        embed: nn.Embedding,
        beside: Tensor | None = None,
    ) -> Tensor:
        unseen, uncolored, unlabelled = self.missing
        tokens = self.visual(seen.visual) + self.extent(extent_features(batch.boxes))
        tokens = tokens if beside is None else tokens + beside
        tokens = tokens + unseen * ~seen.seen[..., None]
        known = ~seen.colors.isnan().any(-1, keepdim=True)
        color = self.color(color_features(seen.colors.nan_to_num(0.5)))
        tokens = tokens + torch.where(known, color, uncolored)
        if batch.labels is None:
            return self.norm(tokens + unlabelled)
        named, words = mean_words(batch.labels, embed)
        return self.norm(tokens + torch.where(named[..., None], self.label(words), unlabelled))


def mean_words(ids: Tensor, embed: nn.Embedding) -> tuple[Tensor, Tensor]:
    """Mean embedding of the words of each label: ids (..., T), -1 padded -> present (...), vectors
    (..., D).
    """
    real = ids >= 0
    vectors = embed(ids.clamp(min=0)) * real[..., None]
    count = real.sum(-1)
    return count > 0, vectors.sum(-2) / count.clamp(min=1)[..., None].sqrt()


def extent_features(boxes: Tensor) -> Tensor:
    """Size of a box as numbers of order one: boxes (B, N, 6) -> (B, N, 8)."""
    size = boxes[..., 3:].clamp(min=0.01)
    bottom = boxes[..., 2:3] - boxes[..., 5:6] / 2
    top = boxes[..., 2:3] + boxes[..., 5:6] / 2
    longest = size[..., :2].amax(-1, keepdim=True).log()
    shortest = size[..., :2].amin(-1, keepdim=True).log()
    return torch.cat(
        [size.log(), longest, shortest, size.log().sum(-1, keepdim=True) / 3, bottom, top], dim=-1
    )


def color_features(rgb: Tensor) -> Tensor:
    """A colour as numbers that separate hues: rgb (..., 3) in [0, 1] -> (..., 9)."""
    bright = rgb.mean(-1, keepdim=True)
    chroma = rgb - bright
    spread = rgb.amax(-1, keepdim=True) - rgb.amin(-1, keepdim=True)
    hue = chroma / (spread + 0.05)
    return torch.cat([rgb * 2 - 1, chroma * 2, hue], dim=-1)


class ObjectRelations(nn.ModuleList):
    """The all-pairs layers that the question does not change: computed once for each scene
    version.
    """

    def __init__(self, config: ModelConfig, layers: int) -> None:
        super().__init__(
            RelationLayer(config.text.width, config.text.heads, config.objects.relation_hidden)
            for _ in range(layers)
        )

    def forward(self, tokens: Tensor, edges: Tensor, valid: Tensor) -> Tensor:
        for layer in self:
            tokens = layer(tokens, edges, valid)
        return tokens
