"""Inputs and outputs of the decoder's sequence `[ system | scene | P0 | O | P1 | I | A ]`
(METHODS 4).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from spatial3d_ros.errors import ConfigError, QueryError
from spatial3d_ros.model.attention import AttentionContext, KeyValues
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.referents import Referents


@dataclass(frozen=True)
class PromptTokens:
    """Token ids of the fixed text around the scene: `before` the views, `after` them (P0);
    `identifiers` of the object slots; `stops` (2,): the end of a turn, `<ground>`; `coord` (1,).
    """

    before: Tensor
    after: Tensor
    identifiers: Tensor
    stops: Tensor
    coord: Tensor

    def to(self, device: torch.device | str) -> PromptTokens:
        """The same ids on another device."""
        return PromptTokens(*(getattr(self, f.name).to(device) for f in fields(self)))

    def slot_identifiers(self, count: int) -> Tensor:
        """Identifiers of the first `count` slots; they repeat if there are more slots than
        identifiers.
        """
        slots = torch.arange(count, device=self.identifiers.device)
        return self.identifiers[slots % len(self.identifiers)]


@dataclass(frozen=True)
class EncodedScene:
    """Everything about B scenes that does not depend on a question; cached for each map version.

    prefix: keys and values of `[ system | scene | P0 ]`, prefix_valid (B, S). object_embeddings
    (B, N, D): decoder inputs of the objects; object_features (B, N, D): the same before the
    relation layers; visual (B, N, D): pooled patch features. valid (B, N); edges (B, N, N, E) edge
    features; object_mask (B, N, N) bool, row attends to column (METHODS 2.3).
    """

    prefix: KeyValues
    prefix_valid: Tensor
    object_embeddings: Tensor
    visual: Tensor
    object_features: Tensor
    valid: Tensor
    edges: Tensor
    object_mask: Tensor
    pair_codes: Tensor
    """Metric code of each pair of objects (B, N, N, PAIR_FEATURES); N is 0 if the network does not
    answer in words.
    """
    labels: Tensor
    """Token ids of the objects' labels (B, N, L, T), -1 padded."""
    name_embeddings: Tensor
    """Predicted token embeddings of each object's class and color (B, N, 2, D); D is 0 if the
    network does not answer in words.
    """
    label_shares: Tensor | None = None
    """Probability of each label (B, N, L); None without labels."""
    name_shares: Tensor | None = None
    """Probabilities of the names of all heads in turn (B, N, W); None without heads."""
    appearance: Tensor | None = None
    """Appearance vectors (B, N, 64) of norm 1, zero for objects without crops; None without the
    channel.
    """
    referent_tokens: Tensor | None = None
    """One token (B, N, D) for each object, of the referents near it or (`chat_scene`) of its
    points; None if they have none.
    """
    referents: Referents | None = None
    mask_bias: Tensor | None = None
    """Additive bias of objects on objects (B, N, N) of `slim_mask.LearntBounds`."""
    masked_views: tuple[Tensor, Tensor, Tensor] | None = None
    """With `slim.on: views` the view tokens (B, T, D), which are real (B, T), and their mask
    (B, T, T); they stand where objects stand in other networks.
    """
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of the frame of the boxes in that of the views, metres."""


@dataclass(frozen=True)
class QuestionBatch:
    """Q tokenised questions `[ P1 | I | A ]`, right-padded to L.

    ids (Q, L); real (Q, L) bool, False where padded; instruction (Q, L) bool, the tokens of I;
    ground (Q,) position of `<ground>`; scene (Q,) index of the scene of each question.
    """

    ids: Tensor
    real: Tensor
    instruction: Tensor
    ground: Tensor
    scene: Tensor

    def to(self, device: torch.device | str) -> QuestionBatch:
        """The same questions on another device."""
        return QuestionBatch(*(getattr(self, f.name).to(device) for f in fields(self)))

    @property
    def last(self) -> Tensor:
        """Position of each question's last token (Q,)."""
        return self.real.sum(1) - 1


@dataclass(frozen=True)
class ModelOutput:
    """Output of one pass over Q questions.

    scores (Q, N + 1): logits of the objects, of "no target" last; states (Q, L, D): hidden states
    of the text; roles (Q, N, 2): logits of each object's role in the question, target class and
    anchor (None without object tokens); contextual_objects (Q, N, D): the objects' final states
    (None unless they are candidates or used for answers); real (Q, N * c + L): False where padded;
    context: attention context of the pass with its keys and values.
    """

    scores: Tensor
    states: Tensor
    roles: Tensor | None
    contextual_objects: Tensor | None
    real: Tensor
    context: AttentionContext


def check_sequence_length(
    config: ModelConfig,
    prefix_valid: Tensor,
    object_valid: Tensor,
    prompt_tokens: PromptTokens,
    text: Tensor | None = None,
    new: int = 0,
) -> None:
    """Nothing is ever truncated (METHODS 2.5): raise QueryError (ConfigError without text) if
    prefix, objects, text (all bool, padded) and `new` tokens exceed the decoder's positions.
    """
    limit, per_object = config.text.max_positions, config.tokens_per_object
    parts = (prefix_valid, object_valid, object_valid[:, :0] if text is None else text)
    if parts[0].shape[1] + per_object * parts[1].shape[1] + parts[2].shape[1] + new <= limit:
        return  # reading the values below would synchronise with the device
    counts = torch.stack([part.sum(1) for part in parts], 1)
    totals = (counts * counts.new_tensor([1, per_object, 1])).sum(1) + new
    if totals.max() <= limit:
        return
    prefix, objects, length = counts[totals.argmax()].tolist()
    fixed = len(prompt_tokens.before) + len(prompt_tokens.after)
    fixed += 0 if not config.psa.enabled else config.psa.max_tokens
    views = -((fixed - prefix) // (config.pooled_grid * (config.pooled_grid + 1)))
    raise (ConfigError if text is None else QueryError)(
        f"{int(totals.max())} positions are needed, but the decoder of '{config.name}' "
        f"has {limit} (text.max_positions): {views} views and the fixed text take {prefix}, "
        f"{objects} objects {per_object * objects}, the question and its answer "
        f"{length + new}; keep fewer views (max_views) or fewer objects "
        "(objects.max_objects), or ask a shorter question"
    )
