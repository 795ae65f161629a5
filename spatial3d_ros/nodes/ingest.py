"""From sensor messages to frames for the engine: match, find the pose, choose, decode, hand over.

Choosing comes before decoding: most images of a 30 Hz camera show nothing new, and the pose alone
tells so. ROS is not needed here: the node passes messages in, tests pass anything of their shape.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import motion
from spatial3d_ros.nodes import image_decoding
from spatial3d_ros.nodes.pose_source import PoseReader, PoseTrack
from spatial3d_ros.nodes.synchronizer import SECOND, Pair, Synchronizer
from spatial3d_ros.scene.frame import Frame

Decoder = Callable[[Any, str], np.ndarray]
COLOR_DECODERS: dict[str, Decoder] = {
    "raw": image_decoding.decode_color,
    "compressed": image_decoding.decode_compressed_color,
}
DEPTH_DECODERS: dict[str, Decoder] = {
    "raw": image_decoding.decode_depth,
    "compressedDepth": image_decoding.decode_compressed_depth,
}
MAX_PENDING = 32  # matched pairs that wait for a pose: a second of a 30 Hz camera
MIN_VALID = 0.01  # a depth image with less is a covered or broken sensor


@dataclass(frozen=True)
class Topics:
    """Resolved names, for messages to people."""

    color: str
    depth: str
    camera_info: str
    pose: str


@dataclass(frozen=True)
class CandidateGate:
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


class Ingest:
    """Takes messages of the four topics in any order and hands frames to `add_frame`.

    Thread-safe; a call takes microseconds unless a pair is chosen, and then as long as decoding and
    `add_frame` take. Nothing is raised for bad data: `on_problem(topic, text)` is called instead,
    and the message is counted in `counts` by reason. `on_rewind()` is called when the clock of the
    images goes back, before the first frame of the new time.
    """

    def __init__(
        self,
        topics: Topics,
        sync: Synchronizer,
        poses: PoseTrack,
        reader: PoseReader,
        gate: CandidateGate,
        add_frame: Callable[[Frame], bool],
        *,
        on_problem: Callable[[str, str], None],
        on_rewind: Callable[[], None],
        color_transport: str = "raw",
        depth_transport: str = "raw",
        rectified: bool = False,
        max_pose_wait_s: float = 1.0,
    ) -> None:
        self.topics = topics
        self.sync = sync
        self.poses = poses
        self.counts: Counter[str] = Counter()
        self._reader = reader
        self._gate = gate
        self._add_frame = add_frame
        self._on_problem = on_problem
        self._on_rewind = on_rewind
        self._decode_color = COLOR_DECODERS[color_transport]
        self._decode_depth = DEPTH_DECODERS[depth_transport]
        self._rectified = rectified
        self._max_wait = round(max_pose_wait_s * SECOND)
        self._lock = threading.Lock()
        self._pending: deque[Pair] = deque()
        self._info: Any = None
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

    def take_pose(self, message: Any) -> None:
        """A PoseStamped or Odometry message."""
        with self._lock:
            self.counts["pose"] += 1
            rewinds = self.poses.rewinds
            try:
                self.poses.add(self._stamp(message, self.topics.pose), self._reader.read(message))
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
            stamp = self._stamp(message, topic)
        except FrameError as error:
            self._refuse(error)
            return
        rewinds = self.sync.rewinds
        pairs = add(stamp, message)
        if self.sync.rewinds != rewinds:
            self._restart()
            self.poses.forget_after(stamp)
            self._on_rewind()
        self._pending.extend(pairs)
        self._flush()

    def _restart(self) -> None:
        """Forget what belongs to a clock that is no more; the calibration stays."""
        self._pending.clear()
        self._keyframe_pose: np.ndarray | None = None
        self._decoded_at = 0

    def _flush(self) -> None:
        """Deal with every waiting pair whose pose is known by now, oldest first."""
        while self._pending:
            pair = self._pending[0]
            if self._precedes_poses(pair.stamp_ns):
                self.counts["before the first pose"] += 1
                self._pending.popleft()
                continue
            try:
                pose = self.poses.at(pair.stamp_ns)
                if pose is None:
                    waited = self._pending[-1].stamp_ns - pair.stamp_ns
                    if waited <= self._max_wait and len(self._pending) <= MAX_PENDING:
                        return
                    raise FrameError(self._too_late(pair.stamp_ns))
                self._consider(pair, pose)
            except FrameError as error:
                self._refuse(error)
            self._pending.popleft()

    def _precedes_poses(self, stamp_ns: int) -> bool:
        """Whether the image is of the moment in which everything starts: nothing to complain of."""
        oldest = self.poses.oldest
        return oldest is not None and 0 < oldest - stamp_ns <= self._max_wait

    def _consider(self, pair: Pair, world_T_camera: np.ndarray) -> None:
        if self._keyframe_pose is not None:
            moved = motion(self._keyframe_pose, world_T_camera)
            if not self._gate.opens((pair.stamp_ns - self._decoded_at) / SECOND, *moved):
                self.counts["skipped"] += 1
                return
        frame = self._decode(pair, world_T_camera)
        self._decoded_at = pair.stamp_ns
        self.counts["decoded"] += 1
        if self._add_frame(frame):
            self._keyframe_pose = world_T_camera
            self.counts["keyframes"] += 1

    def _decode(self, pair: Pair, world_T_camera: np.ndarray) -> Frame:
        topics = self.topics
        self._reader.check_camera_frame(pair.color.header.frame_id)
        camera = self._camera()
        color = self._decode_color(pair.color, topics.color)
        depth = self._decode_depth(pair.depth, topics.depth)
        if depth.shape != color.shape[:2]:
            raise FrameError(
                f"{topics.depth}: fields width and height say {_size(depth)}, but {topics.color} "
                f"is {_size(color)}. Register depth to colour in the camera driver."
            )
        if color.shape[:2] != (camera.height, camera.width):
            raise FrameError(
                f"{topics.camera_info}: fields width and height make an image of "
                f"{camera.width}x{camera.height}, but {topics.color} is {_size(color)}. "
                "Remap to the calibration of this image."
            )
        frame = Frame(
            pair.stamp_ns,
            camera.rectify(color),
            camera.rectify(depth),
            camera.rectified(),
            world_T_camera,
            self._reader.frame_id,
        )
        if frame.valid_fraction < MIN_VALID:
            raise FrameError(
                f"{topics.depth}: field data holds a depth for only {frame.valid_fraction:.1%} of "
                "the pixels, the rest is 0, NaN or infinite. Is the lens covered, or the scene out "
                "of range?"
            )
        return frame

    def _camera(self) -> Camera:
        topic, info = self.topics.camera_info, self._info
        if info is None:
            raise FrameError(
                f"{topic}: no CameraInfo has come yet, so images cannot be placed in space. "
                "Publish it, or remap rgb/camera_info to its topic."
            )
        matrix, coefficients = info.k, info.d
        if self._rectified:
            projection = np.reshape(info.p, (3, 4))
            matrix = projection[:, :3] if projection[0, 0] > 0 else matrix
            coefficients = ()
        roi = info.roi
        try:
            return Camera.from_calibration(
                info.width,
                info.height,
                np.ravel(matrix),
                coefficients,
                info.distortion_model,
                info.binning_x,
                info.binning_y,
                (roi.x_offset, roi.y_offset, roi.width, roi.height),
            )
        except FrameError as error:
            reason = str(error).removeprefix("camera_info: ")
            raise FrameError(f"{topic}: field {reason}") from error

    def _stamp(self, message: Any, topic: str) -> int:
        stamp = message.header.stamp
        nanoseconds = stamp.sec * SECOND + stamp.nanosec
        if nanoseconds <= 0:
            raise FrameError(
                f"{topic}: field header.stamp is {nanoseconds} ns. Set the time of capture in the "
                "driver: images and poses are matched by it."
            )
        return nanoseconds

    def _too_late(self, stamp_ns: int) -> str:
        newest = self.poses.newest
        if newest is None:
            known = "no pose has come yet"
        else:
            known = f"the newest pose is {(stamp_ns - newest) / SECOND:.3f} s older than the image"
        return (
            f"{self.topics.pose}: {known} (field header.stamp). Check that poses are published and "
            "that camera and localisation share one clock."
        )

    def _refuse(self, error: FrameError) -> None:
        topic, _, problem = str(error).partition(": ")
        self.counts["refused"] += 1
        self._on_problem(topic, problem)


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
