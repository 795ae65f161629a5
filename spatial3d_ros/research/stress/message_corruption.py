"""Corruptions of the messages of a camera and of a localisation.

A corruption takes one message of a role ("color", "depth", "camera_info", "pose") and returns the
messages sent in its place: none, the changed message, or several. Messages have the fields of the
ROS messages, and may be changed in place.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

SECOND = 1_000_000_000
IMAGES = ("color", "depth")
ROLES = (*IMAGES, "camera_info", "pose")
NOISE_BYTES = 64

Corruption = Callable[[str, Any], list[Any]]


def corruption(name: str, roles: Sequence[str] = ROLES, **options: Any) -> Corruption:
    """The corruption of this name for messages of these roles; others stay unchanged."""
    apply = CORRUPTIONS[name](**options)
    return lambda role, message: apply(role, message) if role in roles else [message]


def drop(share: float = 1.0, seed: int = 0) -> Corruption:
    """Drop this share of the messages, default all."""
    rng = random.Random(seed)
    return lambda _, message: [] if rng.random() < share else [message]


def reorder(share: float = 0.2, seed: int = 0) -> Corruption:
    """Send this share of the messages after the next one, and the same share twice."""
    rng = random.Random(seed)
    delayed: dict[str, Any] = {}

    def apply(role: str, message: Any) -> list[Any]:
        if role in delayed:
            return [message, delayed.pop(role)]
        draw = rng.random()
        if draw < share:
            delayed[role] = message
            return []
        return [message, message] if draw < 2 * share else [message]

    return apply


def shift_stamps(seconds: float) -> Corruption:
    """Shift every stamp by `seconds`."""

    def apply(_: str, message: Any) -> list[Any]:
        stamp = message.header.stamp
        shifted = stamp.sec * SECOND + stamp.nanosec + round(seconds * SECOND)
        stamp.sec, stamp.nanosec = divmod(shifted, SECOND)
        return [message]

    return apply


def downsample(step: int = 2) -> Corruption:
    """Keep every `step`-th pixel of raw images, with the calibration that belongs to them."""

    def apply(role: str, message: Any) -> list[Any]:
        if role in IMAGES:
            small = np.ascontiguousarray(_pixels(message)[::step, ::step])
            message.height, message.width = small.shape[:2]
            message.step = small.nbytes // small.shape[0]
            message.data = small.tobytes()
        elif role == "camera_info":
            message.height, message.width = (-(-n // step) for n in (message.height, message.width))
            for matrix in (message.k, message.p):
                matrix[: -len(matrix) // 3] = matrix[: -len(matrix) // 3] / step
        return [message]

    return apply


def depth_in_metres() -> Corruption:
    """Convert depth from 16-bit millimetres to 32-bit metres."""

    def apply(role: str, message: Any) -> list[Any]:
        if role == "depth":
            _replace_depth(message, _pixels(message).astype(np.float32) / 1000.0)
        return [message]

    return apply


def nan_values() -> Corruption:
    """Replace every number of depth, calibration and poses by NaN."""

    def apply(role: str, message: Any) -> list[Any]:
        if role == "depth":
            nan_depth = np.full((message.height, message.width), math.nan, np.float32)
            _replace_depth(message, nan_depth)
        elif role == "camera_info":
            message.k[:] = math.nan
        elif role == "pose":
            message.pose.position.x = message.pose.orientation.w = math.nan
        return [message]

    return apply


def cover_lens() -> Corruption:
    """Black color images, and depth images without a measurement."""

    def apply(role: str, message: Any) -> list[Any]:
        if role in IMAGES:
            message.data = bytes(len(message.data))
        return [message]

    return apply


def damage_bytes(share: float = 0.1, seed: int = 0) -> Corruption:
    """Truncate this share of the messages to one half, or replace bytes in the middle by noise."""
    rng = random.Random(seed)

    def apply(_: str, message: Any) -> list[Any]:
        if rng.random() < share:
            data = bytes(message.data)
            middle = len(data) // 2
            noise = rng.randbytes(NOISE_BYTES) + data[middle + NOISE_BYTES :]
            message.data = data[:middle] + (noise if rng.random() < 0.5 else b"")
        return [message]

    return apply


CORRUPTIONS: dict[str, Callable[..., Corruption]] = {
    kind.__name__: kind
    for kind in (
        drop,
        reorder,
        shift_stamps,
        downsample,
        depth_in_metres,
        nan_values,
        cover_lens,
        damage_bytes,
    )
}


def _pixels(message: Any) -> np.ndarray:
    """The image (H, W) or (H, W, 3) of a raw message without padding, rgb8 or 16UC1."""
    kind, channels = (np.uint16, ()) if message.encoding == "16UC1" else (np.uint8, (3,))
    flat = np.frombuffer(bytes(message.data), kind)
    return flat.reshape(message.height, message.width, *channels)


def _replace_depth(message: Any, metres: np.ndarray) -> None:
    message.encoding, message.step = "32FC1", 4 * message.width
    message.data = metres.tobytes()
