"""From the messages of detectors to sightings in the world: each with the image it was made of.

A detector takes its time: its boxes come when the image they belong to is long gone by. So the
moments of late (colour, depth, calibration, pose; not decoded) are kept, and boxes wait for theirs.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.lifting import ImageBox, lift, rectified_corners
from spatial3d_ros.sensors.camera_poses import CameraPoses, stamp_of
from spatial3d_ros.sensors.detections import DetectionReader
from spatial3d_ros.sensors.frame_builder import FrameBuilder
from spatial3d_ros.sensors.image_decoding import decode_labels
from spatial3d_ros.sensors.synchronizer import SECOND
from spatial3d_ros.sensors.transforms import TransformTree

MAX_WAITING = 16  # messages that wait for their image, mask or transform
MAX_BYTES = 512 * 2**20  # of images that are kept for detections to come
MASKS = 16
MASK_WAIT_S = 0.5  # for so long, by the stamps of the images, boxes that have come wait for masks
GIVE_UP_S = 5.0  # of waiting, by the clock on the wall


@dataclass(frozen=True, eq=False)
class SyncedFrame:
    """The messages of one moment, and where the camera was."""

    stamp_ns: int
    color: Any
    depth: Any
    info: Any
    depth_info: Any
    world_T_camera: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of both images as they came."""
        return len(self.color.data) + len(self.depth.data)


@dataclass(frozen=True)
class DetectionTopics:
    """Resolved names, for messages to people; "" where nothing is subscribed."""

    boxes_2d: str = ""
    boxes_3d: str = ""
    masks: str = ""


@dataclass(frozen=True, eq=False)
class _Waiting:
    message: Any
    stamp_ns: int
    is_flat: bool
    newest_ns: int  # of the images when it came: those of a slow detector are far ahead
    since: float = field(default_factory=time.monotonic)


