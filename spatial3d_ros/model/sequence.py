"""What stands in the network's sequence and what comes out of it: `[ opening | scene | words ]` in,
readings out (METHODS 4).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from spatial3d_ros.model.attention import AttentionContext, Keys
from spatial3d_ros.model.referents import Referents


@dataclass(frozen=True)
class PromptTokens:
    """Token ids of the fixed text around the scene: `before` the views, `after` them (P0);
    `identifiers` of the slots; `stops` (2,): the end of a turn, `<ground>`; `coord` (1,).
    """

    before: Tensor
    after: Tensor
    identifiers: Tensor
    stops: Tensor
    coord: Tensor

    def to(self, device: torch.device) -> PromptTokens:
        """The same ids on another device."""
        return PromptTokens(*(getattr(self, f.name).to(device) for f in fields(self)))

    def names(self, count: int) -> Tensor:
        """Identifiers of so many slots; where there are more slots, these begin anew."""
        slots = torch.arange(count, device=self.identifiers.device)
        return self.identifiers[slots % len(self.identifiers)]


@dataclass(frozen=True)
class EncodedScene:
    """Everything about B scenes that no question changes; kept by the engine for each memory
    version. beside (B, N, D): the referent's token of each object, where it has one of its own.
    """

    prefix: Keys
    prefix_valid: Tensor
    objects: Tensor
    visual: Tensor
    named: Tensor
    valid: Tensor
    edges: Tensor
    among: Tensor
    pairs: Tensor
    """Metric code of each pair of objects; empty where the network does not answer in words."""
    labels: Tensor
    """QuestionBatch of the objects' labels (B, N, T), -1 padded."""
    aspects: Tensor
    """Class and colour of each object as places among the words (B, N, 2, D); D is 0 where the
    network does not answer in words.
    """
    beside: Tensor | None = None
    referents: Referents | None = None


@dataclass(frozen=True)
class QuestionBatch:
    """Q tokenised questions `[P1 | I | A]`, right-padded: ids, real, instruction (B, L); ground
    (B,) place of `<ground>`; scene (B,) index of the scene that each one asks about.
    """

    ids: Tensor
    real: Tensor
    instruction: Tensor
    ground: Tensor
    scene: Tensor

    def to(self, device: torch.device) -> QuestionBatch:
        """The same questions on another device."""
        return QuestionBatch(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class ModelOutput:
    """scores (Q, N + 1) of the objects and of "nothing" last; states (Q, L, D) of the words; roles
    (Q, N, 2) logits of what each object is in the question: meant by its noun, leant on by the
    rest (None without object tokens); heard (Q, N, D) the objects' final states, where they are
    candidates or answered from; real (Q, N * c + L) which places are no padding; sight: what the
    pass saw, and its keys.
    """

    scores: Tensor
    states: Tensor
    roles: Tensor | None
    heard: Tensor | None
    real: Tensor
    sight: AttentionContext
