"""Camera poses by stamp: a short history of poses, interpolated to the stamp of an image.

Takes anything with the fields of `geometry_msgs/PoseStamped` or `nav_msgs/Odometry`; ROS is not
needed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import Any

import numpy as np

from spatial3d_ros.errors import ConfigError, FrameError
from spatial3d_ros.geometry.pose import interpolate, pose_matrix
from spatial3d_ros.sensors.synchronizer import SECOND


class PoseGapError(FrameError):
    """Two poses around an image are too far apart to interpolate between them."""


class PoseTrack:
    """The last `history_s` seconds of `world_T_camera`, in time order.

    Not thread-safe: the caller's lock keeps calls apart. `rewinds` counts the clock going back by
    more than `jump_s`, after which the track starts anew; poses that are merely late are sorted in.
    """

    def __init__(
        self, topic: str, max_gap_s: float = 0.3, history_s: float = 10.0, jump_s: float = 1.0
    ) -> None:
        self.topic = topic
        self.max_gap = round(max_gap_s * SECOND)
        self.history = round(history_s * SECOND)
        self.jump = round(jump_s * SECOND)
        self.rewinds = 0
        self._stamps: list[int] = []
        self._poses: list[np.ndarray] = []

    @classmethod
    def of_recording(cls, topic: str, max_gap_s: float = 0.5) -> PoseTrack:
        """A track that forgets nothing, for recordings that are read as a whole."""
        return cls(topic, max_gap_s, history_s=1e9, jump_s=1e9)

    @property
    def newest(self) -> int | None:
        """Stamp of the newest pose in nanoseconds; None before the first."""
        return self._stamps[-1] if self._stamps else None

    @property
    def oldest(self) -> int | None:
        """Stamp of the oldest pose in nanoseconds; None before the first."""
        return self._stamps[0] if self._stamps else None

    @property
    def hz(self) -> float:
        """Poses a second, over all that are remembered."""
        if len(self._stamps) < 2:
            return 0.0
        return (len(self._stamps) - 1) * SECOND / (self._stamps[-1] - self._stamps[0])

    @property
    def longest_gap_s(self) -> float:
        """The longest time between two poses that follow each other."""
        return max((b - a for a, b in pairwise(self._stamps)), default=0) / SECOND

    def forget_after(self, stamp_ns: int) -> None:
        """Forget all poses if they reach over `jump_s` beyond the stamp: the clock went back."""
        if self._stamps and stamp_ns < self._stamps[-1] - self.jump:
            self._stamps.clear()
            self._poses.clear()

    def add(self, stamp_ns: int, world_T_camera: np.ndarray) -> None:
        """Take a pose (4, 4); a second pose of the same stamp replaces the first."""
        if self._stamps and stamp_ns < self._stamps[-1] - self.jump:
            self.rewinds += 1
            self.forget_after(stamp_ns)
        at = bisect_left(self._stamps, stamp_ns)
        if at < len(self._stamps) and self._stamps[at] == stamp_ns:
            self._poses[at] = world_T_camera
            return
        self._stamps.insert(at, stamp_ns)
        self._poses.insert(at, world_T_camera)
        expired = bisect_left(self._stamps, self._stamps[-1] - self.history)
        del self._stamps[:expired], self._poses[:expired]

    def at(self, stamp_ns: int) -> np.ndarray | None:
        """`world_T_camera` (4, 4) at that time, or None while the pose after it is still to come.

        Raises FrameError when it can never be known: the time lies before the first pose, or in a
        gap of more than `max_gap_s`.
        """
        after = bisect_left(self._stamps, stamp_ns)
        if after == len(self._stamps):
            return None
        if self._stamps[after] == stamp_ns:
            return self._poses[after]
        if after == 0:
            missing = (self._stamps[0] - stamp_ns) / SECOND
            raise FrameError(
                f"{self.topic}: the image is {missing:.3f} s older than the first pose. Start the "
                "pose source before the camera."
            )
        start, end = self._stamps[after - 1], self._stamps[after]
        if end - start > self.max_gap:
            raise PoseGapError(
                f"{self.topic}: no pose for {(end - start) / SECOND:.3f} s around the image, and "
                f"max_pose_gap_s is {self.max_gap / SECOND:g}. Publish poses faster or raise it."
            )
        return interpolate(self._poses[after - 1], start, self._poses[after], end, stamp_ns)

    def held(self, stamp_ns: int) -> tuple[np.ndarray, float] | None:
        """The last pose at or before that time, and its age in seconds; None before the first."""
        after = bisect_right(self._stamps, stamp_ns)
        if not after:
            return None
        return self._poses[after - 1], (stamp_ns - self._stamps[after - 1]) / SECOND

    def known(self, stamp_ns: int) -> np.ndarray | None:
        """The same, but None wherever it is not known."""
        try:
            return self.at(stamp_ns)
        except FrameError:
            return None


class PoseReader:
    """Turns pose messages into `world_T_camera`, and refuses what cannot be one.

    `base_T_camera` holds x, y, z, qx, qy, qz, qw of the camera (optical frame) in the frame whose
    pose the topic publishes; empty if that is the camera's own pose. Raises ConfigError if it is
    neither empty nor a pose.
    """

    def __init__(self, topic: str, source: str, base_T_camera: tuple[float, ...] = ()) -> None:
        self.topic = topic
        self.source = source
        self.frame_id = ""
        self.child_frame_id = ""
        self._extrinsic = extrinsic_matrix("base_T_camera", base_T_camera)

    def read(self, message: Any) -> np.ndarray:
        """`world_T_camera` (4, 4) of a PoseStamped or Odometry message.

        Raises FrameError, naming topic and field, when the pose is not one, or when the world
        frame is not the one of the poses before.
        """
        pose = message.pose if self.source == "pose" else message.pose.pose
        field = "pose" if self.source == "pose" else "pose.pose"
        position, turn = pose.position, pose.orientation
        try:
            base = pose_matrix(
                (position.x, position.y, position.z), (turn.x, turn.y, turn.z, turn.w)
            )
        except FrameError as error:
            reason = str(error).removeprefix("pose: ")  # "orientation ...", "position ..."
            raise FrameError(f"{self.topic}: field {field}.{reason}") from error
        frame_id = message.header.frame_id or "map"
        if self.frame_id and frame_id != self.frame_id:
            raise FrameError(
                f"{self.topic}: field header.frame_id changed from {self.frame_id!r} to "
                f"{frame_id!r}. Two publishers? Keep one, or restart the node for the new frame."
            )
        self.frame_id = frame_id
        if self.source == "odom":
            self.child_frame_id = message.child_frame_id
        return base if self._extrinsic is None else base @ self._extrinsic

    def check_camera_frame(self, camera_frame_id: str) -> None:
        """Raises FrameError when the pose is known to be another frame's than the camera's."""
        child = self.child_frame_id
        if self._extrinsic is None and child and camera_frame_id and child != camera_frame_id:
            raise FrameError(
                f"{self.topic}: field child_frame_id is {child!r} but images are in "
                f"{camera_frame_id!r}. Set the parameter base_T_camera to the pose of the camera "
                f"in {child!r}: [x, y, z, qx, qy, qz, qw]."
            )


def extrinsic_matrix(name: str, numbers: tuple[float, ...]) -> np.ndarray | None:
    """The (4, 4) pose of a parameter [x, y, z, qx, qy, qz, qw]; None for an empty one.

    Raises ConfigError, naming the parameter, for other than 7 numbers or no pose.
    """
    if not len(numbers):
        return None
    if len(numbers) != 7:
        raise ConfigError(
            f"parameter {name} has {len(numbers)} numbers; give 7 "
            "(x, y, z in metres, qx, qy, qz, qw), or none"
        )
    try:
        return pose_matrix(numbers[:3], numbers[3:])
    except FrameError as error:
        raise ConfigError(f"parameter {name}: {error}") from error
