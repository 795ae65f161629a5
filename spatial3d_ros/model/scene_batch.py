"""Scenes that were encoded one by one, as one batch: questions about them take one pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from spatial3d_ros.model.sequence import EncodedScene

_FILL = {"labels": -1}
_PADDED = (
    "prefix_valid", "object_embeddings", "visual", "object_features", "valid", "edges",
    "object_mask", "pair_codes", "labels", "name_embeddings", "name_shares",
    "label_shares", "referent_tokens",
)  # fmt: skip


def merge_scenes(scenes: Sequence[EncodedScene]) -> EncodedScene:
    """Scenes of one network, padded to the longest prefix and the most objects. What a question
    does not read (appearance, referents, origin) is left out.
    """
    layers = zip(*(scene.prefix for scene in scenes), strict=True)
    prefix = tuple((_stack([k for k, _ in one]), _stack([v for _, v in one])) for one in layers)
    fields = {name: _field(scenes, name) for name in _PADDED}
    return EncodedScene(prefix=prefix, **fields)  # type: ignore[arg-type]


def _field(scenes: Sequence[EncodedScene], name: str) -> Tensor | None:
    values = [getattr(scene, name) for scene in scenes]
    if all(value is None for value in values):
        return None
    if name == "label_shares":  # a scene without labels
        values = [
            scene.valid.new_zeros(*scene.valid.shape, 0, dtype=torch.float32)
            if value is None
            else value
            for scene, value in zip(scenes, values, strict=True)
        ]
    return _stack(values, _FILL.get(name, 0))


def _stack(values: Sequence[Tensor], fill: int = 0) -> Tensor:
    """Tensors (B, ...) of one rank along the first dimension, all others padded at their end."""
    sizes = [max(sizes) for sizes in zip(*(value.shape[1:] for value in values), strict=True)]
    padded = []
    for value in values:
        missing = [most - size for most, size in zip(sizes, value.shape[1:], strict=True)]
        pads = [pad for size in reversed(missing) for pad in (0, size)]
        padded.append(F.pad(value, pads, value=fill) if any(missing) else value)
    return torch.cat(padded)
