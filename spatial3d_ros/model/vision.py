"""Vision tower and projector (METHODS 1.2, 1.4): from the pixels of each view to patch features."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from spatial3d_ros.model.config import VisionConfig


class VisionTower(nn.Module):
    """SigLIP without last layer, final norm and pooling head, as in LLaVA-Video (METHODS 1.2)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.siglip = SiglipVisionModel(
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
        self.siglip.add_module("post_layernorm", nn.Identity())

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (..., 3, S, S) -> patch features (..., P, C), raster order."""
        lead = pixels.shape[:-3]
        features = self.siglip(pixels.flatten(0, -4)).last_hidden_state
        return features.unflatten(0, lead)


def feature_norm(config: VisionConfig) -> nn.Module:
    """The normalisation in front of the projector, `vision.feature_norm`."""
    return nn.LayerNorm(config.width) if config.feature_norm == "layer" else nn.Identity()


class Projector(nn.Sequential):
    """Two linear layers with exact GELU from the vision width to the decoder width (1.4)."""

    def __init__(self, vision_width: int, text_width: int) -> None:
        super().__init__(
            nn.Linear(vision_width, text_width), nn.GELU(), nn.Linear(text_width, text_width)
        )
