"""Structure-enhanced module of S2-MLLM (methods 1.3): the same patch across views, then all patches
of a view.

The public release regroups view-major tokens as if they were patch-major, so that its "inter-view"
groups are neighbouring patches of one frame. Here the grouping is the one the paper describes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.config import StructureConfig


class StructureEnhanced(nn.Module):
    """x (B, V, P, C) -> (B, V, P, C). With `init: zero` it starts as an exact identity.

    inter: attention over the V views at each patch place; intra: attention over the P patches of
    each view; then an MLP, all residual and pre-norm. `view_valid` (B, V) hides padded views from
    the inter-view keys.
    """

    def __init__(self, width: int, config: StructureConfig) -> None:
        super().__init__()
        self.order = config.order
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
            for layer in (self.inter_out, self.intra.out, self.mlp[-1]):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, view_valid: Tensor) -> Tensor:
        for step in self.order.split("_"):
            x = self._inter(x, view_valid) if step == "inter" else self._intra(x)
        return x + self._drop(self.mlp(self.norm_mlp(x)))

    def _inter(self, x: Tensor, view_valid: Tensor) -> Tensor:
        batch, _, patches, _ = x.shape
        groups = self.norm_inter(x).transpose(1, 2).flatten(0, 1)
        keys = view_valid[:, None].expand(-1, patches, -1).flatten(0, 1)
        mixed = self._drop(self.inter(groups, keys))
        return x + self.inter_out(mixed).unflatten(0, (batch, patches)).transpose(1, 2)

    def _intra(self, x: Tensor) -> Tensor:
        mixed = self._drop(self.intra(self.norm_intra(x).flatten(0, 1), None))
        return x + mixed.unflatten(0, x.shape[:2])

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
        mask = None if keys is None else keys[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(-2))
