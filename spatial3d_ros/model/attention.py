"""Attention of a question to a scene prefix that is already encoded (METHODS 2.2, 2.8).

Every query row attends to the whole prefix; only the question's own positions (the suffix) need a
mask. Three forms compute the same result:

    masked   one mask over prefix and suffix, one kernel call
    rows     object rows under a small mask, all other rows through the fused causal kernel (2.8)
    shared   prefix and suffix apart, each with its own softmax, merged by their log-sum-exp; the
             prefix needs no mask and is copied neither for each question nor for each decoding step

The function is registered as an attention implementation of transformers. The layers pass
`AttentionContext` where they would pass the mask.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface

AttentionForm = Literal["auto", "masked", "rows", "shared"]
KeyValue = tuple[Tensor, Tensor]
"""Keys and values (B, kv_heads, S, head_dim) of one layer."""
KeyValues = tuple[KeyValue, ...]
"""One `KeyValue` for each layer."""

ATTENTION_NAME = "spatial3d"
"""Name under which transformers knows the attention function."""


@dataclass(frozen=True)
class AttentionContext:
    """What the rows of one pass attend to, and the keys and values that the pass computes.

    mask (Q, L, T + L) bool: row attends to column, of the T positions of earlier passes (`past`)
    and the L of this one; None: causal, and no prefix. bias (Q, heads, n, m) is added to the scores
    of the first n rows on the question's first m positions. prefix: keys and values of B scenes,
    prefix_valid (B, S) False where padded, scenes (Q,) the scene index of each question.
    object_length: how many of the first rows are object tokens. cache: filled by the pass, layer by
    layer, with the keys and values of all T + L positions.
    """

    mask: Tensor | None = None
    prefix: KeyValues = ()
    prefix_valid: Tensor | None = None
    scenes: Tensor | None = None
    past: KeyValues = ()
    bias: Tensor | None = None
    object_length: int = 0
    form: AttentionForm = "auto"
    cache: dict[int, KeyValue] = field(default_factory=dict)

    @property
    def key_values(self) -> KeyValues:
        """Keys and values of the question's own positions after the pass, layer by layer."""
        return tuple(self.cache[layer] for layer in sorted(self.cache))

    @cached_property
    def selected_form(self) -> str:
        """`shared` is the fastest form without gradients (docs/PERFORMANCE.md)."""
        if self.form != "auto":
            return self.form
        return "masked" if torch.is_grad_enabled() else "shared"

    @cached_property
    def prefix_unpadded(self) -> bool:
        """Whether no prefix position is padding."""
        return bool(_given(self.prefix_valid).all())

    @cached_property
    def prefix_mask(self) -> Tensor:
        """Prefix positions that each question attends to: (Q, 1, 1, S) bool."""
        return _given(self.prefix_valid)[_given(self.scenes)][:, None, None]

    @cached_property
    def one_question_a_scene(self) -> bool:
        """Whether question k is about scene k, so that keys need not be copied."""
        scenes = _given(self.scenes).tolist()
        return scenes == [*range(len(self.prefix[0][0]))]

    @cached_property
    def suffix_bias(self) -> Tensor:
        """Additive mask over the suffix: (Q, 1 or heads, L, T + L) float32."""
        return self._additive(_given(self.mask), 0)

    @cached_property
    def full_bias(self) -> Tensor:
        """Additive mask over prefix and suffix: (Q, 1 or heads, L, S + T + L) float32."""
        mask = _given(self.mask)
        prefix = self.prefix_mask[:, 0].expand(-1, mask.shape[1], -1)
        return self._additive(torch.cat([prefix, mask], -1), prefix.shape[-1])

    @cached_property
    def causal_text(self) -> bool:
        """Whether all rows after the objects that are not padding attend to everything up to
        themselves.
        """
        text = _given(self.mask)[:, self.object_length :]
        offset = text.shape[2] - text.shape[1]
        later = torch.ones_like(text).triu(offset + 1)
        padding = ~text.diagonal(offset, 1, 2)[..., None]
        return self.prefix_unpadded and bool((text | later | padding).all())

    def _additive(self, mask: Tensor, start: int) -> Tensor:
        additive = torch.zeros(mask.shape, device=mask.device)[:, None]
        if self.bias is not None and self.bias.shape[-1]:
            heads, rows, columns = self.bias.shape[1:]
            additive = additive.repeat(1, heads, 1, 1)
            additive[:, :, :rows, start : start + columns] = self.bias.float()
        return additive.masked_fill(~mask[:, None], torch.finfo(additive.dtype).min)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    context: AttentionContext,
    scaling: float,
    **_: object,
) -> tuple[Tensor, None]:
    """One layer: query (Q, heads, L, d), key and value (Q, kv_heads, L, d) -> (Q, L, heads, d)."""
    layer = cast(int, module.layer_idx)
    query, key = query.to(value.dtype), key.to(value.dtype)
    if context.past:
        past_key, past_value = context.past[layer]
        key, value = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
    context.cache[layer] = key, value
    if not context.prefix:
        bias = None if context.mask is None else context.suffix_bias
        out = _fused(query, key, value, bias, scaling)
    elif context.selected_form == "shared":
        out = _shared(query, key, value, context, layer, scaling)
    else:
        prefix_key, prefix_value = (part[context.scenes] for part in context.prefix[layer])
        key, value = torch.cat([prefix_key, key], 2), torch.cat([prefix_value, value], 2)
        if context.selected_form == "masked":
            out = _fused(query, key, value, context.full_bias, scaling)
        else:
            out = _rows(query, key, value, context, scaling)
    return out.transpose(1, 2), None


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "attention with a prefix needs mask, prefix_valid and scenes"
    return tensor


