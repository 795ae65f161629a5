"""Transforms between frames, of a recording or as they come: chains of links, each interpolated.

Takes anything with the fields of `tf2_msgs/TFMessage`; neither ROS nor tf2 is needed. The node and
the bag reader share these lookups, which never extrapolate and name the link that fails; tf2's own
buffer would be a second set of rules.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.pose import NORM_TOLERANCE, invert, pose_matrix
from spatial3d_ros.sensors.pose_source import SECOND, PoseGapError, PoseTrack

UNREAD = 1000  # transforms kept of a link that no lookup has used: 10 s at 100 Hz
MAX_LINKS = 2000  # several robots have hundreds; more is a publisher that makes up names
FARTHEST_M = 1e9  # the earth frame of REP 105 is 6.4e6 m away; beyond, poses overflow
WORLD_FRAMES = ("map", "world", "odom")  # the first of these above the camera, else the top


@dataclass
class _Link:
    """`parent_T_child`, moving or fixed.

    Most links of a robot (fingers, wheels) are never looked up, and converting all to matrices
    would cost a good part of a core. So transforms wait `unread` until a chain uses the link.
    """

    parent: str
    child: str
    track: PoseTrack
    fixed: np.ndarray | None = None
    unread: deque[Any] = field(default_factory=deque)
    wanted: bool = False
    unstamped: bool = False
    held_s: float = 0.0

    def read(self) -> None:
        """Convert what waits to poses."""
        while self.unread:
            transform = self.unread.popleft()
            stamp = transform.header.stamp
            self.track.add(stamp.sec * 10**9 + stamp.nanosec, _pose(transform.transform))

    def at(self, stamp_ns: int) -> np.ndarray | None:
        if self.fixed is not None:
            return self.fixed
        if self.unstamped and self.track.newest is None:
            raise FrameError(
                f"{self.track.topic}: field header.stamp is 0. Publish it with its time, or on "
                "/tf_static if it never changes."
            )
        return self.track.at(stamp_ns)

    @property
    def is_correction(self) -> bool:
        """Whether it may correct a continuous frame below it, as map -> odom of REP 105."""
        moves = self.fixed is None
        return moves and not any(part in self.child for part in ("base", "footprint", "link"))

    def held(self, stamp_ns: int) -> np.ndarray | None:
        """The last pose at or before that time, if poses come more rarely than `max_gap`, or the
        last one is older than that; None where the next pose should be waited for.
        """
        found = self.track.held(stamp_ns)
        is_slow = 0 < self.track.hz * self.track.max_gap < SECOND
        if found is None or not (is_slow or found[1] * SECOND > self.track.max_gap):
            return None
        self.held_s = max(self.held_s, found[1])
        return found[0]

    def __str__(self) -> str:
        kind = f"moving, {self.track.hz:.1f} Hz" if self.fixed is None else "fixed"
        if self.fixed is None and self.unstamped:
            kind = "header.stamp is 0"
        return f"{self.parent} -> {self.child} ({kind})"


@dataclass(frozen=True)
class Chain:
    """The links from one frame to another: up to a common ancestor, and down again."""

    parent: str
    child: str
    up: Sequence[_Link]
    down: Sequence[_Link]

    @property
    def moving(self) -> list[PoseTrack]:
        """The tracks of the links that move, without a correction that is held."""
        held = self.correction if self.held_s else None
        return [link.track for link in self._moving_links() if link is not held]

    def at(self, stamp_ns: int) -> np.ndarray | None:
        """`parent_T_child` (4, 4); None after the last transform of a link.

        Raises FrameError, naming the link, before its first transform or in a gap.
        """
        held = self.correction
        waiting = [link for link in self._moving_links() if link is not held]
        if any(link.track.newest is not None and link.track.newest < stamp_ns for link in waiting):
            return None  # known without interpolating the others
        pose = np.eye(4)
        for link, turned in self._steps():
            step = self._corrected(link, stamp_ns) if link is held else link.at(stamp_ns)
            if step is None:
                return None
            pose = pose @ (invert(step) if turned else step)
        return pose

    @property
    def correction(self) -> _Link | None:
        """The topmost moving link if it corrects a moving one below it: it is held, not
        interpolated, where its transforms are further apart than the gap allowed (REP 105).
        """
        moving = [link for link in self.down if link.fixed is None]
        return moving[0] if not self.up and len(moving) > 1 and moving[0].is_correction else None

    @staticmethod
    def _corrected(link: _Link, stamp_ns: int) -> np.ndarray | None:
        try:
            step = link.at(stamp_ns)
        except PoseGapError:
            # Nearer to the one before than the gap allowed: that is held as well.
            found = link.track.held(stamp_ns)
            link.held_s = max(link.held_s, found[1] if found else 0.0)
            return found[0] if found else None
        return link.held(stamp_ns) if step is None else step

    @property
    def held_s(self) -> float:
        """Seconds for which the correction was held at most; 0 if it never was."""
        return self.correction.held_s if self.correction else 0.0

    @property
    def held_text(self) -> str:
        """The correction, its rate, and how long it was held."""
        link = self.correction
        if link is None:
            return ""
        return (
            f"{link.track.topic}: {link.track.hz:.1f} Hz, so each transform is held until the "
            f"next, up to {link.held_s:.1f} s (REP 105)"
        )

    def _moving_links(self) -> list[_Link]:
        return [link for link in (*self.up, *self.down) if link.fixed is None]

    def latest(self) -> np.ndarray:
        """The same from the newest transform of each link. Raises FrameError if a link has none."""
        pose = np.eye(4)
        for link, turned in self._steps():
            step = link.at(link.track.newest or 0)
            if step is None:
                raise FrameError(f"{link.track.topic}: nothing arrived since the clock went back")
            pose = pose @ (invert(step) if turned else step)
        return pose

    def _steps(self) -> Iterator[tuple[_Link, bool]]:
        """The links from parent to child, and whether each is traversed upwards."""
        yield from ((link, True) for link in self.up)
        yield from ((link, False) for link in self.down)


@dataclass
class TransformTree:
    """Every transform that was added. Like tf2 it ignores what is not a rigid transform.

    A link that is ever published as fixed is fixed. `max_gap_s` is the longest time between two
    transforms of a moving link around an image. A `live` tree forgets what is older than 10 s, and
    starts anew when the clock of a link goes back, which `rewinds` counts; other trees hold a whole
    recording before the first lookup. `add`, `lookup` and `latest` are thread-safe.
    """

    max_gap_s: float = 0.5
    live: bool = False
    rewinds: int = 0
    _links: dict[tuple[str, str], _Link] = field(default_factory=dict)
    _chains: dict[tuple[str, str], Chain] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, message: Any, *, fixed: bool) -> None:
        """Take all transforms of a message. Raises FrameError at the first of too many links."""
        with self._lock:
            for transform in message.transforms:
                self._add(transform, fixed)

    def _add(self, transform: Any, fixed: bool) -> None:
        if not _is_rigid(transform.transform):
            return
        parent, child = map(_plain, (transform.header.frame_id, transform.child_frame_id))
        link = self._links.get((parent, child))
        if link is None:
            if len(self._links) >= MAX_LINKS:
                raise FrameError(
                    f"/tf: {parent} -> {child} is left out, because there are {MAX_LINKS} links "
                    "already. Find the publisher that generates frame names."
                )
            name = f"TF {parent} -> {child}"
            track = PoseTrack if self.live else PoseTrack.of_recording
            unread: deque[Any] = deque(maxlen=UNREAD if self.live else None)
            link = _Link(parent, child, track(name, self.max_gap_s), unread=unread)
            self._links[parent, child] = link
            self._chains.clear()
        if fixed:
            link.fixed = _pose(transform.transform)
            return
        if transform.header.stamp.sec == transform.header.stamp.nanosec == 0:
            link.unstamped = True
            return
        link.unread.append(transform)
        if link.wanted:
            self._read(link)

    def _read(self, link: _Link) -> None:
        rewinds = link.track.rewinds
        link.read()
        newest = link.track.newest
        if link.track.rewinds != rewinds and newest is not None:
            self.rewinds += 1  # a loop: what other links know is of the old time too
            self.forget_after(newest)

    def forget_after(self, stamp_ns: int) -> None:
        """Forget the moving links that reach over a second beyond: they are of another time."""
        with self._lock:
            for link in self._links.values():
                if link.wanted:
                    link.track.forget_after(stamp_ns)
                else:
                    link.unread.clear()

    def lookup(self, parent: str, child: str, stamp_ns: int) -> np.ndarray | None:
        """`parent_T_child` (4, 4) at that time; None while a link's next transform is to come.

        Raises FrameError when it can never be known, or is not linked so far; it names the link.
        """
        with self._lock:
            return self._chain(parent, child).at(stamp_ns)

    def latest(self, parent: str, child: str) -> np.ndarray:
        """`parent_T_child` (4, 4) of the newest transform of every link. Raises FrameError."""
        with self._lock:
            return self._chain(parent, child).latest()

    def linked(self, parent: str, child: str) -> bool:
        """Whether a chain links one frame to the other."""
        with self._lock:
            try:
                return bool(self._chain(parent, child))
            except FrameError:
                return False

    def held(self, parent: str, child: str) -> str:
        """The correction between two frames that is held, and for how long; "" if none is."""
        with self._lock:
            chain = self._chain(parent, child) if self.linked(parent, child) else None
            return chain.held_text if chain and chain.held_s else ""

    def moving(self, parent: str, child: str) -> list[PoseTrack]:
        """The tracks of the links between two frames that move; none while they are not linked."""
        with self._lock:
            return self._chain(parent, child).moving if self.linked(parent, child) else []

    def _chain(self, parent: str, child: str) -> Chain:
        if (parent, child) not in self._chains:
            self._chains[parent, child] = self.chain(parent, child)
        return self._chains[parent, child]

    def __str__(self) -> str:
        return ", ".join(self.links()) or "nothing"

    def links(self) -> list[str]:
        """Every link as text: parent, child, fixed or its rate."""
        for link in self._links.values():
            link.read()
        return sorted(map(str, self._links.values()))

    def roots(self) -> list[str]:
        """The frames without parent: one, if the tree is connected."""
        parents, children = ({ends[k] for ends in self._links} for k in (0, 1))
        return sorted(parents - children)

    def world_of(self, frame: str) -> str:
        """The frame that a map above `frame` is in: map, world or odom, else the topmost."""
        above = [_plain(frame), *(link.parent for link in self._above(frame))]
        return next((name for name in WORLD_FRAMES if name in above), above[-1])

    def chain(self, parent: str, child: str) -> Chain:
        """The links between two frames.

        Raises FrameError that lists the known links and where the chain ends, if it is broken.
        """
        up, down = list(self._above(parent)), list(self._above(child))
        tops = [_plain(f) for f in (parent, child)]
        ways = [[tops[0], *(k.parent for k in up)], [tops[1], *(k.parent for k in down)]]
        meeting = next((name for name in ways[0] if name in ways[1]), None)
        if meeting is None:
            raise FrameError(
                f"TF: no chain from {tops[0]!r} to {tops[1]!r}: going up from the camera it ends "
                f"at {ways[1][-1]!r}, and nothing links {ways[0][-1]!r} to that. Known: {self}. "
                "Publish (or record) the missing link on /tf or /tf_static, or name another frame "
                "or pose topic"
            )
        chain = Chain(
            parent,
            child,
            up[: ways[0].index(meeting)],
            list(reversed(down[: ways[1].index(meeting)])),
        )
        for link in (*chain.up, *chain.down):
            link.wanted = True
            self._read(link)
        return chain

    def _above(self, frame: str) -> Iterator[_Link]:
        """The links from a frame to the top. Raises FrameError for two parents, or a circle."""
        frame = _plain(frame)
        met = {frame}
        while links := self._parents(frame):
            if len(links) > 1 or links[0].parent in met:
                parents = " and ".join(sorted(link.parent for link in links))
                raise FrameError(
                    f"TF: {frame!r} has several parents ({parents}): frames must form a tree. Stop "
                    "one of the publishers, or name a pose topic instead"
                )
            frame = links[0].parent
            met.add(frame)
            yield links[0]

    def _parents(self, frame: str) -> list[_Link]:
        """The links to the parents of a frame: one, unless it was re-parented within `history`."""
        links = [link for link in self._links.values() if link.child == frame]
        if len(links) < 2:
            return links
        for link in links:
            link.read()
        newest = max((link.track.newest or 0 for link in links), default=0)
        return [
            link
            for link in links
            if link.fixed is not None or (link.track.newest or 0) >= newest - link.track.history
        ]


def _is_rigid(transform: Any) -> bool:
    """Whether `_pose` accepts it: a finite translation, a quaternion of about unit length."""
    move, turn = transform.translation, transform.rotation
    length = math.hypot(turn.x, turn.y, turn.z, turn.w)
    near = math.hypot(move.x, move.y, move.z) < FARTHEST_M  # not so for nan either
    return near and abs(length - 1) < NORM_TOLERANCE


def _pose(transform: Any) -> np.ndarray:
    move, turn = transform.translation, transform.rotation
    return pose_matrix((move.x, move.y, move.z), (turn.x, turn.y, turn.z, turn.w))


def _plain(frame: str) -> str:
    """A frame's name without the leading slash of ROS 1."""
    return frame.lstrip("/")
