"""What is read out: the grounding head (METHODS 1.8) and the namer that puts objects into words."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.config import HeadConfig


class GroundingHead(nn.Module):
    """Cosine between the `<ground>` state and every candidate, the learned "nothing" candidate
    last.

    query (B, D), objects (B, N, D), valid (B, N) -> scores (B, N + 1) divided by the temperature,
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
        nothing = self.nothing.expand(len(objects), 1, -1).to(objects.dtype)
        candidates = F.normalize(self.object(torch.cat([objects, nothing], dim=1)).float(), dim=-1)
        wanted = F.normalize(self.query(query).float(), dim=-1)
        scores = torch.einsum("bd,bnd->bn", wanted, candidates) / self.temperature
        return scores.masked_fill(~F.pad(valid, (0, 1), value=True), -torch.inf)


def _mlp(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, inner), nn.ReLU(), nn.LayerNorm(inner), nn.Linear(inner, inner)
    )


class Namer(nn.Module):
    """Puts an object into words before any question: similarity of its vector to a word's
    embedding.

    objects (B, N, D), words (W, D) -> logits (B, N, W). One projection for each aspect (class,
    colour).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.scale = nn.Parameter(torch.tensor([10.0]).log())

    def forward(self, objects: Tensor, words: Tensor) -> Tensor:
        return self.aspect(objects) @ F.normalize(words.float(), dim=-1).T * self.scale.exp()

    def aspect(self, objects: Tensor) -> Tensor:
        """Where among the words' embeddings an object's name is: unit vectors (B, N, D)."""
        return F.normalize(self.project(objects).float(), dim=-1)
