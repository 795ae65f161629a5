"""Names of an object from its crops: what the mean of a crop's patch features cannot tell.

A crop shows the object and what is around it. The encoder reads the tower's features in their
places, with the part of each patch that lies in the box, and keeps their mean within the box and
their largest values. Names are read off these and the size of the box.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.names_config import NamesConfig
from spatial3d_ros.model.objects import extent_features
from spatial3d_ros.model.vision import ResidualBlock

ENCODED = 384
"""Size of an encoded crop."""
_WIDTH = ENCODED // 2
_EXTENT = 8  # features of the size of a box
_OUTSIDE = 0.02  # weight of a place of which nothing lies in the box
_DROPPED = 0.1
_START = (0.3, 0.9)  # weights of the logits from all channels and from the crops


class CropEncoder(nn.Module):
    """Tower features (n, P, C) of crops and their masks (n, s, s) as of `crops.crop_mask` ->
    (n, ENCODED). P is a square number.
    """

    def __init__(self, vision: int) -> None:
        super().__init__()
        self.places = nn.Conv2d(vision + 1, _WIDTH, 3, stride=2, padding=1)
        self.block = ResidualBlock(_WIDTH, 1)
        self.norm = nn.LayerNorm(_WIDTH)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        side = round(features.shape[-2] ** 0.5)
        grid = features.mT.unflatten(-1, (side, side))
        shares = F.adaptive_avg_pool2d(mask[:, None], side)
        places = self.block(self.places(torch.cat([grid, shares.to(grid.dtype)], 1)))
        inside = (F.adaptive_avg_pool2d(mask[:, None], places.shape[-1]) + 1) / 2 + _OUTSIDE
        weight = inside.flatten(2).mT.to(grid.dtype)
        tokens = self.norm(places.flatten(2).mT)
        mean = (tokens * weight).sum(1) / weight.sum(1)
        return torch.cat([mean, tokens.amax(1)], -1)


class CropNames(nn.Module):
    """Names of objects by head, read off their crops and the size of their boxes.

    The floor is at z = 0, as in `extent_features`.
    """

    def __init__(self, vision: int, names: NamesConfig) -> None:
        super().__init__()
        self.encoder = CropEncoder(vision)
        self.hidden = nn.Sequential(
            nn.Linear(ENCODED + _EXTENT, _WIDTH),
            nn.GELU(),
            nn.Dropout(_DROPPED),
            nn.Linear(_WIDTH, _WIDTH),
            nn.GELU(),
        )
        self.heads = nn.ModuleDict({h: nn.Linear(_WIDTH, len(of)) for h, of in names.heads.items()})
        self.weights = nn.ParameterDict({h: nn.Parameter(torch.tensor(_START)) for h in self.heads})

    def logits(self, crops: Tensor, valid: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """By head (B, N, W), the mean over crops: encoded crops (B, N, K, ENCODED), valid (B, N,
        K), boxes (B, N, 6); zero for an object without crops.
        """
        sizes = extent_features(boxes)[..., None, :].expand(*crops.shape[:-1], _EXTENT)
        hidden = self.hidden(torch.cat([crops, sizes.to(crops.dtype)], -1))
        count = valid.sum(-1, keepdim=True).clamp(min=1)
        shown = valid[..., None].to(hidden.dtype)
        return {h: (head(hidden) * shown).sum(-2) / count for h, head in self.heads.items()}

    def forward(
        self, others: Mapping[str, Tensor], crops: Tensor, valid: Tensor, boxes: Tensor
    ) -> dict[str, Tensor]:
        """Logits by head: `others`, weighted and added to those of the crops where there are any;
        the other arguments as of `logits`.
        """
        seen, found = self.logits(crops, valid, boxes), valid.any(-1)[..., None]
        return {
            h: torch.where(found, self.weights[h][0] * other + self.weights[h][1] * seen[h], other)
            for h, other in others.items()
        }


def crop_features(config: ModelConfig) -> int:
    """Size of the features of a crop, `SpatialModel.encode_crops`."""
    return config.vision.width + ENCODED * config.objects.crop_names


def name_shares(
    features: Tensor, heads: nn.ModuleDict, batch: SceneBatch, crop_names: CropNames | None = None
) -> Tensor | None:
    """Probabilities of the names of all heads in turn (B, N, W), of object features (B, N, D) and
    of crops where the network reads names off them; None without heads.
    """
    logits = {head: namer(features) for head, namer in heads.items()}
    if crop_names is not None and batch.crops is not None and batch.crop_valid is not None:
        encoded = batch.crops[..., -ENCODED:]
        logits = crop_names(logits, encoded, batch.crop_valid, batch.boxes)
    return torch.cat([value.softmax(-1) for value in logits.values()], -1) if logits else None


def shares_by_head(shares: Tensor, names: NamesConfig) -> dict[str, Tensor]:
    """The probabilities (..., W) of all heads in turn, by head."""
    sizes = [len(of) for of in names.heads.values()]
    return dict(zip(names.heads, shares.split(sizes, -1), strict=True))
