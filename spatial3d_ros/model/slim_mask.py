"""Attention masks of 3D-SLIM ("Masking Matters", METHODS 2).

The decoder's causal mask is replaced in two blocks: objects attend to their spatial neighbours,
more of them where the scene is dense (geometry-adaptive, 2.3), and objects attend to the tokens of
the instruction (2.4).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.config import SlimConfig

DEFAULT_SIGMA = {"normalized": 0.3, "metric": 1.0}


def geometry_adaptive_mask(centers: Tensor, valid: Tensor, config: SlimConfig) -> Tensor:
    """Geometry-adaptive object mask (METHODS 2.3): centers (B, N, 3) in metres, valid (B, N) bool
    -> bool (B, N, N), row attends to column, itself included.

    Object i attends to its k_i = round(k_min + rho_i (k_max - k_min)) nearest objects, ties by
    index. rho_i in [0, 1] is the density, min-max normalised over the scene: minus the mean
    distance to the other objects (the constant sqrt(3) of the paper cancels), or `gaussian`, the
    mean over objects of exp(-(distance / sigma)^2). `space`: per-axis min-max cube as published, or
    raw metres; `sigma` in its unit. `robust`: clip the density at the scene's 5th and 95th
    percentile first. Rows and columns of invalid or non-finite objects are all False.
    """
    valid, unpadded = _usable(centers, valid)
    distance = _distances(centers, valid, unpadded, config.space)
    if not centers.shape[1]:
        return distance.bool()
    density = _density(distance, valid, unpadded, config)
    k = density.mul_(config.k_max - config.k_min).add_(config.k_min).round_().long()
    return _nearest_mask(distance, valid, unpadded, k, config.k_max)


def _density(distance: Tensor, valid: Tensor, unpadded: bool, config: SlimConfig) -> Tensor:
    """rho (B, N) float64 in [0, 1] of `geometry_adaptive_mask`."""
    gaussian = config.density == "gaussian"
    sparse = distance
    if gaussian:
        sigma = config.sigma or DEFAULT_SIGMA[config.space]
        sparse = -torch.exp(-((distance / sigma) ** 2))
    sparse = sparse if unpadded else sparse.masked_fill(~valid[:, None, :], 0.0)
    count = distance.shape[1] if unpadded else valid.sum(-1, keepdim=True)
    terms = count if gaussian else count - 1 + (count == 1)
    mean = sparse.sum(-1, dtype=torch.float64).div_(terms)
    if config.robust:
        scores = mean.masked_fill(~valid, torch.nan)
        ends = scores.new_tensor([0.05, 0.95])
        low, high = torch.nanquantile(scores, ends, dim=-1, keepdim=True)
        mean = torch.minimum(torch.maximum(mean, low), high)
    if unpadded:
        lowest, highest = mean.aminmax(dim=-1, keepdim=True)
    else:
        lowest = mean.masked_fill(~valid, torch.inf).amin(-1, keepdim=True)
        highest = mean.masked_fill(~valid, -torch.inf).amax(-1, keepdim=True)
    return (highest - mean).div_((highest - lowest).add_(1e-6))


class LearntBounds(nn.Module):
    """The geometry-adaptive mask with bounds that training finds, as an attention bias: the log of
    sigmoid(k_i + 1/2 - rank_ij), rank 0 for the object itself, k_i as in `geometry_adaptive_mask`.

    centers (B, N, 3), valid (B, N) -> bias (B, N, N), 0 where an object attends freely. Our answer
    to a question that the paper leaves open; both bounds stay non-negative and ordered.
    """

    def __init__(self, config: SlimConfig) -> None:
        super().__init__()
        self.config = config
        start = torch.tensor([config.k_min, config.k_max - config.k_min]).clamp(min=1e-2)
        self.raw = nn.Parameter(start.expm1().log())
        """Before softplus: k_min, and k_max - k_min."""

    @property
    def bounds(self) -> Tensor:
        """k_min and k_max (2,)."""
        return F.softplus(self.raw).cumsum(0)

    def forward(self, centers: Tensor, valid: Tensor) -> Tensor:
        usable, unpadded = _usable(centers, valid)
        distance = _distances(centers, usable, unpadded, self.config.space)
        if not centers.shape[1]:
            return distance
        density = _density(distance.clone(), usable, unpadded, self.config).nan_to_num(0.0).float()
        distance = distance.masked_fill(~usable[:, None], torch.inf)
        distance.diagonal(dim1=1, dim2=2).fill_(-1.0)
        rank = distance.argsort(dim=-1, stable=True).argsort(-1)
        lowest, highest = self.bounds
        k = lowest + (highest - lowest) * density
        return F.logsigmoid(k[..., None] + 0.5 - rank)


def _nearest_mask(distance: Tensor, valid: Tensor, unpadded: bool, k: Tensor, most: int) -> Tensor:
    """Each object and its k nearest, at most `most`: distance (B, N, N), valid and k (B, N) -> bool
    (B, N, N).
    """
    count = distance.shape[-1]
    # The bits of a non-negative float are ordered as the float; the index breaks ties.
    index = torch.arange(count, device=distance.device)
    key = torch.add(index, distance.view(torch.int32), alpha=count)
    key.diagonal(dim1=1, dim2=2).fill_(-1)
    if not unpadded:
        key.masked_fill_(~valid[:, None, :], torch.iinfo(torch.int64).max)
    others = min(most, count - 1)
    nearest = key.topk(others + 1, largest=False).values
    k = k if unpadded and others == most else k.clamp(0, others)
    mask = key <= nearest.gather(-1, k[..., None])
    return mask if unpadded else mask & (valid[:, :, None] & valid[:, None, :])


def object_mask(centers: Tensor, valid: Tensor, config: SlimConfig) -> Tensor:
    """Object mask of any ablation mode (METHODS 2.6): bool (B, N, N), row attends to column."""
    if config.objects == "geo" and config.bounds == "fixed":
        return geometry_adaptive_mask(centers, valid, config)
    usable, unpadded = _usable(centers, valid)
    both = usable[:, :, None] & usable[:, None, :]
    if config.objects in ("full", "geo"):  # learnt bounds are a bias
        return both
    if config.objects == "causal":
        return both.tril()
    if config.objects == "diagonal":
        return torch.diag_embed(usable)
    if not centers.shape[1]:
        return both
    distance = _distances(centers, usable, unpadded, config.space)
    k = torch.full_like(usable, config.fixed_n, dtype=torch.long)
    return _nearest_mask(distance, usable, unpadded, k, config.fixed_n)


def token_mask(mask: Tensor, tokens: int) -> Tensor:
    """The same mask for `tokens` tokens per object: (B, N, N) -> (B, N * tokens, N * tokens)."""
    return mask.repeat_interleave(tokens, 2).repeat_interleave(tokens, 1)


def sequence_mask(
    objects: Tensor,
    keys_valid: Tensor,
    instruction: Tensor,
    prefix_valid: Tensor,
    tokens: int,
    *,
    causal: bool = False,
) -> Tensor:
    """Mask of the part of the sequence that depends on the question (METHODS 2.2): bool (B, L, S +
    L), row attends to column.

    objects: bool (B, N, N) from `object_mask`; keys_valid: bool (B, L), False where `[ O | P1 | I |
    A ]` is padded; instruction: bool (B, L), tokens of I that objects attend to (all False: Inst
    off); prefix_valid: bool (B, S); tokens: tokens per object; causal: causal order inside O
    (ablation mode `causal`).
    """
    batch, length = keys_valid.shape
    mask = torch.ones(length, length, dtype=torch.bool, device=objects.device).tril()
    mask = mask.expand(batch, length, length).clone()
    span = objects.shape[-1] * tokens
    if span:
        block = token_mask(objects, tokens)
        mask[:, :span, :span] = block.tril() if causal else block
        mask[:, :span, :] |= instruction[:, None, :]
    mask &= keys_valid[:, None, :]
    return torch.cat([prefix_valid[:, None, :].expand(-1, length, -1), mask], dim=-1)


def _usable(centers: Tensor, valid: Tensor) -> tuple[Tensor, bool]:
    """Valid objects with finite centres, and whether they are known to be all. The test would
    synchronise with an accelerator, so the masked computation always runs there.
    """
    # A finite sum has finite terms; a sum that overflows only takes the slower path.
    if valid.device.type == "cpu" and valid.all() and math.isfinite(centers.sum().item()):
        return valid, True
    return valid & torch.isfinite(centers).all(-1), False


def _distances(centers: Tensor, valid: Tensor, unpadded: bool, space: str) -> Tensor:
    """Pairwise distances (B, N, N) in the chosen space; those of unusable objects are finite."""
    real = valid[..., None]
    points = centers.float() if unpadded else torch.where(real, centers, 0.0).float()
    if space == "normalized" and points.shape[1]:
        if unpadded:
            low, high = points.aminmax(dim=1, keepdim=True)
        else:
            low = points.masked_fill(~real, torch.inf).amin(1, keepdim=True)
            high = points.masked_fill(~real, -torch.inf).amax(1, keepdim=True)
        points = (points - low).div_((high - low).add_(1e-7))
        points = points if unpadded else torch.where(real, points, 0.0)
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
