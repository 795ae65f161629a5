"""Attention masks of 3D-SLIM ("Masking Matters", methods section 2).

The decoder's causal mask is replaced in two places: objects see their spatial neighbours, more of
them where the scene is dense (geometry-adaptive, 2.3), and objects see the words of the instruction
(2.4).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.config import SlimConfig

DEFAULT_SIGMA = {"normalized": 0.3, "metric": 1.0}


def geometry_adaptive_mask(
    centers: Tensor,
    valid: Tensor,
    *,
    k_min: int = 2,
    k_max: int = 10,
    space: str = "normalized",
    density: str = "mean_distance",
    sigma: float | None = None,
    robust: bool = False,
) -> Tensor:
    """Who sees whom among objects: (B, N, 3) centres in metres, (B, N) bool -> bool (B, N, N).

    Row attends to column, itself included: object i sees its k_i = round(k_min + rho_i (k_max -
    k_min)) nearest, ties by index. rho_i in [0, 1] is the min-max normalised density of the scene:
    minus the mean distance to the others (the constant sqrt(3) of the paper cancels, 2.3), or
    `gaussian`, the mean over objects of exp(-(distance / sigma)^2). `space`: per-axis min-max cube
    as published, or raw metres; `sigma` in its unit, by default 0.3 of the cube or 1 m. `robust`:
    clip the density at the scene's 5th and 95th percentile first. Rows and columns of invalid or
    non-finite objects are all False. Raises ConfigError for k_min > k_max, a sigma that is not a
    positive number, and an unknown space or density.
    """
    if not 0 <= k_min <= k_max:
        raise ConfigError(f"slim: need 0 <= k_min <= k_max, got k_min={k_min}, k_max={k_max}")
    if density not in ("mean_distance", "gaussian"):
        raise ConfigError(f"slim.density: '{density}' is unknown; use mean_distance or gaussian")
    if sigma is not None and not 0 < sigma < math.inf:
        raise ConfigError(f"slim.sigma: {sigma} is no reach; use a positive number or leave it out")
    valid, whole = _usable(centers, valid)
    distance = _distances(centers, valid, whole, space)
    if not centers.shape[1]:
        return distance.bool()
    sparse = distance
    if density == "gaussian":
        sparse = -torch.exp(-((distance / (sigma or DEFAULT_SIGMA[space])) ** 2))
    sparse = sparse if whole else sparse.masked_fill(~valid[:, None, :], 0.0)
    count = centers.shape[1] if whole else valid.sum(-1, keepdim=True)
    among = count if density == "gaussian" else count - 1 + (count == 1)
    mean = sparse.sum(-1, dtype=torch.float64).div_(among)
    if robust:
        scores = mean.masked_fill(~valid, torch.nan)
        ends = scores.new_tensor([0.05, 0.95])
        low, high = torch.nanquantile(scores, ends, dim=-1, keepdim=True)
        mean = torch.minimum(torch.maximum(mean, low), high)
    if whole:
        lowest, highest = mean.aminmax(dim=-1, keepdim=True)
    else:
        lowest = mean.masked_fill(~valid, torch.inf).amin(-1, keepdim=True)
        highest = mean.masked_fill(~valid, -torch.inf).amax(-1, keepdim=True)
    share = (highest - mean).div_((highest - lowest).add_(1e-6))
    k = share.mul_(k_max - k_min).add_(k_min).round_().long()
    return _nearest_mask(distance, valid, whole, k, k_max)


def _nearest_mask(distance: Tensor, valid: Tensor, whole: bool, k: Tensor, k_max: int) -> Tensor:
    """Each object and its k nearest: distances (B, N, N), valid and k (B, N) -> bool (B, N, N)."""
    count = distance.shape[-1]
    # Bits of a float that is not negative are ordered as the float; the index breaks ties.
    place = torch.arange(count, device=distance.device)
    key = torch.add(place, distance.view(torch.int32), alpha=count)
    key.diagonal(dim1=1, dim2=2).fill_(-1)
    if not whole:
        key.masked_fill_(~valid[:, None, :], torch.iinfo(torch.int64).max)
    most = min(k_max, count - 1)
    nearest = key.topk(most + 1, largest=False).values
    k = k if whole and most == k_max else k.clamp(0, most)
    mask = key <= nearest.gather(-1, k[..., None])
    return mask if whole else mask & (valid[:, :, None] & valid[:, None, :])


def object_mask(centers: Tensor, valid: Tensor, config: SlimConfig) -> Tensor:
    """Object-to-object mask of any ablation mode (2.6): bool (B, N, N), row attends to column."""
    usable, whole = _usable(centers, valid)
    both = usable[:, :, None] & usable[:, None, :]
    if config.objects == "full":
        return both
    if config.objects == "causal":
        return both.tril()
    if config.objects == "diagonal":
        return torch.diag_embed(usable)
    if config.objects == "fixed_n":
        if not centers.shape[1]:
            return both
        distance, count = _distances(centers, usable, whole, config.space), config.fixed_n
        fixed = torch.full_like(usable, count, dtype=torch.long)
        return _nearest_mask(distance, usable, whole, fixed, count)
    return geometry_adaptive_mask(
        centers,
        valid,
        k_min=config.k_min,
        k_max=config.k_max,
        space=config.space,
        density=config.density,
        sigma=config.sigma,
        robust=config.robust,
    )


def token_mask(mask: Tensor, tokens: int) -> Tensor:
    """The same mask for `tokens` places per object: (B, N, N) -> (B, N * tokens, N * tokens)."""
    return mask.repeat_interleave(tokens, 2).repeat_interleave(tokens, 1)


def sequence_mask(
    among: Tensor,
    keys_valid: Tensor,
    instruction: Tensor,
    prefix_valid: Tensor,
    tokens: int,
    *,
    causal: bool = False,
) -> Tensor:
    """Keep-mask of the part of the sequence that depends on the question (2.2).

    among: bool (B, N, N) from `object_mask`, causal order already replaced; keys_valid: bool (B, L)
    real tokens of `[O | P1 | I | A]`; instruction: bool (B, L) tokens of I that objects may see
    (all False: Inst off); prefix_valid: bool (B, S); tokens: places per object; causal: keep token
    order inside O (ablation mode `causal`). Returns bool (B, L, S + L).
    """
    batch, length = keys_valid.shape
    mask = torch.ones(length, length, dtype=torch.bool, device=among.device).tril()
    mask = mask.expand(batch, length, length).clone()
    span = among.shape[-1] * tokens
    if span:
        block = token_mask(among, tokens)
        mask[:, :span, :span] = block.tril() if causal else block
        mask[:, :span, :] |= instruction[:, None, :]
    mask &= keys_valid[:, None, :]
    return torch.cat([prefix_valid[:, None, :].expand(-1, length, -1), mask], dim=-1)


def _usable(centers: Tensor, valid: Tensor) -> tuple[Tensor, bool]:
    """Valid objects with finite centres, and whether these are known to be all. On an accelerator
    the question would wait for the device, so there the masked form always runs.
    """
    # A finite sum has finite terms; one that overflows only takes the longer way.
    if valid.device.type == "cpu" and valid.all() and math.isfinite(centers.sum().item()):
        return valid, True
    return valid & torch.isfinite(centers).all(-1), False


def _distances(centers: Tensor, valid: Tensor, whole: bool, space: str) -> Tensor:
    """Pairwise distances (B, N, N) in the chosen space; those of unusable objects are finite."""
    if space not in ("normalized", "metric"):
        raise ConfigError(f"slim.space: '{space}' is unknown; use normalized or metric")
    real = valid[..., None]
    points = centers.float() if whole else torch.where(real, centers, 0.0).float()
    if space == "normalized" and points.shape[1]:
        if whole:
            low, high = points.aminmax(dim=1, keepdim=True)
        else:
            low = points.masked_fill(~real, torch.inf).amin(1, keepdim=True)
            high = points.masked_fill(~real, -torch.inf).amax(1, keepdim=True)
        points = (points - low).div_((high - low).add_(1e-7))
        points = points if whole else torch.where(real, points, 0.0)
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
