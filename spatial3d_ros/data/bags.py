"""Recordings as ROS 2 bags, read without ROS; `bag_writer` writes them.

A bag is a folder with `metadata.yaml`, or a single `.mcap` or `.db3` file. It is read frame by
frame, so memory stays bounded however long the recording is.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from spatial3d_ros.errors import BagError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import interpolate, pose_matrix
from spatial3d_ros.scene.frame import Frame

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


class PoseTrack:
    """Poses of a whole recording, interpolated to any stamp inside it."""

    def __init__(self, max_gap_s: float = 0.5) -> None:
        self.max_gap_ns = int(max_gap_s * 1e9)
        self.stamps: list[int] = []
        self.poses: list[np.ndarray] = []

    def add(self, stamp_ns: int, world_T_camera: np.ndarray) -> None:
        at = bisect.bisect_right(self.stamps, stamp_ns)
        self.stamps.insert(at, stamp_ns)
        self.poses.insert(at, world_T_camera)

    def at(self, stamp_ns: int) -> np.ndarray | None:
        """The (4, 4) pose at a stamp; None outside the track or inside a gap that is too long."""
        after = bisect.bisect_left(self.stamps, stamp_ns)
        if after < len(self.stamps) and self.stamps[after] == stamp_ns:
            return self.poses[after]
        if after in (0, len(self.stamps)):
            return None
        t0, t1 = self.stamps[after - 1], self.stamps[after]
        if t1 - t0 > self.max_gap_ns:
            return None
        return interpolate(self.poses[after - 1], t0, self.poses[after], t1, stamp_ns)


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
    return _frames(Path(path), topics, slop_s, PoseTrack(max_pose_gap_s))


def _frames(path: Path, topics: Topics, slop_s: float, track: PoseTrack) -> Iterator[Frame]:
    # The node's own decoder and matcher: a bag gives the same frames on disk as on the wire.
    from spatial3d_ros.nodes import image_decoding as decoding

    with Bag(path) as bag:
        world = _read_poses(bag, topics.pose, track)
        _, info = next(bag.messages(topics.camera_info))
        camera = _camera(info)
        rectified = camera.rectified()
        found = False
        for pair in _pairs(bag, topics, slop_s):
            pose = track.at(pair.stamp_ns)
            if pose is None:
                continue
            found = True
            if hasattr(pair.color, "encoding"):
                rgb = decoding.decode_color(pair.color, topics.rgb)
            else:
                rgb = decoding.decode_compressed_color(pair.color, topics.rgb)
            if hasattr(pair.depth, "encoding"):
                depth = decoding.decode_depth(pair.depth, topics.depth)
            else:
                depth = decoding.decode_compressed_depth(pair.depth, topics.depth)
            yield Frame(
                stamp_ns=pair.stamp_ns,
                rgb=camera.rectify(rgb),
                depth=camera.rectify(depth),
                camera=rectified,
                world_T_camera=pose,
                frame_id=world,
            )
    if not found:
        raise BagError(
            f"{path}: no frame: colour ({topics.rgb}) and depth ({topics.depth}) never come within "
            f"{slop_s * 1e3:.0f} ms of each other with a pose ({topics.pose}) around them"
        )


def _pairs(bag: Bag, topics: Topics, slop_s: float) -> Iterator[Any]:
    from spatial3d_ros.nodes.synchronizer import Synchronizer

    synchronizer = Synchronizer(slop_s)
    add = {topics.rgb: synchronizer.add_color, topics.depth: synchronizer.add_depth}
    for topic, message in bag.messages(topics.rgb, topics.depth):
        yield from add[topic](stamp_ns(message), message)


def _read_poses(bag: Bag, topic: str, track: PoseTrack) -> str:
    frame_id = "map"
    for _, message in bag.messages(topic):
        # Odometry nests its pose once more, beside the covariance.
        pose = message.pose.pose if hasattr(message.pose, "pose") else message.pose
        p, q = pose.position, pose.orientation
        track.add(stamp_ns(message), pose_matrix((p.x, p.y, p.z), (q.x, q.y, q.z, q.w)))
        frame_id = message.header.frame_id or frame_id
    return frame_id


def _camera(info: Any) -> Camera:
    roi = info.roi
    return Camera.from_calibration(
        info.width,
        info.height,
        info.k,
        d=info.d,
        distortion_model=info.distortion_model,
        binning_x=info.binning_x,
        binning_y=info.binning_y,
        roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
    )


def stamp_ns(message: Any) -> int:
    """The header's stamp in nanoseconds."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
