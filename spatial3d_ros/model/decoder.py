"""The language decoder: Qwen2 of transformers, with our own masks and a reusable scene
prefix.

Sequence (METHODS 4): `[ system | scene | P0 | O | P1 | I | A ]`. The part before O does not
depend on the question; its keys and values are computed once for each map version and shared by all
questions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2Model

from spatial3d_ros.model.attention import ATTENTION_NAME, AttentionContext, KeyValues
from spatial3d_ros.model.config import TextConfig


class Decoder(nn.Module):
    """Qwen2 with the attention of `attention.py`."""

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
            )
        )
        self.qwen.set_attn_implementation(ATTENTION_NAME)
        for layer in self.qwen.layers:
            _equal_query_key_init(layer.get_submodule("self_attn"))
        self.lm_head = (
            None if config.tie_embeddings else nn.Linear(config.width, config.vocab, bias=False)
        )

    @property
    def embed(self) -> nn.Embedding:
        """The token embedding table."""
        return self.qwen.embed_tokens

    def logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits: (..., D) -> (..., vocab)."""
        weight = self.embed.weight if self.lm_head is None else self.lm_head.weight
        return hidden @ weight.T

    def encode_prefix(self, embeddings: Tensor, valid: Tensor) -> KeyValues:
        """Run embeddings (B, S, D) causally and return their keys and values. valid (B, S) is False
        where padded; without padding the fused causal kernel runs.
        """
        mask = None
        if not valid.all():
            itself = torch.eye(valid.shape[1], dtype=torch.bool, device=valid.device)
            mask = (valid[:, None] | itself) & torch.ones_like(itself).tril()
        context = AttentionContext(mask)
        self(embeddings, position_ids(valid), context)
        # Contiguous by head, because every question reads all of them.
        return tuple((key.contiguous(), value.contiguous()) for key, value in context.key_values)

    def forward(self, embeddings: Tensor, positions: Tensor, context: AttentionContext) -> Tensor:
        """One pass over embeddings (Q, L, D) at positions (Q, L). `context` holds masks and prefix
        and receives keys and values. Returns the hidden states (Q, L, D).
        """
        return self.qwen(
            inputs_embeds=embeddings.to(self.embed.weight.dtype),
            attention_mask={"full_attention": context},
            position_ids=positions,
            use_cache=False,
        ).last_hidden_state


def _equal_query_key_init(attention: nn.Module) -> None:
    """Initialise query and key projections to equal values, so that a token attends to equal tokens
    from the first step.

    Trained weights replace this. Training from scratch, a question's noun is matched with the
    objects of that name in a fraction of the steps.
    """
    query, key = attention.q_proj, attention.k_proj
    assert isinstance(query, nn.Linear) and isinstance(key, nn.Linear)
    groups = query.weight.unflatten(0, (-1, attention.num_key_value_groups, attention.head_dim))
    key.weight.data.copy_(groups[:, 0].flatten(0, 1).data)
    for projection in (query, key):
        nn.init.zeros_(projection.bias)


def position_ids(
    valid: Tensor, start: Tensor | int = 0, shared: int = 0, per_object: int = 1
) -> Tensor:
    """Position of each token, padding not counted: valid (B, L), start (B, 1) -> (B, L) int64. The
    first `shared` tokens, `per_object` of each object, have those of the object in their middle.
    """
    positions = (valid.long().cumsum(-1) - 1).clamp(min=0) + start
    if shared:
        tokens = valid[:, :shared].sum(1, keepdim=True)
        middle = (tokens // per_object - 1).clamp(min=0) // 2 * per_object
        within = torch.arange(shared, device=valid.device) % per_object
        positions[:, :shared] = start + middle + within
    return positions
