"""Bags written for tests: frames, changed messages, other sources of poses."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from spatial3d_ros.bags.bag import stamp_ns
from spatial3d_ros.bags.topics import (
    ODOMETRY_TYPE,
    TF_TYPE,
)
from spatial3d_ros.bags.writer import OPTICAL_FRAME, write_bag
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import invert, look_at, pose_matrix, quaternion_xyzw
from spatial3d_ros.scene.frame import Frame

EYE = np.eye(4)
WALL_X = 4.0
CAMERA = Camera(64, 48, 60.0, 61.0, 31.5, 23.5)


def make_frames(count: int = 5) -> list[Frame]:
    rng = np.random.default_rng(3)
    smooth = cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (64, 48))
    v, u = np.mgrid[0:48, 0:64]
    rays = np.stack(
        [(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], -1
    )
    frames = []
    for k in range(count):
        pose = look_at((0.1 * k, 0, 1), (3, 0.2 * k, 1))
        towards_wall = pose[:3, :3].T[:, 0]  # a wall at x = WALL_X, 1 % of noise
        depth = (WALL_X - pose[0, 3]) / (rays @ towards_wall) * rng.uniform(0.99, 1.01, (48, 64))
        depth = depth.astype(np.float32)
        depth[:4] = 0
        frames.append(Frame(10**9 + k * 10**8, smooth, depth, CAMERA, pose))
    return frames


STORE = get_typestore(Stores.ROS2_JAZZY)
KINDS = STORE.types
Change = Callable[[str, Any], list[tuple[str, str, Any]]]


def rewritten(frames: list[Frame], folder: Path, change: Change, name: str = "bag") -> Path:
    """A bag of the frames in which `change(topic, message)` replaces each message by others."""
    write_bag(folder / "plain.mcap", frames, overwrite=True)
    made: dict[str, Any] = {}
    with (
        Reader(folder / "plain.mcap") as reader,
        Writer(folder / name, version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        for connection, stamp, raw in reader.messages():
            message = STORE.deserialize_cdr(raw, connection.msgtype)
            for topic, kind, new in change(connection.topic, message):
                if topic not in made:
                    made[topic] = writer.add_connection(topic, kind, typestore=STORE)
                writer.write(made[topic], stamp, STORE.serialize_cdr(new, kind))
    return folder / name


def unchanged(topic: str, message: Any) -> list[tuple[str, str, Any]]:
    return [(topic, message.__msgtype__, message)]


def odometry(child: str) -> Change:
    zero = KINDS["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
    twist = KINDS["geometry_msgs/msg/TwistWithCovariance"](
        KINDS["geometry_msgs/msg/Twist"](zero, zero), np.zeros(36)
    )

    def change(topic: str, message: Any) -> list[tuple[str, str, Any]]:
        if topic != "/camera/pose":
            return unchanged(topic, message)
        pose = KINDS["geometry_msgs/msg/PoseWithCovariance"](message.pose, np.zeros(36))
        return [("/odom", ODOMETRY_TYPE, KINDS[ODOMETRY_TYPE](message.header, child, pose, twist))]

    return change


def link(header: Any, parent: str, child: str, pose: np.ndarray) -> Any:
    vector = KINDS["geometry_msgs/msg/Vector3"](*map(float, pose[:3, 3]))
    turn = KINDS["geometry_msgs/msg/Quaternion"](*map(float, quaternion_xyzw(pose)))
    return KINDS["geometry_msgs/msg/TransformStamped"](
        KINDS["std_msgs/msg/Header"](header.stamp, parent),
        child,
        KINDS["geometry_msgs/msg/Transform"](vector, turn),
    )


BASE_T_MOUNT = pose_matrix((0.1, 0.0, 0.4), (0.0, 0.0, np.sin(0.2), np.cos(0.2)))
MOUNT_T_CAMERA = pose_matrix((0.0, 0.05, 0.0), (-0.5, 0.5, -0.5, 0.5))
MAP_T_ODOM = pose_matrix((3.0, -1.0, 0.0), (0.0, 0.0, np.sin(0.5), np.cos(0.5)))


def transforms(*left_out: str) -> Change:
    """The poses as map -> odom -> base -> mount -> camera, without the links to `left_out`."""

    def change(topic: str, message: Any) -> list[tuple[str, str, Any]]:
        if topic != "/camera/pose":
            return unchanged(topic, message)
        p, q = message.pose.position, message.pose.orientation
        camera = pose_matrix((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
        base = invert(MAP_T_ODOM) @ camera @ invert(BASE_T_MOUNT @ MOUNT_T_CAMERA)
        header = message.header
        out = []
        for topic_out, parent, child, pose in (
            ("/tf", "map", "odom", MAP_T_ODOM),
            ("/tf", "/odom", "base", base),
            ("/tf_static", "base", "mount", BASE_T_MOUNT),
            ("/tf_static", "mount", OPTICAL_FRAME, MOUNT_T_CAMERA),
        ):
            if child not in left_out:
                moved = KINDS[TF_TYPE]([link(header, parent, child, pose)])
                out.append((topic_out, TF_TYPE, moved))
        return out

    return change


def shifted(k_of_image: dict[int, float], name: str) -> Change:
    """The k-th message of a topic is stamped so many seconds later."""
    seen = Counter()

    def change(topic: str, message: Any) -> list[tuple[str, str, Any]]:
        if topic == name or (name == "images" and "image" in topic):
            moved = stamp_ns(message) + round(1e9 * k_of_image.get(seen[topic], 0.0))
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(moved, 10**9)
            seen[topic] += 1
        return unchanged(topic, message)

    return change


def shared_data(name: str) -> Path:
    root = os.environ.get("SPATIAL3D_SHARED") or Path(__file__).parents[3] / "shared"
    folder = Path(root) / "data" / name
    if not folder.exists():
        pytest.skip(f"{folder} is not here (set SPATIAL3D_SHARED)")
    return folder
