"""Detections that were recorded in a bag as vision_msgs, with masks where there are any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from spatial3d_ros.bags.bag import Bag, stamp_ns
from spatial3d_ros.bags.reader import BagFrames
from spatial3d_ros.bags.topics import IMAGE_TYPES
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.recognition.recogniser import Recognition
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.lifting import Detection2D, rectified_corners
from spatial3d_ros.sensors.detection_reader import DetectionReader
from spatial3d_ros.sensors.image_decoding import decode_labels

BOXES_TYPE = "vision_msgs/msg/Detection2DArray"


class RecordedDetections:
    """The boxes of a topic of type Detection2DArray by the stamp of their image.

    Label images on the topic `masks` beside it are used as the node uses them. Raises ConfigError
    that names the topics of that type if there is none of that name.
    """

    def __init__(self, recording: BagFrames, topic: str) -> None:
        self._recording, self._topic = recording, topic
        with Bag(recording.path) as bag:
            kinds = {name: kind for name, (kind, _) in bag.topics.items()}
            if kinds.get(topic) != BOXES_TYPE:
                others = [name for name, kind in kinds.items() if kind == BOXES_TYPE]
                raise ConfigError(
                    f"--detections {topic}: no such file, and {recording.path} has no "
                    f"{BOXES_TYPE} of that name; it has {', '.join(others) or 'none'}"
                )
            self._messages = {stamp_ns(message): message for _, message in bag.messages(topic)}
        masks = f"{topic.rpartition('/')[0]}/masks"
        self._masks = masks if kinds.get(masks) == IMAGE_TYPES[0] else ""
        self._following: Iterator[Any] | None = None
        self._waiting: dict[int, Any] = {}
        self._reader = DetectionReader({}, 0.0, 1000)

    def of(self, frame: Frame) -> Recognition:
        """The detections of a frame, in its rectified pixels. Raises FrameError for a bad mask."""
        message = self._messages.get(frame.stamp_ns)
        if message is None:
            return Recognition()
        camera = self._recording.camera
        mask = self._mask(frame.stamp_ns)
        labels = None
        if mask is not None:
            labels = camera.rectify(decode_labels(mask, self._masks).astype(np.float32))
        found = []
        for box in self._reader.read_2d(message, lambda text: None):
            own = None if labels is None else labels == box.index + 1
            own = own if own is not None and own.any() else None
            corners = rectified_corners(box.corners, camera)
            found.append(Detection2D(corners, box.label, box.score, own, box.others))
        return Recognition(tuple(found))

    def _mask(self, stamp: int) -> Any:
        """The label image of a stamp: the topic is read once, along with the frames."""
        if not self._masks:
            return None
        if self._following is None:
            self._following = self._read_masks()
        while stamp not in self._waiting:
            message = next(self._following, None)
            if message is None:
                return None
            self._waiting[stamp_ns(message)] = message
        for older in [key for key in self._waiting if key < stamp]:
            del self._waiting[older]
        return self._waiting[stamp]

    def _read_masks(self) -> Iterator[Any]:
        with Bag(self._recording.path) as bag:
            for _, message in bag.messages(self._masks):
                yield message
