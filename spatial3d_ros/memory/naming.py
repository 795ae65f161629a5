"""What an object is called and looks like, from all looks at it.

Looks in one session, at one place, are averaged: they are not independent. What they say counts as
much as what was known of the object before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.scene.label_distribution import Labels, noun_of, ranked
from spatial3d_ros.scene.objects import SceneObject

MAX_LOOKS = 20  # of which the mean is taken; older ones fade
BEFORE = 0.5  # weight of what was known before the session, or at another place


@dataclass(frozen=True)
class Appearances:
    """Appearance vectors (64,) by id of the object, and the first digits of their weights."""

    vectors: Mapping[int, np.ndarray]
    weights: str


class Names:
    """Labels of the objects of one session. Not thread-safe."""

    def __init__(self) -> None:
        self._before: dict[int, Labels] = {}
        self._looks: dict[int, tuple[int, dict[str, float]]] = {}  # count, and mean of the labels

    def named(
        self, known: MemoryObject, item: SceneObject, appearances: Appearances | None
    ) -> MemoryObject:
        """The record after a look at the object, which has a label."""
        before = self._before.setdefault(known.id, known.labels)
        count, mean = self._looks.get(known.id, (0, {}))
        count = min(count + 1, MAX_LOOKS)
        seen = dict(item.labels or ((item.label, item.label_score or 1.0),))
        mean = {
            name: mean.get(name, 0.0) + (seen.get(name, 0.0) - mean.get(name, 0.0)) / count
            for name in mean.keys() | seen.keys()
        }
        self._looks[known.id] = count, mean
        labels = mixed_labels(before, ranked(mean.items()))
        known = replace(
            known, label=likeliest(labels), labels=labels, label_score=item.label_score,
            color=item.color or known.color,
        )  # fmt: skip
        vector = appearances.vectors.get(known.id) if appearances else None
        if appearances is None or vector is None or not vector.any():
            return known
        if known.appearance is not None and known.weights == appearances.weights:
            vector = known.appearance.astype(float) + (vector - known.appearance) / count
        vector = vector / max(float(np.linalg.norm(vector)), 1e-6)
        return replace(known, appearance=vector.astype(np.float16), weights=appearances.weights)

    def take_over(self, old: MemoryObject, new: MemoryObject) -> Labels:
        """Labels of `old`, which is seen as `new`: those of before are from another place."""
        looks = self._looks.pop(new.id, None)
        if looks is not None:
            self._looks[old.id] = looks
        self._before.pop(new.id, None)
        self._before[old.id] = old.labels
        return mixed_labels(old.labels, new.labels)


def mixed_labels(before: Labels, now: Labels) -> Labels:
    """The mean of two distributions, or the only one."""
    if not before or not now:
        return before or now
    shares: defaultdict[str, float] = defaultdict(float)
    for labels, weight in ((before, BEFORE), (now, 1 - BEFORE)):
        for label, share in labels:
            shares[label] += weight * share
    return ranked(shares.items())


def likeliest(labels: Labels) -> str:
    """The label whose kind, all synonyms together, has the largest share."""
    kinds: defaultdict[str, float] = defaultdict(float)
    for label, share in labels:
        kinds[noun_of(label)] += share
    return max(labels, key=lambda one: (kinds[noun_of(one[0])], one[1]))[0] if labels else ""
