"""What an answer in words stands on: the objects that the question is about.

The sequence stays `[system | scene | O | P1 | I | A]` (METHODS 4). Objects have heard the question
when the pass over `[O | P1 | I]` ends (Inst mask, 2.4). Each says then whether the question is
about it. A begins with `<coord>`, and this place and every word behind it receive what these
objects are, how many, and how far apart: a metric code, as the token of that name carries the code
of a place in S2-MLLM (1.6). The words follow by the language head, under the same mask.

At the output, a word may also take up literally what is known of these objects (`CopyHead`): a
class, a colour, a digit of a distance or of their number.

A network of this size does not write metres from coordinates alone: the object mask (2.3) keeps
distant objects from seeing each other, and digits of a distance are no smooth function of two
places. So lengths and counts come in Fourier features with a period for each decimal place (FoNE,
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
SURE = 12.0  # logit of an object that is told


def number_code(values: Tensor, periods: tuple[float, ...]) -> Tensor:
    """Cosine and sine at each period: values (...) in float32 -> (..., 2 * periods)."""
    turns = values.float()[..., None] * (2 * math.pi / values.new_tensor(periods).float())
    return torch.cat([turns.cos(), turns.sin()], dim=-1)


def pair_code(boxes: Tensor) -> Tensor:
    """Distance of centres and of surfaces of each pair, in metres, as codes and as plain numbers:
    boxes (B, N, 6) -> (B, N, N, PAIR_FEATURES).
    """
    center, half = boxes[..., :3].float(), boxes[..., 3:].float() / 2
    offset = (center[:, None] - center[:, :, None]).abs()
    gap = (offset - half[:, None] - half[:, :, None]).clamp(min=0)
    metres = torch.stack([offset.norm(dim=-1), gap.norm(dim=-1)], dim=-1)
    plain = torch.cat([metres / 2, (metres + 0.1).log()], dim=-1)
    return torch.cat([number_code(metres, METRE_PERIODS).flatten(-2), plain], dim=-1)


PAIR_FEATURES = 4 * len(METRE_PERIODS) + 4
_COUNT_FEATURES = 2 * len(COUNT_PERIODS) + 2


@dataclass(frozen=True)
class Subject:
    """What questions are about: logits (Q, N) of each object, -inf where padded, the embedding (Q,
    D) of it all, which is added to that of every word of the answers, and what these may take up
    literally: facts (Q, FACTS, D).
    """

    logits: Tensor
    embedding: Tensor
    facts: Tensor

    def repeated(self, times: int) -> Subject:
        """Each question so many times, one behind the other."""
        parts = (self.logits, self.embedding, self.facts)
        return Subject(*(part.repeat_interleave(times, 0) for part in parts))


SPOKEN = 3
"""So many objects, the likeliest first, have their names among the facts."""
DIGITS = 4
"""Of each distance, from centimetres on, and two of the number of objects."""
NUMBERS = 2 * DIGITS + 2
FACTS = 2 * SPOKEN + NUMBERS + 1  # the last: whether there is any at all


class CopyCandidates(nn.Module):
    """What an answer may have to say, each as a direction among the words: aspects (Q, N, 2, D) of
    objects, their logits (Q, N), pair codes (Q, N, N, PAIR_FEATURES) -> (Q, FACTS, D).

    Class and colour of the likeliest objects, then each digit of the two distances between the two
    likeliest, and of the number of objects, as one of ten learned directions.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.loud = nn.Parameter(torch.full((2 * SPOKEN, 1), 2.0))
        self.digits = nn.Parameter(torch.randn(NUMBERS + 1, 10, width) * 0.1)

    def forward(self, aspects: Tensor, logits: Tensor, pairs: Tensor) -> Tensor:
        count = min(SPOKEN, logits.shape[1])
        best = logits.topk(count, dim=1)
        named = aspects.gather(1, best.indices[..., None, None].expand(-1, -1, *aspects.shape[2:]))
        named = named.float() * best.values.sigmoid()[..., None, None]
        names = F.pad(named.flatten(1, 2), (0, 0, 0, 2 * (SPOKEN - count))) * self.loud
        many = (logits > 0).sum(1)
        rows, two = torch.arange(len(logits), device=logits.device), best.indices[:, :2]
        apart = pairs[rows, two[:, 0], two[:, 1]] if count > 1 else pairs.new_zeros(len(logits), 4)
        centimetres = (apart[:, -4:-2].float() * 200).round().long()
        places = 10 ** torch.arange(DIGITS, device=logits.device)
        metres = (centimetres[..., None] // places % 10).flatten(1)
        number = torch.stack([many % 10, many // 10 % 10, many.clamp(max=9)], 1)
        slots = torch.arange(NUMBERS + 1, device=logits.device)
        said = self.digits[slots, torch.cat([metres, number], 1)].float()
        both = (logits.isfinite().sum(1, keepdim=True) > 1).expand(-1, 2 * DIGITS)
        return torch.cat([names, said * F.pad(both, (0, 3), value=True)[..., None]], 1)


class CopyHead(nn.Module):
    """States (Q, D) or (Q, T, D) of an answer's words plus the fact that each takes up, or nothing:
    the same shape.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width, bias=False)
        )
        self.keys = nn.Parameter(torch.randn(FACTS + 1, width))

    def forward(self, states: Tensor, facts: Tensor) -> Tensor:
        rows = states if states.ndim == 3 else states[:, None]
        weight = (self.query(rows) @ self.keys.T / rows.shape[-1] ** 0.5).softmax(-1)
        told = rows + (weight[..., 1:].float() @ facts).to(rows.dtype)
        return told if states.ndim == 3 else told[:, 0]


class AnswerContext(nn.Module):
    """Objects that have heard a question (Q, N, D), the state of its last word (Q, D), what the
    objects are before any question (Q, N, D), their class and colour among the words (Q, N, 2, D),
    pair codes (Q, N, N, PAIR_FEATURES), which ones the question names by their identifiers and
    which are real (Q, N) bool -> Subject.

    what: the sum of what the objects are, each by its probability, with what is learnt of it beside
    it, because a label in it is already near the words to be written. how many: the sum of these
    probabilities. how far apart: the mean pair code, each pair by the product of its odds, so that
    of two likely objects the distance is exact; nothing below two.

    `told` (Q, N) bool are the objects a question is really about: words are learnt behind the true
    subject, as they are behind the true words.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heard, self.asked = nn.LayerNorm(width), nn.Linear(width, width)
        self.about = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))
        nn.init.constant_(self.about[-1].bias, -2.0)  # a question is about few objects
        self.called = nn.Parameter(torch.tensor(6.0))  # what is called by its identifier is meant
        self.what = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.number = nn.Sequential(
            nn.Linear(PAIR_FEATURES + _COUNT_FEATURES, width), nn.GELU(), nn.Linear(width, width)
        )
        self.norm = nn.LayerNorm(width)
        nn.init.constant_(self.norm.weight, 0.2)  # as long as words, like an object
        self.facts = CopyCandidates(width)
        self.recital = CopyHead(width)

    def forward(
        self,
        heard: Tensor,
        state: Tensor,
        named: Tensor,
        aspects: Tensor,
        pairs: Tensor,
        called: Tensor,
        valid: Tensor,
        told: Tensor | None = None,
    ) -> Subject:
        heard = self.heard(heard)
        known = torch.cat([heard, heard * self.asked(state)[:, None]], -1)
        logits = self.about(known)[..., 0].float() + self.called * called
        logits = logits.masked_fill(~valid, -torch.inf)
        sure = logits if told is None else torch.where(told, SURE, -SURE)
        sure = sure.masked_fill(~valid, -torch.inf)
        share = sure.sigmoid()
        what = (share[..., None] * named.float()).sum(1).to(named.dtype)
        what = what + self.what(what)
        count = share.sum(1)
        some = torch.stack([count.clamp(max=1), (count + 1).log()], -1)
        apart = _apart(sure, pairs) * (count - 1).clamp(0, 1)[:, None]
        numbers = torch.cat([apart, number_code(count, COUNT_PERIODS), some], -1)
        facts = self.facts(aspects, sure, pairs)
        return Subject(logits, self.norm(what + self.number(numbers.to(what.dtype))), facts)


def _apart(logits: Tensor, pairs: Tensor) -> Tensor:
    """Mean code of the pairs that a question is about: (Q, PAIR_FEATURES); zero below two
    objects.
    """
    count = logits.shape[1]
    ordered = torch.ones(count, count, dtype=torch.bool, device=logits.device).triu(1)
    odds = (logits[:, :, None] + logits[:, None]).masked_fill(~ordered, -torch.inf).flatten(1)
    some = odds.isfinite().any(1, keepdim=True)
    weight = torch.where(some, odds, 0.0).softmax(-1) * some
    # Not a matrix product: autocast would round the code's angles.
    return (weight[..., None] * pairs.flatten(1, 2)).sum(1)
