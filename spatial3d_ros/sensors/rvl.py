"""RVL depth images, the lossless format of compressed_depth_image_transport (Wilson 2017).

The stream is 32-bit little-endian words of 4-bit groups, the highest first. A group holds three
bits of a number, the lowest first, and a flag that more follow. Numbers alternate: a run of
zeros, a run of non-zeros, and for each of these the zigzag difference to the last non-zero value.
"""

from __future__ import annotations

import struct

import numpy as np

from spatial3d_ros.errors import FrameError

SIZE = struct.Struct("<II")  # columns, rows
MAX_GROUPS = (
    9  # of one number: a zigzag difference of 17 bits takes six, a run of 2**26 pixels nine
)


def rvl_size(data: np.ndarray, topic: str) -> tuple[int, int]:
    """(width, height) of an RVL image, from its first 8 bytes. Raises FrameError."""
    if data.size < SIZE.size:
        raise _damaged(topic)
    width, height = SIZE.unpack(data[: SIZE.size].tobytes())
    return width, height


def decode_rvl(data: np.ndarray, topic: str) -> np.ndarray:
    """uint16 (H, W) of an RVL image with its size in front. Raises FrameError."""
    width, height = rvl_size(data, topic)
    numbers = _numbers(data[SIZE.size :], topic)
    return _pixels(numbers, width * height, topic).reshape(height, width)


def _numbers(data: np.ndarray, topic: str) -> np.ndarray:
    """Every number of the stream, int32."""
    words = data[: data.size // 4 * 4].view("<u4").byteswap().view(np.uint8).astype("<u2")
    groups = np.zeros(2 * words.size + MAX_GROUPS, np.uint8)  # zeros precede the first number
    groups[MAX_GROUPS:] = ((words >> 4) | ((words & 15) << 8)).view(np.uint8)
    # The number that ends at each group, if it has one or two: nearly all do, and fit eight bits.
    ends = np.flatnonzero(groups < 8)[MAX_GROUPS:]
    more = groups >> 3
    short = np.zeros_like(groups)
    short[1:] = (groups[1:] << (3 * more[:-1])) | ((groups[:-1] & 7) * more[:-1])
    numbers = short.take(ends).astype(np.int32)
    long = np.zeros(groups.size, bool)
    long[2:] = more[1:-1] & more[:-2]
    longer = np.flatnonzero(long.take(ends))
    back = 2
    while longer.size:
        if back == MAX_GROUPS:
            raise _damaged(topic)
        before = groups.take(ends[longer] - back)
        numbers[longer] = numbers[longer] << 3 | before & 7
        back += 1
        longer = longer[groups.take(ends[longer] - back) >= 8]
    return numbers


def _pixels(numbers: np.ndarray, count: int, topic: str) -> np.ndarray:
    """uint16 (count,) of the numbers of a stream."""
    at = done = 0
    counts = memoryview(numbers.data)
    found: list[int] = []
    while done < count:
        if at + 2 > len(counts):
            raise _damaged(topic)
        found.append(at)
        nonzeros = counts[at + 1]
        done += counts[at] + nonzeros
        at += 2 + nonzeros
    if done > count or at > len(counts):
        raise _damaged(topic)
    headers = np.array(found, np.int64)
    zeros = numbers[headers]
    numbers[headers] = numbers[headers + 1] = 0  # no difference
    differences = ((numbers >> 1) ^ -(numbers & 1)).astype(np.uint16)
    values = np.cumsum(differences, dtype=np.uint16)
    values[headers] = 0  # which stands for the run of zeros
    repeats = np.ones(values.size, np.int64)
    repeats[headers], repeats[headers + 1] = zeros, 0
    return np.repeat(values, repeats)[:count]


def _damaged(topic: str) -> FrameError:
    return FrameError(f"{topic}: field data is a damaged RVL image. Check the link to the camera.")