class DetectionFeed:
    """Takes Detection2DArray and Detection3DArray, and hands sightings to `deliver`.

    Boxes in space may be in the frame of the memory, in that of the colour image, or in any that
    `transforms` link to it. Masks are label images: pixel n belongs to the n-th box of the message
    of that stamp. At most `max_hz` messages a second, by their stamps, are used. `run` is as in
    `FramePipeline`. Nothing is raised for bad data: it is counted in `counts` by reason and told to
    `on_problem(topic, text)`.
    """

    def __init__(
        self,
        topics: DetectionTopics,
        reader: DetectionReader,
        builder: FrameBuilder,
        poses: CameraPoses,
        transforms: TransformTree | None,
        deliver: Callable[[list[Detection3D]], None],
        counts: Counter[str],
        *,
        on_problem: Callable[[str, str], None],
        run: Callable[[Callable[[], None]], object] = lambda work: work(),
        slop_s: float = 0.02,
        max_delay_s: float = 3.0,
        max_hz: float = 5.0,
    ) -> None:
        self.topics = topics
        self.counts = counts
        self._reader = reader
        self._builder = builder
        self._poses = poses
        self._transforms = transforms
        self._deliver = deliver
        self._on_problem = on_problem
        self._run = run
        self._slop = round(slop_s * SECOND)
        self._max_delay = round(max_delay_s * SECOND)
        self._period = round(SECOND / max_hz)
        self._lock = threading.RLock()
        self._moments: deque[SyncedFrame] = deque()
        self._masks: deque[tuple[int, Any]] = deque(maxlen=MASKS)
        self._waiting: deque[_Waiting] = deque()
        self._used = {True: -math.inf, False: -math.inf}

    def keep(self, moment: SyncedFrame) -> None:
        """A moment whose pose is known; stamps rise."""
        with self._lock:
            self._moments.append(moment)
            while (
                moment.stamp_ns - self._moments[0].stamp_ns > self._max_delay
                or sum(m.nbytes for m in self._moments) > MAX_BYTES
            ) and len(self._moments) > 1:
                self._moments.popleft()
            self._flush()

    def take_2d(self, message: Any) -> None:
        """A Detection2DArray."""
        self._take(message, self.topics.boxes_2d, is_flat=True)

    def take_3d(self, message: Any) -> None:
        """A Detection3DArray."""
        self._take(message, self.topics.boxes_3d, is_flat=False)

    def take_mask(self, message: Any) -> None:
        """A label image."""
        with self._lock:
            try:
                self._masks.append((stamp_of(message, self.topics.masks), message))
            except FrameError as error:
                self._refuse("no stamp", error)
            self._flush()

    def forget(self) -> None:
        """The clock of the images went back."""
        with self._lock:
            self._moments.clear()
            self._masks.clear()
            self._waiting.clear()
            self._used = {True: -math.inf, False: -math.inf}

    @property
    def waiting(self) -> int:
        """Messages that wait for their image, mask or transform."""
        return len(self._waiting)

    def _take(self, message: Any, topic: str, *, is_flat: bool) -> None:
        with self._lock:
            self.counts["messages"] += 1
            try:
                stamp = stamp_of(message, topic)
            except FrameError as error:
                self._refuse("no stamp", error)
                return
            if abs(stamp - self._used[is_flat]) < self._period:
                self.counts["skipped"] += 1
                return
            self._used[is_flat] = stamp
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self.counts["skipped"] += 1
            newest = self._moments[-1].stamp_ns if self._moments else stamp
            self._waiting.append(_Waiting(message, stamp, is_flat, newest))
            self._flush()

    def _flush(self) -> None:
        """Hand on every message that has what it needs; give up those that never will."""
        still: deque[_Waiting] = deque()
        while self._waiting:
            waiting = self._waiting.popleft()
            try:
                work = self._prepare_2d(waiting) if waiting.is_flat else self._prepare_3d(waiting)
            except FrameError as error:
                self._refuse("no frame of that stamp" if waiting.is_flat else "no transform", error)
                continue
            if work is None:
                still.append(waiting)
            else:
                self._run(work)
        self._waiting = still

    def _prepare_2d(self, waiting: _Waiting) -> Callable[[], None] | None:
        stamp, topic = waiting.stamp_ns, self.topics.boxes_2d
        nearest = min(self._moments, key=lambda m: abs(m.stamp_ns - stamp), default=None)
        if nearest is None or abs(nearest.stamp_ns - stamp) > self._slop:
            newest = self._moments[-1].stamp_ns if self._moments else -math.inf
            if newest <= stamp and time.monotonic() - waiting.since < GIVE_UP_S:
                return None
            apart = (
                "none was" if nearest is None else f"{abs(nearest.stamp_ns - stamp) / 1e9:.3f} s"
            )
            raise FrameError(
                f"{topic}: no image of field header.stamp {stamp / 1e9:.3f} is kept; the nearest: "
                f"{apart} off. A detector has to copy the stamp of its image; if it is slow, raise "
                "detection_delay_s."
            )
        ours, theirs = (m.header.frame_id.lstrip("/") for m in (nearest.color, waiting.message))
        if ours and theirs and ours != theirs:
            raise FrameError(
                f"{topic}: field header.frame_id is {theirs!r}, but {self._builder.topics.color} "
                f"is of {ours!r}: let the detector look at that image."
            )
        mask = self._mask_of(stamp)
        if self.topics.masks and mask is None:
            since = max(stamp, waiting.newest_ns)
            if self._moments[-1].stamp_ns - since < MASK_WAIT_S * SECOND:
                return None
            self.counts["without its mask"] += 1
        return partial(self._lift, nearest, waiting.message, mask)

    def _mask_of(self, stamp_ns: int) -> Any | None:
        return next((m for at, m in self._masks if abs(at - stamp_ns) <= self._slop), None)

    def _prepare_3d(self, waiting: _Waiting) -> Callable[[], None] | None:
        message, topic = waiting.message, self.topics.boxes_3d
        frames = [message.header.frame_id, *(d.header.frame_id for d in message.detections[:1])]
        frame = next((name.lstrip("/") for name in frames if name), "")
        if not frame:
            raise FrameError(
                f"{topic}: field header.frame_id is empty: name the frame of the boxes."
            )
        try:
            pose = self._world_T(frame, waiting.stamp_ns)
        except FrameError as error:
            raise FrameError(f"{topic}: field header.frame_id is {frame!r}: {error}") from error
        if pose is None:
            if time.monotonic() - waiting.since < GIVE_UP_S:
                return None
            raise FrameError(
                f"{topic}: field header.frame_id is {frame!r}, and where that is was not told "
                f"within {GIVE_UP_S:g} s. Give boxes in {self._poses.frame_id!r} or in the frame "
                "of the colour image, or publish its transform."
            )
        return partial(self._place, waiting, pose)

    def _world_T(self, frame: str, stamp_ns: int) -> np.ndarray | None:
        """Pose (4, 4) of a frame in the memory's; None while it is to come. Raises FrameError."""
        if frame == self._poses.frame_id.lstrip("/"):
            return np.eye(4)
        if self._moments and frame == self._moments[-1].color.header.frame_id.lstrip("/"):
            return self._poses.at(stamp_ns, frame)
        world = self._poses.frame_id
        if self._transforms is None or not self._transforms.linked(world, frame):
            return None
        return self._transforms.lookup(world, frame, stamp_ns)

    def _place(self, waiting: _Waiting, world_T_frame: np.ndarray) -> None:
        problem = partial(self._on_problem, self.topics.boxes_3d)
        found = self._reader.read_3d(waiting.message, problem)
        self._hand_over(
            [
                Detection3D(box.upright(world_T_frame), box.label, box.score, waiting.stamp_ns)
                for box in found
            ]
        )

    def _lift(self, moment: SyncedFrame, message: Any, mask: Any) -> None:
        """Decode the images of a moment and put its boxes into the world: takes milliseconds."""
        topic = self.topics.boxes_2d
        found = self._reader.read_2d(message, partial(self._on_problem, topic))
        if not found:
            return
        try:
            frame = self._builder.build(
                moment.color, moment.depth, moment.info, moment.stamp_ns, moment.world_T_camera,
                self._poses.frame_id, moment.depth_info,
            )  # fmt: skip
        except FrameError as error:
            self._refuse("a damaged frame", error)
            return
        raw = self._builder.camera(moment.info, self._builder.topics.camera_info)
        labels = None if mask is None else self._labels(mask, raw)
        sightings = []
        for box in found:
            corners = rectified_corners(box.corners, raw)
            own = None if labels is None else labels == box.index + 1
            own = own if own is not None and own.any() else None
            try:
                sightings.append(lift(ImageBox(corners, box.label, box.score, own), frame))
            except FrameError as error:
                self.counts["no depth"] += 1
                self._on_problem(topic, str(error))
        self._hand_over(sightings)

    def _labels(self, mask: Any, camera: Camera) -> np.ndarray | None:
        """The label image in the pixels of the frame (H, W); None where it cannot be used."""
        topic = self.topics.masks
        try:
            labels = decode_labels(mask, topic)
            if labels.shape != (camera.height, camera.width):
                height, width = labels.shape
                raise FrameError(
                    f"{topic}: fields width and height say {width}x{height}, but the image is "
                    f"{camera.width}x{camera.height}: give masks of its size."
                )
        except FrameError as error:
            self._refuse("a mask of no use", error)
            return None
        return camera.rectify(labels.astype(np.float32))  # exact, and never blended

    def _hand_over(self, sightings: list[Detection3D]) -> None:
        self.counts["boxes"] += len(sightings)
        if sightings:
            self._deliver(sightings)

    def _refuse(self, reason: str, error: FrameError) -> None:
        self.counts[reason] += 1
        topic, _, problem = str(error).partition(": ")
        self._on_problem(topic, problem)
