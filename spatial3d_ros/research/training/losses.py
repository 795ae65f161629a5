"""Losses of the joint model (METHODS 1.8, 1.10, 1.11)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from spatial3d_ros.model.referents import Referents

NEAR_M, FAR_M = 0.3, 0.6
"""A referent closer than NEAR_M to the center of an object is positive, one farther than FAR_M from
all of them negative; others are ignored.
"""

_LEAST_SHARE = 1e-9  # of a probability in a logarithm


def grounding_loss(scores: Tensor, target: Tensor) -> Tensor:
    """InfoNCE with several positives: scores (Q, N + 1) logits, target (Q, N + 1) bool -> scalar.

    Positives are summed inside the logarithm; the last column is the target of a question
    without a matching object.
    """
    positive = scores.masked_fill(~target, float("-inf")).logsumexp(-1)
    return (scores.logsumexp(-1) - positive).mean()


def language_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Next-token cross-entropy over labelled tokens: (T, vocab), (T,) with -100 = not labelled."""
    return F.cross_entropy(logits.float(), labels, ignore_index=-100)


def naming_loss(shares: Tensor, names: Tensor) -> Tensor:
    """Negative log likelihood of a name of objects: probabilities (B, N, W), index (B, N).

    The index is -100 for objects without a known name. Zero if no object has one.
    """
    log = shares.flatten(0, 1).float().clamp(min=_LEAST_SHARE).log()
    total = F.nll_loss(log, names.flatten(), ignore_index=-100, reduction="sum")
    return total / (names >= 0).sum().clamp(min=1)


def asked_loss(logits: Mapping[str, Tensor], asked: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy of the looks that questions ask of their targets: by attribute logits (Q, W +
    1) and the index (Q,) of the name, -100 where it is not known.
    """
    losses = [
        F.cross_entropy(logits[what].float(), names, ignore_index=-100, reduction="sum")
        for what, names in asked.items()
    ]
    known = sum(int((names >= 0).sum()) for names in asked.values())
    return torch.stack(losses).sum() / max(known, 1)


def role_loss(logits: Tensor, roles: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy of object roles: logits and roles (Q, N, 2), valid (Q, N).

    The roles are candidate of the target noun, and anchor of a relation. Supervising them trains
    chains of relations faster than the final choice alone.
    """
    return F.binary_cross_entropy_with_logits(logits[valid].float(), roles[valid])


def vote_loss(referents: Referents, boxes: Tensor, real: Tensor) -> Tensor:
    """Seeds on an object vote for its center (VoteNet, METHODS 3.2): the mean L1 distance in metres
    over the seeds of each scene, then over all B scenes; a scene without such seeds counts zero.

    boxes (B, N, 6), real (B, N): which slots are objects. A seed belongs to the smallest box that
    contains it.
    """
    seeds, center = referents.seeds, boxes[..., :3]
    away = (seeds.points[:, :, None] - center[:, None]).abs()
    holds = (away <= boxes[:, None, :, 3:] / 2).all(-1) & real[:, None] & seeds.valid[..., None]
    if not holds.shape[-1]:
        return referents.votes.sum() * 0.0
    volume = boxes[..., 3:].prod(-1)[:, None].masked_fill(~holds, torch.inf)
    owner = volume.argmin(-1)
    wanted = center.gather(1, owner[..., None].expand(-1, -1, 3))
    missed = (referents.votes - wanted).abs().sum(-1)
    on = holds.any(-1)
    return ((missed * on).sum(1) / on.sum(1).clamp(min=1)).mean()


def objectness_loss(referents: Referents, boxes: Tensor, real: Tensor) -> Tensor:
    """Binary cross-entropy of referents as object centers: the mean over the positive and negative
    referents of each scene, then over all B scenes; a scene without any counts zero.
    boxes (B, N, 6), real (B, N).
    """
    nearest = torch.cdist(referents.centers.detach(), boxes[..., :3])
    nearest = nearest.masked_fill(~real[:, None], torch.inf)
    nearest = nearest.amin(-1) if boxes.shape[1] else nearest.new_full(nearest.shape[:2], torch.inf)
    decided = ((nearest < NEAR_M) | (nearest > FAR_M)) & referents.valid
    missed = F.binary_cross_entropy_with_logits(
        referents.objectness.float(), (nearest < NEAR_M).float(), reduction="none"
    )
    return ((missed * decided).sum(1) / decided.sum(1).clamp(min=1)).mean()
