"""Recordings as ROS bags, read without ROS; `bag_writer` writes them.

A bag is a folder with `metadata.yaml`, a single `.mcap` or `.db3` file, or a `.bag` of ROS 1. It is
read frame by frame, so memory stays bounded however long the recording is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from spatial3d_ros.bags.poses import (
    JUMP_NS,
    CameraPoses,
    clock_goes_back,
    read_transforms,
    stamp_ns,
)
from spatial3d_ros.bags.topics import IMAGE_TYPES, INFO_TYPE, TF_TYPE, Topics, choose_topics
from spatial3d_ros.errors import BagError, FrameError
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors import frame_builder as sensors
from spatial3d_ros.sensors.frame_builder import FrameBuilder
from spatial3d_ros.sensors.synchronizer import Pair, Synchronizer

SUFFIXES = (".mcap", ".db3")
ROS1_SUFFIX = ".bag"
MAX_PROBLEMS = 5  # of one kind they are all alike


class Bag:
    """An open recording. Whatever goes wrong inside the file is raised as a BagError that names it.

    Use it as a context manager: `with Bag(path) as bag: for topic, message in bag.messages(...)`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.is_ros1 = self.path.suffix == ROS1_SUFFIX and self.path.is_file()
        if not self.path.exists():
            raise BagError(f"{path}: no such bag")
        if self.path.is_dir() and not (self.path / "metadata.yaml").exists():
            raise BagError(
                f"{path}: a bag folder needs metadata.yaml; give the .mcap or .db3 file in it "
                "instead, or run `ros2 bag reindex`"
            )
        if self.path.is_file() and self.path.suffix not in (*SUFFIXES, ROS1_SUFFIX):
            raise BagError(f"{path}: not a bag (a folder, .mcap, .db3 or, of ROS 1, .bag)")
        # The messages read here are the same in all versions of ROS 2, and types of other topics
        # that are described badly or not at all do no harm.
        self._types = get_typestore(Stores.ROS1_NOETIC if self.is_ros1 else Stores.ROS2_JAZZY)
        if self.is_ros1:
            self._types.register(
                get_types_from_msg("geometry_msgs/TransformStamped[] transforms", TF_TYPE)
            )

    def __enter__(self) -> Bag:
        with self._naming_the_file():
            self._reader = (Ros1Reader if self.is_ros1 else Ros2Reader)(self.path)
            self._reader.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a damaged file can fail anywhere inside the parser
            raise BagError(
                f"{self.path}: truncated or damaged ({error or type(error).__name__}); record it "
                "again, or repair it with `mcap recover`, `ros2 bag reindex` or `rosbag reindex`"
            ) from error

    @property
    def topics(self) -> dict[str, tuple[str, int]]:
        """Topic -> (message type, number of messages), sorted by name."""
        return {
            topic: (info.msgtype or "several types", info.msgcount)
            for topic, info in sorted(self._reader.topics.items())
        }

    @property
    def start_ns(self) -> int:
        """When the first message was recorded."""
        return self._reader.start_time

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last message."""
        return self._reader.duration * 1e-9 if self._reader.message_count else 0.0

    def raw(self, *topics: str) -> Iterator[tuple[str, str, int, bytes]]:
        """(topic, message type, time of recording in ns, bytes as recorded) in time order."""
        connections = [c for c in self._reader.connections if c.topic in topics]
        if not connections:  # of which the reader would make all
            return
        iterator = self._reader.messages(connections)
        while True:
            with self._naming_the_file():
                item = next(iterator, None)
            if item is None:
                return
            connection, stamp, data = item
            yield connection.topic, connection.msgtype, stamp, data

    def first(self, topic: str) -> Any:
        """Its first message. Raises BagError: a damaged bag may tell of messages and hold none."""
        _, message = next(self.messages(topic), ("", None))
        if message is None:
            raise BagError(f"{self.path}: {topic}: holds no message; record or copy it again")
        return message

    def messages(self, *topics: str) -> Iterator[tuple[str, Any]]:
        """(topic, message) in time order."""
        for topic, _, message in self.timed(*topics):
            yield topic, message

    def timed(self, *topics: str) -> Iterator[tuple[str, int, Any]]:
        """(topic, time of recording in ns, message) in time order."""
        for topic, kind, stamp, data in self.raw(*topics):
            with self._naming_the_file():
                message = self._decode(kind, data)
            yield topic, stamp, message

    def _decode(self, kind: str, data: bytes) -> Any:
        if not self.is_ros1:
            return self._types.deserialize_cdr(data, kind)
        message = self._types.deserialize_ros1(data, kind)
        if kind == INFO_TYPE:  # D, K, R and P are lower case in ROS 2
            return SimpleNamespace(**{k.lower(): v for k, v in vars(message).items()})
        return message


def bag_topics(path: str | Path) -> dict[str, tuple[str, int]]:
    """Topic -> (message type, number of messages), sorted by name."""
    with Bag(path) as bag:
        return bag.topics


def find_topics(path: str | Path, topics: Topics | None = None, **named: str) -> Topics:
    """The four topics of a bag: those given, checked, or guessed from types and names.

    `topics` gives all, `named` some of them (`depth="/cam/depth"`). Raises BagError that lists what
    the bag has when one is missing, empty or ambiguous.
    """
    present = {topic: kind for topic, (kind, count) in bag_topics(path).items() if count}
    if not present:
        raise BagError(f"{path}: the bag holds no messages")
    return choose_topics(path, present, (vars(topics) if topics else {}) | named)


class BagFrames:
    """The frames of a recording in time order, each with its seconds since the bag began.

    Colour and depth are paired by stamp and poses interpolated, with the node's own matcher and
    builder: a bag gives the same frames on disk as on the wire. Pairs further apart than `slop_s`
    and images outside the poses are left out and counted in `left_out`. Poses of `world_frame` are
    wanted, or of any frame when it is empty; `frame_id` tells which came.

    Frames and poses that cannot be used are left out like in the node, and `problems` tells why;
    `strict` raises the FrameError instead. Frames end `seconds` after the bag began. Always raises
    BagError: missing, damaged, lacking a topic, stamps that start again, or without one usable
    frame.
    """

    def __init__(
        self,
        path: str | Path,
        topics: Topics | None = None,
        *,
        slop_s: float = 0.02,
        max_pose_gap_s: float = 0.5,
        world_frame: str = "",
        strict: bool = False,
        seconds: float = math.inf,
    ) -> None:
        self.path = Path(path)
        self.topics = find_topics(path, topics)
        self.seconds = seconds
        self.slop_s = slop_s
        self.max_pose_gap_s = max_pose_gap_s
        self.strict = strict
        self.frame_id = world_frame
        self.left_out: Counter[str] = Counter()
        self.problems: list[str] = []

    def __iter__(self) -> Iterator[tuple[float, Frame]]:
        topics, found = self.topics, False
        self.left_out.clear()
        self.problems.clear()
        with Bag(self.path) as bag:
            kinds = {topic: kind for topic, (kind, _) in bag.topics.items()}
            color, info = bag.first(topics.rgb), bag.first(topics.camera_info)
            _, depth_info = next(bag.messages(topics.depth_info), ("", None))
            poses = CameraPoses(
                bag, topics, color.header.frame_id, self.frame_id, self.max_pose_gap_s,
                refuse=partial(self._refuse, "unusable pose"),
            )  # fmt: skip
            self.frame_id = poses.frame_id
            builder = FrameBuilder(
                sensors.Topics(
                    topics.rgb,
                    topics.depth,
                    topics.camera_info,
                    topics.pose,
                    topics.depth_info or "the camera_info beside it",
                ),
                "raw" if kinds[topics.rgb] == IMAGE_TYPES[0] else "compressed",
                "raw" if kinds[topics.depth] == IMAGE_TYPES[0] else "compressedDepth",
                extrinsics=self._extrinsics(bag, color),
            )
            for recorded_ns, pair in self._pairs(bag):
                pose = poses.known(pair.stamp_ns)
                if pose is None:
                    self._leave_out("no pose", f"no pose: {poses.problem}")
                    continue
                try:
                    frame = builder.build(
                        pair.color, pair.depth, info, pair.stamp_ns, pose, poses.frame_id,
                        depth_info,
                    )  # fmt: skip
                except FrameError as error:
                    self._refuse("unusable", error)
                    continue
                found = True
                yield round((recorded_ns - bag.start_ns) * 1e-9, 9), frame
        if not found:
            self._complain()

    def _extrinsics(self, bag: Bag, color: Any) -> sensors.Extrinsics:
        """The transforms of the bag, read only where depth is in another frame."""
        depth = bag.first(self.topics.depth)
        if depth.header.frame_id == color.header.frame_id:
            return sensors.no_extrinsics
        return read_transforms(bag, self.max_pose_gap_s).latest

    def _pairs(self, bag: Bag) -> Iterator[tuple[int, Pair]]:
        """(when it was complete, pair); the clock of the images may not start again."""
        sync, topics = Synchronizer(self.slop_s), self.topics
        add = {topics.rgb: sync.add_color, topics.depth: sync.add_depth}
        newest = dict.fromkeys(add, 0)
        for topic, recorded_ns, message in bag.timed(topics.rgb, topics.depth):
            if recorded_ns - bag.start_ns > self.seconds * 1e9:
                break
            stamp = stamp_ns(message)
            if stamp < newest[topic] - JUMP_NS:
                raise clock_goes_back(bag, topic, newest[topic], stamp)
            newest[topic] = max(stamp, newest[topic])
            for pair in add[topic](stamp, message):
                yield recorded_ns, pair
        del sync.counts["matched"]
        self.left_out.update(+sync.counts)  # those that are more than none

    def _refuse(self, reason: str, error: FrameError) -> None:
        if self.strict:
            raise error
        self._leave_out(reason, str(error))

    def _leave_out(self, reason: str, problem: str) -> None:
        self.left_out[reason] += 1
        if self.left_out[reason] <= MAX_PROBLEMS:
            self.problems.append(problem)

    def _complain(self) -> None:
        topics = self.topics
        reason = f" First problem: {self.problems[0]}" if self.problems else ""
        raise BagError(
            f"{self.path}: no frame: colour ({topics.rgb}) and depth ({topics.depth}) never come "
            f"within {self.slop_s * 1e3:.0f} ms of each other with a pose ({topics.pose}) around "
            f"them.{reason}"
        )


def read_bag(
    path: str | Path,
    topics: Topics | None = None,
    *,
    slop_s: float = 0.02,
    max_pose_gap_s: float = 0.5,
) -> Iterator[Frame]:
    """The frames of `BagFrames` alone; one that cannot be used raises FrameError."""
    frames = BagFrames(path, topics, slop_s=slop_s, max_pose_gap_s=max_pose_gap_s, strict=True)
    return (frame for _, frame in frames)
