"""The camera poses of a recording: from PoseStamped, Odometry or TF."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from spatial3d_ros.bags.bag import Bag, check_clock
from spatial3d_ros.bags.topics import ODOMETRY_TYPE, TF_STATIC, TF_TYPE, Topics
from spatial3d_ros.errors import BagError, FrameError
from spatial3d_ros.sensors.camera_poses import stamp_of
from spatial3d_ros.sensors.pose_source import PoseReader, PoseTrack
from spatial3d_ros.sensors.transforms import WORLD_FRAMES, Chain, TransformTree

Found = TypeVar("Found")


class RecordedPoses:
    """The `CameraPoses` of a whole bag: each is known from the start, or never.

    An Odometry of another frame than the camera's is completed by the transforms of the bag. A
    message that holds no pose is handed to `refuse` and left out.

    Raises BagError: another world frame than `world_frame` (where that is given), links of TF that
    are missing, or a clock that starts again.
    """

    rewinds = 0
    oldest: int | None = None
    newest: int | None = None
    hz = 0.0

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
        self.topic = topics.pose
        self._bag, self._camera = bag, camera_frame
        self._track: PoseTrack | None = None
        self._chain: Chain | None = None
        kind = bag.topics[topics.pose][0]
        if kind == TF_TYPE:
            tree = read_transforms(bag, max_gap_s)
            self.frame_id = world_frame or self._named(tree.world_of, camera_frame)
            if self.frame_id == camera_frame.lstrip("/"):
                raise _not_linked(bag, tree, camera_frame)
            self._chain = self._named(tree.chain, self.frame_id, camera_frame)
            known = self.frame_id in WORLD_FRAMES or len(tree.roots()) == 1
            if not self._chain.moving and not known:
                raise _not_linked(bag, tree, camera_frame)
            return
        self._track = PoseTrack.of_recording(topics.pose, max_gap_s)
        reader = PoseReader(topics.pose, "odom" if kind == ODOMETRY_TYPE else "pose")
        for _, message in bag.messages(topics.pose):
            try:
                stamp = stamp_of(message, topics.pose)
                if self._track.newest is not None:
                    check_clock(bag, topics.pose, self._track.newest, stamp)
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

    def at(self, stamp_ns: int, camera_frame: str) -> np.ndarray:
        """`world_T_camera` (4, 4); the frame of the first image holds for all. Raises FrameError
        where it is not known.
        """
        pose = np.eye(4)
        for source in (self._track, self._chain):
            if source is not None:
                step = source.at(stamp_ns)
                if step is None:
                    raise FrameError(f"{self.topic}: the image is later than the last pose")
                pose = pose @ step
        return pose

    @property
    def held(self) -> str:
        """The slow correction of TF that is held between its transforms; "" if none is."""
        return self._chain.held_text if self._chain and self._chain.held_s else ""

    def take(self, message: Any) -> None:
        """Nothing: all poses were read at the start."""

    def why_late(self, stamp_ns: int, camera_frame: str) -> str:
        """Nothing is ever late in a recording."""
        return ""

    def forget_after(self, stamp_ns: int) -> None:
        """Nothing: a clock that goes back raises BagError."""

    def _named(self, find: Callable[..., Found], *frames: str) -> Found:
        if not self._camera:
            raise BagError(
                f"{self._bag.path}: the colour images name no frame (header.frame_id), so TF "
                "has no pose of the camera; name a topic with poses of the camera"
            )
        try:
            return find(*frames)
        except FrameError as error:
            raise BagError(f"{self._bag.path}: {error}") from error


def _not_linked(bag: Bag, tree: TransformTree, camera_frame: str) -> BagError:
    """The error for a camera that TF does not link to what moves it."""
    static = any(name.endswith(TF_STATIC) for name in bag.topics)
    missing = "" if static else "the bag has no /tf_static, so "
    return BagError(
        f"{bag.path}: TF: {missing}nothing links the camera frame {camera_frame!r} to the frame "
        f"that moves it (roots of the tree: {', '.join(tree.roots()) or 'none'}). Record "
        "/tf_static too, or name a topic with poses of the camera (--pose)"
    )


def read_transforms(bag: Bag, max_gap_s: float = 0.5) -> TransformTree:
    """Every transform of a bag, of all topics of type TFMessage."""
    tree = TransformTree(max_gap_s)
    names = [name for name, (kind, _) in bag.topics.items() if kind == TF_TYPE]
    for name, message in bag.messages(*names) if names else ():
        tree.add(message, fixed=name.endswith(TF_STATIC))
    return tree
