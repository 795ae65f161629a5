"""Object tokens (METHODS 1.7 and 4): the features of a box in the decoder's sequence.

The visual part is S2-MLLM's: the mean over views of the patches that lie in the box, plus the code
of its centre. Added to it are the box's size, its mean color, its label if a detector gave one, and
the referents near it; each of them may be missing. Labels use the token embedding table of the
questions, so that any noun can be matched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.color_names import color_shares
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.patch_box_assignment import PatchAssignment, assign_patches
from spatial3d_ros.model.position import coordinate_code
from spatial3d_ros.model.relations import RelationLayer


@dataclass(frozen=True)
class PooledObjects:
    """visual (B, N, D): the features of METHODS 1.7; visible (B, N) bool: whether any patch belongs
    to the object; colors (B, N, 3) in [0, 1], or with `objects.channels` probabilities of the color
    names (B, N, names + 1), NaN where unknown; unsampled (B, N) bool: without points.
    """

    visual: Tensor
    visible: Tensor
    colors: Tensor
    unsampled: Tensor | None = None


def pool_object_features(
    batch: SceneBatch, features: Tensor | None, config: ModelConfig
) -> PooledObjects:
    """Mean of the features (B, V * P, D) of each box's patches, plus the code of the box's centre
    (METHODS 1.7). A color given in the batch has precedence over the one measured in the views.
    """
    boxes, width, mpe = batch.boxes, config.text.width, config.s2.mpe
    coded = mpe.coord and "objects" in mpe.coord_on
    code = mpe.coord_scale * coded * coordinate_code(boxes[..., :3], width)
    if features is None:
        return PooledObjects(
            code, torch.zeros_like(batch.object_valid), given_colors(batch, config)
        )
    assigned = assign_views(batch, config)
    count = assigned.patches.sum(-1, keepdim=True)
    visual = assigned.patches.to(features.dtype) @ features / count.clamp(min=1) + code
    colors = given_colors(batch, config)
    colors = torch.where(colors.isnan(), assigned.colors, colors)
    return PooledObjects(visual, count[..., 0] > 0, colors)


def assign_views(batch: SceneBatch, config: ModelConfig) -> PatchAssignment:
    """Patches and colors of each box in the views of a batch, colors as in PooledObjects."""
    views = batch.views
    if config.objects.channels:
        known = pixel_shades(views.pixels, config) if batch.shades is None else batch.shades
        images = known * 2 - 1
    else:
        images = views.pixels.float()
    return assign_patches(
        views.points,
        views.valid,
        batch.boxes,
        patch=config.vision.patch_size,
        grid=config.vision.grid,
        fraction=config.objects.member_fraction,
        images=images,
    )


def pixel_shades(pixels: Tensor, config: ModelConfig) -> Tensor:
    """Probabilities of the color names and "unknown" of pixels: (..., 3, S, S) in [-1, 1] -> (...,
    names + 1, S, S).
    """
    rgb = pixels.float().movedim(-3, -1) / 2 + 0.5
    return color_shares(rgb, config.names.colors).movedim(-1, -3)


def given_colors(batch: SceneBatch, config: ModelConfig) -> Tensor:
    """The colors of the batch as in PooledObjects."""
    names = len(config.names.colors) + 1 if config.objects.channels else 3
    if batch.colors is None:
        return batch.boxes.new_full((*batch.boxes.shape[:2], names), torch.nan)
    if batch.colors.shape[-1] == names:
        return batch.colors
    shares = color_shares(batch.colors.nan_to_num(0.5), config.names.colors)
    return torch.where(batch.colors.isnan().any(-1, keepdim=True), torch.nan, shares)


class ObjectTokens(nn.Module):
    """Pooled features, box, color and label of each object -> one vector per object (B, N, D).
    referent_tokens (B, N, D), if given, are added.

    Missing parts (no pixels, no color, no label) are replaced by learned vectors.
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
        # A larger weight than the other parts: the label is what a question's noun has to match.
        nn.init.eye_(self.label.weight).data.mul_(4.0)
        self.missing = nn.Parameter(torch.randn(3, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        # The length of token embeddings. With longer ones, attention to the text vanishes.
        nn.init.constant_(self.norm.weight, 0.2)

    def forward(
        self,
        batch: SceneBatch,
        pooled: PooledObjects,
        embed: nn.Module,
        referent_tokens: Tensor | None = None,
    ) -> Tensor:
        no_pixels, no_color, no_label = self.missing
        tokens = self.visual(pooled.visual) + self.extent(extent_features(batch.boxes))
        tokens = tokens if referent_tokens is None else tokens + referent_tokens
        tokens = tokens + no_pixels * ~pooled.visible[..., None]
        known = ~pooled.colors.isnan().any(-1, keepdim=True)
        color = self.color(color_features(pooled.colors.nan_to_num(0.5)))
        tokens = tokens + torch.where(known, color, no_color)
        if batch.labels is None:
            return self.norm(tokens + no_label)
        labelled, labels = label_embeddings(batch.labels[:, :, 0], embed)
        return self.norm(tokens + torch.where(labelled[..., None], self.label(labels), no_label))


def label_embeddings(ids: Tensor, embed: nn.Module) -> tuple[Tensor, Tensor]:
    """Sum of the token embeddings of each label over the root of their number: ids (..., T), -1
    padded -> present (...) bool, vectors (..., D).
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
    """A color as numbers that separate hues: rgb (..., 3) in [0, 1] -> (..., 9)."""
    bright = rgb.mean(-1, keepdim=True)
    chroma = rgb - bright
    spread = rgb.amax(-1, keepdim=True) - rgb.amin(-1, keepdim=True)
    hue = chroma / (spread + 0.05)
    return torch.cat([rgb * 2 - 1, chroma * 2, hue], dim=-1)


class ObjectRelations(nn.ModuleList):
    """Relation layers in sequence: tokens (B, N, D), edges (B, N, N, E), valid (B, N) -> (B, N,
    D).
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
