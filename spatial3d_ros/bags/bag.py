"""ROS bags, read without ROS, message by message.

A bag is a folder with `metadata.yaml`, a single `.mcap` or `.db3` file, or a `.bag` of ROS 1.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from spatial3d_ros.bags.topics import INFO_TYPE, TF_TYPE
from spatial3d_ros.errors import BagError

SUFFIXES = (".mcap", ".db3")
ROS1_SUFFIX = ".bag"
JUMP_NS = 10**9
BOX_TYPES = {  # which the type store lacks; fields as of ROS 2 Humble and later
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
    "Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\nstring id"
    ),
    "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
}
MCAP_MAGIC = b"\x89MCAP0\r\n"
HEADER_STAMP = 4  # bytes before it: those of CDR, or the sequence number of ROS 1
HEADER_BYTES = 1 << 20  # of an mcap file: its header, and usually the first schemas


class Bag:
    """An open recording. Any error inside the file is raised as a BagError that names it.

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
        # The messages read here are the same in all versions of ROS 2; types of other topics may be
        # described wrongly or not at all.
        self._types = get_typestore(Stores.ROS1_NOETIC if self.is_ros1 else Stores.ROS2_JAZZY)
        if self.is_ros1:
            self._types.register(
                get_types_from_msg("geometry_msgs/TransformStamped[] transforms", TF_TYPE)
            )
        else:
            for name, fields in BOX_TYPES.items():
                self._types.register(get_types_from_msg(fields, f"vision_msgs/msg/{name}"))

    def __enter__(self) -> Bag:
        if reason := _foreign_profile(self.path):
            raise self._foreign(reason)
        with self._naming_the_file():
            self._reader = (Ros1Reader if self.is_ros1 else Ros2Reader)(self.path)
            self._reader.open()
        formats = {
            getattr(connection.ext, "serialization_format", "cdr")
            for connection in self._reader.connections
        }
        if other := formats - {"cdr"}:
            self._reader.close()
            raise self._foreign(_serialized(", ".join(sorted(other))))
        return self

    def _foreign(self, reason: str) -> BagError:
        return BagError(
            f"{self.path}: {reason}. Convert it to ROS 2, for example the original .bag with "
            "rosbags-convert (pip install rosbags); a .bag can be given here as it is"
        )

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a damaged file can fail anywhere inside the parser
            if format_ := re.search(r"Serialization format \{'(\w+)'", str(error)):
                raise self._foreign(_serialized(format_[1])) from error
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
        if not connections:  # an empty list would mean all
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
        """The first message of a topic. Raises BagError if the bag holds none (a damaged index)."""
        _, message = next(self.messages(topic), ("", None))
        if message is None:
            raise BagError(f"{self.path}: {topic}: holds no message; record or copy the bag again")
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

    def stamps(self, *topics: str) -> Iterator[tuple[str, int, list[int]]]:
        """(topic, time of recording in ns, stamps in ns) in time order, without decoding the rest.

        Of a TFMessage the stamp of its first transform; all else begins with its header.
        """
        for topic, kind, recorded, data in self.raw(*topics):
            with self._naming_the_file():
                if kind == TF_TYPE:
                    yield (
                        topic,
                        recorded,
                        [stamp_ns(t) for t in self._decode(kind, data).transforms[:1]],
                    )
                    continue
                order = ">" if not self.is_ros1 and data[1] == 0 else "<"
                sec, nanosec = struct.unpack_from(f"{order}iI", data, HEADER_STAMP)
                yield topic, recorded, [sec * 10**9 + nanosec]

    def _decode(self, kind: str, data: bytes) -> Any:
        if not self.is_ros1:
            return self._types.deserialize_cdr(data, kind)
        message = self._types.deserialize_ros1(data, kind)
        if kind == INFO_TYPE:  # D, K, R and P are lower case in ROS 2
            return SimpleNamespace(**{k.lower(): v for k, v in vars(message).items()})
        return message


def _foreign_profile(path: Path) -> str:
    """Why an mcap file, or one in a bag folder, is no recording of ROS 2; "" if it is."""
    files = sorted(path.glob("*.mcap")) if path.is_dir() else [path]
    if not files or files[0].suffix != ".mcap":
        return ""
    with files[0].open("rb") as file:
        start = file.read(HEADER_BYTES)
    if start[:8] != MCAP_MAGIC or len(start) < 21:
        return ""
    length = int.from_bytes(start[17:21], "little")  # after opcode and length of the header
    profile = start[21 : 21 + length].decode("utf-8", "replace")
    if profile == "ros2":
        return ""
    if profile == "ros1" or b"\x04\0\0\0ros1" in start or b"\x07\0\0\0ros1msg" in start:
        return _serialized("ros1")
    return f"its mcap profile is {profile!r}, not 'ros2': another tool or ROS 1 recorded it"


def _serialized(name: str) -> str:
    """What a recording is whose messages are not CDR."""
    of = "ROS 1" if name == "ros1" else "another system than ROS 2"
    return f"this is a recording of {of} (its messages are serialised as {name})"


def bag_topics(path: str | Path) -> dict[str, tuple[str, int]]:
    """Topic -> (message type, number of messages), sorted by name."""
    with Bag(path) as bag:
        return bag.topics


def stamp_ns(message: Any) -> int:
    """The header's stamp in nanoseconds."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def check_clock(bag: Bag, topic: str, newest_ns: int, stamp_ns: int) -> None:
    """Raises BagError if stamps go back by over a second: a recorded loop, or two clocks.

    Messages that are older than others by less are late.
    """
    if stamp_ns < newest_ns - JUMP_NS:
        raise BagError(
            f"{bag.path}: the stamps of {topic} go back by {(newest_ns - stamp_ns) * 1e-9:.1f} s, "
            "as when a looping bag is recorded: cut the bag there and give one part"
        )
