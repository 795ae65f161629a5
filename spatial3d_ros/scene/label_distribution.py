"""Distributions over labels, and their fusion over views and sources (docs/INTERFACES.md, 2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from spatial3d_ros.categories import category_of_noun

Labels = tuple[tuple[str, float], ...]
"""Labels with their probabilities, most probable first, at most `KEPT`; the rest is "unknown"."""

KEPT = 8
ALTERNATIVES = 20  # labels that share the rest of an observation equally
MIN_SHARE = 1e-3  # of a label that an observation does not name, however sure it is
MAX_EVIDENCE = 4.0  # sum of weights: views of one place by one model are not independent


def fuse(observations: Sequence[tuple[Labels, float]]) -> Labels:
    """One distribution of several: the logarithms of the probabilities add up, times the weights.

    Synonyms, and a noun with and without modifiers ("office chair", "chair"), count as one label,
    under the wording with the largest sum. What the result leaves unknown is the weighted mean of
    what the observations do.

    Args:
        observations: distributions with weights >= 0; those without labels or weight say nothing.
    """
    given = [(dict(labels), weight) for labels, weight in observations if labels and weight > 0]
    if not given:
        return ()
    words: defaultdict[str, float] = defaultdict(float)
    for labels, weight in given:
        for label, share in labels.items():
            words[label] += share * weight
    groups = _groups(words)
    total = sum(weight for _, weight in given)
    known = 0.0
    logs = np.zeros(len(groups))
    for labels, weight in given:
        named = sum(labels.values())
        known += named * weight / total
        floor = max((1 - named) / ALTERNATIVES, MIN_SHARE)
        shares = [sum(labels.get(word, 0.0) for word in group) for group in groups]
        logs += weight * min(1.0, MAX_EVIDENCE / total) * np.log(np.maximum(shares, floor))
    shares = np.exp(logs - logs.max())
    shares *= min(known, 1.0) / shares.sum()
    best = [max(group, key=words.__getitem__) for group in groups]
    return ranked(zip(best, shares.tolist(), strict=True))


def ranked(shares: Iterable[tuple[str, float]]) -> Labels:
    """The most probable labels, without those of no probability."""
    return tuple(sorted((s for s in shares if s[1] > 0), key=lambda s: -s[1])[:KEPT])


@lru_cache(maxsize=4096)
def noun_of(label: str) -> str:
    """One noun for the synonyms of a label: recognisers name one object "couch" and "sofa"."""
    return category_of_noun(label.lower()) or label.lower()


def same_kind(label: str, other: str) -> bool:
    """Whether two labels name one kind of object: synonyms, or one is the other with modifiers,
    as "red book" and "book".
    """
    return noun_of(label) in kinds_of(other) or noun_of(other) in kinds_of(label)


def kinds_of(label: str) -> tuple[str, str]:
    """The noun of a label, and that of its head."""
    return noun_of(label), noun_of(_head(label))


def _head(label: str) -> str:
    return label.split()[-1] if label else ""


def _groups(words: Iterable[str]) -> list[list[str]]:
    """Labels of one kind together. Two with modifiers are one only where the bare noun is given:
    a washing machine is no coffee machine.
    """
    bare = {noun_of(word) for word in words}
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for word in words:
        head = noun_of(_head(word))
        groups[head if head in bare else noun_of(word)].append(word)
    return list(groups.values())
