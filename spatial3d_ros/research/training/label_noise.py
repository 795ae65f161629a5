"""Noisy labels of generated objects, so that the network learns how far to trust a label
(docs/INTERFACES.md, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from spatial3d_ros.categories import CLASSES, nouns
from spatial3d_ros.object_catalog import OBJECT_KINDS
from spatial3d_ros.research.rooms.catalog import RoomObject
from spatial3d_ros.research.rooms.kinds import LOOK_ALIKES

Labels = list[tuple[str, float]]
"""Label texts with their probabilities, the largest first; the rest to 1 is "unknown"."""
MAX_LABELS = 4
SHARES = {
    "exact": 0.30,
    "synonym": 0.12,
    "confused": 0.15,
    "wrong": 0.08,
    "modified": 0.07,
    "made_up": 0.12,
    "missing": 0.16,
}
_NEAREST = 4


def draw_labels(objects: Sequence[RoomObject], rng: np.random.Generator) -> list[Labels]:
    """The label distribution of each object, by a row of SHARES that is drawn for it. Without an
    entry: no label. `made_up` gives no label here: a made-up noun replaces the noun of a whole room
    (homes, `object_names`), of its questions too.
    """
    rows = rng.choice(len(SHARES), size=len(objects), p=np.array([*SHARES.values()]))
    names = [*SHARES]
    return [_labels(item, names[row], rng) for item, row in zip(objects, rows, strict=True)]


def _labels(item: RoomObject, row: str, rng: np.random.Generator) -> Labels:
    true, share = nouns(item.category)[0], float(rng.uniform(0.6, 1.0))
    if row in ("missing", "made_up"):
        return []
    if row == "synonym":
        kind = OBJECT_KINDS[item.category]
        others = [n for n in (*nouns(item.category), *kind.nouns, *kind.broader) if n != true]
        return [(str(rng.choice(others or [true])), share)]
    if row == "modified":
        word = item.color if rng.random() < 0.7 else item.material
        return [(f"{word} {true}", share)]
    if row == "wrong":
        other = _another(item.category, rng)
        rest = float(rng.uniform(0.0, 1.0 - share))
        return [(nouns(other)[0], share), (true, rest)] if rng.random() < 0.5 else [
            (nouns(other)[0], share)
        ]  # fmt: skip
    if row == "confused":
        count = int(rng.integers(1, MAX_LABELS))
        others = [nouns(c)[0] for c in look_alikes(item.category)]
        others = [str(noun) for noun in rng.permutation(others)[:count]]
        shares = np.sort(rng.dirichlet(np.ones(len(others) + 1)))[::-1] * share
        first = 0 if rng.random() < 2 / 3 else int(rng.integers(1, len(shares)))
        texts = [*others[:first], true, *others[first:]]
        return [(text, float(p)) for text, p in zip(texts, shares, strict=True)]
    return [(true, share)]


@cache
def look_alikes(category: str) -> tuple[str, ...]:
    """The kinds of its group that are hard to tell from it; without a group, those of the nearest
    usual size.
    """
    for group in LOOK_ALIKES.values():
        if category in group:
            return tuple(name for name in group if name != category)
    sizes = {name: np.log(np.sort(OBJECT_KINDS[name].size)) for name in CLASSES}
    away = {name: np.abs(size - sizes[category]).sum() for name, size in sizes.items()}
    del away[category]
    return tuple(sorted(away, key=away.__getitem__)[:_NEAREST])


def _another(category: str, rng: np.random.Generator) -> str:
    while (other := CLASSES[int(rng.integers(len(CLASSES)))]) == category:
        pass
    return other
