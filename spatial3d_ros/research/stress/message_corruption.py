"""What can be wrong with the messages of a camera and of a localisation, to be made on purpose.

A spoiler takes one message of a role ("color", "depth", "camera_info", "pose") and gives what is
sent in its place: nothing, the message changed, or several. Messages are anything of the shape of
the ROS messages, and may be changed in place.
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

Spoiler = Callable[[str, Any], list[Any]]


def spoiler(name: str, roles: Sequence[str] = ROLES, **options: Any) -> Spoiler:
    """The spoiler of that name for messages of these roles; others pass as they are."""
    spoil = KINDS[name](**options)
    return lambda role, message: spoil(role, message) if role in roles else [message]


def lose(share: float = 1.0, seed: int = 0) -> Spoiler:
    """Lose that share of the messages; all of them by default."""
    rng = random.Random(seed)
    return lambda _, message: [] if rng.random() < share else [message]


def shuffle(share: float = 0.2, seed: int = 0) -> Spoiler:
    """Send that share of the messages after the next one, and as many twice."""
    rng = random.Random(seed)
    held: dict[str, Any] = {}

    def spoil(role: str, message: Any) -> list[Any]:
        if role in held:
            return [message, held.pop(role)]
        chance = rng.random()
        if chance < share:
            held[role] = message
            return []
        return [message, message] if chance < 2 * share else [message]

    return spoil


def shift(seconds: float) -> Spoiler:
    """Move every stamp by so much."""

    def spoil(_: str, message: Any) -> list[Any]:
        stamp = message.header.stamp
        moved = stamp.sec * SECOND + stamp.nanosec + round(seconds * SECOND)
        stamp.sec, stamp.nanosec = divmod(moved, SECOND)
        return [message]

    return spoil


def shrink(step: int = 2) -> Spoiler:
    """Every `step`-th pixel of raw images, and a calibration that says so."""

    def spoil(role: str, message: Any) -> list[Any]:
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

    return spoil


def to_metres() -> Spoiler:
    """Depth of 16-bit millimetres as 32-bit metres."""

    def spoil(role: str, message: Any) -> list[Any]:
        if role == "depth":
            _replace_depth(message, _pixels(message).astype(np.float32) / 1000.0)
        return [message]

    return spoil


def not_a_number() -> Spoiler:
    """Every number of depth, calibration and poses is NaN."""

    def spoil(role: str, message: Any) -> list[Any]:
        if role == "depth":
            nothing = np.full((message.height, message.width), math.nan, np.float32)
            _replace_depth(message, nothing)
        elif role == "camera_info":
            message.k[:] = math.nan
        elif role == "pose":
            message.pose.position.x = message.pose.orientation.w = math.nan
        return [message]

    return spoil


def cover() -> Spoiler:
    """A hand over the lens: black, and no depth."""

    def spoil(role: str, message: Any) -> list[Any]:
        if role in IMAGES:
            message.data = bytes(len(message.data))
        return [message]

    return spoil


def corrupt(share: float = 0.1, seed: int = 0) -> Spoiler:
    """Of that share of the messages one half is cut off, or some bytes in the middle are noise."""
    rng = random.Random(seed)

    def spoil(_: str, message: Any) -> list[Any]:
        if rng.random() < share:
            data = bytes(message.data)
            middle = len(data) // 2
            noise = rng.randbytes(NOISE_BYTES) + data[middle + NOISE_BYTES :]
            message.data = data[:middle] + (noise if rng.random() < 0.5 else b"")
        return [message]

    return spoil


KINDS: dict[str, Callable[..., Spoiler]] = {
    kind.__name__: kind
    for kind in (lose, shuffle, shift, shrink, to_metres, not_a_number, cover, corrupt)
}


def _pixels(message: Any) -> np.ndarray:
    """The image (H, W) or (H, W, 3) of a raw message without padding, rgb8 or 16UC1."""
    kind, channels = (np.uint16, ()) if message.encoding == "16UC1" else (np.uint8, (3,))
    flat = np.frombuffer(bytes(message.data), kind)
    return flat.reshape(message.height, message.width, *channels)


def _replace_depth(message: Any, metres: np.ndarray) -> None:
    message.encoding, message.step = "32FC1", 4 * message.width
    message.data = metres.tobytes()
