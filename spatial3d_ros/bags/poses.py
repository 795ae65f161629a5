"""Where the camera of a recording was: from PoseStamped, Odometry or TF."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from spatial3d_ros.bags.topics import ODOMETRY_TYPE, TF_STATIC, TF_TYPE, Topics
from spatial3d_ros.errors import BagError, FrameError
from spatial3d_ros.sensors.pose_source import PoseReader, PoseTrack
from spatial3d_ros.sensors.transforms import Chain, TransformTree

if TYPE_CHECKING:
    from spatial3d_ros.bags.reader import Bag

Found = TypeVar("Found")
JUMP_NS = 10**9  # poses that are older than others by less are late, and sorted in


class CameraPoses:
    """`world_T_camera` of a bag at any stamp, in the frame `frame_id`.

    An Odometry of another frame than the camera's is completed by the transforms of the bag.

    A message that holds no pose is handed to `refuse` and left out.

    Raises BagError: another world frame than `world_frame` (where that is given), links of TF that
    are missing, or a clock that starts again.
    """

    def __init__(
        self,
        bag: Bag,
        topics: Topics,
        camera_frame: str,
        world_frame: str = "",
        max_gap_s: float = 0.5,
        *,
        refuse: Callable[[FrameError], None],
    ) -> None:
        self.problem = ""
        self._bag, self._camera = bag, camera_frame
        self._track: PoseTrack | None = None
        self._chain: Chain | None = None
        kind = bag.topics[topics.pose][0]
        if kind == TF_TYPE:
            tree = read_transforms(bag, max_gap_s)
            self.frame_id = world_frame or self._named(tree.world_of, camera_frame)
            self._chain = self._named(tree.chain, self.frame_id, camera_frame)
            return
        self._track = PoseTrack.of_recording(topics.pose, max_gap_s)
        reader = PoseReader(topics.pose, "odom" if kind == ODOMETRY_TYPE else "pose")
        for _, message in bag.messages(topics.pose):
            stamp = stamp_ns(message)
            if self._track.newest is not None and stamp < self._track.newest - JUMP_NS:
                raise clock_goes_back(bag, topics.pose, self._track.newest, stamp)
            try:
                self._track.add(stamp, reader.read(message))
            except FrameError as error:
                refuse(error)
        self.frame_id = reader.frame_id
        if world_frame and self.frame_id and world_frame != self.frame_id:
            raise BagError(
                f"{bag.path}: the poses on {topics.pose} are in frame {self.frame_id!r}, not in "
                f"{world_frame!r}; take another frame_id, or a topic with poses in {world_frame!r}"
            )
        child = reader.child_frame_id
        if child and camera_frame and child != camera_frame:
            tree = read_transforms(bag, max_gap_s)
            self._chain = self._named(tree.chain, child, camera_frame)

    def known(self, stamp_ns: int) -> np.ndarray | None:
        """`world_T_camera` (4, 4), or None where it is not known; `problem` then tells why."""
        self.problem = "it is later than the last pose"
        pose = np.eye(4)
        for source in (self._track, self._chain):
            try:
                step = source.at(stamp_ns) if source else np.eye(4)
            except FrameError as error:
                self.problem = str(error)
                return None
            if step is None:
                return None
            pose = pose @ step
        return pose

    def _named(self, find: Callable[..., Found], *frames: str) -> Found:
        if not self._camera:
            raise BagError(
                f"{self._bag.path}: the colour images name no frame (header.frame_id), so TF "
                "cannot tell where the camera was; name a topic with poses of the camera"
            )
        try:
            return find(*frames)
        except FrameError as error:
            raise BagError(f"{self._bag.path}: {error}") from error


def read_transforms(bag: Bag, max_gap_s: float = 0.5) -> TransformTree:
    """Every transform of a bag, of all topics that carry some."""
    tree = TransformTree(max_gap_s)
    names = [name for name, (kind, _) in bag.topics.items() if kind == TF_TYPE]
    for name, message in bag.messages(*names) if names else ():
        tree.add(message, fixed=name.endswith(TF_STATIC))
    return tree


def stamp_ns(message: Any) -> int:
    """The header's stamp in nanoseconds."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def clock_goes_back(bag: Bag, topic: str, newest_ns: int, stamp_ns: int) -> BagError:
    """The error for a recording that holds two times: of a loop, or of two clocks."""
    return BagError(
        f"{bag.path}: the stamps of {topic} go back by {(newest_ns - stamp_ns) * 1e-9:.1f} s, as "
        "when a looping bag is recorded: cut the bag there and give one part"
    )
