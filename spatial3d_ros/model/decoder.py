"""The language decoder: Qwen2 of transformers, driven with our own masks and a reusable scene
prefix.

Sequence (methods 4): `[system | scene | objects-opening | O | P1 | I | A]`. What stands before O
does not depend on the question; its keys and values are computed once for each scene version and
shared by all questions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import DynamicCache, Qwen2Config, Qwen2Model

from spatial3d_ros.model.config import TextConfig

Prefix = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values (B, kv_heads, S, head_dim) of each layer."""


class Decoder(nn.Module):
    """Qwen2 with 4-D attention masks: boolean keep-masks plus an optional additive bias."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qwen = Qwen2Model(
            Qwen2Config(
                vocab_size=config.vocab,
                hidden_size=config.width,
                intermediate_size=config.mlp,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_key_value_heads=config.kv_heads,
                max_position_embeddings=config.max_positions,
                rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
                initializer_range=config.width**-0.5,
                attn_implementation="sdpa",
            )
        )
        for layer in self.qwen.layers:
            _attend_to_likes(layer.self_attn)
        self.lm_head = (
            None if config.tie_embeddings else nn.Linear(config.width, config.vocab, bias=False)
        )

    @property
    def embed(self) -> nn.Embedding:
        """The token embedding table."""
        return self.qwen.embed_tokens

    def logits(self, hidden: Tensor) -> Tensor:
        """Next-token scores: (..., D) -> (..., vocab)."""
        weight = self.embed.weight if self.lm_head is None else self.lm_head.weight
        return hidden @ weight.T

    def encode_prefix(self, embeddings: Tensor, valid: Tensor) -> Prefix:
        """Run (B, S, D) causally and return its keys and values. valid (B, S) hides padding."""
        length = embeddings.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=embeddings.device).tril()
        mask = causal & (
            valid[:, None, :] | torch.eye(length, dtype=torch.bool, device=valid.device)
        )
        out = self.qwen(
            inputs_embeds=embeddings,
            attention_mask=mask[:, None],
            position_ids=positions(valid),
            past_key_values=DynamicCache(),
            use_cache=True,
        )
        return tuple((layer.keys, layer.values) for layer in out.past_key_values.layers)

    def forward(
        self,
        embeddings: Tensor,
        keep: Tensor,
        position_ids: Tensor,
        prefix: Prefix,
        bias: Tensor | None = None,
    ) -> tuple[Tensor, DynamicCache]:
        """Run the question's part behind a prefix.

        embeddings (B, L, D); keep (B, L, S + L) bool; position_ids (B, L); bias (B, heads, n, n) is
        added to the scores of the first n places among themselves. Returns the states (B, L, D) and
        the cache to go on from.
        """
        lowest = torch.finfo(embeddings.dtype).min
        mask = torch.zeros(keep.shape, dtype=embeddings.dtype, device=keep.device)[:, None]
        if bias is not None and bias.shape[-1]:
            places, start = bias.shape[-1], keep.shape[-1] - keep.shape[-2]
            mask = mask.repeat(1, self.heads, 1, 1)
            mask[:, :, :places, start : start + places] = bias.to(mask.dtype)
        mask = mask.masked_fill(~keep[:, None], lowest)
        out = self.qwen(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=position_ids,
            past_key_values=as_cache(prefix),
            use_cache=True,
        )
        return out.last_hidden_state, out.past_key_values


def _attend_to_likes(attention: nn.Module) -> None:
    """Start with equal query and key projections: a word finds its like from the first step.

    Trained weights replace this. From scratch, a question's noun is matched with the objects of
    that name in a fraction of the steps.
    """
    query, key = attention.q_proj, attention.k_proj
    groups = query.weight.unflatten(0, (-1, attention.num_key_value_groups, attention.head_dim))
    key.weight.data.copy_(groups[:, 0].flatten(0, 1).data)
    nn.init.zeros_(query.bias)
    nn.init.zeros_(key.bias)


def positions(valid: Tensor, start: Tensor | int = 0) -> Tensor:
    """Place of each real token, padding not counted: valid (B, L) -> (B, L) int64."""
    return (valid.long().cumsum(-1) - 1).clamp(min=0) + start


def as_cache(prefix: Prefix) -> DynamicCache:
    """A fresh transformers cache that starts with the prefix; the prefix itself is never written
    to.
    """
    return DynamicCache([(key, value) for key, value in prefix])


def select_prefix(prefix: Prefix, scenes: Tensor | Sequence[int]) -> Prefix:
    """The prefix of each question's scene: rows of the batch, repeated as needed."""
    return tuple((key[scenes], value[scenes]) for key, value in prefix)
