"""How well a box fits the usual size of what it is called: a wall of glass is no laptop.

Detectors on unusual images name large surfaces after small objects and sofas benches; sizes are
measured and tell them apart. The usual ones are those of `categories` and `object_catalog`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from spatial3d_ros.categories import CATEGORIES
from spatial3d_ros.object_catalog import OBJECT_KINDS
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.label_distribution import Labels, kinds_of, ranked
from spatial3d_ros.scene.proposals import Proposal

MIN_FIT = 0.05  # a label that fits less is none
_LARGER = 0.45  # spread of the logarithm of a side over the usual one
_SMALLER = (1.5, 1.5, 3.0)  # parts of objects are common; the smallest side may be hidden
_THICK = 0.3  # smallest side over the middle one of the box of a plate that is tilted


def size_fit(label: str, size: Sequence[float]) -> float:
    """How likely a box of some size (3,) m holds an object of that label, 1 for the usual size, and
    for a label that the catalog does not know. Which side is up does not count.
    """
    sides = [max(float(side), 1e-3) for side in sorted(size, reverse=True)]
    return max((_fit(sides, usual) for usual in _usual_sizes(label)), default=1.0)


def _fit(sides: Sequence[float], usual: Sequence[float]) -> float:
    """The same for one usual size, largest side first."""
    plate = _THICK * usual[1]  # of a plate that is tilted
    total = 0.0
    for side, common, spread in zip(sides, usual, _SMALLER, strict=True):
        total += (min(math.log(side / common), 0.0) / spread) ** 2
    for side, common in zip(sides, (*usual[:2], max(usual[2], plate)), strict=True):
        total += (max(math.log(side / common), 0.0) / _LARGER) ** 2
    return math.exp(-0.5 * total)


def fitting(labels: Labels, size: Sequence[float]) -> Labels:
    """The labels that fit a box of some size (3,) m, by probability times fit; what the others had
    is shared among them.
    """
    fits = [(label, share, size_fit(label, size)) for label, share in labels]
    kept = [(label, share * fit) for label, share, fit in fits if fit >= MIN_FIT]
    total = sum(share for _, share in labels) / max(sum(share for _, share in kept), 1e-9)
    return ranked((label, share * total) for label, share in kept)


def fitting_detection(detection: Detection3D) -> Detection3D | None:
    """A detection with the labels that fit its box, which count as much as the first one fits; None
    for one that had others only.
    """
    if not detection.label:
        return detection
    size = detection.box.size
    given = ((detection.label, detection.score), *detection.others)
    if not (labels := fitting(given, size)):
        return None
    (label, score), *others = labels
    weight = detection.weight * size_fit(label, size)
    return replace(detection, label=label, score=score, others=tuple(others), weight=weight)


def with_fitting_labels(proposal: Proposal) -> Proposal:
    """The proposal with the labels that fit its box."""
    labels = fitting(labels_of(proposal), proposal.box.size)
    if not labels or not proposal.label:
        return replace(proposal, label="", label_score=0.0, labels=labels)
    label, share = labels[0]
    score = proposal.label_score if label == proposal.label else share
    return replace(proposal, label=label, label_score=score, labels=labels)


def labels_of(proposal: Proposal) -> Labels:
    """The labels of a proposal, of which one may have a score alone."""
    alone = ((proposal.label, proposal.label_score),) if proposal.label else ()
    return proposal.labels or alone


@lru_cache(maxsize=1024)
def _usual_sizes(label: str) -> tuple[tuple[float, ...], ...]:
    """Sides, largest first, of the kinds that a label may mean, metres."""
    for noun in kinds_of(label):
        named = [k.size for k in OBJECT_KINDS.values() if noun in k.nouns]
        if noun in CATEGORIES:
            named.append(CATEGORIES[noun].middle)
        if not named:
            named = [k.size for k in OBJECT_KINDS.values() if noun in k.broader]
        if named:
            return tuple(tuple(sorted(map(float, one), reverse=True)) for one in named)
    return ()
