"""The object map: proposals of now and then become objects with ids that stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from spatial3d_ros.geometry.box import Box3D, iou_matrix
from spatial3d_ros.scene.buffer import Snapshot
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.scene.visibility import EMPTY, THERE, UNSEEN, observe

_SAMPLES = 48  # points of an object that are looked for in a view
_RECENT = 4  # newest views that may contradict an object
NO_ID = 2**32 - 1  # of what is no object of the map: the robot, a named point, what is to be put


@dataclass(frozen=True, eq=False)
class SceneObject:
    """A thing in the map. `id` is never given to another thing; `stamp_ns` is when it was last
    seen.

    `box` world frame; `rgb` mean colour 0 .. 255; `label` and `color` are words, "" when unknown;
    `score` 0 .. 1; `views` most views that saw it at once; `points` (n, 3) float32 world metres.
    `label_score` 0 .. 1 is how sure a detector is of the label; 0: the label is the network's own.
    """

    id: int
    box: Box3D
    rgb: tuple[float, float, float]
    score: float
    views: int
    stamp_ns: int
    points: np.ndarray
    label: str = ""
    color: str = ""
    label_score: float = 0.0

    @property
    def label_from_detector(self) -> bool:
        """Whether the label came from a detector."""
        return self.label_score > 0


class ObjectMap:
    """Objects with stable ids, at most `max_objects`. Not thread-safe: the caller locks.

    A proposal continues the object it overlaps most (box overlap, centre inside, colour, a
    detector's label). Objects out of view stay, and so do labels. An object in view that no
    proposal continues is doubted; so is one whose place is seen to be empty. After `patience`
    doubts in a row it goes.
    """

    def __init__(
        self, max_objects: int = 200, patience: int = 2, min_affinity: float = 0.25
    ) -> None:
        self._max_objects = max_objects
        self._patience = patience
        self._min_affinity = min_affinity
        self._next_id = 0
        self.clear()

    def clear(self) -> None:
        """Forgets everything but which ids were given."""
        self._objects: dict[int, SceneObject] = {}
        self._doubts: dict[int, int] = {}

    def new_id(self) -> int:
        """An id that no other thing has or gets."""
        self._next_id += 1
        return self._next_id - 1

    @property
    def objects(self) -> tuple[SceneObject, ...]:
        """All objects, by id."""
        return tuple(self._objects[k] for k in sorted(self._objects))

    def update(self, proposals: Sequence[Proposal], snapshot: Snapshot) -> tuple[SceneObject, ...]:
        """Takes in the proposals made from `snapshot`; all objects after it, by id."""
        stamp = snapshot.views[-1].frame.stamp_ns if snapshot.views else 0
        ids = sorted(self._objects)
        pairs = self._associate([self._objects[k] for k in ids], proposals)
        for row, column in pairs:
            known = self._objects[ids[row]]
            self._objects[known.id] = _continue(known, proposals[column], stamp)
            self._doubts[known.id] = 0
        continued = {row for row, _ in pairs}
        self._doubt([k for row, k in enumerate(ids) if row not in continued], snapshot)
        taken = {column for _, column in pairs}
        for column, proposal in enumerate(proposals):
            if column not in taken:
                self._add(proposal, stamp)
        self._bound()
        return self.objects

    def _associate(
        self, known: Sequence[SceneObject], proposals: Sequence[Proposal]
    ) -> list[tuple[int, int]]:
        if not known or not proposals:
            return []
        affinity = _affinity(known, proposals)
        rows, columns = linear_sum_assignment(-affinity)
        good = affinity[rows, columns] >= self._min_affinity
        return list(zip(rows[good].tolist(), columns[good].tolist(), strict=True))

    def _doubt(self, ids: list[int], snapshot: Snapshot) -> None:
        """Counts against objects that no proposal continued and that should have been seen."""
        if not ids or not snapshot.views:
            return
        points = [_sample(self._objects[k].points) for k in ids]
        owner = np.repeat(np.arange(len(ids)), [len(p) for p in points])
        total = np.bincount(owner, minlength=len(ids))
        states = [observe(np.concatenate(points), v.frame) for v in snapshot.views[-_RECENT:]]
        seen = np.zeros(len(owner), bool)
        latest = np.full(len(owner), UNSEEN, np.int8)
        for state in states:
            seen |= state == THERE
            latest = np.where(state != UNSEEN, state, latest)
        empty = np.bincount(owner[latest == EMPTY], minlength=len(ids)) / total
        there = np.bincount(owner[seen], minlength=len(ids)) / total
        for k, gone, visible in zip(ids, empty, there, strict=True):
            if gone > 0.6 or visible > 0.5:
                self._doubts[k] += 1
                if self._doubts[k] >= self._patience:
                    del self._objects[k], self._doubts[k]

    def _add(self, proposal: Proposal, stamp_ns: int) -> None:
        number = self.new_id()
        self._objects[number] = SceneObject(
            number, proposal.box, proposal.rgb, proposal.score, proposal.views, stamp_ns,
            proposal.points, proposal.label, label_score=proposal.label_score,
        )  # fmt: skip
        self._doubts[number] = 0

    def _bound(self) -> None:
        """Drops what was seen longest ago, then what is least sure."""
        surplus = len(self._objects) - self._max_objects
        if surplus > 0:
            worst = sorted(self._objects.values(), key=lambda o: (o.stamp_ns, o.score, -o.id))
            for item in worst[:surplus]:
                del self._objects[item.id], self._doubts[item.id]


def _affinity(known: Sequence[SceneObject], proposals: Sequence[Proposal]) -> np.ndarray:
    """(K, P): box overlap, plus what a centre inside and a like size and colour are worth, and
    whether detectors called both the same.
    """
    a = np.array([o.box.array() for o in known])
    b = np.array([p.box.array() for p in proposals])
    offset = np.abs(a[:, None, :3] - b[None, :, :3])
    inside = (offset < a[:, None, 3:] / 2).all(2) | (offset < b[None, :, 3:] / 2).all(2)
    volume_a, volume_b = (np.maximum(x[:, 3:], 0.01).prod(1) for x in (a, b))
    likeness = np.minimum(volume_a[:, None], volume_b) / np.maximum(volume_a[:, None], volume_b)
    paint = np.array([o.rgb for o in known])[:, None] - np.array([p.rgb for p in proposals])[None]
    paint = np.minimum(np.abs(paint).sum(2) / 300, 0.5)
    near = iou_matrix(a, b) + 0.4 * inside * likeness - 0.3 * paint
    words = np.array([[_accord(o.label, p.label) for p in proposals] for o in known])
    return near + 0.3 * words * (near > 0)


def _accord(label: str, other: str) -> int:
    """1 for the same word, -1 for two words, 0 where either is missing."""
    return (1 if label == other else -1) if label and other else 0


def _continue(known: SceneObject, proposal: Proposal, stamp_ns: int) -> SceneObject:
    """The object after one more look: the look with more surface in it counts more."""
    share = len(proposal.points) / (len(proposal.points) + len(known.points))
    if share > 0.6:
        box, points = proposal.box, proposal.points  # a much better view than before
    else:
        mixed = (1 - share) * np.array(known.box.bounds()) + share * np.array(proposal.box.bounds())
        box, points = Box3D.from_bounds(*mixed), proposal.points if share > 0.4 else known.points
    rgb = tuple(
        float((1 - share) * a + share * b) for a, b in zip(known.rgb, proposal.rgb, strict=True)
    )
    return replace(
        known,
        box=box,
        rgb=rgb,
        score=max(proposal.score, 0.7 * known.score + 0.3 * proposal.score),
        views=max(known.views, proposal.views),
        stamp_ns=stamp_ns,
        points=points,
        label=proposal.label or known.label,
        label_score=proposal.label_score if proposal.label else known.label_score,
    )


def _sample(points: np.ndarray) -> np.ndarray:
    return points[np.linspace(0, len(points) - 1, min(len(points), _SAMPLES)).astype(int)]
