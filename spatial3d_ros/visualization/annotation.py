"""Boxes drawn into the picture of a camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.scene.frame import Frame

NEAR_M = 0.05  # what is nearer, or behind the camera, is cut off
LONGEST = 4.0  # sides of the image: further out a line is cut, or numbers overflow
# Corners of a box that share an edge: their numbers differ in one axis (see Box3D.corners).
EDGES = [
    (0, 1),
    (1, 2),
    (2, 3),
    (3, 0),
    (4, 5),
    (5, 6),
    (6, 7),
    (7, 4),
    (0, 4),
    (1, 5),
    (2, 6),
    (3, 7),
]
GREEN, ORANGE = (30, 220, 90), (255, 150, 30)


@dataclass(frozen=True)
class Mark:
    """A box in the world of the frame, what is written at it, and its colour (RGB 0 .. 255)."""

    box: Box3D
    text: str = ""
    color: tuple[int, int, int] = GREEN


def annotated(frame: Frame, marks: Sequence[Mark]) -> np.ndarray:
    """The colour image (H, W, 3) uint8 with the edges of the boxes; the first lie on top."""
    image = frame.rgb.copy()
    height, width = image.shape[:2]
    thick = max(1, round(width / 400))
    for mark in reversed(marks):
        corners = transform(invert(frame.world_T_camera), mark.box.corners())
        ends = []
        for a, b in EDGES:
            line = _before_camera(corners[a], corners[b])
            if line is None:
                continue
            pixels, _ = project(line, frame.camera)
            if np.abs(pixels).max() > LONGEST * max(width, height):
                continue
            points = [tuple(map(int, end)) for end in pixels.round()]
            seen, *points = cv2.clipLine((0, 0, width, height), *points)
            if seen:
                cv2.line(image, *points, mark.color, thick, cv2.LINE_AA)
                ends += points
        if ends and mark.text:
            _write(image, mark, (min(u for u, _ in ends), min(v for _, v in ends)), thick)
    return image


def _before_camera(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """The part of a line (2, 3) in the optical frame that lies before the camera."""
    if max(a[2], b[2]) <= NEAR_M:
        return None
    ends = []
    for one, other in ((a, b), (b, a)):
        if one[2] < NEAR_M:
            one = one + (other - one) * (NEAR_M - one[2]) / (other[2] - one[2])
        ends.append(one)
    return np.array(ends)


def _write(image: np.ndarray, mark: Mark, corner: tuple[int, int], thick: int) -> None:
    """The text on a dark field; OpenCV's letters are Latin, others are left out."""
    text = " ".join(mark.text.encode("ascii", "ignore").decode().split())
    scale = 0.4 * thick + 0.1
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    u = min(max(corner[0], 0), max(0, image.shape[1] - width))
    v = max(corner[1] - below, height + 2)
    cv2.rectangle(image, (u, v - height - 2), (u + width, v + below), (25, 28, 35), cv2.FILLED)
    cv2.putText(
        image, text, (u, v), cv2.FONT_HERSHEY_SIMPLEX, scale, mark.color, thick, cv2.LINE_AA
    )
