"""Output heads: the grounding head (METHODS 1.8) and the head that names objects."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.config import HeadConfig


class GroundingHead(nn.Module):
    """Cosine similarity between the `<ground>` state and every candidate; the last candidate is the
    learned "no target".

    query (Q, D), objects (Q, N, D), valid (Q, N) -> scores (Q, N + 1) divided by the temperature,
    -inf where padded.
    """

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__()
        inner = config.width or width
        self.temperature = config.temperature
        self.query = _mlp(width, inner)
        self.object = _mlp(width, inner)
        self.nothing = nn.Parameter(torch.randn(width))

    def forward(self, query: Tensor, objects: Tensor, valid: Tensor) -> Tensor:
        no_target = self.nothing.expand(len(objects), 1, -1).to(objects.dtype)
        candidates = F.normalize(
            self.object(torch.cat([objects, no_target], dim=1)).float(), dim=-1
        )
        query = F.normalize(self.query(query).float(), dim=-1)
        scores = torch.einsum("bd,bnd->bn", query, candidates) / self.temperature
        return scores.masked_fill(~F.pad(valid, (0, 1), value=True), -torch.inf)


def _mlp(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, inner), nn.ReLU(), nn.LayerNorm(inner), nn.Linear(inner, inner)
    )


class NameHead(nn.Module):
    """Names objects without a question: cosine similarity of a projected object vector to the
    embeddings of the names, times a learned scale. One head for classes, one for colors.

    objects (B, N, D), name embeddings (W, D) -> logits (B, N, W).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.scale = nn.Parameter(torch.tensor([10.0]).log())

    def forward(self, objects: Tensor, names: Tensor) -> Tensor:
        return self.embedding(objects) @ F.normalize(names.float(), dim=-1).T * self.scale.exp()

    def embedding(self, objects: Tensor) -> Tensor:
        """Predicted direction of the name among token embeddings: unit vectors (B, N, D)."""
        return F.normalize(self.project(objects).float(), dim=-1)
