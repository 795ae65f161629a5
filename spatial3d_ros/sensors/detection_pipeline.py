"""From detector messages to detections in the world, each lifted with the image it was made of.

A detector takes its time: when its boxes arrive, newer images have arrived too. So the synced
frames of the last seconds (not decoded) are kept, and detections wait for theirs.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.label_voting import ClassImage
from spatial3d_ros.scene.lifting import Detection2D, lift, rectified_corners
from spatial3d_ros.sensors.camera_poses import CameraPoses, stamp_of
from spatial3d_ros.sensors.detection_reader import DetectionReader, clean_label
from spatial3d_ros.sensors.frame_builder import FrameBuilder, SyncedFrame
from spatial3d_ros.sensors.frame_pipeline import Problem
from spatial3d_ros.sensors.image_decoding import decode_labels
from spatial3d_ros.sensors.synchronizer import SECOND
from spatial3d_ros.sensors.transforms import TransformTree

BOXES_2D, BOXES_3D, CLASSES = "2D boxes", "3D boxes", "class images"
MAX_LABELS = 65536  # of classes that an image can number
MAX_WAITING = 16  # messages that wait for their image, mask or transform
MAX_BYTES = 512 * 2**20  # of images that are kept for detections to come
MASKS = 16
MASK_WAIT_S = 0.5  # how long detections wait for their mask, by the stamps of the images
MAX_NORMALISED = 1.5  # pixels; boxes that all end before are normalised to 0 .. 1
OUTSIDE = 1.1  # of the image size, beyond which a box is of another image
GIVE_UP_S = 5.0  # how long detections wait for image or transform, by the wall clock

Lifted = tuple[list[Detection3D] | ClassImage, list[Problem]]
LiftTask = Callable[[], Lifted]
"""A message that is ready: calling it decodes its images, which takes milliseconds."""


@dataclass(frozen=True)
class DetectionTopics:
    """Resolved names, for error messages; "" where nothing is subscribed."""

    boxes_2d: str = ""
    boxes_3d: str = ""
    masks: str = ""
    classes: str = ""


@dataclass(frozen=True, eq=False)
class _Waiting:
    message: Any
    stamp_ns: int
    kind: str
    newest_ns: int  # stamp of the newest image when it arrived; a slow detector's is far ahead
    since: float = field(default_factory=time.monotonic)


class DetectionPipeline:
    """Takes Detection2DArray, Detection3DArray, masks and class images; returns what each call
    made ready.

    3D boxes may be in the world frame, in that of the colour image, or in any that `transforms`
    links to it. Masks are label images: pixel n belongs to the n-th box of the message of that
    stamp. At most `max_hz` messages a second, by their stamps, are used. Nothing is raised for
    bad data: it becomes a `Problem` and is counted in `counts` by reason. Not thread-safe, except
    the tasks: the caller's lock keeps calls apart.
    """

    def __init__(
        self,
        topics: DetectionTopics,
        reader: DetectionReader,
        builder: FrameBuilder,
        poses: CameraPoses,
        transforms: TransformTree | None,
        *,
        slop_s: float = 0.02,
        max_delay_s: float = 3.0,
        max_hz: float = 5.0,
        class_labels: Mapping[str, str] | None = None,
    ) -> None:
        self.topics = topics
        self.counts: Counter[str] = reader.counts
        self._reader = reader
        self._builder = builder
        self._poses = poses
        self._transforms = transforms
        self._slop = round(slop_s * SECOND)
        self._max_delay = round(max_delay_s * SECOND)
        self._period = round(SECOND / max_hz)
        self._class_labels = dict(class_labels or {})
        self.clear()

    def add_frame(self, synced: SyncedFrame) -> list[LiftTask | Problem]:
        """A synced frame; stamps rise."""
        frames = self._frames
        frames.append(synced)
        while len(frames) > 1 and (
            synced.stamp_ns - frames[0].stamp_ns > self._max_delay
            or sum(kept.nbytes for kept in frames) > MAX_BYTES
        ):
            frames.popleft()
        return self._flush()

    def add_2d(self, message: Any) -> list[LiftTask | Problem]:
        """A Detection2DArray."""
        return self._add(message, self.topics.boxes_2d, BOXES_2D)

    def add_3d(self, message: Any) -> list[LiftTask | Problem]:
        """A Detection3DArray."""
        return self._add(message, self.topics.boxes_3d, BOXES_3D)

    def add_classes(self, message: Any) -> list[LiftTask | Problem]:
        """An image of classes, whose names `add_labels` gives."""
        return self._add(message, self.topics.classes, CLASSES)

    def add_labels(self, message: Any) -> list[LiftTask | Problem]:
        """A String with the names of the classes, one a line."""
        names = message.data.split("\n")[:MAX_LABELS]
        self._class_labels = {str(k): name for k, name in enumerate(names)}
        return self._flush()

    def add_mask(self, message: Any) -> list[LiftTask | Problem]:
        """A label image."""
        try:
            self._masks.append((stamp_of(message, self.topics.masks), message))
        except FrameError as error:
            return [self._refuse("no stamp", error)]
        return self._flush()

    def clear(self) -> None:
        """Forget all that waits: the clock of the images went back."""
        self._frames: deque[SyncedFrame] = deque()
        self._masks: deque[tuple[int, Any]] = deque(maxlen=MASKS)
        self._waiting: deque[_Waiting] = deque()
        self._used: dict[str, float] = dict.fromkeys((BOXES_2D, BOXES_3D, CLASSES), -math.inf)

    @property
    def waiting(self) -> int:
        """Messages that wait for their image, mask or transform."""
        return len(self._waiting)

    def _add(self, message: Any, topic: str, kind: str) -> list[LiftTask | Problem]:
        self.counts["messages"] += 1
        try:
            stamp = stamp_of(message, topic)
        except FrameError as error:
            return [self._refuse("no stamp", error)]
        if abs(stamp - self._used[kind]) < self._period:
            self.counts["skipped"] += 1
            return []
        self._used[kind] = stamp
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.counts["skipped"] += 1
        newest = self._frames[-1].stamp_ns if self._frames else stamp
        self._waiting.append(_Waiting(message, stamp, kind, newest))
        return self._flush()

    def _flush(self) -> list[LiftTask | Problem]:
        """A task for every message that has what it needs; a problem for those given up."""
        ready: list[LiftTask | Problem] = []
        still: deque[_Waiting] = deque()
        for waiting in self._waiting:
            try:
                is_3d = waiting.kind == BOXES_3D
                task = self._prepare_3d(waiting) if is_3d else self._prepare_2d(waiting)
            except FrameError as error:
                reason = "no transform" if is_3d else "no frame of that stamp"
                ready.append(self._refuse(reason, error))
                continue
            if task is None:
                still.append(waiting)
            else:
                ready.append(task)
        self._waiting = still
        return ready

    def _prepare_2d(self, waiting: _Waiting) -> LiftTask | None:
        classes = waiting.kind == CLASSES
        stamp, topic = waiting.stamp_ns, self.topics.classes if classes else self.topics.boxes_2d
        nearest = min(self._frames, key=lambda kept: abs(kept.stamp_ns - stamp), default=None)
        if nearest is None or abs(nearest.stamp_ns - stamp) > self._slop:
            newest = self._frames[-1].stamp_ns if self._frames else -math.inf
            if newest <= stamp and time.monotonic() - waiting.since < GIVE_UP_S:
                return None
            apart = (
                "there is none"
                if nearest is None
                else f"the nearest is {abs(nearest.stamp_ns - stamp) / 1e9:.3f} s off"
            )
            raise FrameError(
                f"{topic}: no image of field header.stamp {stamp / 1e9:.3f} is kept; {apart}. "
                "A detector must copy the stamp of its image; if it is slow, raise "
                "detection_delay_s."
            )
        image_frame, box_frame = (
            m.header.frame_id.lstrip("/") for m in (nearest.color, waiting.message)
        )
        if image_frame and box_frame and image_frame != box_frame:
            raise FrameError(
                f"{topic}: field header.frame_id is {box_frame!r}, but "
                f"{self._builder.topics.color} is in {image_frame!r}: run the detector on that "
                "image."
            )
        if classes:
            if self._class_labels:
                return partial(self._class_image, nearest, waiting.message)
            if time.monotonic() - waiting.since < GIVE_UP_S:
                return None
            raise FrameError(
                f"{topic}: no names of its classes arrived: publish them on class_labels, or set "
                "detection_classes."
            )
        mask = next((m for at, m in self._masks if abs(at - stamp) <= self._slop), None)
        if self.topics.masks and mask is None:
            since = max(stamp, waiting.newest_ns)
            if self._frames[-1].stamp_ns - since < MASK_WAIT_S * SECOND:
                return None
            self.counts["without its mask"] += 1
        return partial(self._lift_2d, nearest, waiting.message, mask)

    def _prepare_3d(self, waiting: _Waiting) -> LiftTask | None:
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
                f"{topic}: field header.frame_id is {frame!r}, and no transform of it arrived "
                f"within {GIVE_UP_S:g} s. Give boxes in {self._poses.frame_id!r} or in the frame "
                "of the colour image, or publish its transform."
            )
        return partial(self._transform_3d, waiting, pose)

    def _world_T(self, frame: str, stamp_ns: int) -> np.ndarray | None:
        """Pose (4, 4) of a frame in the world; None while it is to come. Raises FrameError."""
        world = self._poses.frame_id
        if frame == world.lstrip("/"):
            return np.eye(4)
        if self._frames and frame == self._frames[-1].color.header.frame_id.lstrip("/"):
            return self._poses.at(stamp_ns, frame)
        if self._transforms is None or not self._transforms.linked(world, frame):
            return None
        return self._transforms.lookup(world, frame, stamp_ns)

    def _transform_3d(self, waiting: _Waiting, world_T_frame: np.ndarray) -> Lifted:
        problems: list[Problem] = []
        boxes = self._reader.read_3d(waiting.message, self._append_to(problems, "boxes_3d"))
        self.counts["boxes"] += len(boxes)
        return [
            Detection3D(
                box.upright(world_T_frame),
                box.label,
                box.score,
                waiting.stamp_ns,
                others=box.others,
            )
            for box in boxes
        ], problems

    def _lift_2d(self, synced: SyncedFrame, message: Any, mask: Any) -> Lifted:
        """Decode the images, and lift the boxes into the world with their depth."""
        problems: list[Problem] = []
        add_problem = self._append_to(problems, "boxes_2d")
        boxes = self._reader.read_2d(message, add_problem)
        if not boxes:
            return [], problems
        try:
            frame = self._builder.build(synced)
        except FrameError as error:
            return [], [*problems, self._refuse("a damaged frame", error)]
        camera = self._builder.camera(synced.info, self._builder.topics.camera_info)
        if text := _pixel_space_problem([box.corners for box in boxes], camera):
            self.counts["another pixel space"] += 1
            add_problem(f"{text}: publish boxes in pixels of {self._builder.topics.color}")
            return [], problems
        labels = None
        if mask is not None:
            try:
                labels = self._labels(mask, camera, self.topics.masks)
            except FrameError as error:
                problems.append(self._refuse("an unusable mask", error))
        detections = []
        for box in boxes:
            corners = rectified_corners(box.corners, camera)
            own = None if labels is None else labels == box.index + 1
            own = own if own is not None and own.any() else None
            try:
                detections.append(
                    lift(Detection2D(corners, box.label, box.score, own, box.others), frame)
                )
            except FrameError as error:
                self.counts["no depth"] += 1
                add_problem(str(error))
        self.counts["boxes"] += len(detections)
        return detections, problems

    def _class_image(self, synced: SyncedFrame, message: Any) -> Lifted:
        """The classes of the pixels of a frame, which is decoded for its depth."""
        topic = self.topics.classes
        try:
            frame = self._builder.build(synced)
            camera = self._builder.camera(synced.info, self._builder.topics.camera_info)
            classes = self._labels(message, camera, topic).astype(np.int32)
            names = self._class_labels
            labels = tuple(clean_label(names.get(str(k), "")) for k in range(classes.max() + 1))
            if str(classes.max()) not in names:
                raise FrameError(
                    f"{topic}: field data holds class {classes.max()}, but there are names for "
                    f"{len(names)} classes"
                )
        except FrameError as error:
            return [], [self._refuse("an unusable class image", error)]
        self.counts["class images"] += 1
        return ClassImage(frame, classes, labels), []

    def _labels(self, mask: Any, camera: Camera, topic: str) -> np.ndarray:
        """The label image in the pixels of the rectified frame (H, W). Raises FrameError."""
        labels = decode_labels(mask, topic)
        if labels.shape != (camera.height, camera.width):
            height, width = labels.shape
            raise FrameError(
                f"{topic}: fields width and height are {width}x{height}, but the image is "
                f"{camera.width}x{camera.height}: publish masks of its size."
            )
        return camera.rectify(labels.astype(np.float32))  # exact, and never blended

    def _append_to(self, problems: list[Problem], role: str) -> Callable[[str], None]:
        topic = getattr(self.topics, role)
        return lambda text: problems.append(Problem("detection", topic, text))

    def _refuse(self, reason: str, error: FrameError) -> Problem:
        self.counts[reason] += 1
        return Problem.of(reason, error)


def _pixel_space_problem(corners: list[tuple[float, ...]], camera: Camera) -> str:
    """Why boxes are not in the pixels of the image, "" if they may be."""
    size = f"but the image is {camera.width}x{camera.height}"
    if max(max(box) for box in corners) <= MAX_NORMALISED:
        return f"field detections: all corners lie in 0 .. 1, as if normalised, {size}"
    limits = (OUTSIDE * camera.width, OUTSIDE * camera.height)
    outside = [box for box in corners if box[2] > limits[0] or box[3] > limits[1]]
    if 2 * len(outside) > len(corners):
        right, bottom = (max(box[k] for box in outside) for k in (2, 3))
        return f"field detections: boxes reach ({right:.0f}, {bottom:.0f}), {size}"
    return ""
