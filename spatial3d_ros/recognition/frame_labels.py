"""The labels of the frames of a recording, by recognisers, from a file, or as recorded.

Offline they enter the engine as in the node: detections lifted with the frame they are of, and
class images that vote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from spatial3d_ros.bags.reader import BagFrames
from spatial3d_ros.errors import ConfigError, FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.recognition.detections_file import read_detections
from spatial3d_ros.recognition.loading import load_recognisers
from spatial3d_ros.recognition.prompts import PromptList
from spatial3d_ros.recognition.recogniser import Recognition
from spatial3d_ros.recognition.recorded_detections import RecordedDetections
from spatial3d_ros.scene.class_parts import MIN_AREA
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.label_voting import STRUCTURE, ClassImage
from spatial3d_ros.scene.lifting import Detection2D, lift, rectified_corners

MIN_SCORE, MAX_COUNT = 0.3, 100  # as the parameters detection_min_score and detection_max_count
PERIOD_NS = 500_000_000  # between two frames that are recognised, besides every keyframe

Source = Callable[[Frame], Recognition]


class Memory(Protocol):
    """What labels are added to: `Spatial3D`."""

    def add_detections(self, detections: Sequence[Detection3D]) -> bool:
        """Add the detections of one frame."""

    def add_class_image(self, image: ClassImage) -> None:
        """Add the class image of one frame."""


class FrameLabels:
    """Gives frames their labels. `counts`: frames with labels, detections, those without depth;
    `names`: detections of each label, and frames that show each class.

    `source` returns what a frame shows, in its rectified pixels. With `slow`, as recognisers are,
    only keyframes and every half second are asked for.
    """

    def __init__(self, source: Source | None = None, *, slow: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self.names: Counter[str] = Counter()
        self._source, self._slow = source, slow
        self._newest_ns = -PERIOD_NS

    @classmethod
    def of_recording(
        cls, recording: BagFrames, questions: Sequence[str] = (), device: str = "auto"
    ) -> FrameLabels:
        """The labels that the options of a recording name; none without such an option.

        The noun phrases of `questions` are the prompts of an open-vocabulary recogniser. Raises
        ConfigError, CheckpointError or BagError: an impossible option, folder or file.
        """
        options = recording.options
        if options.recogniser and options.detections:
            raise ConfigError("--recogniser and --detections: give one of them")
        if options.detections:
            path = Path(options.detections)
            if options.detections.startswith("/") and not path.exists():
                return cls(RecordedDetections(recording, options.detections).of)
            camera = recording.camera
            size = camera.height, camera.width
            found = read_detections(path, recording.path, recording.topics.rgb, size)
            return cls(lambda frame: rectified(found.get(frame.stamp_ns, ()), camera))
        if not options.recogniser:
            return cls()
        recogniser = load_recognisers(options.recogniser, device)
        prompts = PromptList(max_count=64)
        for question in questions:
            prompts.add_question(question)
        names = prompts.current()
        return cls(lambda frame: recogniser.recognise(frame.rgb, names), slow=True)

    def __bool__(self) -> bool:
        return self._source is not None

    def recognise(self, frame: Frame) -> Recognition:
        """What a frame shows, those of highest score. Raises RecognitionError or FrameError."""
        if self._source is None:
            return Recognition()
        found = self._source(frame)
        best = sorted((d for d in found.detections if d.score >= MIN_SCORE), key=lambda d: -d.score)
        return Recognition(tuple(best[:MAX_COUNT]), found.class_image, found.labels)

    def add_to(self, memory: Memory, frame: Frame, *, keyframe: bool) -> None:
        """Add the labels of a frame, which the memory has been given. Raises RecognitionError or
        FrameError.
        """
        lifted, image = self._lifted(frame, keyframe)
        if lifted:
            memory.add_detections(lifted)
        if image is not None:
            memory.add_class_image(image)

    def count(self, frame: Frame) -> None:
        """Count the labels of a frame. Raises as `add_to`."""
        self._lifted(frame, False)

    def _lifted(self, frame: Frame, keyframe: bool) -> tuple[list[Detection3D], ClassImage | None]:
        due = not self._slow or keyframe or frame.stamp_ns - self._newest_ns >= PERIOD_NS
        if self._source is None or not due:
            return [], None
        self._newest_ns = frame.stamp_ns
        found = self.recognise(frame)
        classes = found.class_image
        self.counts["frames with labels"] += bool(found.detections or classes is not None)
        self.names.update(one.label for one in found.detections)
        self.names.update(classes_shown(found))
        lifted = lift_all(found.detections, frame, self.counts)
        return lifted, None if classes is None else ClassImage(frame, classes, found.labels)

    def __str__(self) -> str:
        text = f"labels on {self.counts['frames with labels']} frames"
        text += f", {self.counts['detections']} detections"
        lost = self.counts["no depth"]
        return text + f" ({lost} more have no depth)" * bool(lost)


def classes_shown(found: Recognition) -> list[str]:
    """The labels of a class image that cover a part of it, largest first."""
    if found.class_image is None:
        return []
    pixels = np.bincount(found.class_image.ravel(), minlength=len(found.labels))
    shown = np.argsort(-pixels)[: np.count_nonzero(pixels >= MIN_AREA * found.class_image.size)]
    return [found.labels[k] for k in shown if k < len(found.labels) and found.labels[k]]


def lift_all(
    detections: Sequence[Detection2D], frame: Frame, counts: Counter[str]
) -> list[Detection3D]:
    """The 3D detections of those that have depth; `counts` counts both kinds."""
    lifted = []
    for detection in detections:
        if detection.label in STRUCTURE:
            continue
        try:
            lifted.append(lift(detection, frame))
        except FrameError:
            counts["no depth"] += 1
    counts["detections"] += len(lifted)
    return lifted


def rectified(detections: Sequence[Detection2D], camera: Camera) -> Recognition:
    """Detections in the pixels of an image as recorded, in those of the rectified one.

    Raises FrameError: a mask has another size than the image.
    """
    moved = []
    for one in detections:
        mask = one.mask
        if mask is not None:
            if mask.shape != (camera.height, camera.width):
                raise FrameError(
                    f"mask of {one.label!r}: {mask.shape[1]} x {mask.shape[0]}, but the image is "
                    f"{camera.width} x {camera.height}"
                )
            mask = camera.rectify(mask.astype(np.float32)) > 0
        corners = rectified_corners(one.corners, camera)
        moved.append(replace(one, corners=corners, mask=mask))
    return Recognition(tuple(moved))
