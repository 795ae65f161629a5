"""Objects that the object map does not have now: overlooked, a mistake of the map, or missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from spatial3d_ros.memory.presence import look_at_places
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.memory.state import ESTABLISHED
from spatial3d_ros.scene.buffer import View

MAX_UNPROPOSED = 8  # looks at a surface that is no object any more, until it was a mistake
MAX_OVERLOOKED = 6  # the same, until what is remembered there is missing: too flat, or exchanged
OVERLOOKED = 0.9  # confidence of that
MISTAKEN_LOOK = 0.3  # probability that one look calls an occupied place empty

Fate = Literal["waiting", "mistake", "missing"]


class AbsentObjects:
    """Counts looks at the places of absent objects; not thread-safe.

    empty_looks: looks at an empty place until its object is missing.
    """

    def __init__(self, empty_looks: int) -> None:
        self._empty_looks = empty_looks
        self._unproposed: Counter[int] = Counter()  # looks at a surface that is no object any more

    def looked_at(self, number: int) -> bool:
        """Whether the place of an object was looked at while the map did not have it."""
        return number in self._unproposed

    def seen(self, number: int) -> None:
        """The map has the object."""
        self._unproposed.pop(number, None)

    def look(
        self, absent: Sequence[MemoryObject], births: set[int], views: Sequence[View]
    ) -> Iterator[tuple[MemoryObject, Fate, float]]:
        """The records of absent objects that views say something of, what became of each, and how
        sure that is. births: ids of those that are new in this session.
        """
        looks = np.array([o.empty_looks for o in absent])
        fresh = [o.id in births for o in absent]
        for view in views:
            empty, occupied, whole = look_at_places(absent, view.frame)
            looks = np.where(empty, looks + 1, np.where(occupied, np.maximum(looks - 1, 0), looks))
            for index in np.flatnonzero(whole | occupied).tolist():
                self._unproposed[absent[index].id] += int(whole[index] or fresh[index])
        for known, count, new in zip(absent, looks.tolist(), fresh, strict=True):
            surfaces = self._unproposed[known.id]
            overlooked = not new and surfaces >= MAX_OVERLOOKED
            if new and surfaces >= MAX_UNPROPOSED:
                yield known, "mistake", 1.0
            elif count != known.empty_looks or overlooked:
                updated = replace(known, empty_looks=count)
                if known.pinned or not (overlooked or count >= self._empty_looks):
                    yield updated, "waiting", 1.0
                elif new and known.hits < ESTABLISHED:
                    yield updated, "mistake", 1.0
                else:
                    del self._unproposed[known.id]
                    sure = OVERLOOKED if overlooked else 1.0 - MISTAKEN_LOOK**count
                    yield updated, "missing", sure
