"""Object tracking: proposals of successive updates become objects with persistent ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from spatial3d_ros.geometry.box import Box3D, Vector, iou_matrix, vector
from spatial3d_ros.geometry.pose import rotate_points
from spatial3d_ros.geometry.voxels import subsample
from spatial3d_ros.scene.association import assign
from spatial3d_ros.scene.buffer import Snapshot
from spatial3d_ros.scene.label_distribution import Labels, same_kind
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.scene.surface_color import mixed
from spatial3d_ros.scene.visibility import FREE, OCCUPIED, UNOBSERVED, classify_points

_SAMPLES = 48  # points of an object that are tested in a view
_RECENT = 4  # newest views that may contradict an object
WEAK = 0.5  # ratio of scores below which a proposal does not replace an object that it contains
_MARGIN_M = 0.03  # around the box of a proposal
POSSIBLE = 0.2  # probability from which a label that is not the first makes a noun known
NO_ID = 2**32 - 1  # of what is not in the object map: the robot, a named point, a planned object


@dataclass(frozen=True, eq=False)
class SceneObject:
    """An object of the object map.

    `id` is never reused; `box` world frame; `rgb` mean colour 0 .. 255; `score` 0 .. 1; `views` the
    largest number of views it was proposed from; `stamp_ns` of the last update that contained it;
    `points` (n, 3) float32 world metres; `label` and `color` are "" if unknown. `label_score`
    0 .. 1 is a detector's score of the label; 0: the label comes from the network. `labels` and
    `colors`: the likeliest ones with their probabilities, most probable first; () if unknown.
    `looks`: the same by attribute of categories.LOOKS.
    """

    id: int
    box: Box3D
    rgb: Vector
    score: float
    views: int
    stamp_ns: int
    points: np.ndarray
    label: str = ""
    color: str = ""
    label_score: float = 0.0
    labels: Labels = ()
    colors: tuple[tuple[str, float], ...] = ()
    looks: Mapping[str, Labels] = field(default_factory=dict)

    @property
    def nouns(self) -> tuple[str, ...]:
        """The label, and the other labels that may well be right."""
        others = (name for name, share in self.labels if share >= POSSIBLE and name != self.label)
        return (self.label, *others)

    @property
    def label_from_detector(self) -> bool:
        """Whether the label is a detector's."""
        return self.label_score > 0


def display_name(known: Any) -> str:
    """Color and label of a SceneObject or GroundedObject message; "#7" if both are unknown."""
    return " ".join(filter(None, (known.color, known.label))) or f"#{known.id}"


