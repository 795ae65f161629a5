"""Attention of a question behind a scene that is already encoded (METHODS 2.2, 2.8).

Every row sees the whole prefix; only among the question's own places is there anything to mask.
Three exact forms of the same sum:

    masked   one mask over prefix and own places, one kernel
    rows     object rows under a small mask, all other rows through the fused causal kernel (2.8)
    shared   prefix and own places apart, each normalised, joined by their masses; the prefix needs
             no mask, and is neither copied for each question nor for each step

Written as an attention function of transformers: `AttentionContext` stands where its layers pass
the mask.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface

Form = Literal["auto", "masked", "rows", "shared"]
Keys = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values (B, kv_heads, S, head_dim) of each layer."""

NAME = "spatial3d"
"""What transformers calls the function of this file."""


@dataclass(frozen=True)
class AttentionContext:
    """What the rows of one pass see, and the keys that the pass leaves behind.

    keep (Q, L, T + L) bool: row of this pass sees place of this question, T of which earlier passes
    have laid down in `earlier`; None: causal and without prefix. bias (Q, heads, n, m) is added to
    the scores of the first n rows on the question's first m places. prefix of B scenes, its padding
    prefix_valid (B, S), and the scene (Q,) of each question.
    """

    keep: Tensor | None = None
    prefix: Keys = ()
    prefix_valid: Tensor | None = None
    scenes: Tensor | None = None
    earlier: Keys = ()
    bias: Tensor | None = None
    objects: int = 0
    form: Form = "auto"
    laid: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def keys(self) -> Keys:
        """Keys and values of the question's own places after the pass, layer by layer."""
        return tuple(self.laid[layer] for layer in sorted(self.laid))

    @cached_property
    def chosen(self) -> str:
        """`shared` is fastest wherever no gradient is asked for (docs/PERFORMANCE.md)."""
        if self.form != "auto":
            return self.form
        return "masked" if torch.is_grad_enabled() else "shared"

    @cached_property
    def whole_prefix(self) -> bool:
        """Whether no place of any prefix is padding."""
        return bool(self.prefix_valid.all())

    @cached_property
    def behind(self) -> Tensor:
        """Which prefix places each question sees: (Q, 1, 1, S) bool."""
        return self.prefix_valid[self.scenes][:, None, None]

    @cached_property
    def own(self) -> Tensor:
        """Additive mask over the question's own places: (Q, 1 or heads, L, T + L) float32."""
        return self._additive(self.keep, 0)

    @cached_property
    def whole(self) -> Tensor:
        """Additive mask over prefix and own places: (Q, 1 or heads, L, S + T + L) float32."""
        behind = self.behind[:, 0].expand(-1, self.keep.shape[1], -1)
        return self._additive(torch.cat([behind, self.keep], -1), behind.shape[-1])

    @cached_property
    def causal_words(self) -> bool:
        """Whether all real rows after the objects see everything up to themselves."""
        words = self.keep[:, self.objects :]
        offset = words.shape[2] - words.shape[1]
        later = torch.ones_like(words).triu(offset + 1)
        padding = ~words.diagonal(offset, 1, 2)[..., None]
        return self.whole_prefix and bool((words | later | padding).all())

    def _additive(self, keep: Tensor, start: int) -> Tensor:
        mask = torch.zeros(keep.shape, device=keep.device)[:, None]
        if self.bias is not None and self.bias.shape[-1]:
            heads, rows, places = self.bias.shape[1:]
            mask = mask.repeat(1, heads, 1, 1)
            mask[:, :, :rows, start : start + places] = self.bias.float()
        return mask.masked_fill(~keep[:, None], torch.finfo(mask.dtype).min)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sight: AttentionContext,
    scaling: float,
    **_: object,
) -> tuple[Tensor, None]:
    """One layer: query (Q, heads, L, d), key and value (Q, kv_heads, L, d) -> (Q, L, heads, d)."""
    layer = module.layer_idx
    query, key = query.to(value.dtype), key.to(value.dtype)
    if sight.earlier:
        before = sight.earlier[layer]
        key, value = torch.cat([before[0], key], 2), torch.cat([before[1], value], 2)
    sight.laid[layer] = key, value
    if not sight.prefix:
        out = _kernel(query, key, value, None if sight.keep is None else sight.own, scaling)
    elif sight.chosen == "shared":
        out = _shared(query, key, value, sight, layer, scaling)
    else:
        far, far_value = (part[sight.scenes] for part in sight.prefix[layer])
        key, value = torch.cat([far, key], 2), torch.cat([far_value, value], 2)
        if sight.chosen == "masked":
            out = _kernel(query, key, value, sight.whole, scaling)
        else:
            out = _rows(query, key, value, sight, scaling)
    return out.transpose(1, 2), None


