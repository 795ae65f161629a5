"""Choice of the regions of a merge tree that are objects: of a region and its parts, never both.

Every set of regions without common segments is a cut of the tree. The logarithm of its weight is
the sum of the logits of its regions; a segment in none of them is background and adds 0. Two passes
over the tree, as in a hidden tree model, give the best cut and the probability of each region.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

IMPOSSIBLE = -1e9  # logit of a region that no cut contains

Parts = Sequence[tuple[int, ...]]
"""The two regions that make up each region, by index; none for a segment. Parts come first."""


class CutDistribution(NamedTuple):
    """Logarithm of the summed weights of all cuts, and the probability (K,) that a cut which is
    drawn by weight contains each region.
    """

    log_sum: float
    probability: np.ndarray


def distribution(
    parts: Parts, logits: np.ndarray, background: np.ndarray | None = None
) -> CutDistribution:
    """The distribution over the cuts of a tree with logits (K,); `background` (K,) replaces the 0
    that a segment adds as background.
    """
    own = logits.tolist()
    alone = [0.0] * len(own) if background is None else background.tolist()
    total, is_root = [0.0] * len(own), [True] * len(own)
    for k, pair in enumerate(parts):
        inner = sum(total[p] for p in pair) if pair else alone[k]
        total[k] = _log_add(own[k], inner)
        for p in pair:
            is_root[p] = False
    reached, probability = [float(root) for root in is_root], [0.0] * len(own)
    log_sum = math.fsum(value for value, root in zip(total, is_root, strict=True) if root)
    for k in range(len(own) - 1, -1, -1):
        chosen = math.exp(max(own[k] - total[k], -700.0)) if own[k] > IMPOSSIBLE / 2 else 0.0
        probability[k] = reached[k] * chosen
        for p in parts[k]:
            reached[p] = reached[k] * (1 - chosen)
    return CutDistribution(log_sum, np.array(probability))


def best_cut(parts: Parts, logits: np.ndarray) -> list[int]:
    """The regions of the cut with the largest weight."""
    own = logits.tolist()
    best, is_root = [0.0] * len(own), [True] * len(own)
    for k, pair in enumerate(parts):
        best[k] = max(own[k], sum(best[p] for p in pair))
        for p in pair:
            is_root[p] = False
    chosen, waiting = [], [k for k, root in enumerate(is_root) if root]
    while waiting:
        k = waiting.pop()
        if own[k] > 0 and own[k] >= best[k]:
            chosen.append(k)
        elif best[k] > 0:
            waiting.extend(parts[k])
    return chosen


def _log_add(a: float, b: float) -> float:
    low, high = (a, b) if a < b else (b, a)
    return high + math.log1p(math.exp(max(low - high, -700.0)))
