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
MAX_GROUPS = 8  # of one number: 17 bits of a zigzag difference take six, a run at most eight


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
    big_endian = data[: data.size // 4 * 4].view("<u4").astype(">u4").view(np.uint8)
    groups = np.zeros(2 * big_endian.size + MAX_GROUPS, np.uint8)  # zeros precede the first number
    np.right_shift(big_endian, 4, out=groups[MAX_GROUPS::2])
    np.bitwise_and(big_endian, 15, out=groups[MAX_GROUPS + 1 :: 2])
    ends = np.flatnonzero(groups < 8)
    # Nearly all numbers have one or two groups, which fit into eight bits.
    high, low = groups[ends], groups[ends - 1]
    two = low >= 8
    high <<= np.multiply(two, np.uint8(3))
    high |= np.multiply(low & 7, two)
    numbers = high.astype(np.int32)
    longer = np.flatnonzero(two)
    for back in range(2, MAX_GROUPS):
        groups_before = groups[ends[longer] - back]
        longer = longer[groups_before >= 8]
        if not longer.size:
            return numbers[MAX_GROUPS:]
        numbers[longer] = numbers[longer] << 3 | groups_before[groups_before >= 8] & 7
    raise _damaged(topic)


def _pixels(numbers: np.ndarray, count: int, topic: str) -> np.ndarray:
    """uint16 (count,) of the numbers of a stream."""
    at = done = 0
    counts = memoryview(numbers.data)
    headers: list[int] = []
    runs: list[int] = []
    while done < count:
        if at + 2 > len(counts):
            raise _damaged(topic)
        zeros, nonzeros = counts[at], counts[at + 1]
        headers.append(at)
        runs += zeros, nonzeros
        done += zeros + nonzeros
        at += 2 + nonzeros
    if done > count or at > len(counts):
        raise _damaged(topic)
    numbers[headers] = 0  # no difference
    numbers[np.add(headers, 1)] = 0
    sign = numbers & 1
    np.negative(sign, out=sign)
    numbers >>= 1
    numbers ^= sign
    values = np.cumsum(numbers, out=numbers).astype(np.uint16)
    pixels = np.zeros(count, np.uint16)
    start, at = 0, 0
    for zeros, nonzeros in zip(runs[::2], runs[1::2], strict=True):
        start, at = start + zeros, at + 2
        pixels[start : start + nonzeros] = values[at : at + nonzeros]
        start, at = start + nonzeros, at + nonzeros
    return pixels


def _damaged(topic: str) -> FrameError:
    return FrameError(f"{topic}: field data is a damaged RVL image. Check the link to the camera.")
