"""Recordings as ROS 2 bags, read without ROS; `bag_writer` writes them.

A bag is a folder with `metadata.yaml`, or a single `.mcap` or `.db3` file. It is read frame by
frame, so memory stays bounded however long the recording is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from spatial3d_ros.errors import BagError
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors import frame_builder as sensors
from spatial3d_ros.sensors.frame_builder import FrameBuilder
from spatial3d_ros.sensors.pose_source import PoseReader, PoseTrack
from spatial3d_ros.sensors.synchronizer import Synchronizer

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
POSE_TYPES = ("geometry_msgs/msg/PoseStamped", "nav_msgs/msg/Odometry")
SUFFIXES = (".mcap", ".db3")


@dataclass(frozen=True)
class Topics:
    """Names of the four topics a recording needs."""

    rgb: str = "/camera/rgb/image"
    depth: str = "/camera/depth/image"
    camera_info: str = "/camera/rgb/camera_info"
    pose: str = "/camera/pose"

    def compressed(self) -> Topics:
        """The same with the names image_transport gives to compressed images."""
        return replace(self, rgb=f"{self.rgb}/compressed", depth=f"{self.depth}/compressedDepth")


class Bag:
    """An open recording. Whatever goes wrong inside the file is raised as a BagError that names it.

    Use it as a context manager: `with Bag(path) as bag: for topic, message in bag.messages(...)`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise BagError(f"{path}: no such bag")
        if self.path.is_dir() and not (self.path / "metadata.yaml").exists():
            raise BagError(
                f"{path}: a bag folder needs metadata.yaml; give the .mcap or .db3 file in it "
                "instead, or run `ros2 bag reindex`"
            )
        if self.path.is_file() and self.path.suffix not in SUFFIXES:
            raise BagError(f"{path}: not a ROS 2 bag (a folder, .mcap or .db3)")

    def __enter__(self) -> Bag:
        with self._naming_the_file():
            self.reader = AnyReader([self.path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            self.reader.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a damaged file can fail anywhere inside the parser
            raise BagError(
                f"{self.path}: truncated or damaged ({error or type(error).__name__}); record it "
                "again, or repair it with `mcap recover` or `ros2 bag reindex`"
            ) from error

    @property
    def topics(self) -> dict[str, tuple[str, int]]:
        """Topic -> (message type, number of messages), sorted by name."""
        return {
            topic: (info.msgtype or "several types", info.msgcount)
            for topic, info in sorted(self.reader.topics.items())
        }

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last message."""
        return self.reader.duration * 1e-9 if self.reader.message_count else 0.0

    def raw(self, *topics: str) -> Iterator[tuple[str, str, int, bytes]]:
        """(topic, message type, time of recording in ns, CDR bytes) in time order."""
        connections = [c for c in self.reader.connections if c.topic in topics]
        iterator = self.reader.messages(connections)
        while True:
            with self._naming_the_file():
                item = next(iterator, None)
            if item is None:
                return
            connection, stamp, data = item
            yield connection.topic, connection.msgtype, stamp, data

    def messages(self, *topics: str) -> Iterator[tuple[str, Any]]:
        """(topic, message) in time order."""
        for topic, kind, _, data in self.raw(*topics):
            with self._naming_the_file():
                message = self.reader.deserialize(data, kind)
            yield topic, message


def bag_topics(path: str | Path) -> dict[str, tuple[str, int]]:
    """Topic -> (message type, number of messages), sorted by name."""
    with Bag(path) as bag:
        return bag.topics


def find_topics(path: str | Path, topics: Topics | None = None) -> Topics:
    """The four topics of a bag: those given, checked, or guessed from types and names.

    Raises BagError that lists what the bag has when one is missing, empty or ambiguous.
    """
    present = {topic: kind for topic, (kind, count) in bag_topics(path).items() if count}
    if not present:
        raise BagError(f"{path}: the bag holds no messages")
    if topics is None:
        return _guess(path, present)
    found = {}
    for role, default in vars(topics).items():
        wanted = (
            IMAGE_TYPES
            if role in ("rgb", "depth")
            else ((INFO_TYPE,) if role == "camera_info" else POSE_TYPES)
        )
        names = (default, f"{default}/compressed", f"{default}/compressedDepth")
        name = next((n for n in names if n in present), None)
        if name is None:
            raise BagError(f"{path}: no messages on {default} ({role}); {_listing(present)}")
        if present[name] not in wanted:
            raise BagError(
                f"{path}: {name} is {present[name]}, but {role} needs {' or '.join(wanted)}"
            )
        found[role] = name
    return Topics(**found)


def _listing(present: dict[str, str]) -> str:
    return "the bag has " + ", ".join(f"{name} ({kind})" for name, kind in present.items())


def _guess(path: str | Path, present: dict[str, str]) -> Topics:
    def choose(role: str, candidates: list[str], default: str) -> str:
        if not candidates:
            raise BagError(f"{path}: found no {role} topic; {_listing(present)}")
        names = [n for n in candidates if n.startswith(default)] or candidates
        raw = [n for n in names if present[n] == IMAGE_TYPES[0]] or names
        if len(raw) > 1:
            raise BagError(f"{path}: several {role} topics ({', '.join(raw)}); name the one to use")
        return raw[0]

    usual = Topics()
    images = [n for n, kind in present.items() if kind in IMAGE_TYPES]
    depth = choose("depth", [n for n in images if "depth" in n.lower()], usual.depth)
    colours = [n for n in images if "depth" not in n.lower()]
    rgb = choose("colour", [n for n in colours if "rgb" in n or "color" in n] or colours, usual.rgb)
    infos = [n for n, kind in present.items() if kind == INFO_TYPE]
    # The calibration that shares the longest name prefix with the colour image belongs to it.
    near = max((_common_prefix(n, rgb) for n in infos), default=0)
    infos = [n for n in infos if _common_prefix(n, rgb) == near]
    info = choose("camera_info", infos, usual.camera_info)
    poses = [n for n, kind in present.items() if kind in POSE_TYPES]
    return Topics(rgb, depth, info, choose("pose", poses, usual.pose))


def _common_prefix(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))


def read_bag(
    path: str | Path,
    topics: Topics | None = None,
    *,
    slop_s: float = 0.02,
    max_pose_gap_s: float = 0.5,
) -> Iterator[Frame]:
    """Frames of a recording in time order: colour and depth paired by stamp, poses interpolated.

    Poses are taken as `world_T_camera` (optical axes), from PoseStamped or Odometry. Pairs further
    apart than `slop_s` and images outside the poses are left out.

    Raises BagError (missing, damaged, lacking a topic, or without one usable frame) and FrameError.
    """
    topics = find_topics(path, topics)
    return _frames(Path(path), topics, slop_s, PoseTrack.of_recording(topics.pose, max_pose_gap_s))


def _frames(path: Path, topics: Topics, slop_s: float, track: PoseTrack) -> Iterator[Frame]:
    # The node's own matcher and builder: a bag gives the same frames on disk as on the wire.
    with Bag(path) as bag:
        kinds = {topic: kind for topic, (kind, _) in bag.topics.items()}
        poses = PoseReader(topics.pose, "pose" if kinds[topics.pose] == POSE_TYPES[0] else "odom")
        for _, message in bag.messages(topics.pose):
            track.add(stamp_ns(message), poses.read(message))
        builder = FrameBuilder(
            sensors.Topics(topics.rgb, topics.depth, topics.camera_info, topics.pose),
            "raw" if kinds[topics.rgb] == IMAGE_TYPES[0] else "compressed",
            "raw" if kinds[topics.depth] == IMAGE_TYPES[0] else "compressedDepth",
        )
        _, info = next(bag.messages(topics.camera_info))
        found = False
        for pair in _pairs(bag, topics, slop_s):
            pose = track.known(pair.stamp_ns)
            if pose is not None:
                found = True
                yield builder.build(
                    pair.color, pair.depth, info, pair.stamp_ns, pose, poses.frame_id
                )
    if not found:
        raise BagError(
            f"{path}: no frame: colour ({topics.rgb}) and depth ({topics.depth}) never come within "
            f"{slop_s * 1e3:.0f} ms of each other with a pose ({topics.pose}) around them"
        )


def _pairs(bag: Bag, topics: Topics, slop_s: float) -> Iterator[Any]:
    synchronizer = Synchronizer(slop_s)
    add = {topics.rgb: synchronizer.add_color, topics.depth: synchronizer.add_depth}
    for topic, message in bag.messages(topics.rgb, topics.depth):
        yield from add[topic](stamp_ns(message), message)


def stamp_ns(message: Any) -> int:
    """The header's stamp in nanoseconds."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
