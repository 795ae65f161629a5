"""The view buffer: the least redundant views of the last minute, bounded and thread-safe."""

from __future__ import annotations

import math
import threading
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.errors import ConfigError, FrameError
from spatial3d_ros.scene.frame import Frame

# Coarse enough that neighbouring samples of a view up to about 6 m away share voxels.
REDUNDANCY_VOXEL_M = 0.2


@dataclass(frozen=True, eq=False)
class View:
    """A keyframe in the buffer; `id` is never reused."""

    id: int
    frame: Frame


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of the buffer: views in time order. Equal versions mean equal views."""

    version: int
    views: tuple[View, ...]


class ViewBuffer:
    """Keeps views within three bounds; every method may be called from any thread.

    Views more than `max_seconds` older than the newest are dropped first; beyond `max_views` the
    most redundant view, whose voxels the other views cover best; beyond `max_bytes` of images the
    oldest view. The newest view always stays.

    Raises:
        ConfigError: a bound is not a positive number.
    """

    def __init__(
        self, max_views: int = 16, max_seconds: float = 60.0, max_bytes: int = 512 * 2**20
    ) -> None:
        bounds = {"max_views": max_views, "max_seconds": max_seconds, "max_bytes": max_bytes}
        for name, bound in bounds.items():
            if not 0 < bound < math.inf:
                raise ConfigError(f"{name} is {bound}; it must be a positive number")
        self._max_views = max_views
        self._max_ns = round(max_seconds * 1e9)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._snapshot = Snapshot(0, ())
        self._voxels: dict[int, np.ndarray] = {}  # voxel keys by view id
        self._next_id = 0

    def add(self, frame: Frame) -> int:
        """Adds a frame, drops the views that exceed the bounds, and returns the new version.

        Raises:
            FrameError: the frame is older than the newest view of its camera, has another world
                frame, or alone exceeds `max_bytes`. The buffer stays unchanged.
        """
        if frame.nbytes > self._max_bytes:
            raise FrameError(
                f"rgb, depth: {frame.nbytes} bytes exceed max_bytes = {self._max_bytes}; "
                "raise max_bytes or send smaller images"
            )
        voxels = frame.voxels(REDUNDANCY_VOXEL_M)
        with self._lock:
            views = self._snapshot.views
            _check_follows(frame, views)
            view = View(self._next_id, frame)
            self._next_id += 1
            self._voxels[view.id] = voxels
            ordered = list(views)
            insort(ordered, view, key=lambda entry: entry.frame.stamp_ns)
            return self._publish(self._within_bounds(ordered))

    def snapshot(self) -> Snapshot:
        """The current state, immutable, in constant time."""
        return self._snapshot

    def bump_version(self) -> int:
        """Starts a new version of the same views and returns it, for results that have to be made
        again.
        """
        with self._lock:
            return self._publish(list(self._snapshot.views))

    def clear(self) -> None:
        """Drops all views; versions and view ids keep increasing."""
        with self._lock:
            self._publish([])

    @property
    def nbytes(self) -> int:
        """Bytes of all images in the buffer."""
        return _nbytes(self._snapshot.views)

    def _within_bounds(self, views: list[View]) -> list[View]:
        newest_ns = views[-1].frame.stamp_ns
        views = [v for v in views if newest_ns - v.frame.stamp_ns <= self._max_ns]
        if len(views) > self._max_views:
            del views[self._most_redundant(views)]
        while _nbytes(views) > self._max_bytes:
            del views[0]
        return views

    def _most_redundant(self, views: list[View]) -> int:
        """Index of the view with the smallest share of voxels of its own; of equal ones the oldest,
        never the newest.
        """
        seen = [self._voxels[v.id] for v in views]
        _, inverse, counts = np.unique(
            np.concatenate(seen), return_inverse=True, return_counts=True
        )
        unique = counts[inverse] == 1
        ends = np.cumsum([len(voxels) for voxels in seen])
        share = [part.mean() if len(part) else 0.0 for part in np.split(unique, ends[:-1])]
        return int(np.argmin(share[:-1]))

    def _publish(self, views: list[View]) -> int:
        version = self._snapshot.version + 1
        self._snapshot = Snapshot(version, tuple(views))
        self._voxels = {v.id: self._voxels[v.id] for v in views}
        return version


def _check_follows(frame: Frame, views: Iterable[View]) -> None:
    """Cameras take turns, but the frames of one camera come in the order of their stamps."""
    known = [view.frame for view in views]
    if not known:
        return
    newest = max(
        (f for f in known if f.source == frame.source), default=None, key=lambda f: f.stamp_ns
    )
    if newest is not None and frame.stamp_ns < newest.stamp_ns:
        seconds = (newest.stamp_ns - frame.stamp_ns) / 1e9
        raise FrameError(
            f"stamp_ns: {seconds:.3f} s older than the newest view; "
            "if a recording started over, clear the memory first"
        )
    if frame.frame_id != known[-1].frame_id:
        raise FrameError(
            f"frame_id: '{frame.frame_id}' but the memory is in '{known[-1].frame_id}'; "
            "keep one world frame, or clear the memory first"
        )


def _nbytes(views: Iterable[View]) -> int:
    return sum(view.frame.nbytes for view in views)
