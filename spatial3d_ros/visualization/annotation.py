"""Draws boxes into a camera image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.visualization.recognised_image import write_label

NEAR_M = 0.05  # lines are clipped at this distance in front of the camera
MAX_SIDES = 4.0  # image sides: lines that reach further out are omitted, or pixels overflow
# Indices of corners (see Box3D.corners) that share an edge.
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
    """A box in the world frame, its label, and its color (RGB 0 .. 255)."""

    box: Box3D
    text: str = ""
    color: tuple[int, int, int] = GREEN


def annotated(frame: Frame, marks: Sequence[Mark]) -> np.ndarray:
    """The color image (H, W, 3) uint8 with the edges of the boxes; the first mark is on top."""
    image = frame.rgb.copy()
    height, width = image.shape[:2]
    thick = max(1, round(width / 400))
    for mark in reversed(marks):
        corners = transform(invert(frame.world_T_camera), mark.box.corners())
        ends = []
        for a, b in EDGES:
            line = _clipped(corners[a], corners[b])
            if line is None:
                continue
            pixels, _ = project(line, frame.camera)
            if np.abs(pixels).max() > MAX_SIDES * max(width, height):
                continue
            first, last = ((int(u), int(v)) for u, v in pixels.round())
            inside, start, end = cv2.clipLine((0, 0, width, height), first, last)
            if inside:
                cv2.line(image, start, end, mark.color, thick, cv2.LINE_AA)
                ends += [start, end]
        if ends and mark.text:
            corner = (min(u for u, _ in ends), min(v for _, v in ends))
            write_label(image, mark.text, corner, mark.color)
    return image


def _clipped(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """The part of a line in front of the camera (2, 3), optical frame; None if there is none."""
    if max(a[2], b[2]) <= NEAR_M:
        return None
    ends = []
    for one, other in ((a, b), (b, a)):
        if one[2] < NEAR_M:
            one = one + (other - one) * (NEAR_M - one[2]) / (other[2] - one[2])
        ends.append(one)
    return np.array(ends)
