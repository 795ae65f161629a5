"""From sensor messages to frames: synchronise, find the pose, select, decode.

Messages go in, and each call returns the items that it made ready. Selecting precedes decoding:
most images of a 30 Hz camera show nothing new, and the pose alone shows it. ROS is not needed.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.pose import motion
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors.accounting import (
    DAMAGED,
    GAP,
    NO_DEPTH,
    NO_POSE,
    NO_STAMP,
    FrameAccount,
    account,
)
from spatial3d_ros.sensors.camera_poses import CameraPoses, stamp_of
from spatial3d_ros.sensors.frame_builder import EmptyDepthError, FrameBuilder, SyncedFrame
from spatial3d_ros.sensors.pose_source import PoseGapError
from spatial3d_ros.sensors.synchronizer import SECOND, Pair, Synchronizer

JUMP_M, JUMP_M_S = 0.5, 20.0  # further and faster than this between two images is no motion
JUMP, RESTART = "jump", "restart"  # reasons of problems that lose no frame
AGAIN_M, AGAIN_RAD = 0.1, 0.1  # this near to the first pose, a jump is a recording that starts over
UNUSABLE_POSE = "unusable pose"
MAX_PENDING = 32  # synchronised pairs that wait for a pose: a second of a 30 Hz camera


class Problem(NamedTuple):
    """Input that cannot be used: why, its topic, and the field at fault with the way out.

    `reason` is one of a few short texts, to count by.
    """

    reason: str
    topic: str
    text: str

    @classmethod
    def of(cls, reason: str, error: FrameError) -> Problem:
        """The problem of an error whose text begins with the topic."""
        topic, _, text = str(error).partition(": ")
        return cls(reason, topic, text)

    def __str__(self) -> str:
        return f"{self.topic}: {self.text}"


@dataclass(frozen=True)
class Rewind:
    """The clock of the images went back (a looping bag): earlier views are of another time."""


Item = SyncedFrame | Rewind | Problem


@dataclass(frozen=True)
class KeyframeGate:
    """When a synchronised pair is worth decoding.

    The camera moved by one of the two thresholds since the last keyframe, or `still_s` passed
    (objects move too); and never more often than `max_hz`.
    """

    translation_m: float = 0.15
    rotation_rad: float = 0.26
    max_hz: float = 10.0
    still_s: float = 2.0

    def opens(self, waited_s: float, metres: float, radians: float) -> bool:
        """Whether to decode.

        Args:
            waited_s: time since the last decoded pair.
            metres, radians: motion of the camera since the last keyframe.
        """
        if waited_s < 1.0 / self.max_hz:
            return False
        moved = metres >= self.translation_m or radians >= self.rotation_rad
        return moved or waited_s >= self.still_s


class FramePipeline:
    """Messages of the four topics in any order in; synced frames, rewinds and problems out.

    Every `add_*` takes microseconds and returns the items that the message made ready, in the
    order in which they must be handled. Every pair with a pose becomes a `SyncedFrame`. For a
    `selected` one the caller calls `decode`, on any thread, and then `finish`; until `finish` no
    other is selected, because the next one to arrive is newer and as good. Without a `gate` every
    pair is selected.

    Nothing is raised for bad data: it becomes a `Problem` and is counted in `lost`. `aligned`
    is "yes" or "by us": whether depth of the last decoded frame was aligned to colour. Not
    thread-safe, except `decode`: the caller's lock keeps calls apart.
    """

    def __init__(
        self,
        builder: FrameBuilder,
        sync: Synchronizer,
        poses: CameraPoses,
        gate: KeyframeGate | None,
        *,
        max_pose_wait_s: float = 1.0,
    ) -> None:
        self.topics = builder.topics
        self.sync = sync
        self.poses = poses
        self.counts: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.aligned = ""
        self._builder = builder
        self._gate = gate
        self._max_wait = round(max_pose_wait_s * SECOND)
        self._pending: deque[Pair] = deque()
        self._info: Any = None
        self._depth_info: Any = None
        self._decoding = False
        self._keyframe_pose: np.ndarray | None = None
        self._pose_rewinds = 0
        self._restart()

    def add_color(self, message: Any) -> list[Item]:
        """A colour image (or its compressed form)."""
        self.counts["color"] += 1
        return self._add_image(self.topics.color, self.sync.add_color, message)

    def add_depth(self, message: Any) -> list[Item]:
        """A depth image (or its compressed form)."""
        self.counts["depth"] += 1
        return self._add_image(self.topics.depth, self.sync.add_depth, message)

    def add_camera_info(self, message: Any) -> list[Item]:
        """The calibration of the colour image; the newest one is used."""
        self.counts["camera_info"] += 1
        self._info = message
        return []

    def add_depth_info(self, message: Any) -> list[Item]:
        """The calibration of the depth image, needed if depth is not aligned to colour."""
        self._depth_info = message
        return []

    def add_pose(self, message: Any, *, taken: bool = False) -> list[Item]:
        """A PoseStamped, Odometry or TFMessage, as the pose source takes it.

        `taken`: another camera whose poses come from the same tree of transforms has taken it.
        """
        self.counts["pose"] += 1
        items: list[Item] = []
        try:
            if not taken:
                self.poses.take(message)
        except FrameError as error:
            items.append(self._refuse(UNUSABLE_POSE, error))
        if self.poses.rewinds != self._pose_rewinds:
            self._pose_rewinds = self.poses.rewinds
            self._pending.clear()
        return items + self._flush()

    @property
    def pending(self) -> int:
        """Synchronised pairs that wait for their pose."""
        return len(self._pending)

    def decode(self, synced: SyncedFrame) -> Frame:
        """The frame of a synced one; takes milliseconds. Raises FrameError."""
        self.aligned = self._builder.aligned(synced.color, synced.depth)
        return self._builder.build(synced)

    def inspect(self, synced: SyncedFrame) -> None:
        """Raise the FrameError of `decode` that the images show without being decoded."""
        self._builder.inspect(synced)

    def finish(
        self, synced: SyncedFrame, *, keyframe: bool = False, error: FrameError | None = None
    ) -> Problem | None:
        """A selected frame is dealt with: whether it became a keyframe, or why it is unusable."""
        self._decoding = False
        self.counts["decoded"] += 1
        self.counts["keyframes"] += keyframe
        if keyframe and synced.epoch == self.sync.rewinds:
            self._keyframe_pose = synced.world_T_camera
        if error is None:
            return None
        return self._refuse(NO_DEPTH if isinstance(error, EmptyDepthError) else DAMAGED, error)

    @property
    def account(self) -> FrameAccount:
        """Frames found, used and lost, since the start."""
        return account(self.counts, self.sync.counts, self.lost, self.sync.late_stream)

    def _add_image(
        self, topic: str, add: Callable[[int, Any], list[Pair]], message: Any
    ) -> list[Item]:
        try:
            stamp = stamp_of(message, topic)
        except FrameError as error:
            return [self._refuse(NO_STAMP, error)]
        items: list[Item] = []
        rewinds = self.sync.rewinds
        pairs = add(stamp, message)
        if self.sync.rewinds != rewinds:
            self._restart()
            self.poses.forget_after(stamp)
            items.append(Rewind())
        self._pending.extend(pairs)
        return items + self._flush()

    def _restart(self) -> None:
        """Forget what belongs to a clock that went back; the calibration stays."""
        self._pending.clear()
        self._keyframe_pose = None
        self._selected_at = 0
        self._last: tuple[int, np.ndarray] | None = None
        self._first_pose: np.ndarray | None = None

    def _flush(self) -> list[Item]:
        """Every waiting pair whose pose is known by now, oldest first."""
        items: list[Item] = []
        while self._pending:
            pair = self._pending[0]
            if self._precedes_poses(pair.stamp_ns):
                self.counts["before the first pose"] += 1
                self._pending.popleft()
                continue
            try:
                camera = pair.color.header.frame_id
                pose = self.poses.at(pair.stamp_ns, camera)
                if pose is None:
                    waited = self._pending[-1].stamp_ns - pair.stamp_ns
                    if waited <= self._max_wait and len(self._pending) <= MAX_PENDING:
                        break
                    raise FrameError(self.poses.why_late(pair.stamp_ns, camera))
                items += self._jumps(pair.stamp_ns, pose)
                items.append(self._synced(pair, pose))
            except FrameError as error:
                reason = GAP if isinstance(error, PoseGapError) else NO_POSE
                items.append(self._refuse(reason, error))
            self._pending.popleft()
        return items

    def _precedes_poses(self, stamp_ns: int) -> bool:
        """Whether the image is from just before the first pose, as happens at every start."""
        oldest = self.poses.oldest
        return oldest is not None and 0 < oldest - stamp_ns <= self._max_wait

    def _jumps(self, stamp_ns: int, world_T_camera: np.ndarray) -> list[Problem]:
        """A problem if the camera moved faster than anything can: a discontinuous world frame, or
        a recording that is played again with new stamps.
        """
        if self._first_pose is None:
            self._first_pose = world_T_camera
        last, self._last = self._last, (stamp_ns, world_T_camera)
        if last is None:
            return []
        seconds = (stamp_ns - last[0]) / SECOND
        metres = float(np.linalg.norm(world_T_camera[:3, 3] - last[1][:3, 3]))
        if metres <= JUMP_M or metres <= JUMP_M_S * seconds:
            return []
        again_m, again_rad = motion(self._first_pose, world_T_camera)
        if again_m < AGAIN_M and again_rad < AGAIN_RAD:
            self.counts["restarts"] += 1
            text = (
                f"the recording restarted: the camera is back at its first pose, {metres:.1f} m "
                "away. The object map stays."
            )
            return [Problem(RESTART, self.topics.pose, text)]
        self.counts["jumps"] += 1
        text = (
            f"the pose jumped by {metres:.1f} m within {seconds:.2f} s, so objects seen "
            "before it are at wrong positions. Keep memory in a continuous frame (not "
            f"{self.poses.frame_id!r}; REP 105), or call ~/clear."
        )
        return [Problem(JUMP, self.topics.pose, text)]

    def _synced(self, pair: Pair, world_T_camera: np.ndarray) -> SyncedFrame:
        self.counts["synced"] += 1
        selected = self._select(pair.stamp_ns, world_T_camera)
        return SyncedFrame(
            *pair,
            self._info,
            self._depth_info,
            world_T_camera,
            self.poses.frame_id,
            selected,
            self.sync.rewinds,
        )

    def _select(self, stamp_ns: int, world_T_camera: np.ndarray) -> bool:
        """Whether to decode the pair now."""
        if self._gate is None:
            return True
        moved = (math.inf, math.inf)
        if self._keyframe_pose is not None:
            moved = motion(self._keyframe_pose, world_T_camera)
        waited = (stamp_ns - self._selected_at) / SECOND
        if self._decoding or not self._gate.opens(waited, *moved):
            self.counts["skipped"] += 1
            return False
        self._decoding, self._selected_at = True, stamp_ns
        return True

    def _refuse(self, reason: str, error: FrameError) -> Problem:
        self.counts["refused"] += 1
        if reason != UNUSABLE_POSE:
            self.lost[reason] += 1
        return Problem.of(reason, error)
