"""Conditions the words of an answer on the objects that the question is about (METHODS 3.4).

The sequence stays `[ system | scene | P0 | O | P1 | I | A ]` (METHODS 4). After the pass over
`[ O | P1 | I ]` the object states contain the question (Inst mask, 2.4), and a classifier estimates
for each object whether the question is about it. A begins with `<coord>`. At this position and all
later ones, the token embedding receives the sum of a code of these objects, their number and their
distances: a metric code, as the `<coord>` token carries the code of a point in S2-MLLM (1.6). The
language head writes the answer under the same mask.

At the output, a token can also copy what is known of these objects (`CopyHead`): a class, a color,
a digit of a distance or of their number.

A network of this size does not write metres from coordinates alone: the object mask (2.3) hides
distant objects from each other, and the digits of a distance are no smooth function of two points.
So lengths and counts enter as Fourier features with one period for each decimal digit (FoNE,
arXiv 2502.09741), from which each digit can be read linearly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

METRE_PERIODS = (0.1, 1.0, 10.0, 100.0)
COUNT_PERIODS = (10.0, 100.0)
PAIR_FEATURES = 4 * len(METRE_PERIODS) + 4
COUNT_FEATURES = 2 * len(COUNT_PERIODS) + 2

TRUE_LOGIT = 12.0
"""Logit, positive or negative, of objects whose relevance is given."""
NAMED_OBJECTS = 3
"""The names of so many objects, the most probable first, can be copied."""
DISTANCE_DIGITS = 4
"""Digits of each distance, the last of which is centimetres."""
DIGITS = 2 * DISTANCE_DIGITS + 2
"""Digits of the two distances and of the number of objects."""
CANDIDATES = 2 * NAMED_OBJECTS + DIGITS + 1
"""The last one holds the number of objects up to nine, and by it whether there are any."""


def number_code(values: Tensor, periods: tuple[float, ...]) -> Tensor:
    """Cosine and sine at each period: values (...) in float32 -> (..., 2 * periods)."""
    angle = values.float()[..., None] * (2 * math.pi / values.new_tensor(periods).float())
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def pair_code(boxes: Tensor) -> Tensor:
    """Distances of centres and of surfaces of each pair, in metres, as codes and as plain numbers:
    boxes (B, N, 6) -> (B, N, N, PAIR_FEATURES).
    """
    center, half = boxes[..., :3].float(), boxes[..., 3:].float() / 2
    offset = (center[:, None] - center[:, :, None]).abs()
    gap = (offset - half[:, None] - half[:, :, None]).clamp(min=0)
    metres = torch.stack([offset.norm(dim=-1), gap.norm(dim=-1)], dim=-1)
    plain = torch.cat([metres / 2, (metres + 0.1).log()], dim=-1)
    return torch.cat([number_code(metres, METRE_PERIODS).flatten(-2), plain], dim=-1)


@dataclass(frozen=True)
class AnswerCondition:
    """What the answers to Q questions are conditioned on.

    logits (Q, N): whether the question is about each object, -inf where padded. embedding (Q, D):
    added to the embedding of every token of the answer. candidates (Q, CANDIDATES, D): what a token
    can copy.
    """

    logits: Tensor
    embedding: Tensor
    candidates: Tensor

    def repeated(self, times: int) -> AnswerCondition:
        """Each question `times` times in a row."""
        parts = (self.logits, self.embedding, self.candidates)
        return AnswerCondition(*(part.repeat_interleave(times, 0) for part in parts))


class CopyCandidates(nn.Module):
    """What an answer may contain, each as a vector in the space of token embeddings.

    name_embeddings (Q, N, 2, D) of class and color, logits (Q, N), pair codes (Q, N, N,
    PAIR_FEATURES) -> (Q, CANDIDATES, D): class and color of the most probable objects; each digit
    of the two distances between the two most probable; each digit of the number of objects. A digit
    is one of ten learned vectors for its position.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.loud = nn.Parameter(torch.full((2 * NAMED_OBJECTS, 1), 2.0))  # scale of the names
        self.digits = nn.Parameter(torch.randn(DIGITS + 1, 10, width) * 0.1)

    def forward(self, name_embeddings: Tensor, logits: Tensor, pair_codes: Tensor) -> Tensor:
        count = min(NAMED_OBJECTS, logits.shape[1])
        best = logits.topk(count, dim=1)
        names = name_embeddings.gather(
            1, best.indices[..., None, None].expand(-1, -1, *name_embeddings.shape[2:])
        )
        names = names.float() * best.values.sigmoid()[..., None, None]
        names = F.pad(names.flatten(1, 2), (0, 0, 0, 2 * (NAMED_OBJECTS - count))) * self.loud
        digits = torch.cat([_distance_digits(best.indices, pair_codes), _count_digits(logits)], 1)
        positions = torch.arange(DIGITS + 1, device=logits.device)
        vectors = self.digits[positions, digits].float()
        pair = (logits.isfinite().sum(1, keepdim=True) > 1).expand(-1, 2 * DISTANCE_DIGITS)
        known = F.pad(pair, (0, DIGITS + 1 - 2 * DISTANCE_DIGITS), value=True)
        return torch.cat([names, vectors * known[..., None]], 1)


