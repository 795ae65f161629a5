"""Object tokens as a sum of channels (docs/INTERFACES.md, section 1): what is known of a box, each
kind of knowledge with its own normalisation, projection and "absent" vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.heads import TOKEN_LENGTH
from spatial3d_ros.model.object_points import ObjectPointEncoder, object_points
from spatial3d_ros.model.objects import PooledObjects, extent_features
from spatial3d_ros.model.position import coordinate_code

DROPPED = {
    "crops": 0.2,
    "patches": 0.1,
    "points": 0.2,
    "labels": 0.35,
    "color": 0.35,
    "front": 0.3,
}
"""Probability with which training drops a channel of an object. Labels and colors stay where an
object has neither patches nor crops.
"""
APPEARANCE = 64


class Channel(nn.Module):
    """Features (B, N, F), present (B, N) bool -> (B, N, D): encoder, layer norm, linear projection;
    the learned `absent` vector where not present.
    """

    def __init__(self, features: int, width: int, encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder = encoder or nn.Identity()
        self.norm = nn.LayerNorm(features)
        self.project = nn.Linear(features, width)
        self.absent = nn.Parameter(torch.randn(width) * 0.02)

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        projected = self.project(self.norm(self.encoder(features)))
        return torch.where(present[..., None], projected, self.absent)


class ObjectChannels(nn.Module):
    """The channels `objects.channels` of each object, added and normalised: (B, N, D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, vision = config.text.width, config.vision.width
        self.scale = config.s2.mpe.coord * 1.0
        shades = len(config.names.colors) + 1
        made = {
            "geometry": Channel(2 * width, width, _Geometry(width)),
            "patches": Channel(width, width, _mlp(width, width)),
            "crops": Channel(vision, width, _mlp(vision, vision)),
            "points": Channel(width, width, ObjectPointEncoder(width)),
            "labels": Channel(width, width),
            "color": Channel(width, width, _mlp(shades, width)),
            "front": Channel(width, width, _mlp(2, width)),
            "referents": Channel(width, width),
        }
        # The label is what a question's noun has to match.
        nn.init.eye_(made["labels"].project.weight).data.mul_(2.0)
        self.parts = nn.ModuleDict({name: made[name] for name in config.objects.channels})
        self.unknown_label = nn.Parameter(torch.randn(width) * 0.02)
        self.appearance = nn.Linear(vision, APPEARANCE)
        self.norm = nn.LayerNorm(width)
        nn.init.constant_(self.norm.weight, TOKEN_LENGTH)

    def dropped(self, batch: SceneBatch, pooled: PooledObjects) -> tuple[SceneBatch, PooledObjects]:
        """Both without the channels that training drops, drawn for each object."""
        if not self.training:
            return batch, pooled
        shape = batch.object_valid.shape
        draw = {
            name: torch.rand(shape, device=batch.boxes.device) < share
            for name, share in DROPPED.items()
        }
        crops = batch.crop_valid
        if crops is not None:
            crops = crops & ~draw["crops"][..., None]
        visible = pooled.visible & ~draw["patches"]
        seen = visible if crops is None else visible | crops.any(-1)
        labels = batch.labels
        if labels is not None:
            labels = labels.masked_fill((draw["labels"] & seen)[..., None, None], -1)
        colors = pooled.colors.masked_fill((draw["color"] & seen)[..., None], torch.nan)
        fronts = batch.fronts
        if fronts is not None:
            fronts = fronts.masked_fill(draw["front"][..., None], torch.nan)
        batch = replace(batch, labels=labels, crop_valid=crops, fronts=fronts)
        unsampled = draw["points"]
        return batch, replace(pooled, visible=visible, colors=colors, unsampled=unsampled)

    def forward(
        self,
        batch: SceneBatch,
        pooled: PooledObjects,
        embed: nn.Module,
        referent_tokens: Tensor | None = None,
    ) -> Tensor:
        """batch.crops are given where the network has the channel; referent_tokens (B, N, D)."""
        tokens = torch.zeros_like(pooled.visual)
        for name, channel in self.parts.items():
            features, present = self._inputs(name, batch, pooled, embed, referent_tokens)
            tokens = tokens + channel(features, present)
        return self.norm(tokens)

    def appearance_vectors(self, batch: SceneBatch) -> Tensor | None:
        """Appearance vectors (B, N, APPEARANCE) of norm 1 (docs/INTERFACES.md, section 4); zero for
        an object without crops; None without the channel.
        """
        if batch.crops is None or batch.crop_valid is None:
            return None
        mean, present = _mean(batch.crops[..., : self.appearance.in_features], batch.crop_valid)
        vectors = nn.functional.normalize(self.appearance(mean).float(), dim=-1)
        return vectors * present[..., None]

    def _inputs(
        self,
        name: str,
        batch: SceneBatch,
        pooled: PooledObjects,
        embed: nn.Module,
        referent_tokens: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Features and presence of one channel."""
        everywhere, width = torch.ones_like(batch.object_valid), pooled.visual.shape[-1]
        nowhere = ~everywhere
        absent = pooled.visual.new_zeros(*everywhere.shape, width), nowhere
        if name == "geometry":
            code = self.scale * coordinate_code(batch.boxes[..., :3], width)
            return torch.cat([code, extent_features(batch.boxes)], -1), everywhere
        if name == "patches":
            return pooled.visual, pooled.visible
        if name == "crops":
            size = self.appearance.in_features
            if batch.crops is None or batch.crop_valid is None:
                return pooled.visual.new_zeros(*everywhere.shape, size), nowhere
            return _mean(batch.crops[..., :size], batch.crop_valid)
        if name == "points":
            if not batch.has_views:
                return batch.boxes.new_zeros(*everywhere.shape, 1, 6), nowhere
            points, present = object_points(batch)
            return points, present if pooled.unsampled is None else present & ~pooled.unsampled
        if name == "labels":
            return absent if batch.labels is None else self._labels(batch, embed)
        if name == "color":
            return pooled.colors.nan_to_num(0.0), ~pooled.colors.isnan().any(-1)
        if name == "front":
            if batch.fronts is None:
                return batch.boxes.new_zeros(*everywhere.shape, 2), nowhere
            return batch.fronts.nan_to_num(0.0), batch.fronts.isfinite().all(-1)
        return absent if referent_tokens is None else (referent_tokens, everywhere)

    def _labels(self, batch: SceneBatch, embed: nn.Module) -> tuple[Tensor, Tensor]:
        """Mean token embeddings of the labels, the last token weighted twice, weighted by their
        probability; the rest is "unknown".
        """
        assert batch.labels is not None
        real = batch.labels >= 0
        given = real.any(-1)
        last = real & ~nn.functional.pad(real[..., 1:], (0, 1))
        weight = (real.float() + last)[..., None]
        vectors = (embed(batch.labels.clamp(min=0)) * weight).sum(-2)
        vectors = vectors / weight.sum(-2).clamp(min=1.0)
        shares = batch.shares_of_labels * given
        rest = (1.0 - shares.sum(-1, keepdim=True)).clamp(min=0.0)
        return (shares[..., None] * vectors).sum(-2) + rest * self.unknown_label, given.any(-1)


class _Geometry(nn.Module):
    """Coordinate code (..., D) and size (..., 8) -> (..., 2 D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.size = _mlp(8, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[..., : self.width], self.size(x[..., self.width :])], -1)


def _mlp(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))


def _mean(values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the valid ones of K: (B, N, K, F), (B, N, K) -> (B, N, F), any valid (B, N)."""
    count = valid.sum(-1, keepdim=True)
    return (values * valid[..., None]).sum(-2) / count.clamp(min=1), count[..., 0] > 0


def with_crops(batch: SceneBatch, encode: Callable[[Tensor], Tensor]) -> SceneBatch:
    """The batch with features of its crops, `SpatialModel.encode_crops`; those of missing crops are
    zero.
    """
    pixels, valid = batch.crop_pixels, batch.crop_valid
    if batch.crops is not None or pixels is None or valid is None:
        return batch
    found = encode(pixels[valid])
    crops = found.new_zeros(*valid.shape, found.shape[-1])
    return replace(batch, crops=crops.masked_scatter(valid[..., None], found))
