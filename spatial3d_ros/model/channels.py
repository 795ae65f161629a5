"""Input channels of the network: how much the output of each one depends on its input.

A channel whose output hardly varies is dead: its input cannot change any answer. In the
shipped weights of `tiny` all units of the projector are zero, so that no pixel has an effect.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.objects import ObjectTokens, color_features, extent_features

MIN_VARIATION = 0.05
"""Variation below which a channel is dead."""
LIVE_UNIT = -3.0
"""A unit is live if some input raises it above this value; GELU is almost zero below."""
IMAGES = 6


def variation(features: Tensor) -> Tensor:
    """Relative variation of features (I, ..., D) over I inputs: RMS of the deviation from the mean
    over inputs, divided by the RMS of the features. Scalar, 0 for less than two inputs.
    """
    features = features.float()
    deviation = features - features.mean(0, keepdim=True)
    return deviation.square().mean().sqrt() / features.square().mean().sqrt().clamp(min=1e-12)


@torch.no_grad()
def channel_variation(model: SpatialModel) -> dict[str, float]:
    """Variation of each channel of a network over synthetic inputs.

    pixels: projected features of images of random colored squares. rays: ray code of the six axis
    directions. color, size: parts of the object tokens for the corners of the RGB cube and for
    boxes of 0.1 to 2 m. Channels that the configuration switches off are left out.
    """
    weight = model.get_parameter("projector.0.weight")
    device, dtype = weight.device, weight.dtype
    images = _images(model.config.vision.image_size).to(device)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        patches = model.encode_views(images)[:, None]
        valid = torch.ones(len(images), 1, dtype=torch.bool, device=device)
        found = {"pixels": variation(model.project_patches(patches, valid))}
        if model.ray is not None:
            axes = torch.cat([torch.eye(3), -torch.eye(3)]).to(device)
            found["rays"] = variation(model.ray(axes))
        if model.config.object_tokens != "none" and isinstance(model.objects, ObjectTokens):
            rgb = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)), device=device)
            sizes = torch.tensor(list(itertools.product((0.1, 0.5, 2.0), repeat=3)), device=device)
            boxes = torch.cat([sizes / 2, sizes], dim=-1)
            found["color"] = variation(model.objects.color(color_features(rgb)))
            found["size"] = variation(model.objects.extent(extent_features(boxes)))
    return {name: float(value) for name, value in found.items()}


def dead_channels(found: dict[str, float]) -> list[str]:
    """Names of the channels whose variation is below MIN_VARIATION."""
    return [name for name, value in found.items() if value < MIN_VARIATION]


def _images(size: int) -> Tensor:
    """Squares of random colors in a grid of 2, 4, 8, ... cells: (IMAGES, 3, size, size)."""
    generator = torch.Generator().manual_seed(0)
    images = []
    for i in range(IMAGES):
        cells = min(2 ** (1 + i % 4), size)
        colors = torch.rand(1, 3, cells, cells, generator=generator) * 2 - 1
        images.append(torch.nn.functional.interpolate(colors, size=(size, size)))
    return torch.cat(images)
