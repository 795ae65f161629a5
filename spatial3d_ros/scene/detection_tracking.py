"""Tracks of labelled 3D detections.

A detector reports one object many times, with boxes and labels that vary. Detections that overlap
become one track; its labels are the distribution that they fuse to. `detection_fusion` joins tracks
with the built-in proposals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from spatial3d_ros.geometry.box import Box3D, Vector, iou_matrix
from spatial3d_ros.geometry.pose import rotate_points
from spatial3d_ros.geometry.voxels import subsample
from spatial3d_ros.scene.association import assign
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.label_distribution import (
    MIN_SHARE,
    Labels,
    fuse,
    ranked,
    same_kind,
)
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.scene.visibility import FREE, OCCUPIED, UNOBSERVED, classify_points

MIN_AFFINITY = 0.2  # of a detection and a track for the detection to continue the track
DUPLICATE_IOU = 0.6  # two boxes of one message that overlap more are one object with two labels
MAX_DETECTIONS = 6  # newest detections whose points make up the box of a track
LABEL_DECAY = 0.95  # factor on the weight of a detection with each newer one
MAX_VOTES = 24  # newest detections whose labels count
MOVED_M = 0.05  # a box that moved less is unchanged
MIN_POINTS = 8  # fewer points do not locate a surface
TRIM = 0.02  # quantile of the points at either end that a box leaves out
_PROBES = 48  # points of a track that are tested in a view
SAME_VIEW_NS = 200_000_000  # a view this close to a message shows what its detector looked at
IN_VIEW = 0.7  # share of the points of a track that a view shows if a detector should see it
MIN_UNSEEN = 4  # views in which a detector should have seen a track, before they count
MIN_PRESENCE = 0.2  # share of detections among them and the views without one
MAX_MESSAGES = 256  # newest messages whose stamps are known
GRAY = (128.0, 128.0, 128.0)


@dataclass(frozen=True, eq=False)
class Detection3D:
    """One detection in the world frame of the view buffer.

    `box` in metres; `label` "" if unknown; `score` 0 .. 1; `points` (n, 3) float32 of the surface
    and `rgb` their mean colour 0 .. 255: no points, and gray, if the detector gave only a box.
    `others` are further labels that it may have; `weight` 0 .. 1 says how well it was seen;
    `colors` are the names of the colors of the surface.
    """

    box: Box3D
    label: str
    score: float
    stamp_ns: int
    points: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.float32))
    rgb: Vector = GRAY
    others: Labels = ()
    weight: float = 1.0
    colors: Labels = ()


class _Track:
    """Newest detections of one object, and the `labels` that they fuse to."""

    def __init__(self, detection: Detection3D) -> None:
        self.detections = [detection]
        self.count = 1
        self._stamps: deque[int] = deque([detection.stamp_ns], maxlen=MAX_MESSAGES)
        self.unseen: set[int] = set()  # stamps of views that show its place without a detection
        self.labels: Labels = ()
        self._votes: deque[tuple[Labels, float]] = deque(maxlen=MAX_VOTES)
        self.vote(detection)

    @property
    def newest(self) -> Detection3D:
        return self.detections[-1]

    @property
    def label(self) -> str:
        return self.labels[0][0] if self.labels else ""

    @property
    def score(self) -> float:
        """Best recent score, times the probability of the label among those named."""
        total = sum(share for _, share in self.labels)
        share = self.labels[0][1] / total if total else 1.0
        return share * max(one.score for one in self.detections)

    @property
    def is_doubtful(self) -> bool:
        """Whether the detector finds nothing here in most views of the place."""
        return len(self.unseen) >= MIN_UNSEEN and self.count < MIN_PRESENCE * (
            self.count + len(self.unseen)
        )

    def seen_near(self, stamp_ns: int) -> bool:
        """Whether a detection is of a view with some stamp."""
        return any(abs(own - stamp_ns) <= SAME_VIEW_NS for own in self._stamps)

    def points(self) -> np.ndarray:
        return np.concatenate([one.points for one in self.detections])

    def add(self, detection: Detection3D) -> None:
        if iou_matrix(_hull_array(self.newest.box), _hull_array(detection.box))[0, 0] == 0:
            self.detections.clear()  # it was moved: older points are no longer its surface
            self.unseen.clear()
        self.detections = [*self.detections[1 - MAX_DETECTIONS :], detection]
        self.count += 1
        self._stamps.append(detection.stamp_ns)
        self.vote(detection)

    def vote(self, detection: Detection3D) -> None:
        if detection.label:
            named = ranked([(detection.label, max(detection.score, MIN_SHARE)), *detection.others])
            self._votes.append((named, detection.weight))
            newest = len(self._votes) - 1
            self.labels = fuse(
                [(v, w * LABEL_DECAY ** (newest - k)) for k, (v, w) in enumerate(self._votes)]
            )


class DetectionTracker:
    """At most `max_tracks` tracks; one counts after `min_hits`. Not thread-safe."""

    def __init__(self, max_tracks: int = 200, min_hits: int = 1) -> None:
        self._max_tracks = max_tracks
        self._min_sightings = min_hits
        self._tracks: list[_Track] = []
        self._messages: deque[int] = deque(maxlen=MAX_MESSAGES)  # stamps

    def __len__(self) -> int:
        return len(self._tracks)

    def clear(self) -> None:
        """Drops all tracks."""
        self._tracks.clear()
        self._messages.clear()

    def add(self, detections: Sequence[Detection3D]) -> bool:
        """Adds the detections of one message; returns whether an object, its label or its position
        is new.
        """
        groups = _group_duplicates(detections)
        self._messages.extend({detection.stamp_ns for detection in detections})
        before = {id(t): (t.label, t.newest.box) for t in self._tracks if self._counts(t)}
        known = list(self._tracks)
        taken = set()
        for row, column in assign(_affinity(known, groups), MIN_AFFINITY):
            first, *others = groups[column]
            known[row].add(first)
            for other in others:
                known[row].vote(other)
            taken.add(column)
        for column, (first, *others) in enumerate(groups):
            if column not in taken:
                track = _Track(first)
                for other in others:
                    track.vote(other)
                self._tracks.append(track)
        self._tracks.sort(key=lambda t: t.newest.stamp_ns)
        del self._tracks[: -self._max_tracks]
        return any(
            _differs(before.get(id(t)), t.label, t.newest.box)
            for t in self._tracks
            if self._counts(t)
        )

    def remove_disappeared(self, frames: Sequence[Frame]) -> None:
        """Drops the tracks whose volume a later frame measures as free; all in one world frame."""
        self._tracks = [t for t in self._tracks if not _disappeared(t, frames)]

    def count_unseen(self, frames: Sequence[Frame]) -> None:
        """Counts, for each track, the views of recognised images that show its place and in which
        nothing was detected there; all in one world frame.
        """
        measured = [t for t in self._tracks if len(t.newest.points) >= MIN_POINTS]
        if not measured or not self._messages:
            return
        points = [subsample(t.newest.points, _PROBES) for t in measured]
        owner = np.repeat(np.arange(len(points)), [len(p) for p in points])
        total, stacked = np.bincount(owner), np.concatenate(points)
        messages = np.array(self._messages)
        for frame in frames:
            if np.abs(messages - frame.stamp_ns).min() > SAME_VIEW_NS:
                continue
            state = classify_points(stacked, frame)
            shown = np.bincount(owner[state == OCCUPIED], minlength=len(points)) >= IN_VIEW * total
            for track in np.array(measured, object)[shown]:
                if not track.seen_near(frame.stamp_ns):
                    track.unseen.add(frame.stamp_ns)

    def proposals(self, heading: float) -> list[Proposal]:
        """The tracks as labelled proposals in the world rotated by -`heading` rad, where
        axis-aligned boxes are tight on furniture.
        """
        return [_proposal(t, heading) for t in self._tracks if self._counts(t)]

    def _counts(self, track: _Track) -> bool:
        return track.count >= self._min_sightings and not track.is_doubtful


def _proposal(track: _Track, heading: float) -> Proposal:
    label, newest = track.label, track.newest
    points = rotate_points(track.points(), -heading)
    hull = newest.box.rotated(-heading).hull()
    return Proposal(
        Box3D.from_points(points, TRIM) if len(points) else hull,
        points,
        newest.rgb,
        track.count,
        track.score,
        label,
        track.score if label else 0.0,
        track.labels,
        newest.colors,
    )


def _group_duplicates(detections: Sequence[Detection3D]) -> list[list[Detection3D]]:
    """Groups of boxes of one message that nearly coincide; highest score first."""
    groups: list[list[Detection3D]] = []
    boxes = np.empty((0, 6))
    for detection in sorted(detections, key=lambda one: -one.score):
        box = _hull_array(detection.box)
        iou = iou_matrix(boxes, box)[:, 0]
        if len(iou) and iou.max() > DUPLICATE_IOU:
            groups[int(iou.argmax())].append(detection)
        else:
            groups.append([detection])
            boxes = np.concatenate([boxes, box])
    return groups


def _affinity(tracks: Sequence[_Track], groups: Sequence[Sequence[Detection3D]]) -> np.ndarray:
    """(T, G): IoU, plus a term for a centre inside the other box, of its size if the nouns differ,
    and one for equal nouns.
    """
    a = np.concatenate([np.empty((0, 6)), *(_hull_array(t.newest.box) for t in tracks)])
    b = np.concatenate([np.empty((0, 6)), *(_hull_array(group[0].box) for group in groups)])
    offset = np.abs(a[:, None, :3] - b[None, :, :3])
    inside = (offset <= np.maximum(a[:, None, 3:], b[None, :, 3:]) / 2).all(2)
    same = np.array([[same_kind(t.label, group[0].label) for group in groups] for t in tracks])
    same = same.reshape(len(a), len(b))
    volume_a, volume_b = (np.maximum(x[:, 3:], 0.01).prod(1) for x in (a, b))
    ratio = np.minimum(volume_a[:, None], volume_b) / np.maximum(volume_a[:, None], volume_b)
    near = iou_matrix(a, b) + 0.3 * inside * np.where(same, 1.0, ratio)
    return near + 0.2 * same * (near > 0)


def _disappeared(track: _Track, frames: Sequence[Frame]) -> bool:
    """Whether the newest later frame that covers the track measures most of it as free."""
    points = track.points()
    if len(points) < MIN_POINTS:
        return False
    points = subsample(points, _PROBES)
    for frame in reversed(frames):
        if frame.stamp_ns <= track.newest.stamp_ns:
            return False
        state = classify_points(points, frame)
        if np.mean(state == UNOBSERVED) < 0.4:
            return bool(np.mean(state == FREE) > 0.6)
    return False


def _differs(before: tuple[str, Box3D] | None, label: str, box: Box3D) -> bool:
    if before is None or before[0] != label:
        return True
    return bool(np.abs(before[1].array() - box.array()).max() > MOVED_M)


def _hull_array(box: Box3D) -> np.ndarray:
    """Centre and size of the axis-aligned hull, (1, 6)."""
    return box.hull().array()[None]
