"""Object tokens (methods 1.7 and 4): what a box brings into the sequence.

The visual part is S2-MLLM's: the mean over views of the patches that lie in the box, plus the code
of its centre. To it come the box's size, its mean colour and, where a detector gave one, its label
in words, each of which may be missing. Labels go through the same embedding table as the words of a
question, so that any noun can be matched.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.position import coordinate_code
from spatial3d_ros.model.relations import RelationLayer


def pixels_in_boxes(points: Tensor, valid: Tensor, boxes: Tensor) -> Tensor:
    """Which pixels lie in which closed box: points (B, V, S, S, 3), valid (B, V, S, S), boxes (B,
    N, 6) -> bool (B, N, V, S, S). Pixels without depth are never inside.
    """
    low = boxes[..., :3] - boxes[..., 3:] / 2
    high = boxes[..., :3] + boxes[..., 3:] / 2
    inside = valid[:, None].expand(-1, boxes.shape[1], -1, -1, -1)
    for axis in range(3):
        value = points[:, None, ..., axis]
        inside = inside & (value >= low[..., axis, None, None, None])
        inside = inside & (value <= high[..., axis, None, None, None])
    return inside


def patch_membership(inside: Tensor, patch: int, grid: int, fraction: float) -> Tensor:
    """Patches of an object: pixels inside (B, N, V, S, S) -> bool (B, N, V * P), at least
    `fraction` of a patch.
    """
    size = grid * patch
    cells = inside[..., :size, :size].unflatten(-1, (grid, patch)).unflatten(-3, (grid, patch))
    count = cells.sum((-1, -3), dtype=torch.float32)
    return (count >= fraction * patch * patch).flatten(-3)


def mean_color(inside: Tensor, pixels: Tensor) -> Tensor:
    """Mean colour in [0, 1] of the pixels inside: (B, N, V, S, S), (B, V, 3, S, S) -> (B, N, 3),
    NaN when none.
    """
    weight = inside.flatten(2).float()
    color = (pixels.permute(0, 1, 3, 4, 2).flatten(1, 3) + 1) / 2
    return weight @ color / weight.sum(-1, keepdim=True)


class ObjectTokens(nn.Module):
    """Boxes and what was seen in them -> one vector of decoder width per object.

    forward(batch, features (B, V * P, D) or None, embed) -> visual features (B, N, D) of 1.7 and
    the object vectors (B, N, D) that the relation layers and the decoder read.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.text.width
        self.vision = config.vision
        self.fraction = config.objects.member_fraction
        self.place = config.s2.mpe.coord_scale if config.s2.mpe.coord else 0.0
        self.visual = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.extent = nn.Sequential(nn.Linear(8, width), nn.GELU(), nn.Linear(width, width))
        self.color = nn.Sequential(nn.Linear(9, width), nn.GELU(), nn.Linear(width, width))
        self.label = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.label.weight)
        self.missing = nn.Parameter(torch.randn(3, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        nn.init.constant_(self.norm.weight, 0.2)  # objects start as long as words, or hear nothing

    def forward(
        self, batch: SceneBatch, features: Tensor | None, embed: nn.Embedding
    ) -> tuple[Tensor, Tensor]:
        boxes = batch.boxes
        colors = batch.colors
        unseen, uncolored, unlabelled = self.missing
        place = self.place * coordinate_code(boxes[..., :3], embed.embedding_dim)
        if features is None:
            seen = torch.zeros_like(batch.object_valid)
            visual = place + torch.zeros(*boxes.shape[:2], embed.embedding_dim, device=boxes.device)
        else:
            inside = pixels_in_boxes(batch.points, batch.valid, boxes)
            member = patch_membership(
                inside, self.vision.patch_size, self.vision.grid, self.fraction
            )
            count = member.sum(-1, keepdim=True)
            mean = member.to(features.dtype) @ features / count.clamp(min=1)
            seen = count[..., 0] > 0
            visual = mean + place
            measured = mean_color(inside, batch.pixels)
            colors = measured if colors is None else torch.where(colors.isnan(), measured, colors)

        tokens = self.visual(visual) + self.extent(extent_features(boxes))
        tokens = tokens + unseen * ~seen[..., None]
        if colors is None:
            colors = torch.full_like(boxes[..., :3], torch.nan)
        known = ~colors.isnan().any(-1, keepdim=True)
        tokens = tokens + torch.where(
            known, self.color(color_features(colors.nan_to_num(0.5))), uncolored
        )
        if batch.labels is None:
            tokens = tokens + unlabelled
        else:
            named, words = mean_words(batch.labels, embed)
            tokens = tokens + torch.where(named[..., None], self.label(words), unlabelled)
        return visual, self.norm(tokens)


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