def _distance_digits(best: Tensor, pair_codes: Tensor) -> Tensor:
    """Digits of both distances between the first two objects of `best` (Q, K), the last digit
    first: (Q, 2 * DISTANCE_DIGITS); zeros if there is only one.
    """
    rows = torch.arange(len(best), device=best.device)
    if best.shape[1] > 1:
        code = pair_codes[rows, best[:, 0], best[:, 1]]
    else:
        code = pair_codes.new_zeros(len(best), 4)
    centimetres = (code[:, -4:-2].float() * 200).round().long()  # the plain numbers are halved
    powers = 10 ** torch.arange(DISTANCE_DIGITS, device=best.device)
    return (centimetres[..., None] // powers % 10).flatten(1)


def _count_digits(logits: Tensor) -> Tensor:
    """Units, tens, and number up to nine of the objects that are more probable than not: (Q, 3)."""
    count = (logits > 0).sum(1)
    return torch.stack([count % 10, count // 10 % 10, count.clamp(max=9)], 1)


class CopyHead(nn.Module):
    """Adds to the hidden states of an answer's tokens, (Q, D) or (Q, T, D), an attention-weighted
    mean of the candidates (Q, CANDIDATES, D) and of "copy nothing". The shape is unchanged.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width, bias=False)
        )
        self.keys = nn.Parameter(torch.randn(CANDIDATES + 1, width))

    def forward(self, states: Tensor, candidates: Tensor) -> Tensor:
        rows = states if states.ndim == 3 else states[:, None]
        weight = (self.query(rows) @ self.keys.T / rows.shape[-1] ** 0.5).softmax(-1)
        copied = rows + (weight[..., 1:].float() @ candidates).to(rows.dtype)
        return copied if states.ndim == 3 else copied[:, 0]


class AnswerContext(nn.Module):
    """Finds the objects that a question is about and encodes them: -> AnswerCondition.

    Inputs: contextual objects (Q, N, D); the hidden state of the question's last token (Q, D);
    object features (Q, N, D); name embeddings (Q, N, 2, D); pair codes (Q, N, N, PAIR_FEATURES);
    identified (Q, N) bool, objects whose identifier is in the question; valid (Q, N) bool.
    `true_objects` (Q, N) bool replaces the estimate in training: answers are learned after the
    true objects, as after the true tokens (teacher forcing).

    The code is the sum of three parts. Object features, each by its probability, once as they are
    (a label in them is already near the tokens to be written) and once through an MLP. The expected
    number of objects. The mean pair code, each pair by the product of its odds, so that of two
    probable objects the distance is exact; zero below two objects.
    """

    # The attribute names are tensor names in the weight files.
    def __init__(self, width: int) -> None:
        super().__init__()
        self.heard, self.asked = nn.LayerNorm(width), nn.Linear(width, width)
        first, last = nn.Linear(2 * width, width), nn.Linear(width, 1)
        self.about = nn.Sequential(first, nn.GELU(), last)
        nn.init.constant_(last.bias, -2.0)  # a question is about few objects
        self.called = nn.Parameter(torch.tensor(6.0))
        self.what = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.number = nn.Sequential(
            nn.Linear(PAIR_FEATURES + COUNT_FEATURES, width), nn.GELU(), nn.Linear(width, width)
        )
        self.norm = nn.LayerNorm(width)
        nn.init.constant_(self.norm.weight, 0.2)  # the length of token embeddings
        self.facts = CopyCandidates(width)
        self.recital = CopyHead(width)

    def forward(
        self,
        contextual_objects: Tensor,
        state: Tensor,
        object_features: Tensor,
        name_embeddings: Tensor,
        pair_codes: Tensor,
        identified: Tensor,
        valid: Tensor,
        true_objects: Tensor | None = None,
    ) -> AnswerCondition:
        objects = self.heard(contextual_objects)
        matched = torch.cat([objects, objects * self.asked(state)[:, None]], -1)
        logits = self.about(matched)[..., 0].float() + self.called * identified
        logits = logits.masked_fill(~valid, -torch.inf)
        used = logits
        if true_objects is not None:
            used = torch.where(true_objects, TRUE_LOGIT, -TRUE_LOGIT)
            used = used.masked_fill(~valid, -torch.inf)
        probability = used.sigmoid()
        features = (probability[..., None] * object_features.float()).sum(1)
        features = features.to(object_features.dtype)
        features = features + self.what(features)
        count = probability.sum(1)
        plain = torch.stack([count.clamp(max=1), (count + 1).log()], -1)
        distance = _mean_pair_code(used, pair_codes) * (count - 1).clamp(0, 1)[:, None]
        numbers = torch.cat([distance, number_code(count, COUNT_PERIODS), plain], -1)
        embedding = self.norm(features + self.number(numbers.to(features.dtype)))
        return AnswerCondition(logits, embedding, self.facts(name_embeddings, used, pair_codes))


def _mean_pair_code(logits: Tensor, pair_codes: Tensor) -> Tensor:
    """Mean code of the pairs that a question is about: (Q, PAIR_FEATURES); zero below two
    objects.
    """
    count = logits.shape[1]
    upper = torch.ones(count, count, dtype=torch.bool, device=logits.device).triu(1)
    odds = (logits[:, :, None] + logits[:, None]).masked_fill(~upper, -torch.inf).flatten(1)
    some = odds.isfinite().any(1, keepdim=True)
    weight = torch.where(some, odds, 0.0).softmax(-1) * some
    # Not a matrix product, because autocast would round the angles of the code.
    return (weight[..., None] * pair_codes.flatten(1, 2)).sum(1)