class ObjectTracker:
    """Objects with persistent ids, at most `max_objects`. Not thread-safe: the caller locks.

    Proposals are assigned to objects by box overlap, containment, colour and a detector's label.
    Objects out of view are kept, and so are labels. An object misses an update if it is in view
    without a proposal, or if its volume is measured as free. It is removed after `max_misses` in a
    row. Proposals much less probable than an object that they contain are left out: of one piece of
    furniture and wall, the furniture that other views showed alone stays.
    """

    def __init__(
        self, max_objects: int = 200, max_misses: int = 2, min_affinity: float = 0.25
    ) -> None:
        self._max_objects = max_objects
        self._max_misses = max_misses
        self._min_affinity = min_affinity
        self._next_id = 0
        self.clear()

    def clear(self) -> None:
        """Removes all objects; ids keep increasing."""
        self._objects: dict[int, SceneObject] = {}
        self._misses: dict[int, int] = {}

    def new_id(self) -> int:
        """A new id, never reused."""
        self._next_id += 1
        return self._next_id - 1

    def reserve_ids(self, first: int) -> None:
        """New ids are `first` or larger: the smaller ones belong to remembered objects."""
        self._next_id = max(self._next_id, first)

    @property
    def objects(self) -> tuple[SceneObject, ...]:
        """All objects, by id."""
        return tuple(self._objects[k] for k in sorted(self._objects))

    def update(self, proposals: Sequence[Proposal], snapshot: Snapshot) -> tuple[SceneObject, ...]:
        """Adds the proposals made from `snapshot`; returns all objects, by id."""
        stamp = snapshot.views[-1].frame.stamp_ns if snapshot.views else 0
        ids = sorted(self._objects)
        pairs = self._associate([self._objects[k] for k in ids], proposals)
        used = {column for _, column in pairs}
        rows = {row for row, _ in pairs}
        unmatched = [self._objects[k] for row, k in enumerate(ids) if row not in rows]
        weak = {
            column: held
            for column, proposal in enumerate(proposals)
            if column not in used and (held := _better_inside(proposal, unmatched))
        }
        for row, column in pairs:
            known = self._objects[ids[row]]
            self._objects[known.id] = _merged(known, proposals[column], stamp)
            self._misses[known.id] = 0
        self._count_misses([o.id for o in unmatched], set().union(*weak.values()), snapshot)
        for column, proposal in enumerate(proposals):
            if column not in used and column not in weak:
                self._add(proposal, stamp)
        self._limit()
        return self.objects

    def rotate(self, angle: float) -> None:
        """Rotates the world by `angle` rad about +z: boxes are fitted to the rotated points."""
        for known in self._objects.values():
            points = rotate_points(known.points, angle)
            low, high = known.box.rotated(angle).bounds()
            if len(points):
                low[:2], high[:2] = (np.quantile(points[:, :2], q, axis=0) for q in (0.01, 0.99))
            box = Box3D.from_bounds(low, high)
            self._objects[known.id] = replace(known, box=box, points=points)

    def _associate(
        self, known: Sequence[SceneObject], proposals: Sequence[Proposal]
    ) -> list[tuple[int, int]]:
        if not known or not proposals:
            return []
        return assign(_affinity(known, proposals), self._min_affinity)

    def _count_misses(self, ids: list[int], held: set[int], snapshot: Snapshot) -> None:
        """Counts a miss for each object without a proposal that the recent views cover; for those
        `held` by a weak proposal only if its volume is free.
        """
        if not ids or not snapshot.views:
            return
        points = [subsample(self._objects[k].points, _SAMPLES) for k in ids]
        owner = np.repeat(np.arange(len(ids)), [len(p) for p in points])
        total = np.bincount(owner, minlength=len(ids))
        states = [
            classify_points(np.concatenate(points), v.frame) for v in snapshot.views[-_RECENT:]
        ]
        observed = np.zeros(len(owner), bool)
        latest = np.full(len(owner), UNOBSERVED, np.int8)
        for state in states:
            observed |= state == OCCUPIED
            latest = np.where(state != UNOBSERVED, state, latest)
        free = np.bincount(owner[latest == FREE], minlength=len(ids)) / total
        occupied = np.bincount(owner[observed], minlength=len(ids)) / total
        for k, free_share, occupied_share in zip(ids, free, occupied, strict=True):
            if free_share > 0.6 or (occupied_share > 0.5 and k not in held):
                self._misses[k] += 1
                if self._misses[k] >= self._max_misses:
                    del self._objects[k], self._misses[k]

    def _add(self, proposal: Proposal, stamp_ns: int) -> None:
        new_id = self.new_id()
        self._objects[new_id] = SceneObject(
            new_id, proposal.box, proposal.rgb, proposal.score, proposal.views, stamp_ns,
            proposal.points, proposal.label, label_score=proposal.label_score,
            labels=proposal.labels, colors=proposal.colors,
        )  # fmt: skip
        self._misses[new_id] = 0

    def _limit(self) -> None:
        """Removes surplus objects: the oldest stamps first, then the lowest scores."""
        surplus = len(self._objects) - self._max_objects
        if surplus > 0:
            worst = sorted(self._objects.values(), key=lambda o: (o.stamp_ns, o.score, -o.id))
            for item in worst[:surplus]:
                del self._objects[item.id], self._misses[item.id]


def _better_inside(proposal: Proposal, known: Sequence[SceneObject]) -> set[int]:
    """Ids of the objects that a proposal contains and that are much more probable than it."""
    return {
        o.id
        for o in known
        if proposal.score < WEAK * o.score
        and len(o.points)
        and proposal.box.contains(o.points, _MARGIN_M).mean() > 0.5
    }


def _affinity(known: Sequence[SceneObject], proposals: Sequence[Proposal]) -> np.ndarray:
    """(K, P): IoU, plus terms for a centre inside the other box, volume, colour and label."""
    a = np.array([o.box.array() for o in known])
    b = np.array([p.box.array() for p in proposals])
    offset = np.abs(a[:, None, :3] - b[None, :, :3])
    inside = (offset < a[:, None, 3:] / 2).all(2) | (offset < b[None, :, 3:] / 2).all(2)
    volume_a, volume_b = (np.maximum(x[:, 3:], 0.01).prod(1) for x in (a, b))
    ratio = np.minimum(volume_a[:, None], volume_b) / np.maximum(volume_a[:, None], volume_b)
    color = np.array([o.rgb for o in known])[:, None] - np.array([p.rgb for p in proposals])[None]
    color = np.minimum(np.abs(color).sum(2) / 300, 0.5)
    near = iou_matrix(a, b) + 0.4 * inside * ratio - 0.3 * color
    labels = np.array([[_label_agreement(o.label, p.label) for p in proposals] for o in known])
    return near + 0.3 * labels * (near > 0)


def _label_agreement(label: str, other: str) -> int:
    """1 for labels of one kind, -1 for different ones, 0 if either is missing."""
    return (1 if same_kind(label, other) else -1) if label and other else 0


def _merged(known: SceneObject, proposal: Proposal, stamp_ns: int) -> SceneObject:
    """The object updated with a proposal; the one with more points has the larger weight."""
    share = len(proposal.points) / (len(proposal.points) + len(known.points))
    if share > 0.6:
        box, points = proposal.box, proposal.points  # much more of it is visible than before
    else:
        bounds = (1 - share) * np.array(known.box.bounds()) + share * np.array(
            proposal.box.bounds()
        )
        box, points = Box3D.from_bounds(*bounds), proposal.points if share > 0.4 else known.points
    rgb = vector((1 - share) * a + share * b for a, b in zip(known.rgb, proposal.rgb, strict=True))
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
        labels=known.labels if known.label and not proposal.label else proposal.labels,
        colors=mixed(known.colors, proposal.colors, share),
    )
