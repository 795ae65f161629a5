"""Camera poses from the transforms of a recording: chains of frames, each link interpolated.

Takes anything shaped like `tf2_msgs/TFMessage`; ROS is not needed. The whole recording is read
first, so a transform may come after the image that needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.pose import invert, pose_matrix
from spatial3d_ros.sensors.pose_source import PoseTrack

WORLD_FRAMES = ("map", "world", "odom")  # the first of these above the camera, else the top


@dataclass
class _Link:
    """`parent_T_child`, moving or fixed."""

    parent: str
    child: str
    track: PoseTrack
    fixed: np.ndarray | None = None

    def at(self, stamp_ns: int) -> np.ndarray | None:
        return self.track.at(stamp_ns) if self.fixed is None else self.fixed

    def __str__(self) -> str:
        kind = f"moving, {self.track.hz:.1f} Hz" if self.fixed is None else "fixed"
        return f"{self.parent} -> {self.child} ({kind})"


@dataclass(frozen=True)
class Chain:
    """The way from one frame to another: up to a frame above both, and down again."""

    parent: str
    child: str
    up: Sequence[_Link]
    down: Sequence[_Link]

    @property
    def moving(self) -> list[PoseTrack]:
        """The tracks of the links that move."""
        return [link.track for link in (*self.up, *self.down) if link.fixed is None]

    def at(self, stamp_ns: int) -> np.ndarray | None:
        """`parent_T_child` (4, 4); None after the last transform of a link.

        Raises FrameError, naming the link, before its first transform or in a gap.
        """
        pose = np.eye(4)
        for links, turned in ((self.up, True), (self.down, False)):
            for link in links:
                step = link.at(stamp_ns)
                if step is None:
                    return None
                pose = pose @ (invert(step) if turned else step)
        return pose


@dataclass
class TransformTree:
    """Every transform of a recording. Like tf2 it ignores what is not a rigid transform.

    A link that is ever published as fixed is fixed. `max_gap_s` is how long a moving link may be
    silent around an image.
    """

    max_gap_s: float = 0.5
    _links: dict[tuple[str, str], _Link] = field(default_factory=dict)

    def add(self, message: Any, *, fixed: bool) -> None:
        """Take all transforms of a message."""
        for transform in message.transforms:
            parent, child = map(_plain, (transform.header.frame_id, transform.child_frame_id))
            move, turn = transform.transform.translation, transform.transform.rotation
            try:
                pose = pose_matrix((move.x, move.y, move.z), (turn.x, turn.y, turn.z, turn.w))
            except FrameError:
                continue
            if (parent, child) not in self._links:
                track = PoseTrack.of_recording(f"TF {parent} -> {child}", self.max_gap_s)
                self._links[parent, child] = _Link(parent, child, track)
            link = self._links[parent, child]
            if fixed:
                link.fixed = pose
            else:
                stamp = transform.header.stamp
                link.track.add(stamp.sec * 10**9 + stamp.nanosec, pose)

    def __str__(self) -> str:
        return ", ".join(self.links()) or "nothing"

    def links(self) -> list[str]:
        """Every link in words: parent, child, fixed or how often it moves."""
        return sorted(map(str, self._links.values()))

    def roots(self) -> list[str]:
        """The frames that hang from none: one, where the tree is whole."""
        parents, children = ({ends[k] for ends in self._links} for k in (0, 1))
        return sorted(parents - children)

    def world_of(self, frame: str) -> str:
        """The frame that a map above `frame` is in: map, world or odom, else the topmost."""
        above = [_plain(frame), *(link.parent for link in self._above(frame))]
        return next((name for name in WORLD_FRAMES if name in above), above[-1])

    def chain(self, parent: str, child: str) -> Chain:
        """The links between two frames.

        Raises FrameError that says what is known, and where the chain ends, when they do not meet.
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
        return Chain(
            parent,
            child,
            up[: ways[0].index(meeting)],
            list(reversed(down[: ways[1].index(meeting)])),
        )

    def _above(self, frame: str) -> Iterator[_Link]:
        """The links from a frame to the top. Raises FrameError for two parents, or a circle."""
        frame = _plain(frame)
        met = {frame}
        while links := [link for link in self._links.values() if link.child == frame]:
            if len(links) > 1 or links[0].parent in met:
                parents = " and ".join(sorted(link.parent for link in links))
                raise FrameError(
                    f"TF: {frame!r} hangs from {parents}: frames must form a tree. Stop one of the "
                    "publishers, or name a pose topic instead"
                )
            frame = links[0].parent
            met.add(frame)
            yield links[0]


def _plain(frame: str) -> str:
    """A frame's name without the slash that ROS 1 put before it."""
    return frame.lstrip("/")
