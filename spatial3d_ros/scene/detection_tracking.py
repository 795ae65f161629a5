"""What detectors from outside have seen: labelled boxes that are tracked over time.

A detector says the same thing again and again, each time a little differently, and now and then
something else. Sightings of one place become one track, whose label is what was said of it most;
tracks then name the built-in proposals that they overlap, or stand as proposals of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from spatial3d_ros.geometry.box import Box3D, iou_matrix
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.scene.visibility import EMPTY, UNSEEN, observe
from spatial3d_ros.scene.wall_alignment import turned_box, turned_points

SAME = 0.2  # affinity from which two sightings are of one thing
ALIKE = 0.6  # overlap (IoU) from which two boxes of one message are one thing with two labels
FITS = 0.35  # agreement from which a track and a built-in proposal are one thing
KEPT_LOOKS = 6  # newest sightings whose surface makes up the box of a track
FADING = 0.95  # what older words for a thing count, with each new one
MOVED_M = 0.05  # a box that moved less is the same as before
LEAST_POINTS = 8  # fewer say nothing about where a surface is
TRIM = 0.02  # share of the points at either end that does not count for a box
FILL = 5  # points along each side of a box whose surface nobody has seen
_PROBES = 48
_STRIDE = 4  # pixels between the points that are looked for in a detector's box
GREY = (128.0, 128.0, 128.0)


@dataclass(frozen=True, eq=False)
class Detection3D:
    """One detection, in the world frame of the memory.

    `box` metres; `label` is words, "" without; `score` 0 .. 1; `points` (n, 3) float32 of its
    surface, and `rgb` their mean colour 0 .. 255: none, and grey, where only a box was given.
    """

    box: Box3D
    label: str
    score: float
    stamp_ns: int
    points: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.float32))
    rgb: tuple[float, float, float] = GREY


@dataclass(eq=False)
class _Track:
    """Sightings of one thing; `said` sums up the scores of each label."""

    looks: list[Detection3D]
    said: dict[str, float]
    count: int = 1

    @property
    def newest(self) -> Detection3D:
        return self.looks[-1]

    @property
    def label(self) -> str:
        return max(self.said, key=self.said.__getitem__, default="")

    @property
    def score(self) -> float:
        """Best score of late, times the share of what was said that the label has."""
        total = sum(self.said.values())
        share = self.said[self.label] / total if total else 1.0
        return share * max(look.score for look in self.looks)

    def surface(self) -> np.ndarray:
        return np.concatenate([look.points for look in self.looks])

    def add(self, look: Detection3D, box: Box3D) -> None:
        if iou_matrix(_hull(self.newest.box), _hull(box))[0, 0] == 0:
            self.looks.clear()  # it was moved: where it stood is not its surface any more
        self.looks = [*self.looks[1 - KEPT_LOOKS :], look]
        self.count += 1
        self.hear(look)

    def hear(self, look: Detection3D) -> None:
        self.said = {label: value * FADING for label, value in self.said.items()}
        if look.label:
            self.said[look.label] = self.said.get(look.label, 0.0) + look.score


class DetectionTracker:
    """Tracks of at most `max_tracks` things. Not thread-safe: the caller locks."""

    def __init__(self, max_tracks: int = 200, min_sightings: int = 1) -> None:
        self._max_tracks = max_tracks
        self._min_sightings = min_sightings
        self._tracks: list[_Track] = []

    def __len__(self) -> int:
        return len(self._tracks)

    def clear(self) -> None:
        """Forget everything."""
        self._tracks.clear()

    def add(self, sightings: Sequence[Detection3D]) -> bool:
        """Take the sightings of one message; whether anything is new that a question could be
        about: a thing, its label, or its place.
        """
        looks = _distinct(sightings)
        before = {id(t): (t.label, t.newest.box) for t in self._tracks if self._counts(t)}
        known = list(self._tracks)
        taken = set()
        for row, column in _assign(_affinity(known, looks), SAME):
            known[row].add(looks[column][0], looks[column][0].box)
            for other in looks[column][1:]:
                known[row].hear(other)
            taken.add(column)
        for column, (first, *others) in enumerate(looks):
            if column not in taken:
                track = _Track([first], {first.label: first.score} if first.label else {})
                for other in others:
                    track.hear(other)
                self._tracks.append(track)
        self._tracks.sort(key=lambda t: t.newest.stamp_ns)
        del self._tracks[: -self._max_tracks]
        return any(
            _differs(before.get(id(t)), t.label, t.newest.box)
            for t in self._tracks
            if self._counts(t)
        )

    def forget_gone(self, frames: Sequence[Frame]) -> None:
        """Drop the tracks whose place a later frame sees empty; points and frames in one world."""
        self._tracks = [t for t in self._tracks if not _gone(t, frames)]

    def proposals(self, heading: float) -> list[Proposal]:
        """The tracks as labelled proposals in a world turned back by `heading` rad, where boxes
        along the axes fit furniture.
        """
        return [_proposal(t, heading) for t in self._tracks if self._counts(t)]

    def _counts(self, track: _Track) -> bool:
        return track.count >= self._min_sightings


def named(found: Sequence[Proposal], told: Sequence[Proposal]) -> list[Proposal]:
    """Built-in proposals with the labels of those that detectors told of; what these alone know of
    is added. All boxes axis-aligned in one world.

    Where both know of a thing, the box is the built-in one, made of all views at once, unless the
    detector gave a box of its own instead of pixels (a proposal without points).
    """
    named = list(found)
    agreement = np.array([[_agreement(f, t) for t in told] for f in found])
    pairs = dict(_assign(agreement.reshape(len(found), len(told)), FITS))
    for row, column in pairs.items():
        thing, word = found[row], told[column]
        named[row] = replace(
            thing,
            box=thing.box if len(word.points) else word.box,
            label=word.label,
            label_score=word.label_score,
            score=max(thing.score, word.score),
        )
    alone = set(range(len(told))) - set(pairs.values())
    return named + [told[column] for column in sorted(alone)]


def with_surface(proposal: Proposal, frames: Sequence[Frame]) -> Proposal:
    """The proposal with the points that frames measured in its box, if it brings none; a grid in
    it where there are too few. Box and frames in one world.
    """
    if len(proposal.points) >= LEAST_POINTS:
        return proposal
    inside, colors = [], []
    for frame in frames:
        points = frame.points_world(_STRIDE)
        here = proposal.box.contains(points)
        inside.append(points[here])
        colors.append(frame.rgb[::_STRIDE, ::_STRIDE][here])
    points, rgb = np.concatenate(inside), np.concatenate(colors)
    if len(points) >= LEAST_POINTS:
        chosen = np.linspace(0, len(points) - 1, min(len(points), 400)).astype(int)
        mean = tuple(map(float, rgb.mean(0)))
        return replace(proposal, points=points[chosen], rgb=mean)
    low, high = proposal.box.bounds()
    part = (np.arange(FILL) + 0.5) / FILL
    grid = np.stack(np.meshgrid(part, part, part), -1).reshape(-1, 3)
    return replace(proposal, points=(low + grid * (high - low)).astype(np.float32))


def _proposal(track: _Track, heading: float) -> Proposal:
    label, newest = track.label, track.newest
    points = turned_points(track.surface(), -heading)
    if len(points):
        box = Box3D.from_points(points, TRIM)
    else:
        box = Box3D.from_bounds(*turned_box(newest.box, -heading).bounds())
    return Proposal(
        box,
        points,
        newest.rgb,
        track.count,
        track.score,
        label,
        track.score if label else 0.0,
    )


def _distinct(sightings: Sequence[Detection3D]) -> list[list[Detection3D]]:
    """Best first; boxes of one message that are nearly the same are one thing, named twice."""
    groups: list[list[Detection3D]] = []
    boxes = np.empty((0, 6))
    for look in sorted(sightings, key=lambda s: -s.score):
        box = _hull(look.box)
        alike = iou_matrix(boxes, box)[:, 0]
        if len(alike) and alike.max() > ALIKE:
            groups[int(alike.argmax())].append(look)
        else:
            groups.append([look])
            boxes = np.concatenate([boxes, box])
    return groups


def _affinity(tracks: Sequence[_Track], looks: Sequence[Sequence[Detection3D]]) -> np.ndarray:
    """(T, S): overlap, a centre inside the other box, and a bonus for the same word."""
    a = np.concatenate([np.empty((0, 6)), *(_hull(t.newest.box) for t in tracks)])
    b = np.concatenate([np.empty((0, 6)), *(_hull(group[0].box) for group in looks)])
    offset = np.abs(a[:, None, :3] - b[None, :, :3])
    inside = (offset <= np.maximum(a[:, None, 3:], b[None, :, 3:]) / 2).all(2)
    near = iou_matrix(a, b) + 0.3 * inside
    same = np.array([[t.label == group[0].label for group in looks] for t in tracks])
    return near + 0.2 * same.reshape(near.shape) * (near > 0)


def _assign(affinity: np.ndarray, least: float) -> list[tuple[int, int]]:
    if not affinity.size:
        return []
    rows, columns = linear_sum_assignment(-affinity)
    good = affinity[rows, columns] >= least
    return list(zip(rows[good].tolist(), columns[good].tolist(), strict=True))


def _agreement(found: Proposal, told: Proposal) -> float:
    """How much of each lies in the other, 0 .. 1: of their surfaces, or of their boxes."""
    overlap = float(iou_matrix(found.box.array(), told.box.array())[0, 0])
    if not len(found.points) or not len(told.points):
        return overlap
    margin = 0.03
    there = found.box.contains(told.points, margin).mean()
    back = told.box.contains(found.points, margin).mean()
    return max(overlap, float(there * back))


def _gone(track: _Track, frames: Sequence[Frame]) -> bool:
    """Whether the newest later frame that looks there sees through most of it."""
    points = track.surface()
    if len(points) < LEAST_POINTS:
        return False
    points = points[np.linspace(0, len(points) - 1, min(len(points), _PROBES)).astype(int)]
    for frame in reversed(frames):
        if frame.stamp_ns <= track.newest.stamp_ns:
            return False
        state = observe(points, frame)
        if np.mean(state == UNSEEN) < 0.4:
            return bool(np.mean(state == EMPTY) > 0.6)
    return False


def _differs(before: tuple[str, Box3D] | None, label: str, box: Box3D) -> bool:
    if before is None or before[0] != label:
        return True
    return bool(np.abs(before[1].array() - box.array()).max() > MOVED_M)


def _hull(box: Box3D) -> np.ndarray:
    """Centre and size of the axis-aligned hull (1, 6)."""
    low, high = box.bounds()
    return np.concatenate([(low + high) / 2, high - low])[None]
