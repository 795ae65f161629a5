"""Vision tower and projector (METHODS 1.2, 1.4): from the pixels of each view to patch features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SiglipVisionConfig, SiglipVisionModel

from spatial3d_ros.model.config import VisionConfig

DILATIONS = (1, 2, 4)
"""Of the convolutional tower's residual blocks, in turn."""
_GROUPS = 8


class VisionTower(nn.Module):
    """Pixels (..., 3, S, S) in [-1, 1] -> patch features (..., P, C) in raster order, P = (S /
    patch_size)^2. S may differ from `image_size` for crops.

    `stem: patch`: SigLIP without last layer, final norm and pooling head, as in LLaVA-Video
    (METHODS 1.2). `stem: conv`: convolutions of stride 8 in all, then `layers` dilated residual
    blocks and a layer norm.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.siglip = _siglip(config) if config.stem == "patch" else None
        self.conv = ConvTower(config.width, config.layers) if config.stem == "conv" else None
        self.image_size = config.image_size

    def forward(self, pixels: Tensor) -> Tensor:
        lead = pixels.shape[:-3]
        pixels = pixels.flatten(0, -4)
        if self.conv is not None:
            return self.conv(pixels).unflatten(0, lead)
        assert self.siglip is not None
        cropped = pixels.shape[-1] != self.image_size
        features = self.siglip(pixels, interpolate_pos_encoding=cropped).last_hidden_state
        return features.unflatten(0, lead)


def _siglip(config: VisionConfig) -> SiglipVisionModel:
    tower = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=config.width,
            intermediate_size=config.mlp,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            image_size=config.image_size,
            patch_size=config.patch_size,
            vision_use_head=False,
        )
    )
    tower.add_module("post_layernorm", nn.Identity())
    return tower


class ConvTower(nn.Module):
    """Images (I, 3, S, S) -> features (I, (S / 8)^2, width), normalised."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width // 4, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width // 4, width // 2, 3, stride=2, padding=1),
            ResidualBlock(width // 2, 1),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
        )
        self.blocks = nn.Sequential(
            *(ResidualBlock(width, DILATIONS[i % len(DILATIONS)]) for i in range(layers))
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        return self.norm(self.blocks(self.stem(images)).flatten(2).mT)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(norm(x))))), the first convolution dilated: (I, C, H, W)."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.first = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(self.norm(x)))))


def feature_norm(config: VisionConfig) -> nn.Module:
    """The normalisation in front of the projector, `vision.feature_norm`."""
    return nn.LayerNorm(config.width) if config.feature_norm == "layer" else nn.Identity()


class Projector(nn.Sequential):
    """Two linear layers with exact GELU from the vision width to the decoder width (1.4)."""

    def __init__(self, vision_width: int, text_width: int) -> None:
        super().__init__(
            nn.Linear(vision_width, text_width), nn.GELU(), nn.Linear(text_width, text_width)
        )
