"""Activation checkpointing: the towers recompute activations in the backward pass."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from spatial3d_ros.model.network import SpatialModel


def enable_activation_checkpointing(model: SpatialModel) -> None:
    """Every transformer layer of the vision tower and of the decoder stores only its input during
    training, by transformers' `gradient_checkpointing_enable`. Gradients stay the same.
    """
    for tower in filter(None, (model.vision.siglip, model.decoder.qwen)):
        with warnings.catch_warnings():  # newer versions rename the argument
            warnings.simplefilter("ignore", FutureWarning)
            tower.gradient_checkpointing_enable({"use_reentrant": False})
    model.decoder.qwen.register_forward_pre_hook(_make_mask, with_kwargs=True)


def _make_mask(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
    """Build the mask before the layers: the recomputed first layer would not build it again."""
    context = kwargs["attention_mask"]["full_attention"]
    if context.mask is not None:
        _ = context.full_bias if context.prefix else context.suffix_bias
