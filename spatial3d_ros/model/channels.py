"""Input channels of the network: how much the output of each one depends on its input.

A channel whose output hardly varies is dead: its input cannot change any answer. In the
shipped weights of `tiny` all units of the projector are zero, so that no pixel has an effect.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from spatial3d_ros.model.color_names import color_shares
from spatial3d_ros.model.crops import CROP_SIZE
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.object_channels import ObjectChannels
from spatial3d_ros.model.objects import color_features, extent_features
from spatial3d_ros.model.position import coordinate_code

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
    boxes of 0.1 to 2 m; crops: for the images as crops. Channels that the configuration switches
    off are left out.
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
        if model.roles is not None:
            rgb = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)), device=device)
            sizes = torch.tensor(list(itertools.product((0.1, 0.5, 2.0), repeat=3)), device=device)
            boxes = torch.cat([sizes / 2, sizes], dim=-1)
            if isinstance(model.objects, ObjectChannels):
                found |= _object_channels(model, model.objects, images, rgb, boxes)
            else:
                found["color"] = variation(model.objects.color(color_features(rgb)))
                found["size"] = variation(model.objects.extent(extent_features(boxes)))
    return {name: float(value) for name, value in found.items()}


def _object_channels(
    model: SpatialModel, objects: ObjectChannels, images: Tensor, rgb: Tensor, boxes: Tensor
) -> dict[str, Tensor]:
    """Variation of the channels of object tokens: images (I, 3, S, S), rgb and boxes (n, ...)."""
    config, parts = model.config, objects.parts
    code = coordinate_code(torch.zeros_like(boxes[:, :3]), config.text.width)
    inputs = {
        "crops": lambda: _crops(model, images),
        "color": lambda: color_shares(rgb, config.names.colors),
        "geometry": lambda: torch.cat([code, extent_features(boxes)], -1),
    }
    found = {}
    for name, features in inputs.items():
        if name in parts:
            values = features()
            present = torch.ones(len(values), dtype=torch.bool, device=values.device)
            found["size" if name == "geometry" else name] = variation(parts[name](values, present))
    return found


def _crops(model: SpatialModel, images: Tensor) -> Tensor:
    """Mean features of images as crops that show nothing but the object: (I, C)."""
    crops = F.pad(F.interpolate(images, (CROP_SIZE, CROP_SIZE)), (0, 0, 0, 0, 0, 1), value=1.0)
    return model.encode_crops(crops)[:, : model.config.vision.width]


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
