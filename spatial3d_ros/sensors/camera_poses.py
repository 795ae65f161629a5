"""The camera pose at a stamp, from messages as they arrive: of a pose topic, or of TF.

`TopicPoses` and `TransformPoses` implement one protocol, `CameraPoses`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.sensors.pose_source import PoseReader, PoseTrack
from spatial3d_ros.sensors.synchronizer import SECOND
from spatial3d_ros.sensors.transforms import TransformTree


class CameraPoses(Protocol):
    """`world_T_camera` by stamp."""

    topic: str

    @property
    def frame_id(self) -> str:
        """The world frame."""

    @property
    def rewinds(self) -> int:
        """How often the clock of the poses went back."""

    @property
    def oldest(self) -> int | None:
        """From this stamp on (ns) poses are known; None before the first, or always."""

    @property
    def newest(self) -> int | None:
        """Up to this stamp (ns) poses are known; None before the first, or always."""

    @property
    def hz(self) -> float:
        """Poses a second; 0 while unknown, or when the camera is fixed."""

    @property
    def held(self) -> str:
        """The slow correction of TF that is held between its transforms; "" if none is."""

    def take(self, message: Any) -> None:
        """Take a message. Raises FrameError, naming topic and field, when it holds no pose."""

    def at(self, stamp_ns: int, camera_frame: str) -> np.ndarray | None:
        """`world_T_camera` (4, 4) at that time, None while it is still to come.

        `camera_frame` is header.frame_id of the image. Raises FrameError if the pose will never be
        known: the reason and the way out.
        """

    def why_late(self, stamp_ns: int, camera_frame: str) -> str:
        """Why no pose arrived for an image that waited long enough."""

    def forget_after(self, stamp_ns: int) -> None:
        """The clock of the images went back to this stamp."""


class TopicPoses:
    """Poses of PoseStamped (`source` "pose") or Odometry ("odom") messages."""

    held = ""

    def __init__(
        self,
        topic: str,
        source: str,
        base_T_camera: tuple[float, ...] = (),
        max_gap_s: float = 0.3,
    ) -> None:
        self.topic = topic
        self._reader = PoseReader(topic, source, base_T_camera)
        self._track = PoseTrack(topic, max_gap_s)

    @property
    def frame_id(self) -> str:
        """The world frame: that of the messages."""
        return self._reader.frame_id

    @property
    def rewinds(self) -> int:
        """How often the clock of the poses went back."""
        return self._track.rewinds

    @property
    def oldest(self) -> int | None:
        """Stamp of the oldest pose (ns)."""
        return self._track.oldest

    @property
    def newest(self) -> int | None:
        """Stamp of the newest pose (ns)."""
        return self._track.newest

    @property
    def hz(self) -> float:
        """Poses a second."""
        return self._track.hz

    def take(self, message: Any) -> None:
        """Take a message; raises FrameError."""
        self._track.add(stamp_of(message, self.topic), self._reader.read(message))

    def at(self, stamp_ns: int, camera_frame: str) -> np.ndarray | None:
        """See `CameraPoses`."""
        self._reader.check_camera_frame(camera_frame)
        return self._track.at(stamp_ns)

    def why_late(self, stamp_ns: int, camera_frame: str) -> str:
        """See `CameraPoses`."""
        return f"{self.topic}: {_known(self._track, stamp_ns)} (field header.stamp). {SHARE_CLOCK}"

    def forget_after(self, stamp_ns: int) -> None:
        """See `CameraPoses`."""
        self._track.forget_after(stamp_ns)


class TransformPoses:
    """Poses of the frame that an image names, in `frame_id`, by a live tree of transforms."""

    def __init__(self, tree: TransformTree, frame_id: str, topic: str = "/tf") -> None:
        self.topic = topic
        self._frame_id = frame_id
        self._tree = tree
        self._camera = ""

    @property
    def frame_id(self) -> str:
        """The world frame: the parameter world_frame."""
        return self._frame_id

    @property
    def rewinds(self) -> int:
        """How often the clock of the transforms went back."""
        return self._tree.rewinds

    @property
    def oldest(self) -> int | None:
        """From this stamp on (ns) all links from world to camera are known."""
        return self._bound(max, [track.oldest for track in self._moving()])

    @property
    def newest(self) -> int | None:
        """Up to this stamp (ns) all links from world to camera are known."""
        return self._bound(min, [track.newest for track in self._moving()])

    @property
    def hz(self) -> float:
        """Rate of the slowest link that moves."""
        return min((track.hz for track in self._moving()), default=0.0)

    @property
    def held(self) -> str:
        """See `CameraPoses`."""
        return self._tree.held(self.frame_id, self._camera) if self._camera else ""

    def take(self, message: Any) -> None:
        """Take the transforms of `/tf`."""
        self._tree.add(message, fixed=False)

    def at(self, stamp_ns: int, camera_frame: str) -> np.ndarray | None:
        """See `CameraPoses`. None also while the frames are not linked: they may be soon."""
        if not camera_frame:
            raise FrameError(
                "rgb/image: field header.frame_id is empty, so TF has no pose of the camera. "
                "Set the optical frame in the camera driver, or set pose_source to pose."
            )
        self._camera = camera_frame
        if not self._tree.linked(self.frame_id, camera_frame):
            return None
        return self._tree.lookup(self.frame_id, camera_frame, stamp_ns)

    def why_late(self, stamp_ns: int, camera_frame: str) -> str:
        """See `CameraPoses`."""
        try:
            self._tree.lookup(self.frame_id, camera_frame, stamp_ns)
        except FrameError as error:
            return f"{error} (parameter world_frame is {self.frame_id!r})"
        late = min(self._moving(), key=lambda track: track.newest or 0)
        return f"{late.topic}: {_known(late, stamp_ns)}. {SHARE_CLOCK}"

    def forget_after(self, stamp_ns: int) -> None:
        """See `CameraPoses`."""
        self._tree.forget_after(stamp_ns)

    @staticmethod
    def _bound(choose: Callable[[list[int]], int], stamps: list[int | None]) -> int | None:
        """The stamp that bounds all links; None if there are none, or one knows no pose."""
        known = [stamp for stamp in stamps if stamp is not None]
        return choose(known) if known and len(known) == len(stamps) else None

    def _moving(self) -> list[PoseTrack]:
        return self._tree.moving(self.frame_id, self._camera) if self._camera else []


SHARE_CLOCK = (
    "Check that poses are published and that camera and localisation share one clock; nothing is "
    "extrapolated."
)


def _known(track: PoseTrack, stamp_ns: int) -> str:
    if track.newest is None:
        return "no pose has arrived yet"
    return f"the newest pose is {(stamp_ns - track.newest) / SECOND:.3f} s older than the image"


def stamp_of(message: Any, topic: str) -> int:
    """The header's stamp in nanoseconds. Raises FrameError if it is not set (0) or negative."""
    stamp = message.header.stamp
    nanoseconds = stamp.sec * SECOND + stamp.nanosec
    if nanoseconds <= 0:
        raise FrameError(
            f"{topic}: field header.stamp is {nanoseconds} ns. Set the time of capture in the "
            "driver: images and poses are synchronised by it."
        )
    return nanoseconds