def _kernel(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float
) -> Tensor:
    """The fused kernel; without a mask, causal."""
    if mask is None:
        grouped = query.shape[1] != key.shape[1]
        return F.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped
        )
    key, value = _for_heads(query, key), _for_heads(query, value)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask.to(query.dtype), scale=scaling
    )


def _rows(
    query: Tensor, key: Tensor, value: Tensor, sight: AttentionContext, scaling: float
) -> Tensor:
    """Object rows apart from the others, which are causal unless something is padded."""
    objects, words = query.split([sight.objects, query.shape[2] - sight.objects], dim=2)
    top = _kernel(objects, key, value, sight.whole[:, :, : sight.objects], scaling)
    if sight.causal_words:
        key, value = _for_heads(query, key), _for_heads(query, value)
        mask = causal_lower_right(words.shape[2], key.shape[2])
        rest = F.scaled_dot_product_attention(words, key, value, attn_mask=mask, scale=scaling)
    else:
        rest = _kernel(words, key, value, sight.whole[:, :, sight.objects :], scaling)
    return torch.cat([top, rest], dim=2)


def _shared(
    query: Tensor, key: Tensor, value: Tensor, sight: AttentionContext, layer: int, scaling: float
) -> Tensor:
    """Softmax over a union is the mean of the softmaxes over its parts, weighted by their mass."""
    far, far_mass = _behind(query, sight, layer, scaling)
    key, value = _for_heads(query, key), _for_heads(query, value)
    near, near_mass = _with_mass(query, key, value, sight.own, scaling)
    share = torch.sigmoid(far_mass - near_mass)[..., None]
    return torch.lerp(near.float(), far.float(), share).to(query.dtype)


def _behind(
    query: Tensor, sight: AttentionContext, layer: int, scaling: float
) -> tuple[Tensor, Tensor]:
    """Attention to the prefix. Rows are alike to it: the heads of a group, and all questions on one
    scene, are stacked on its keys as they lie.
    """
    key, value = sight.prefix[layer]
    count, heads, length, size = query.shape
    groups = key.shape[1]
    rows = query.reshape(count, groups, -1, size)
    alone = len(key) == 1
    if alone:
        rows = rows.transpose(0, 1).reshape(1, groups, -1, size)
    else:
        key, value = key[sight.scenes], value[sight.scenes]
    mask = None
    if not sight.whole_prefix:
        seen = sight.prefix_valid[:, None, None] if alone else sight.behind
        mask = torch.zeros(seen.shape, device=seen.device)
        mask = mask.masked_fill(~seen, torch.finfo(mask.dtype).min)
    out, mass = _with_mass(rows, key, value, mask, scaling)
    if alone:
        out = out.reshape(groups, count, -1, size).transpose(0, 1)
        mass = mass.reshape(groups, count, -1).transpose(0, 1)
    return out.reshape(query.shape), mass.reshape(count, heads, length)


def _with_mass(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float
) -> tuple[Tensor, Tensor]:
    """Attention (..., L, d) and the logarithm of the sum (..., L) that its weights were divided by.

    The CPU's fused kernel tells the sum but cannot be differentiated through it.
    """
    if query.device.type == "cpu" and not torch.is_grad_enabled():
        mask = None if mask is None else mask.to(query.dtype)
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, attn_mask=mask, scale=scaling
        )
    scores = (query @ key.mT).float() * scaling
    scores = scores if mask is None else scores + mask
    return scores.softmax(-1).to(value.dtype) @ value, scores.logsumexp(-1)


def _for_heads(query: Tensor, part: Tensor) -> Tensor:
    """Keys or values of each group, once for each of its heads."""
    heads = query.shape[1] // part.shape[1]
    return part if heads == 1 else part.repeat_interleave(heads, dim=1)


AttentionInterface.register(NAME, attend)
