"""Attention masks of 3D-SLIM ("Masking Matters", methods section 2).

The decoder's causal mask is replaced in two places: objects see their spatial neighbours, more of
them where the scene is dense (geometry-adaptive, 2.3), and objects see the words of the instruction
(2.4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.config import SlimConfig


def geometry_adaptive_mask(
    centers: Tensor,
    valid: Tensor,
    *,
    k_min: int = 2,
    k_max: int = 10,
    space: str = "normalized",
) -> Tensor:
    """Who sees whom among objects: (B, N, 3) centres in metres, (B, N) bool -> bool (B, N, N).

    Row attends to column, itself included. With m_i the mean distance to the other objects, the
    density is rho_i = (m_max - m_i) / (m_max - m_min) and object i sees its k_i = round(k_min +
    rho_i (k_max - k_min)) nearest (the constant sqrt(3) of the paper cancels, 2.3). `space`:
    per-axis min-max cube as published, or raw metres. Rows and columns of invalid or non-finite
    objects are all False. Raises ConfigError when k_min > k_max.
    """
    if not 0 <= k_min <= k_max:
        raise ConfigError(f"slim: need 0 <= k_min <= k_max, got k_min={k_min}, k_max={k_max}")
    valid = valid & torch.isfinite(centers).all(-1)
    distance, pair = _distances(centers, valid, space)
    if not valid.shape[-1]:
        return pair
    others = (valid.sum(-1, keepdim=True) - 1).clamp(min=0)
    mean = distance.masked_fill(~pair, 0.0).sum(-1) / others.clamp(min=1)
    lowest = mean.masked_fill(~valid, torch.inf).amin(-1, keepdim=True)
    highest = mean.masked_fill(~valid, -torch.inf).amax(-1, keepdim=True)
    density = (highest - mean) / (highest - lowest + 1e-6)
    neighbours = torch.round(k_min + density.nan_to_num(0.0) * (k_max - k_min)).long()
    return nearest_mask(distance, pair, valid, torch.minimum(neighbours, others))


def nearest_mask(distance: Tensor, pair: Tensor, valid: Tensor, k: Tensor) -> Tensor:
    """Each object and its k nearest: distances, usable pairs (B, N, N), valid and k (B, N) -> bool
    (B, N, N).
    """
    order = torch.argsort(distance.masked_fill(~pair, torch.inf), dim=-1, stable=True)
    near = torch.arange(valid.shape[-1], device=distance.device) < k[..., None]
    mask = torch.zeros_like(pair).scatter(-1, order, near) & pair
    return mask | torch.diag_embed(valid)


def object_mask(centers: Tensor, valid: Tensor, config: SlimConfig) -> Tensor:
    """Object-to-object mask of any ablation mode (2.6): bool (B, N, N), row attends to column."""
    usable = valid & torch.isfinite(centers).all(-1)
    both = usable[:, :, None] & usable[:, None, :]
    if config.objects == "full":
        return both
    if config.objects == "causal":
        return both.tril()
    if config.objects == "diagonal":
        return torch.diag_embed(usable)
    if config.objects == "fixed_n":
        distance, pair = _distances(centers, usable, config.space)
        others = (usable.sum(-1, keepdim=True) - 1).clamp(min=0)
        count = torch.full_like(others, config.fixed_n).minimum(others).expand(usable.shape)
        return nearest_mask(distance, pair, usable, count)
    return geometry_adaptive_mask(
        centers, valid, k_min=config.k_min, k_max=config.k_max, space=config.space
    )


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
        block = among.repeat_interleave(tokens, 1).repeat_interleave(tokens, 2)
        mask[:, :span, :span] = block.tril() if causal else block
        mask[:, :span, :] |= instruction[:, None, :]
    mask &= keys_valid[:, None, :]
    return torch.cat([prefix_valid[:, None, :].expand(-1, length, -1), mask], dim=-1)


def _distances(centers: Tensor, valid: Tensor, space: str) -> tuple[Tensor, Tensor]:
    """Pairwise distances (B, N, N) in the chosen space and the pairs of two different valid
    objects.
    """
    if space not in ("normalized", "metric"):
        raise ConfigError(f"slim.space: '{space}' is unknown; use normalized or metric")
    points = torch.where(valid[..., None], centers, 0.0).float()
    if space == "normalized" and points.shape[1]:
        low = points.masked_fill(~valid[..., None], torch.inf).amin(1, keepdim=True)
        high = points.masked_fill(~valid[..., None], -torch.inf).amax(1, keepdim=True)
        points = torch.where(valid[..., None], (points - low) / (high - low + 1e-7), 0.0)
    distance = torch.linalg.vector_norm(points[:, :, None] - points[:, None], dim=-1)
    different = ~torch.eye(valid.shape[-1], dtype=torch.bool, device=valid.device)
    return distance, valid[:, :, None] & valid[:, None, :] & different
