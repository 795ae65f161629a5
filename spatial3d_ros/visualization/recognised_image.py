"""Draws what a recogniser found into its image: classes as tints, masks and boxes with labels."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Sequence

import cv2
import numpy as np

from spatial3d_ros.scene.lifting import Detection2D

TINT = 0.45  # of the colour of a class over the image
MIN_SHARE = 0.005  # of the pixels for a class to be named
Color = tuple[int, int, int]


def color_of(label: str) -> Color:
    """The colour (RGB 0 .. 255) of a label, the same in every image."""
    hue = zlib.crc32(label.encode()) % 360 / 360
    red, green, blue = colorsys.hls_to_rgb(hue, 0.6, 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)


def recognised_image(
    rgb: np.ndarray,
    detections: Sequence[Detection2D],
    class_image: np.ndarray | None = None,
    labels: Sequence[str] = (),
) -> np.ndarray:
    """The image (H, W, 3) uint8 with tinted classes, tinted masks, and boxes with label and score.

    A class that covers `MIN_SHARE` of the pixels is named in its middle.
    """
    image = rgb.copy()
    named: list[tuple[str, tuple[int, int]]] = []
    if class_image is not None:
        for index in np.unique(class_image).tolist():
            label = labels[index] if 0 <= index < len(labels) else ""
            mask = class_image == index
            if not label or mask.mean() < MIN_SHARE:
                continue
            _tint(image, mask, color_of(label))
            named.append((label, _middle(mask)))
    thick = max(1, round(rgb.shape[1] / 400))
    for one in reversed(detections):
        color = color_of(one.label)
        if one.mask is not None:
            _tint(image, one.mask, color)
        left, top, right, bottom = (round(v) for v in one.corners)
        cv2.rectangle(image, (left, top), (right, bottom), color, thick, cv2.LINE_AA)
    for one in reversed(detections):
        left, top = (round(v) for v in one.corners[:2])
        write_label(image, f"{one.label} {one.score:.2f}", (left, top), color_of(one.label))
    for label, (u, v) in named:
        write_label(image, label, (u, v), color_of(label))
    return image


def write_label(image: np.ndarray, text: str, corner: tuple[int, int], color: Color) -> None:
    """Write a text on a dark background, its lower left corner at pixel `corner`, within the image;
    characters outside ASCII are omitted.
    """
    text = " ".join(text.encode("ascii", "ignore").decode().split())
    thick = max(1, round(image.shape[1] / 400))
    scale = 0.4 * thick + 0.1
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    u = min(max(corner[0], 0), max(0, image.shape[1] - width))
    v = max(corner[1] - below, height + 2)
    cv2.rectangle(image, (u, v - height - 2), (u + width, v + below), (25, 28, 35), cv2.FILLED)
    cv2.putText(image, text, (u, v), cv2.FONT_HERSHEY_SIMPLEX, scale, color, thick, cv2.LINE_AA)


def _tint(image: np.ndarray, mask: np.ndarray, color: Color) -> None:
    image[mask] = ((1 - TINT) * image[mask] + TINT * np.array(color)).astype(np.uint8)


def _middle(mask: np.ndarray) -> tuple[int, int]:
    """The pixel (u, v) of a mask that is farthest from its edge."""
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    v, u = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(u), int(v)
