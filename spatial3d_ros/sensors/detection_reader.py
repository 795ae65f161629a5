"""Detector messages to typed boxes; boxes that cannot be used are counted by reason.

Takes anything with the fields of vision_msgs; ROS is not needed. No message of a detector may stop
the node, whatever it contains.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.quaternion import rotation_matrix
from spatial3d_ros.scene.label_distribution import Labels, ranked

MAX_READ = 20_000  # boxes read of one message: a damaged one may hold any number
LABEL_LETTERS = 64
MAX_SIDE_M = 50.0
UPRIGHT = 0.95  # cosine to the vertical from which an axis of a box counts as vertical
_HIDDEN = re.compile(r"[\x00-\x1f\x7f<>_]+")  # control characters, and brackets of special tokens
_NUMBER = re.compile(r"(?:(?:class|id)[ _-]?)*([-+]?\d+)(?:\.0*)?", re.IGNORECASE)

Problem = Callable[[str], None]


@dataclass(frozen=True)
class RawDetection2D:
    """A box in the pixels of the image as published: left, top, right, bottom.

    `index` counts the boxes of the message from 0; `others` are its further hypotheses.
    """

    corners: tuple[float, float, float, float]
    label: str
    score: float
    index: int
    others: Labels = ()


@dataclass(frozen=True, eq=False)
class OrientedDetection:
    """A box in the frame of its message: centre (3,) and size (3,) in metres, (3, 3) rotation."""

    center: np.ndarray
    size: np.ndarray
    rotation: np.ndarray
    label: str
    score: float
    others: Labels = ()

    def upright(self, world_T_frame: np.ndarray) -> Box3D:
        """The upright box around it in the world; exact if one of its axes is vertical."""
        turn = world_T_frame[:3, :3] @ self.rotation
        center = world_T_frame[:3, :3] @ self.center + world_T_frame[:3, 3]
        up = int(np.abs(turn[2]).argmax())
        if abs(turn[2, up]) < UPRIGHT:
            extent = np.abs(turn) @ self.size
            return Box3D(tuple(center), tuple(extent))
        first, second = (axis for axis in range(3) if axis != up)
        yaw = math.atan2(turn[1, first], turn[0, first])
        sides = (self.size[first], self.size[second], self.size[up])
        return Box3D(tuple(center), sides, yaw)


def class_names(entries: Iterable[str]) -> dict[str, str]:
    """Labels by class id: "17=cat" names one, and a name alone has its index as class id.

    Raises ConfigError for an entry without a name.
    """
    names = {}
    for index, entry in enumerate(entries):
        key, equals, words = entry.partition("=")
        key, words = (key.strip(), words) if equals else (str(index), entry)
        if not clean_label(words):
            raise ConfigError(
                f"parameter detection_classes: {entry!r} has no words; give names in the order of "
                "the class ids, or id=name"
            )
        names[key] = words
    return names


def clean_label(text: str, letters: int = LABEL_LETTERS) -> str:
    """A class name as words: "dining_table" becomes "dining table". Letters of any script stay;
    control characters, and brackets that could be read as special tokens, are removed.
    """
    readable = text.encode("utf-8", "replace").decode()
    return " ".join(_HIDDEN.sub(" ", readable).split())[:letters].strip()


class DetectionReader:
    """Reads the boxes of messages: the `max_count` of highest score, from `min_score` on.

    `names` are labels by class id; a class id that is a number without a name makes a box without a
    label. `counts` counts what was left out by reason, and `problem` is called with each text.
    """

    def __init__(self, names: Mapping[str, str], min_score: float, max_count: int) -> None:
        self.counts: Counter[str] = Counter()
        self._names = dict(names)
        self._min_score = min_score
        self._max_count = max_count

    def read_2d(self, message: Any, problem: Problem) -> list[RawDetection2D]:
        """The boxes of a Detection2DArray."""
        found = []
        for index, box, label, score, others in self._chosen(message.detections, problem):
            center, width, height = box.center.position, float(box.size_x), float(box.size_y)
            numbers = (center.x, center.y, width, height, box.center.theta)
            if not all(map(math.isfinite, numbers)):
                self._leave_out("a box is not finite", "bbox holds NaN or infinity", problem)
            elif width <= 0 or height <= 0:
                size = f"{width:g} x {height:g}"
                self._leave_out("a box has no size", f"bbox is {size} pixels", problem)
            else:
                cos, sin = abs(math.cos(box.center.theta)), abs(math.sin(box.center.theta))
                half_u, half_v = (width * cos + height * sin) / 2, (width * sin + height * cos) / 2
                corners = (
                    center.x - half_u, center.y - half_v, center.x + half_u, center.y + half_v,
                )  # fmt: skip
                found.append(RawDetection2D(corners, label, score, index, others))
        return found

    def read_3d(self, message: Any, problem: Problem) -> list[OrientedDetection]:
        """The boxes of a Detection3DArray."""
        found = []
        for _, box, label, score, others in self._chosen(message.detections, problem):
            at, turn, sides = box.center.position, box.center.orientation, box.size
            center = np.array([at.x, at.y, at.z], np.float64)
            size = np.array([sides.x, sides.y, sides.z], np.float64)
            quaternion = np.array([turn.x, turn.y, turn.z, turn.w], np.float64)
            length = float(np.linalg.norm(quaternion))
            if not np.isfinite([*center, *size, length]).all():
                self._leave_out("a box is not finite", "bbox holds NaN or infinity", problem)
            elif size.min() <= 0 or size.max() > MAX_SIDE_M:
                reason = "a box has no size" if size.min() <= 0 else "a box is too large"
                self._leave_out(reason, f"bbox.size is {size.tolist()} m", problem)
            elif length and abs(length - 1) > 0.1:
                text = f"bbox.center.orientation is {quaternion.tolist()}, not of length 1"
                self._leave_out("a box has no orientation", text, problem)
            else:
                matrix = rotation_matrix(quaternion) if length else np.eye(3)
                found.append(OrientedDetection(center, size, matrix, label, score, others))
        return found

    def _chosen(
        self, detections: Sequence[Any], problem: Problem
    ) -> list[tuple[int, Any, str, float, Labels]]:
        """Index in the message, box, label, score and further hypotheses of the best, highest score
        first.
        """
        if len(detections) > MAX_READ:
            rest = len(detections) - MAX_READ
            text = f"{len(detections)} detections in one message, {MAX_READ} are read"
            self._leave_out("too many boxes", text, problem, rest)
        likely = []
        for index, detection in enumerate(detections[:MAX_READ]):
            top = max(
                (result.hypothesis for result in detection.results),
                key=lambda hypothesis: hypothesis.score,
                default=None,
            )
            score = self._min_score if top is None else float(top.score)
            if not 0 <= score <= 1:  # NaN too
                text = f"score is {score:g}; it must be 0 .. 1"
                self._leave_out("a score is not in 0 .. 1", text, problem)
            elif score < self._min_score:
                self.counts["score too low"] += 1
            else:
                likely.append((index, detection, "" if top is None else top.class_id, score))
        best = heapq.nlargest(self._max_count, likely, key=lambda entry: entry[3])
        if len(likely) > len(best):
            text = (
                f"{len(likely)} boxes in one message, the best {self._max_count} are used "
                "(parameter detection_max_count)"
            )
            self._leave_out("too many boxes", text, problem, len(likely) - len(best))
        return [
            (i, one.bbox, self._label(class_id, problem), score, self._others(one, class_id))
            for i, one, class_id, score in best
        ]

    def _others(self, detection: Any, chosen: str) -> Labels:
        """The labels of the hypotheses besides the chosen one."""
        given = (result.hypothesis for result in detection.results)
        found = [(h.class_id, float(h.score)) for h in given if h.class_id != chosen]
        best = ranked((key, score) for key, score in found if score <= 1)
        named = ((self._label(key, lambda text: None), score) for key, score in best)
        return tuple((label, score) for label, score in named if label)

    def _label(self, class_id: str, problem: Problem) -> str:
        """The label of a class id; "" for a number without a name: the box is used unlabelled."""
        known = self._names.get(class_id.strip())
        number = _NUMBER.fullmatch(class_id.strip())
        if known is None and number:
            known = self._names.get(str(int(number[1])))
        if known is None and number:
            self._leave_out(
                "a class id has no name",
                f"class_id is {class_id!r}, a number: list the names in detection_classes",
                problem,
            )
            return ""
        return clean_label(known if known is not None else class_id)

    def _leave_out(self, reason: str, text: str, problem: Problem, count: int = 1) -> None:
        self.counts[reason] += count
        problem(f"{reason}: field detections: {text}")
