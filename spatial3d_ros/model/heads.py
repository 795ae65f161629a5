"""Output heads: the grounding head (METHODS 1.8) and the heads that name objects."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.config import HeadConfig, NamesConfig

TOKEN_LENGTH = 0.2
"""Root mean square of a token embedding. With longer object tokens, attention to the text vanishes.
"""
_TOLD = 0.3  # of a name, at the start of training


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
    """Names objects without a question: cosine similarity of a projected object vector to the names
    of a head, times a learned scale: objects (B, N, D) -> logits (B, N, W).

    The names (W, D) are vectors of their own; training starts them from token embeddings
    (`training.setup.start_names`).
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.scale = nn.Parameter(torch.tensor([10.0]).log())
        self.names = nn.Parameter(torch.zeros(count, width))

    def forward(self, objects: Tensor) -> Tensor:
        names = F.normalize(self.names.float(), dim=-1)
        return self.embedding(objects) @ names.T * self.scale.exp()

    def embedding(self, objects: Tensor) -> Tensor:
        """Predicted direction of the name among token embeddings: unit vectors (B, N, D)."""
        return F.normalize(self.project(objects).float(), dim=-1)


def name_heads(width: int, names: NamesConfig) -> nn.ModuleDict:
    """A head for each entry of `names.heads`."""
    return nn.ModuleDict({head: NameHead(width, len(of)) for head, of in names.heads.items()})


def name_directions(heads: nn.ModuleDict, objects: Tensor) -> Tensor:
    """Directions of the class and the color of objects (B, N, D) among token embeddings: (B, N, 2,
    D), zero without the head.
    """
    found = [heads[name] if name in heads else None for name in ("class", "color")]  # noqa: SIM401
    zero = torch.zeros_like(objects, dtype=torch.float32)
    return torch.stack(
        [head.embedding(objects) if isinstance(head, NameHead) else zero for head in found], 2
    )


class PredictedNames(nn.Module):
    """Adds to object features (B, N, D) what their names are expected to be, by head: the mean of
    the names, weighted with their probabilities. So a question's words meet what is seen of an
    object as they meet its label.
    """

    def __init__(self, width: int, heads: Iterable[str]) -> None:
        super().__init__()
        start = torch.eye(width) * _TOLD
        self.project = nn.ParameterDict({head: nn.Parameter(start.clone()) for head in heads})
        self.norm = nn.LayerNorm(width)
        nn.init.constant_(self.norm.weight, TOKEN_LENGTH)

    def forward(self, features: Tensor, heads: nn.ModuleDict) -> Tensor:
        told = features
        for name, project in self.project.items():
            head = heads[name]
            assert isinstance(head, NameHead)
            shares = head(features).softmax(-1).to(features.dtype)
            told = told + shares @ head.names @ project
        return self.norm(told)
