"""A baseline of referring benchmarks: nouns and distance, no reasoning.

The first label in a sentence is the class. Of its instances, the one nearest to any instance of the
other labels in the sentence is chosen; the farthest if the sentence has a word for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from spatial3d_ros.research.datasets.boxes_only import BoxRoom

_FAR = re.compile(r"\b(?:far|farther|farthest|further|furthest|away|opposite)\b")


def named_labels(text: str, labels: Iterable[str]) -> list[str]:
    """The labels that a sentence names, in its order: whole words, singular or plural; of two
    that overlap ("chair" in "office chair") the one that begins first, then the longer one.
    """
    lower = text.lower()
    hits = [
        (match.start(), -match.end(), label)
        for label in set(labels)
        if label.lower() in lower
        for match in _word(label).finditer(lower)
    ]
    found, end = [], 0
    for start, negative_end, label in sorted(hits):
        if start >= end:
            found.append(label)
            end = -negative_end
    return found


def choose_nearest(room: BoxRoom, text: str) -> int | None:
    """The slot of the rule; None if the sentence names no label of the room."""
    named = named_labels(text, room.labels)
    if not named:
        return None
    of_class = [k for k, label in enumerate(room.labels) if label == named[0]]
    others = set(named) - {named[0]}
    anchors = [k for k, label in enumerate(room.labels) if label in others]
    if not anchors:
        return of_class[0]
    centers = room.boxes[:, :3]
    gaps = np.linalg.norm(centers[of_class, None] - centers[None, anchors], axis=-1).min(axis=1)
    return of_class[int(gaps.argmax() if _FAR.search(text.lower()) else gaps.argmin())]


@lru_cache(maxsize=4096)
def _word(label: str) -> re.Pattern[str]:
    return re.compile(rf"\b{re.escape(label.lower())}(?:s|es)?\b")