def _fused(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scaling: float
) -> Tensor:
    """The fused kernel; causal without an additive mask `bias`."""
    if bias is None:
        grouped = query.shape[1] != key.shape[1]
        return F.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped
        )
    key, value = _repeat_heads(query, key), _repeat_heads(query, value)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=bias.to(query.dtype), scale=scaling
    )


def _rows(
    query: Tensor, key: Tensor, value: Tensor, context: AttentionContext, scaling: float
) -> Tensor:
    """Object rows apart from the text rows, which are causal unless something is padded."""
    split = context.object_length
    objects, text = query.split([split, query.shape[2] - split], dim=2)
    object_rows = _fused(objects, key, value, context.full_bias[:, :, :split], scaling)
    if context.causal_text:
        key, value = _repeat_heads(query, key), _repeat_heads(query, value)
        mask = causal_lower_right(text.shape[2], key.shape[2])
        text_rows = F.scaled_dot_product_attention(text, key, value, attn_mask=mask, scale=scaling)
    else:
        text_rows = _fused(text, key, value, context.full_bias[:, :, split:], scaling)
    return torch.cat([object_rows, text_rows], dim=2)


def _shared(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    context: AttentionContext,
    layer: int,
    scaling: float,
) -> Tensor:
    """The softmax over a union of keys is the mean of the softmaxes over its parts, weighted by
    their sums of exponentials.
    """
    prefix, prefix_lse = _prefix_attention(query, context, layer, scaling)
    key, value = _repeat_heads(query, key), _repeat_heads(query, value)
    suffix, suffix_lse = _attention_lse(query, key, value, context.suffix_bias, scaling)
    weight = torch.sigmoid(prefix_lse - suffix_lse)[..., None]
    return torch.lerp(suffix.float(), prefix.float(), weight).to(query.dtype)


def _prefix_attention(
    query: Tensor, context: AttentionContext, layer: int, scaling: float
) -> tuple[Tensor, Tensor]:
    """Attention to the prefix. All rows attend to the same keys there, so that the heads of a group
    and all questions on one scene are stacked and the keys are not copied.
    """
    key, value = context.prefix[layer]
    count, heads, length, size = query.shape
    groups = key.shape[1]
    rows = query.reshape(count, groups, -1, size)
    single_scene = len(key) == 1
    if single_scene:
        rows = rows.transpose(0, 1).reshape(1, groups, -1, size)
    elif not context.one_question_a_scene:
        key, value = key[context.scenes], value[context.scenes]
    bias = None
    if not context.prefix_unpadded:
        valid = _given(context.prefix_valid)[:, None, None] if single_scene else context.prefix_mask
        bias = torch.zeros(valid.shape, device=valid.device)
        bias = bias.masked_fill(~valid, torch.finfo(bias.dtype).min)
    out, lse = _attention_lse(rows, key, value, bias, scaling)
    if single_scene:
        out = out.reshape(groups, count, -1, size).transpose(0, 1)
        lse = lse.reshape(groups, count, -1).transpose(0, 1)
    return out.reshape(query.shape), lse.reshape(count, heads, length)


def _attention_lse(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scaling: float
) -> tuple[Tensor, Tensor]:
    """Attention (..., L, d) and the log-sum-exp (..., L) of its scores.

    The CPU's fused kernel returns both but cannot be differentiated through the log-sum-exp.
    """
    if query.device.type == "cpu" and not torch.is_grad_enabled():
        bias = None if bias is None else bias.to(query.dtype)
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, attn_mask=bias, scale=scaling
        )
    scores = (query @ key.mT).float() * scaling
    scores = scores if bias is None else scores + bias
    return scores.softmax(-1).to(value.dtype) @ value, scores.logsumexp(-1)


def _repeat_heads(query: Tensor, part: Tensor) -> Tensor:
    """Keys or values of each group, repeated for each of its heads."""
    heads = query.shape[1] // part.shape[1]
    return part if heads == 1 else part.repeat_interleave(heads, dim=1)


AttentionInterface.register(ATTENTION_NAME, attend)
