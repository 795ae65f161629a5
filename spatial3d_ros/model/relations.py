"""Relations between objects: explicit pair geometry as input of attention.

The geometry of each ordered pair (offset, distance, gaps, size ratio: the edge of Spatial 3D-LLM's
edge-aware message passing, METHODS 3.2) is used twice: as a bias on attention scores, and as a
value that is summed by the attention weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.heads import BIAS_SCALE

EDGE_FEATURES = 19
FRONT_FEATURES = 6


def pair_geometry(boxes: Tensor) -> Tensor:
    """Geometry of object j relative to object i: boxes (B, N, 6) centre + size in metres -> (B, N,
    N, EDGE_FEATURES) float32.

    Offset, its unit horizontal direction, horizontal and spatial distance (plain and log), signed
    gaps per axis, heights between top and bottom faces, log size ratios, overlap, identity.
    """
    center, size = boxes[..., :3].float(), boxes[..., 3:].float().clamp(min=0.01)
    offset = center[:, None] - center[:, :, None]
    flat = offset[..., :2].norm(dim=-1, keepdim=True)
    far = offset.norm(dim=-1, keepdim=True)
    half = size / 2
    gap = offset.abs() - half[:, None] - half[:, :, None]
    top, bottom = center[..., 2] + half[..., 2], center[..., 2] - half[..., 2]
    above = (bottom[:, None] - top[:, :, None])[..., None]
    below = (bottom[:, :, None] - top[:, None])[..., None]
    ratio = size.log()[:, None] - size.log()[:, :, None]
    same = torch.eye(boxes.shape[1], device=boxes.device).expand(len(boxes), -1, -1)[..., None]
    direction = offset[..., :2] / flat.clamp(min=0.05)
    overlap = (gap[..., :2].amax(-1, keepdim=True) < 0).float()
    closeness = torch.exp(-far)
    parts = [offset / 2, direction, flat / 2, far / 2, far.add(0.1).log(), closeness]
    parts += [gap.clamp(-2, 2), above.clamp(-1, 1) * 2, below.clamp(-1, 1) * 2]
    parts += [ratio / 2, overlap, same]
    return torch.cat(parts, dim=-1)


class EdgeEncoder(nn.Sequential):
    """Pair geometry (B, N, N, EDGE_FEATURES) -> edge features (B, N, N, hidden)."""

    def __init__(self, hidden: int) -> None:
        super().__init__(
            nn.Linear(EDGE_FEATURES, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )


def front_geometry(boxes: Tensor, fronts: Tensor) -> Tensor:
    """Direction of object j in the frame of i's front, and of i in that of j's: boxes (B, N, 6),
    fronts (B, N, 2), NaN where unknown -> (B, N, N, FRONT_FEATURES) float32: components along the
    front and to its right, and whether the front is known, for i and for j.
    """
    center, known = boxes[..., :2].float(), fronts.isfinite().all(-1)
    ahead = torch.where(known[..., None], fronts.float(), 0.0)
    right = torch.stack([ahead[..., 1], -ahead[..., 0]], -1)
    offset = center[:, None] - center[:, :, None]
    offset = offset / offset.norm(dim=-1, keepdim=True).clamp(min=0.05)
    sides = torch.stack([ahead, right], -1)[:, :, None]  # (B, N, 1, 2, 2)
    local = (offset[..., None] * sides).sum(-2)
    local = torch.cat([local, known[:, :, None, None].expand(*local.shape[:-1], 1)], -1)
    return torch.cat([local, local.transpose(1, 2)], -1)


class FrontEncoder(nn.Sequential):
    """Front geometry (B, N, N, FRONT_FEATURES) -> a term added to edge features (B, N, N, hidden);
    zero at initialisation.
    """

    def __init__(self, hidden: int) -> None:
        last = nn.Linear(hidden, hidden, bias=False)
        nn.init.zeros_(last.weight)
        super().__init__(nn.Linear(FRONT_FEATURES, hidden), nn.GELU(), last)


class RelationLayer(nn.Module):
    """Pre-norm attention among all objects; edges bias the scores and are summed with the values.

    x (B, N, D), edges (B, N, N, E), valid (B, N) -> (B, N, D). Equivariant to permutations.
    """

    def __init__(self, width: int, heads: int, edge: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.bias = nn.Linear(edge, heads)
        self.out = nn.Linear(width, width)
        self.edge_out = nn.Linear(heads * edge, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, edges: Tensor, valid: Tensor) -> Tensor:
        query, key, value = (
            self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        score = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        score = score + self.bias(edges).permute(0, 3, 1, 2)
        score = score.masked_fill(~valid[:, None, None], torch.finfo(score.dtype).min)
        weight = score.softmax(-1)
        values = (weight @ value).transpose(1, 2).flatten(-2)
        geometry = torch.matmul(weight.transpose(1, 2), edges).flatten(-2)
        x = x + self.out(values) + self.edge_out(geometry)
        return x + self.mlp(self.norm_mlp(x))


class AttentionBias(nn.Module):
    """Edge features -> additive attention bias (B, heads, N, N); zero at initialisation."""

    def __init__(self, edge: int, heads: int) -> None:
        super().__init__()
        self.project = nn.Linear(edge, heads)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, edges: Tensor) -> Tensor:
        return self.project(edges).permute(0, 3, 1, 2)


class LabelBias(nn.Module):
    """Additive attention bias of object tokens on the question tokens that match their label:
    labels (Q, N, K, T), -1 padded, shares (Q, N, K) their probabilities, by default 1, identifiers
    (N,) of the slots, ids and instruction (Q, L) -> (Q, heads, N, L); zero at initialisation.

    One learned weight per head for tokens that occur in the label, one for tokens inside a match of
    the whole label, one for the object's identifier. So an object attends to its noun even if no
    training question contained that noun.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, heads))
        self.identifier = nn.Parameter(torch.zeros(1, heads))

    def forward(
        self,
        labels: Tensor,
        shares: Tensor | None,
        identifiers: Tensor,
        ids: Tensor,
        instruction: Tensor,
    ) -> Tensor:
        weight = BIAS_SCALE * torch.cat([self.weight, self.identifier])
        identified = (identifiers[:, None] == ids[:, None]).to(weight.dtype)
        count = labels.shape[2]
        found = [torch.zeros_like(identified)] * 2
        for k in range(count):
            given = 1.0 if shares is None else shares[:, :, k, None]
            matched = label_matches(labels[:, :, k], ids)
            found = [old + given * new for old, new in zip(found, matched, strict=True)]
        matches = torch.stack([*found, identified], -1) * instruction[:, None, :, None]
        return (matches.to(weight.dtype) @ weight).permute(0, 3, 1, 2)


def label_matches(labels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Question tokens that occur in a label, and those inside a match of the whole label: labels
    (Q, N, T), -1 padded at the end, ids (Q, L) -> two bool tensors (Q, N, L).
    """
    length = labels.shape[-1]
    single = torch.zeros(*labels.shape[:2], ids.shape[1], dtype=torch.bool, device=ids.device)
    starts = (labels >= 0).any(-1, keepdim=True).expand_as(single)
    for i in range(length):
        token = labels[..., i : i + 1]
        single = single | (token == ids[:, None])
        later = F.pad(ids, (0, i), value=-2)[:, None, i:]
        starts = starts & ((token < 0) | (token == later))
    whole = torch.zeros_like(single)
    for i in range(length):
        inside = labels[..., i : i + 1] >= 0
        whole = whole | (F.pad(starts, (i, 0))[..., : ids.shape[1]] & inside)
    return single, whole
