"""The language decoder: Qwen2 of transformers, driven with our own masks and a reusable scene
prefix.

Sequence (METHODS 4): `[system | scene | objects-opening | O | P1 | I | A]`. What stands before O
does not depend on the question; its keys and values are computed once for each scene version and
shared by all questions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2Model

from spatial3d_ros.model.attention import NAME, AttentionContext, Keys
from spatial3d_ros.model.config import TextConfig


class Decoder(nn.Module):
    """Qwen2 whose layers attend as `attention.py` says."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.max_positions = config.max_positions
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
                attn_implementation=NAME,
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

    def encode_prefix(self, embeddings: Tensor, valid: Tensor) -> Keys:
        """Run (B, S, D) causally and return its keys and values. valid (B, S) hides padding; where
        there is none, the fused causal kernel runs.
        """
        keep = None
        if not valid.all():
            itself = torch.eye(valid.shape[1], dtype=torch.bool, device=valid.device)
            keep = (valid[:, None] | itself) & torch.ones_like(itself).tril()
        sight = AttentionContext(keep)
        self(embeddings, positions(valid), sight)
        # Each head's keys in one piece: every question reads them all.
        return tuple((key.contiguous(), value.contiguous()) for key, value in sight.keys)

    def forward(self, embeddings: Tensor, position_ids: Tensor, sight: AttentionContext) -> Tensor:
        """One pass over embeddings (Q, L, D) at positions (Q, L); `sight` says what they see and
        keeps their keys. Returns the states (Q, L, D).
        """
        return self.qwen(
            inputs_embeds=embeddings.to(self.embed.weight.dtype),
            attention_mask={"full_attention": sight},
            position_ids=position_ids,
            use_cache=False,
        ).last_hidden_state


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
