"""Gradient checkpointing: activations inside the two towers are computed again instead of kept."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from spatial3d_ros.model.network import SpatialModel


def recompute_activations(model: SpatialModel) -> None:
    """From now on every layer of the vision tower and of the decoder keeps nothing but its input
    while training, by transformers' own means. Gradients stay the same.
    """
    for tower in (model.vision.siglip, model.decoder.qwen):
        with warnings.catch_warnings():  # the newest versions have another name for it
            warnings.simplefilter("ignore", FutureWarning)
            tower.gradient_checkpointing_enable({"use_reentrant": False})
    model.decoder.qwen.register_forward_pre_hook(_make_mask, with_kwargs=True)


def _make_mask(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
    """A mask that the first layer made and kept would not be made again by the replay of it."""
    context = kwargs["attention_mask"]["full_attention"]
    if context.mask is not None:
        _ = context.full_bias if context.prefix else context.suffix_bias
