"""Losses of the joint model (methods 1.8, 1.10, 1.11)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def grounding_loss(scores: Tensor, target: Tensor) -> Tensor:
    """InfoNCE with several positives: scores (Q, N + 1) logits, target (Q, N + 1) bool -> scalar.

    Positives are summed inside the logarithm; a question that nothing fits has the last column as
    its target.
    """
    positive = scores.masked_fill(~target, float("-inf")).logsumexp(-1)
    return (scores.logsumexp(-1) - positive).mean()


def language_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Next-token cross-entropy over labelled tokens: (T, vocab), (T,) with -100 = not labelled."""
    return F.cross_entropy(logits.float(), labels, ignore_index=-100)


def naming_loss(logits: Tensor, names: Tensor) -> Tensor:
    """Every object says its class (or colour): (B, N, W) logits, (B, N) index, -100 where there is
    none; zero where no object has one.
    """
    total = F.cross_entropy(
        logits.flatten(0, 1).float(), names.flatten(), ignore_index=-100, reduction="sum"
    )
    return total / (names >= 0).sum().clamp(min=1)


def role_loss(logits: Tensor, roles: Tensor, valid: Tensor) -> Tensor:
    """Every object says what it is in the question: (Q, N, 2) logits and 0 or 1, valid (Q, N).

    A relation is reasoned about in steps: which objects the noun could mean, which ones the rest
    leans on. Supervising the steps teaches chains that the final choice alone teaches slowly.
    """
    return F.binary_cross_entropy_with_logits(logits[valid].float(), roles[valid])
