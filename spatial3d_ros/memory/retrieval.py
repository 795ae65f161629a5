"""The objects of a large memory that a question may be about: by noun, region, time, colour, place.

A network reads a hundred objects. Of a memory with more, those are taken that a question names, and
those next to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.memory.regions import Region

TARGET_SHARE = 0.6  # of the limit, for what is asked for; the rest is for what stands at it
COLOR_M = 3.0  # metres from an anchor that another colour counts like
FAR_M = 10.0  # from an anchor: farther counts the same
MARGIN_M = 2.5  # what fits worse than the best by more is not read: any of forty shelves of other
# colours may be red after all, and together they are likelier than the red one
_CAMERA_M = 50.0  # the distance from the camera decides between equals: it counts below a metre,
# and half of that from here


@dataclass(frozen=True)
class Wanted:
    """What a noun phrase asks for: one of some labels (None: any), a colour ("": any), an order of
    size, and what it stands at.
    """

    labels: frozenset[str] | None
    color: str = ""
    order: Literal["", "largest", "smallest"] = ""
    anchors: tuple[Wanted, ...] = ()


_FREE, _ABSENT, _PRESENT = 0.0, 1.0, 2.0


class ObjectIndex:
    """Objects by label, with their places as arrays; kept up to date one by one."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._labels: dict[str, set[int]] = {}  # rows
        self._ids: list[int] = []
        self._names: list[str] = []
        self._colors: list[str] = []
        self._free: list[int] = []
        # Centre, volume, stamp of the last look, and whether it is present.
        self._numbers = np.zeros((64, 6))

    @property
    def labels(self) -> list[str]:
        """The labels of all objects, in lower case."""
        return [label for label, rows in self._labels.items() if rows and label]

    @property
    def present(self) -> int:
        """How many objects are believed to be at their place."""
        return int((self._numbers[:, 5] == _PRESENT).sum())

    def put(self, known: MemoryObject) -> None:
        """Inserts or replaces an object."""
        row, label = self._rows.get(known.id, -1), known.label.lower()
        if row < 0:
            row = self._free.pop() if self._free else len(self._ids)
            if row == len(self._ids):
                self._ids.append(-1)
                self._names.append("")
                self._colors.append("")
            if row == len(self._numbers):
                self._numbers = np.concatenate([self._numbers, np.zeros_like(self._numbers)])
            self._rows[known.id] = row
        else:
            self._labels[self._names[row]].discard(row)
        self._ids[row], self._names[row], self._colors[row] = known.id, label, known.color
        self._labels.setdefault(label, set()).add(row)
        state = _PRESENT if known.present else _ABSENT
        self._numbers[row] = (*known.box.center, known.box.volume, known.last_ns, state)

    def remove(self, number: int) -> None:
        """Removes an object, if it is there."""
        row = self._rows.pop(number, None)
        if row is not None:
            self._labels[self._names[row]].discard(row)
            self._numbers[row] = _FREE
            self._free.append(row)

    def near(self, places: np.ndarray, metres: float) -> list[int]:
        """Ids of all objects, also absent ones, with centres within `metres` of places (n, 3)."""
        used = np.flatnonzero(self._numbers[:, 5] != _FREE)
        close = np.zeros(len(used), bool)
        for place in places:
            close |= np.linalg.norm(self._numbers[used, :3] - place, axis=1) < metres
        return [self._ids[row] for row in used[close].tolist()]

    def nearest(self, place: np.ndarray, count: int) -> list[int]:
        """Ids of the `count` present objects nearest to a place (3,), nearest first."""
        rows = self._rows_of(None)
        order = np.linalg.norm(self._numbers[rows, :3] - place, axis=1).argsort(kind="stable")
        return [self._ids[row] for row in rows[order[:count]].tolist()]

    def retrieve(
        self,
        wanted: Sequence[Wanted],
        camera: np.ndarray,
        limit: int,
        region: Region | None = None,
        since_ns: int = 0,
    ) -> list[int]:
        """Ids of at most `limit` objects for the phrases of one question, likeliest first.

        The best of each phrase in turn, then what each of them stands at. camera: (3,) metres.
        """
        targets = [self._ranked(phrase, camera, region, since_ns) for phrase in wanted]
        found: dict[int, None] = {}
        count = int(TARGET_SHARE * limit) if any(p.anchors for p in wanted) else limit
        _fill(found, targets, count)
        for phrase, rows in zip(wanted, targets, strict=True):
            chosen = [row for row in rows if row in found]
            _fill(found, [self._nearest(anchor, chosen) for anchor in phrase.anchors], limit)
        _fill(found, targets, limit)
        return [self._ids[row] for row in found]

    def _ranked(
        self, phrase: Wanted, camera: np.ndarray, region: Region | None, since_ns: int
    ) -> list[int]:
        rows = self._rows_of(phrase.labels)
        if since_ns:
            rows = rows[self._numbers[rows, 4] >= since_ns]
        if region is not None:
            inside = [region.contains(self._numbers[row, :3].tolist()) for row in rows.tolist()]
            rows = rows[np.array(inside, bool)]
        if not len(rows):
            return []
        places = self._numbers[rows, :3]
        cost = self._off_color(rows, phrase.color)
        for anchor in phrase.anchors:
            cost += self._to_anchor(places, anchor)
        fits = cost <= cost.min() + MARGIN_M
        if phrase.order:
            size = self._numbers[rows, 3]
            cost += COLOR_M * np.argsort(np.argsort(-size if phrase.order == "largest" else size))
        away = np.linalg.norm(places - camera, axis=1)
        cost += away / (away + _CAMERA_M)
        return rows[fits][np.argsort(cost[fits], kind="stable")].tolist()

    def _to_anchor(self, places: np.ndarray, anchor: Wanted) -> np.ndarray:
        """Metres (n,) from places (n, 3) to the nearest anchor that is not there itself; of another
        colour they are `COLOR_M` more, and at most `FAR_M`.
        """
        rows = self._rows_of(anchor.labels)
        off = self._off_color(rows, anchor.color)
        near = np.full(len(places), FAR_M)
        for cost in np.unique(off).tolist():
            metres, _ = cKDTree(self._numbers[rows[off == cost], :3]).query(places, k=2)
            other = np.where(metres[:, 0] > 0, metres[:, 0], metres[:, 1])
            near = np.minimum(near, other + cost)
        return near

    def _off_color(self, rows: np.ndarray, color: str) -> np.ndarray:
        """Cost (n,) of objects that are not of a colour."""
        if not color:
            return np.zeros(len(rows))
        return COLOR_M * np.array([self._colors[row] != color for row in rows.tolist()], float)

    def _nearest(self, anchor: Wanted, rows: Sequence[int]) -> list[int]:
        """The nearest two objects to each of some objects that fit an anchor."""
        anchors = self._rows_of(anchor.labels)
        if not len(anchors) or not rows:
            return []
        metres = np.linalg.norm(
            self._numbers[list(rows), None, :3] - self._numbers[None, anchors, :3], axis=2
        )
        order = (metres + self._off_color(anchors, anchor.color)).argsort(1)[:, :2]
        return anchors[order.T.reshape(-1)].tolist()

    def _rows_of(self, labels: Iterable[str] | None) -> np.ndarray:
        """Present objects with one of the labels, or all."""
        if labels is None:
            return np.flatnonzero(self._numbers[:, 5] == _PRESENT)
        found = [row for label in labels for row in self._labels.get(label, ())]
        rows = np.array(sorted(found), int)
        return rows[self._numbers[rows, 5] == _PRESENT]


def _fill(found: dict[int, None], lists: Sequence[Sequence[int]], limit: int) -> None:
    """Appends one of each list in turn until `limit` are found."""
    for turn in range(max(map(len, lists), default=0)):
        for rows in lists:
            if len(found) >= limit:
                return
            if turn < len(rows):
                found.setdefault(rows[turn])
