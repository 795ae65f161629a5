"""Messages of what was recognised in an image, with the header of the image."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import Image

if TYPE_CHECKING:
    from types import ModuleType

    import numpy as np

    from spatial3d_ros.scene.lifting import Detection2D


def boxes_message(vision: ModuleType, header: Any, found: Sequence[Detection2D]) -> Any:
    """Detection2DArray, by whose stamp detections are matched with depth; `vision` is
    vision_msgs.msg.
    """
    return vision.Detection2DArray(
        header=header, detections=[_box(vision, header, one) for one in found]
    )


def _box(vision: ModuleType, header: Any, one: Detection2D) -> Any:
    left, top, right, bottom = one.corners
    detection = vision.Detection2D(header=header)
    center = detection.bbox.center.position
    center.x, center.y = (left + right) / 2, (top + bottom) / 2
    detection.bbox.size_x, detection.bbox.size_y = right - left, bottom - top
    detection.results = [
        vision.ObjectHypothesisWithPose(
            hypothesis=vision.ObjectHypothesis(class_id=label, score=score)
        )
        for label, score in ((one.label, one.score), *one.others)
    ]
    return detection


def label_message(header: Any, labels: np.ndarray) -> Image:
    """mono8 or mono16 of whole numbers (H, W) uint8 or uint16."""
    height, width = labels.shape
    return Image(
        header=header,
        height=height,
        width=width,
        encoding="mono8" if labels.itemsize == 1 else "mono16",
        is_bigendian=sys.byteorder == "big",
        step=width * labels.itemsize,
        data=labels.tobytes(),
    )


def class_message(header: Any, classes: np.ndarray, count: int) -> Image:
    """mono8 or mono16 of classes (H, W), whole numbers below `count`."""
    return label_message(header, classes.astype("uint8" if count <= 256 else "uint16"))
