"""Output heads: the grounding head (METHODS 1.8) and the heads that name objects."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.config import HeadConfig
from spatial3d_ros.model.names_config import NamesConfig

TOKEN_LENGTH = 0.2
"""Root mean square of a token embedding. With longer object tokens, attention to the text vanishes.
"""
BIAS_SCALE = 10.0
"""Raises the learning rate of the weights: a score needs several units to dominate a softmax."""
_NAME_WEIGHT, _SHARPNESS = 0.3, 20.0  # of a name; of the cosine of a word and a name; at first
_NO_NAME = 0.6  # cosine below which a word is no name
_LEAST = 0.02  # added to a probability
_PHRASES, _PHRASE_TOKENS = 128, 4  # features of so many tokens in a row


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
    """Lets a question meet what the heads expect of an object, as it meets the object's label.

    `forward` adds to object features (B, N, D) the mean of the names of each head, weighted with
    their probabilities (B, N, W), those of all heads in turn. `bias` lets an object attend to the
    words for its class and color. `evidence` is how likely an object has the looks that a question
    asks for.
    """

    def __init__(self, width: int, names: NamesConfig, attention_heads: int) -> None:
        super().__init__()
        start = torch.eye(width)
        self.project = nn.ParameterDict(
            {h: nn.Parameter(start * _NAME_WEIGHT) for h in names.heads}
        )
        self.norm = nn.LayerNorm(width)
        nn.init.constant_(self.norm.weight, TOKEN_LENGTH)
        self.words = nn.ParameterDict({h: nn.Parameter(start.clone()) for h in ("class", "color")})
        self.sharpness = nn.Parameter(torch.tensor(_SHARPNESS).log())
        self.weight = nn.Parameter(torch.zeros(len(self.words), attention_heads))
        self.phrases = nn.Conv1d(width, _PHRASES, _PHRASE_TOKENS)
        self.asked = nn.ModuleDict(
            {h: nn.Linear(_PHRASES, len(of) + 1) for h, of in names.looks if of}
        )
        self.certainty = nn.Parameter(torch.ones(len(self.asked)))

    def forward(self, features: Tensor, shares: Tensor, heads: nn.ModuleDict) -> Tensor:
        named = features
        for name, names, part in _parts(heads, shares.to(features.dtype)):
            named = named + part @ names @ self.project[name]
        return self.norm(named)

    def bias(
        self, shares: Tensor, heads: nn.ModuleDict, tokens: Tensor, instruction: Tensor
    ) -> Tensor:
        """Additive attention bias of objects on question tokens: shares (Q, N, W), token embeddings
        (Q, L, D), instruction (Q, L) -> (Q, attention heads, N, L); zero at initialisation.
        """
        matches = []
        for name, names, part in _parts(heads, shares.float()):
            if name in self.words:
                words = F.normalize(tokens.float() @ self.words[name], dim=-1)
                alike = words @ F.normalize(names.float(), dim=-1).T
                none = torch.full_like(alike[..., :1], _NO_NAME)
                named = (self.sharpness.exp() * torch.cat([alike, none], -1)).softmax(-1)
                matches.append(part @ named[..., :-1].mT)
        found = torch.stack(matches, -1) * instruction[:, None, :, None]
        return (found @ (BIAS_SCALE * self.weight)).permute(0, 3, 1, 2)

    def asked_looks(self, tokens: Tensor, instruction: Tensor) -> dict[str, Tensor]:
        """By attribute of looks logits (Q, W + 1) of the name that a question asks of its target,
        none last: token embeddings (Q, L, D), instruction (Q, L).
        """
        shown = tokens.float() * instruction[..., None]
        padded = F.pad(shown, (0, 0, _PHRASE_TOKENS - 1, 0))
        phrases = self.phrases(padded.mT).relu().amax(-1)
        return {head: layer(phrases) for head, layer in self.asked.items()}

    def evidence(
        self, shares: Tensor, heads: nn.ModuleDict, tokens: Tensor, instruction: Tensor
    ) -> Tensor:
        """Log probability that each object has the looks that are asked of the target, weighted by
        attribute: arguments as of `bias` -> (Q, N + 1), 0 for "no target".
        """
        found = torch.zeros(*shares.shape[:2], device=shares.device)
        asked = self.asked_looks(tokens, instruction)
        seen = {name: part for name, _, part in _parts(heads, shares.float())}
        for certainty, (name, logits) in zip(self.certainty, asked.items(), strict=True):
            log = (seen[name] + _LEAST).log()
            words = logits.softmax(-1)[:, :-1]
            found = found + certainty * torch.einsum("qnw,qw->qn", log, words)
        return F.pad(found, (0, 1))


def _parts(heads: nn.ModuleDict, shares: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each head with its names (W, D) and the probabilities of these (..., W)."""
    start = 0
    for name, head in heads.items():
        names = head.names
        assert isinstance(names, Tensor)
        yield name, names, shares[..., start : start + len(names)]
        start += len(names)
