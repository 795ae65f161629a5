"""From sensor messages to frames for the engine: match, find the pose, choose, decode, hand over.

Choosing comes before decoding: most images of a 30 Hz camera show nothing new, and the pose alone
tells so. ROS is not needed here: the node passes messages in, tests pass anything of their shape.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.pose import motion
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors.camera_poses import CameraPoses, stamp_of
from spatial3d_ros.sensors.detection_feed import SyncedFrame
from spatial3d_ros.sensors.frame_builder import FrameBuilder
from spatial3d_ros.sensors.synchronizer import SECOND, Pair, Synchronizer

JUMP_M, JUMP_M_S = 0.5, 20.0  # further and faster than this between two images is no motion
MAX_PENDING = 32  # matched pairs that wait for a pose: a second of a 30 Hz camera


@dataclass(frozen=True)
class KeyframeGate:
    """When a matched pair is worth decoding.

    The camera moved by one of the two thresholds since the last keyframe, or it stood for `still_s`
    (things move too); and never more often than `max_hz`.
    """

    translation_m: float = 0.15
    rotation_rad: float = 0.26
    max_hz: float = 10.0
    still_s: float = 2.0

    def opens(self, waited_s: float, metres: float, radians: float) -> bool:
        """Whether to decode, so long after the last decoded pair and so far from the keyframe."""
        if waited_s < 1.0 / self.max_hz:
            return False
        moved = metres >= self.translation_m or radians >= self.rotation_rad
        return moved or waited_s >= self.still_s


class FramePipeline:
    """Takes messages of the four topics in any order and hands frames to `add_frame`.

    A call takes microseconds: decoding and `add_frame` go to `run`, which calls what it is given
    one after the other (on a thread, or at once). At most one pair is under way there; while it is,
    others are skipped, and the next to come is newer and as good.

    `aligned` says how depth came into the pixels of colour. Thread-safe. Nothing is raised for bad
    data: `on_problem(topic, text)` is called instead, and the message is counted in `counts` by
    reason. `on_rewind()` is called through `run` when the
    clock of the images goes back, before the first frame of the new time. `on_moment` is told of
    every pair with its pose, decoded or not.
    """

    def __init__(
        self,
        builder: FrameBuilder,
        sync: Synchronizer,
        poses: CameraPoses,
        gate: KeyframeGate,
        add_frame: Callable[[Frame], bool],
        *,
        on_problem: Callable[[str, str], None],
        on_rewind: Callable[[], None],
        on_moment: Callable[[SyncedFrame], None] = lambda _: None,
        run: Callable[[Callable[[], None]], object] = lambda work: work(),
        max_pose_wait_s: float = 1.0,
    ) -> None:
        self.topics = builder.topics
        self.sync = sync
        self.poses = poses
        self.counts: Counter[str] = Counter()
        self.aligned = ""
        self._builder = builder
        self._gate = gate
        self._add_frame = add_frame
        self._on_problem = on_problem
        self._on_rewind = on_rewind
        self._on_moment = on_moment
        self._run = run
        self._max_wait = round(max_pose_wait_s * SECOND)
        self._lock = threading.RLock()
        self._pending: deque[Pair] = deque()
        self._info: Any = None
        self._depth_info: Any = None
        self._looking = False
        self._restart()

    def take_color(self, message: Any) -> None:
        """A colour image (or its compressed form)."""
        with self._lock:
            self.counts["color"] += 1
            self._take_image(self.topics.color, self.sync.add_color, message)

    def take_depth(self, message: Any) -> None:
        """A depth image (or its compressed form)."""
        with self._lock:
            self.counts["depth"] += 1
            self._take_image(self.topics.depth, self.sync.add_depth, message)

    def take_camera_info(self, message: Any) -> None:
        """The calibration of the colour image; the newest one holds."""
        with self._lock:
            self.counts["camera_info"] += 1
            self._info = message

    def take_depth_info(self, message: Any) -> None:
        """The calibration of the depth image, needed where that is not aligned to colour."""
        with self._lock:
            self._depth_info = message

    def take_pose(self, message: Any) -> None:
        """A PoseStamped, Odometry or TFMessage, as the source of poses has it."""
        with self._lock:
            self.counts["pose"] += 1
            rewinds = self.poses.rewinds
            try:
                self.poses.take(message)
            except FrameError as error:
                self._refuse(error)
            if self.poses.rewinds != rewinds:
                self._pending.clear()
            self._flush()

    @property
    def pending(self) -> int:
        """Matched pairs that wait for their pose."""
        return len(self._pending)

    def _take_image(self, topic: str, add: Callable[[int, Any], list[Pair]], message: Any) -> None:
        try:
            stamp = stamp_of(message, topic)
        except FrameError as error:
            self._refuse(error)
            return
        rewinds = self.sync.rewinds
        pairs = add(stamp, message)
        if self.sync.rewinds != rewinds:
            self._restart()
            self.poses.forget_after(stamp)
            self._run(self._on_rewind)
        self._pending.extend(pairs)
        self._flush()

    def _restart(self) -> None:
        """Forget what belongs to a clock that is no more; the calibration stays."""
        self._pending.clear()
        self._keyframe_pose: np.ndarray | None = None
        self._looked_at = 0
        self._last: tuple[int, np.ndarray] | None = None

    def _flush(self) -> None:
        """Deal with every waiting pair whose pose is known by now, oldest first."""
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
                        return
                    raise FrameError(self.poses.why_late(pair.stamp_ns, camera))
                self._watch_jumps(pair.stamp_ns, pose)
                self._on_moment(
                    SyncedFrame(
                        pair.stamp_ns, pair.color, pair.depth, self._info, self._depth_info, pose
                    )
                )
                self._consider(pair, pose)
            except FrameError as error:
                self._refuse(error)
            self._pending.popleft()

    def _precedes_poses(self, stamp_ns: int) -> bool:
        """Whether the image is of the moment in which everything starts: nothing to complain of."""
        oldest = self.poses.oldest
        return oldest is not None and 0 < oldest - stamp_ns <= self._max_wait

    def _watch_jumps(self, stamp_ns: int, world_T_camera: np.ndarray) -> None:
        """Say so when the camera moved as nothing moves: the world frame is not continuous."""
        if self._last is not None:
            seconds = (stamp_ns - self._last[0]) / SECOND
            metres = float(np.linalg.norm(world_T_camera[:3, 3] - self._last[1][:3, 3]))
            if metres > JUMP_M and metres > JUMP_M_S * seconds:
                self.counts["jumps"] += 1
                self._on_problem(
                    self.topics.pose,
                    f"the pose jumped by {metres:.1f} m within {seconds:.2f} s, so what was seen "
                    f"before stands elsewhere now. Keep memory in a continuous frame (not "
                    f"{self.poses.frame_id!r}; REP 105), or call ~/clear.",
                )
        self._last = stamp_ns, world_T_camera

    def _consider(self, pair: Pair, world_T_camera: np.ndarray) -> None:
        moved = (math.inf, math.inf)
        if self._keyframe_pose is not None:
            moved = motion(self._keyframe_pose, world_T_camera)
        waited = (pair.stamp_ns - self._looked_at) / SECOND
        if self._looking or not self._gate.opens(waited, *moved):
            self.counts["skipped"] += 1
            return
        self._looking, self._looked_at = True, pair.stamp_ns
        self._run(partial(self._look, pair, self._info, world_T_camera, self.sync.rewinds))

    def _look(self, pair: Pair, info: Any, world_T_camera: np.ndarray, epoch: int) -> None:
        """Decode a pair and hand it over; without the lock, because it takes milliseconds."""
        keyframe = False
        try:
            self.aligned = self._builder.aligned(pair.color, pair.depth)
            frame = self._builder.build(
                pair.color, pair.depth, info, pair.stamp_ns, world_T_camera, self.poses.frame_id,
                self._depth_info,
            )  # fmt: skip
            keyframe = self._add_frame(frame)
        except FrameError as error:
            self._refuse(error)
        finally:
            with self._lock:
                self._looking = False
                self.counts["looked at"] += 1
                self.counts["keyframes"] += keyframe
                if keyframe and epoch == self.sync.rewinds:
                    self._keyframe_pose = world_T_camera

    def _refuse(self, error: FrameError) -> None:
        topic, _, problem = str(error).partition(": ")
        with self._lock:
            self.counts["refused"] += 1
        self._on_problem(topic, problem)
