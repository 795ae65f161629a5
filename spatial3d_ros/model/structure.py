"""Structure-enhanced module of S2-MLLM (METHODS 1.3): attention among the same patch of all views,
then among all patches of a view.

The public release regroups view-major tokens as if they were patch-major, so that its "inter-view"
groups are neighbouring patches of one frame. `grouping: clean` follows the paper; `release` is kept
for comparison.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.config import StructureConfig


class StructureEnhanced(nn.Module):
    """x (B, V, P, C) -> (B, V, P, C). With `init: zero` it starts as an exact identity.

    inter: attention over the V views at each patch index; intra: attention over the P patches of
    each view; then an MLP, all residual and pre-norm. `view_valid` (B, V) hides padded views from
    all others. With `grouping: release` the groups are P runs of V neighbouring tokens, and V
    groups of every V-th token with the scene's first token as one more key.
    """

    def __init__(self, width: int, config: StructureConfig) -> None:
        super().__init__()
        self.order = config.order
        self.release = config.grouping == "release"
        self.drop_path = config.drop_path
        self.norm_inter = nn.LayerNorm(width, eps=1e-6)
        self.norm_intra = nn.LayerNorm(width, eps=1e-6)
        self.norm_mlp = nn.LayerNorm(width, eps=1e-6)
        self.inter = GroupAttention(width, config.heads)
        self.intra = GroupAttention(width, config.heads)
        self.inter_out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        if config.init == "zero":
            last = self.mlp[-1]
            assert isinstance(last, nn.Linear)
            for layer in (self.inter_out, self.intra.out, last):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, view_valid: Tensor) -> Tensor:
        valid = view_valid[:, :, None].expand(x.shape[:3])
        for step in self.order.split("_"):
            x = self._inter(x, valid) if step == "inter" else self._intra(x, valid)
        return x + self._drop(self.mlp(self.norm_mlp(x)))

    def inter_view_attention(self, x: Tensor) -> Tensor:
        """Weights of the inter-view step, mean over heads: x (B, V, P, C) -> (B * P, V, V), by
        group as `grouped` forms them.
        """
        groups = self.grouped(self.norm_inter(x)).flatten(0, 1)
        heads = self.inter.qkv(groups).unflatten(-1, (3, self.inter.heads, -1))
        query, key, _ = heads.permute(2, 0, 3, 1, 4)
        return (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1).mean(1)

    def _inter(self, x: Tensor, valid: Tensor) -> Tensor:
        groups = self.grouped(self.norm_inter(x))
        mixed = self._drop(self.inter(groups.flatten(0, 1), self.grouped(valid).flatten(0, 1)))
        return x + self._by_view(self.inter_out(mixed).view_as(groups))

    def _intra(self, x: Tensor, valid: Tensor) -> Tensor:
        normed = self.norm_intra(x)
        if not self.release:
            return x + self._drop(self.intra(normed.flatten(0, 1), None)).view_as(x)
        groups, keys = (self.grouped(part).transpose(1, 2) for part in (normed, valid))
        views = groups.shape[1]
        first = normed[:, :1, :1].expand(-1, views, -1, -1)
        groups = torch.cat([first, groups], dim=2).flatten(0, 1)
        keys = torch.cat([keys.new_ones(len(x), views, 1), keys], dim=2).flatten(0, 1)
        mixed = self._drop(self.intra(groups, keys))[:, 1:].unflatten(0, (-1, views))
        return x + self._by_view(mixed.transpose(1, 2))

    def grouped(self, x: Tensor) -> Tensor:
        """(B, V, P, ...) -> (B, P, V, ...): the groups of inter-view attention."""
        if self.release:
            return x.flatten(1, 2).unflatten(1, (x.shape[2], x.shape[1]))
        return x.transpose(1, 2)

    def _by_view(self, x: Tensor) -> Tensor:
        """Inverse of `grouped`: (B, P, V, C) -> (B, V, P, C)."""
        if self.release:
            return x.flatten(1, 2).unflatten(1, (x.shape[2], x.shape[1]))
        return x.transpose(1, 2)

    def _drop(self, branch: Tensor) -> Tensor:
        """Stochastic depth, drawn for each group (the first dimension)."""
        if not self.training or not self.drop_path:
            return branch
        shape = (branch.shape[0],) + (1,) * (branch.dim() - 1)
        keep = torch.rand(shape, device=branch.device) >= self.drop_path
        return branch * keep / (1.0 - self.drop_path)


class GroupAttention(nn.Module):
    """Multi-head self-attention inside each group: (G, T, C), keys (G, T) bool or None -> (G, T,
    C).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, keys: Tensor | None) -> Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # A group of padding only attends to itself, because an empty row would be NaN.
        mask = None if keys is None else (keys | ~keys.any(-1, keepdim=True))[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(-2))
