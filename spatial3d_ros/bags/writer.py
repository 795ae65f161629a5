"""Writes frames to ROS 2 bags, without ROS and frame by frame."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from spatial3d_ros.bags.bag import SUFFIXES
from spatial3d_ros.bags.topics import IMAGE_TYPES, INFO_TYPE, POSE_TYPE, Topics
from spatial3d_ros.errors import BagError
from spatial3d_ros.geometry.pose import interpolate, quaternion_xyzw
from spatial3d_ros.scene.frame import Frame

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
OPTICAL_FRAME = "camera_optical_frame"


def write_bag(
    path: str | Path,
    frames: Iterable[Frame],
    *,
    storage: str = "mcap",
    compressed: bool = False,
    topics: Topics | None = None,
    overwrite: bool = False,
) -> int:
    """Write frames as images, calibration and poses; returns the number of frames.

    Depth is stored in millimetres (16UC1); poses come twice as often as images, the ones between
    interpolated, as a localisation would publish them. A path that ends in `.mcap` or `.db3` is
    that single file, any other a folder with metadata.yaml. Nothing is left behind on failure.

    Raises BagError when the bag exists (unless `overwrite`), the storage is unknown, or there is
    no frame.
    """
    path, topics = Path(path), topics or Topics()
    if path.suffix in SUFFIXES:
        storage = "mcap" if path.suffix == ".mcap" else "sqlite3"
    if storage not in STORAGES:
        raise BagError(f"unknown storage {storage!r}: use {' or '.join(STORAGES)}")
    if path.exists() and not overwrite:
        raise BagError(f"{path}: exists already; choose another name or overwrite it")
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Writer(partial, version=9, storage_plugin=STORAGES[storage]) as writer:
            count = _FrameWriter(writer, topics, compressed).write(frames)
        if not count:
            raise BagError(f"{path}: no frames to write")
        _put_in_place(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return count


def _put_in_place(partial: Path, path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    data = next(f for f in partial.iterdir() if f.suffix in SUFFIXES)
    if path.suffix in SUFFIXES:
        data.replace(path)
        return
    named = data.with_name(f"{path.name}{data.suffix}")
    metadata = partial / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(data.name, named.name))
    data.replace(named)
    partial.replace(path)


class _FrameWriter:
    """Turns frames into messages on the connections of one open bag."""

    def __init__(self, writer: Writer, topics: Topics, compressed: bool) -> None:
        self.store = get_typestore(Stores.ROS2_JAZZY)
        self.types = self.store.types
        self.writer = writer
        self.compressed = compressed
        image = IMAGE_TYPES[int(compressed)]
        names = topics.compressed() if compressed else topics
        self.connections = {
            role: writer.add_connection(getattr(names, role), kind, typestore=self.store)
            for role, kind in (
                ("rgb", image),
                ("depth", image),
                ("camera_info", INFO_TYPE),
                ("pose", POSE_TYPE),
            )
        }

    def write(self, frames: Iterable[Frame]) -> int:
        count, previous = 0, None
        for frame in frames:
            if previous is not None:
                middle = (previous.stamp_ns + frame.stamp_ns) // 2
                between = interpolate(
                    previous.world_T_camera,
                    previous.stamp_ns,
                    frame.world_T_camera,
                    frame.stamp_ns,
                    middle,
                )
                self._pose(middle, between, frame.frame_id)
            self._pose(frame.stamp_ns, frame.world_T_camera, frame.frame_id)
            self._calibration(frame)
            self._images(frame)
            count, previous = count + 1, frame
        return count

    def _message(self, kind: str, **fields: Any) -> Any:
        return self.types[kind](**fields)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        sec, nanosec = divmod(stamp_ns, 10**9)
        stamp = self._message("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
        return self._message("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _send(self, role: str, stamp_ns: int, frame_id: str, **fields: Any) -> None:
        connection = self.connections[role]
        message = self._message(
            connection.msgtype, header=self._header(stamp_ns, frame_id), **fields
        )
        data = self.store.serialize_cdr(message, connection.msgtype)
        self.writer.write(connection, stamp_ns, data)

    def _pose(self, stamp_ns: int, world_T_camera: np.ndarray, frame_id: str) -> None:
        x, y, z = (float(v) for v in world_T_camera[:3, 3])
        qx, qy, qz, qw = (float(v) for v in quaternion_xyzw(world_T_camera[:3, :3]))
        pose = self._message(
            "geometry_msgs/msg/Pose",
            position=self._message("geometry_msgs/msg/Point", x=x, y=y, z=z),
            orientation=self._message("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
        )
        self._send("pose", stamp_ns, frame_id, pose=pose)

    def _calibration(self, frame: Frame) -> None:
        camera = frame.camera
        projection = np.zeros((3, 4))
        projection[:, :3] = camera.matrix
        roi = self._message(
            "sensor_msgs/msg/RegionOfInterest",
            x_offset=0,
            y_offset=0,
            height=0,
            width=0,
            do_rectify=False,
        )
        self._send(
            "camera_info",
            frame.stamp_ns,
            OPTICAL_FRAME,
            height=camera.height,
            width=camera.width,
            distortion_model=camera.distortion_model or "plumb_bob",
            d=np.asarray(camera.distortion or (0.0,) * 5),
            k=camera.matrix.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=projection.reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )

    def _images(self, frame: Frame) -> None:
        depth = np.clip(np.rint(frame.depth * 1000.0), 0, 65535).astype(np.uint16)
        height, width = depth.shape
        if self.compressed:
            bgr = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR)
            jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].reshape(-1)
            png = cv2.imencode(".png", depth, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].reshape(-1)
            # compressedDepth begins with 12 bytes: a format number and two quantisation constants,
            # unused for 16-bit depth.
            packed = np.concatenate([np.zeros(12, np.uint8), png])
            self._send(
                "rgb", frame.stamp_ns, OPTICAL_FRAME, format="rgb8; jpeg compressed bgr8", data=jpeg
            )
            self._send(
                "depth",
                frame.stamp_ns,
                OPTICAL_FRAME,
                format="16UC1; compressedDepth png",
                data=packed,
            )
            return
        shape = {"height": height, "width": width, "is_bigendian": 0}
        self._send(
            "rgb",
            frame.stamp_ns,
            OPTICAL_FRAME,
            **shape,
            encoding="rgb8",
            step=3 * width,
            data=frame.rgb.reshape(-1),
        )
        self._send(
            "depth",
            frame.stamp_ns,
            OPTICAL_FRAME,
            **shape,
            encoding="16UC1",
            step=2 * width,
            data=depth.view(np.uint8).reshape(-1),
        )
