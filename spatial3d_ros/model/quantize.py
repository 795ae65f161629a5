"""Smaller weights for robots: matrices in the network's number format, the decoder's also as int8
or int4.

Nine tenths of the large network are the linear layers of its decoder. Only they are quantised
(torchao, weight only); the parts that process pixels and metres keep their precision. int8 has one
scale for each output channel and runs everywhere; int4 has one scale and offset for each group of
inputs and runs on CUDA devices of compute capability 8.0 or more (Orin has 8.7).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.network import SpatialModel

Weights = Literal["auto", "int8", "int4"]
WEIGHTS = ("auto", "int8", "int4")
TOWERS = ("vision.", "decoder.")
QUANTISED = "decoder.qwen.layers."
GROUPS = (128, 64, 32)
_TILE_IN, _TILE_OUT = 1024, 8  # the int4 kernel pads matrices to these multiples


def stored_dtype(name: str, weight: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Number format in which a weight is kept.

    The two transformers are wholly `dtype`, as they were trained; elsewhere vectors, which weigh
    no memory and scale or shift float32 geometry, stay float32.
    """
    return dtype if name.startswith(TOWERS) or weight.dim() > 1 else torch.float32


def is_quantised(name: str, module: nn.Module) -> bool:
    """Whether a layer's weight is quantised with int8 or int4."""
    return isinstance(module, nn.Linear) and name.startswith(QUANTISED)


def group_size(inputs: int) -> int | None:
    """Inputs that share one scale of int4; None if no size divides them and the layer is kept."""
    return next((size for size in GROUPS if inputs % size == 0), None)


def weight_bytes(layer: nn.Linear, weights: Weights, item: int) -> int:
    """Bytes of a layer's weight matrix after quantisation; `item` bytes a number before."""
    outputs, inputs = layer.weight.shape
    if weights == "int8":
        return outputs * (inputs + torch.float32.itemsize)
    size = group_size(inputs)
    if weights == "auto" or size is None:
        return outputs * inputs * item
    inputs, outputs = -(-inputs // _TILE_IN) * _TILE_IN, -(-outputs // _TILE_OUT) * _TILE_OUT
    return outputs * inputs // 2 + outputs * (inputs // size) * 2 * torch.bfloat16.itemsize


def check_weights(weights: str, device: torch.device, dtype: torch.dtype) -> None:
    """Raises ConfigError when torchao is not installed or has no kernel for device and dtype."""
    if weights not in WEIGHTS:
        raise ConfigError(f"weights: '{weights}' is unknown; use {', '.join(WEIGHTS)}")
    if weights == "auto":
        return
    try:
        import torchao.quantization  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"weights: '{weights}' needs the library torchao ({error}); install the extra: "
            "pip install 'spatial3d_ros[quantize]', or use auto"
        ) from error
    if weights == "int4":
        capable = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        if not capable or dtype != torch.bfloat16:
            raise ConfigError(
                f"weights: 'int4' needs a CUDA device of compute capability 8.0 or more and dtype "
                f"bfloat16, not {device} with {str(dtype).removeprefix('torch.')}; use int8, which "
                "runs everywhere"
            )


@torch.no_grad()
def place_model(
    model: SpatialModel, device: torch.device, dtype: torch.dtype, weights: Weights = "auto"
) -> SpatialModel:
    """Move a network to its device in this weight format, layer by layer, in place.

    Tables of the rotary code stay float32. Raises ConfigError like `check_weights`.
    """
    check_weights(weights, device, dtype)
    for name, weight in model.named_parameters():
        weight.data = weight.data.to(stored_dtype(name, weight, dtype))
    if weights != "auto":
        _quantise(model, device, weights)
    return model.to(device)


def _quantise(model: SpatialModel, device: torch.device, weights: Weights) -> None:
    from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    if weights == "int8":
        quantize_(
            model,
            Int8WeightOnlyConfig(),
            lambda module, name: is_quantised(name, module),
            device=device,
        )
        return
    for size in GROUPS:
        quantize_(
            model,
            Int4WeightOnlyConfig(group_size=size, int4_packing_format="tile_packed_to_4d"),
            lambda module, name, size=size: (
                is_quantised(name, module) and group_size(module.in_features) == size
            ),
            device=device,
        )
