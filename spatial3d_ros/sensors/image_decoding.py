"""Image messages to arrays: the encodings of RGB-D cameras, without cv_bridge.

Takes anything with the fields of `sensor_msgs/Image` or `sensor_msgs/CompressedImage`; ROS is not
needed. Sizes are checked before anything is allocated. An array shares the memory of its message
where the encoding allows it.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any, NamedTuple

import cv2
import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.sensors.rvl import decode_rvl, rvl_size

MAX_PIXELS = 1 << 26  # 8192 x 8192: anything larger is a damaged header, not a camera


class Packed(NamedTuple):
    """How an encoding stores a pixel, and its conversion to RGB (None: it is RGB)."""

    channels: int
    dtype: str = "u1"
    to_rgb: int | None = None
    rows: Fraction = Fraction(1)  # rows of the buffer per row of the image


# OpenCV names bayer patterns by the second row, ROS by the first. 8UC3 is OpenCV's type of BGR.
COLOR_ENCODINGS = {
    "rgb8": Packed(3),
    "bgr8": Packed(3, to_rgb=cv2.COLOR_BGR2RGB),
    "rgba8": Packed(4, to_rgb=cv2.COLOR_RGBA2RGB),
    "bgra8": Packed(4, to_rgb=cv2.COLOR_BGRA2RGB),
    "mono8": Packed(1, to_rgb=cv2.COLOR_GRAY2RGB),
    "8UC1": Packed(1, to_rgb=cv2.COLOR_GRAY2RGB),
    "8UC3": Packed(3, to_rgb=cv2.COLOR_BGR2RGB),
    "8UC4": Packed(4, to_rgb=cv2.COLOR_BGRA2RGB),
    "rgb16": Packed(3, "u2"),
    "bgr16": Packed(3, "u2", cv2.COLOR_BGR2RGB),
    "rgba16": Packed(4, "u2", cv2.COLOR_RGBA2RGB),
    "bgra16": Packed(4, "u2", cv2.COLOR_BGRA2RGB),
    "mono16": Packed(1, "u2", cv2.COLOR_GRAY2RGB),
    "yuv422": Packed(2, to_rgb=cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": Packed(2, to_rgb=cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": Packed(2, to_rgb=cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": Packed(2, to_rgb=cv2.COLOR_YUV2RGB_YUY2),
    "nv12": Packed(1, to_rgb=cv2.COLOR_YUV2RGB_NV12, rows=Fraction(3, 2)),
    "nv21": Packed(1, to_rgb=cv2.COLOR_YUV2RGB_NV21, rows=Fraction(3, 2)),
    **{
        f"bayer_{pattern}{bits}": Packed(1, f"u{bits // 8}", code)
        for bits in (8, 16)
        for pattern, code in (
            ("rggb", cv2.COLOR_BayerBG2RGB),
            ("bggr", cv2.COLOR_BayerRG2RGB),
            ("gbrg", cv2.COLOR_BayerGR2RGB),
            ("grbg", cv2.COLOR_BayerGB2RGB),
        )
    },
}
SUBSAMPLED = ("bayer", "yuv", "uyvy", "yuyv", "nv")  # encodings whose sizes must be even
DEPTH_TYPES = {"16UC1": "u2", "mono16": "u2", "16SC1": "i2", "32FC1": "f4"}
LABEL_TYPES = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2", "32SC1": "i4"}
MILLIMETRES = 1e-3
UINT16_MAX = 65535
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
DENSE_BYTES = 0.1  # of a pixel in a PNG: an image that is 1 % measured has less
CONFIG_HEADER = struct.Struct("<iff")  # compressedDepth: format, depthQuantA, depthQuantB
# EXIF orientation describes how to show a photograph, but CameraInfo describes stored pixels.
READ_COLOR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode_color(message: Any, topic: str) -> np.ndarray:
    """`sensor_msgs/Image` to uint8 (H, W, 3) in RGB order; a view of the message for rgb8.

    Raises FrameError, naming topic and field, when the image cannot be read.
    """
    packed, pixels = _color_pixels(message, topic)
    if pixels.dtype.itemsize == 2:
        pixels = (pixels >> 8).astype(np.uint8)
    return pixels if packed.to_rgb is None else cv2.cvtColor(pixels, packed.to_rgb)


def _color_pixels(message: Any, topic: str) -> tuple[Packed, np.ndarray]:
    """The pixels as they are stored, a view."""
    packed = COLOR_ENCODINGS.get(message.encoding) or COLOR_ENCODINGS.get(message.encoding.lower())
    if packed is None:
        raise _unknown_encoding(topic, message.encoding, COLOR_ENCODINGS, "a colour image")
    even = message.encoding.lower().startswith(SUBSAMPLED)
    if even and (message.width % 2 or message.height % 2):
        raise FrameError(
            f"{topic}: fields width and height are {message.width}x{message.height}, but an image "
            f"of encoding {message.encoding} has even sizes. Check the publisher."
        )
    dtype = _wire_type(packed.dtype, message)
    return packed, _pixels(message, topic, dtype, packed.channels, packed.rows)


def inspect_color(message: Any, topic: str) -> None:
    """Raise FrameError for damage that an image, compressed or not, shows without being decoded."""
    if hasattr(message, "encoding"):
        _color_pixels(message, topic)
    elif _file_size(_buffer(message, topic)) is None:
        raise _not_compressed(topic, message.format)


def inspect_depth(message: Any, topic: str, stride: int) -> float:
    """Share of pixels that hold a depth, 0 .. 1, of every `stride`-th pixel of an uncompressed
    image. Raises FrameError for damage that it shows without being decoded.
    """
    metres = _metres(_depth_pixels(message, topic)[::stride, ::stride], 0.0)
    return float(np.count_nonzero((metres > 0) & np.isfinite(metres)) / metres.size)


def decode_depth(message: Any, topic: str, unit: float = 0.0) -> np.ndarray:
    """`sensor_msgs/Image` to float32 (H, W) in metres.

    `unit` is the value 1 in metres; 0 means that of the encoding (REP 118): millimetres for whole
    numbers, metres for 32FC1, which comes back as it is (a view, NaN and infinities included):
    `Frame` cleans it. Raises FrameError, naming topic and field, when the image cannot be read.
    """
    return _metres(_depth_pixels(message, topic), unit)


def _depth_pixels(message: Any, topic: str) -> np.ndarray:
    """The values as they are stored, a view."""
    kind = DEPTH_TYPES.get(message.encoding)
    if kind is None:
        raise _unknown_encoding(topic, message.encoding, DEPTH_TYPES, "a depth image")
    return _pixels(message, topic, _wire_type(kind, message), 1)


def _metres(values: np.ndarray, unit: float) -> np.ndarray:
    """Depth values in metres, float32; 0 where a whole number is at its limit: not measured."""
    unit = unit or (1.0 if values.dtype.kind == "f" else MILLIMETRES)
    if values.dtype.kind == "f" and unit == 1.0:
        return values.astype(np.float32, copy=False)
    metres = np.multiply(values, np.float32(unit), dtype=np.float32)
    if values.dtype.kind == "u":
        metres[values == UINT16_MAX] = 0
    return metres


def _wire_type(kind: str, message: Any) -> np.dtype:
    return np.dtype((">" if message.is_bigendian else "<") + kind)


def decode_labels(message: Any, topic: str) -> np.ndarray:
    """`sensor_msgs/Image` whose pixels are whole numbers, (H, W); a view of the message.

    Raises FrameError, naming topic and field, when the image cannot be read.
    """
    kind = LABEL_TYPES.get(message.encoding)
    if kind is None:
        raise _unknown_encoding(topic, message.encoding, LABEL_TYPES, "a label image")
    return _pixels(message, topic, _wire_type(kind, message), 1)


def decode_compressed_color(message: Any, topic: str) -> np.ndarray:
    """`sensor_msgs/CompressedImage` holding JPEG or PNG to uint8 (H, W, 3) in RGB order."""
    data = _buffer(message, topic)
    image = _decode_file(data, topic, READ_COLOR, message.format)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decode_compressed_depth(message: Any, topic: str, unit: float = 0.0) -> np.ndarray:
    """`sensor_msgs/CompressedImage` of compressedDepth (or a bare 16-bit PNG) to float32 metres.

    compressedDepth puts 12 bytes before a PNG or RVL image. Whole numbers are stored as they are;
    32FC1 is stored as quantised inverse depth, depth = A / (value - B), and value 0 means no
    measurement. `unit` is as in `decode_depth`.
    """
    data = _buffer(message, topic)
    encoding = message.format.split(";")[0].strip()
    encoding = "16UC1" if encoding == "png" else encoding  # a bare PNG of 16 bits, checked below
    if encoding not in DEPTH_TYPES:
        raise _unknown_encoding(topic, message.format, DEPTH_TYPES, "compressed depth", "format")
    values, has_header = _stored_depth(data, message.format, topic)
    if DEPTH_TYPES[encoding] != "f4":
        return _metres(values.view(DEPTH_TYPES[encoding]), unit)
    if not has_header:
        raise FrameError(
            f"{topic}: format is {message.format!r} but the 12-byte compressedDepth header is "
            "missing. Use the compressedDepth transport, or send 16UC1."
        )
    _, quant_a, quant_b = CONFIG_HEADER.unpack(data[: CONFIG_HEADER.size].tobytes())
    if not (np.isfinite(quant_a) and np.isfinite(quant_b) and quant_a > 0):
        raise FrameError(
            f"{topic}: the compressedDepth header holds depthQuantA={quant_a}, "
            f"depthQuantB={quant_b}; A must be positive and both finite. Check the publisher."
        )
    scaled = values.astype(np.float32) - np.float32(quant_b)
    readable = (values > 0) & (scaled > 0)
    metres = np.divide(np.float32(quant_a), scaled, out=np.zeros_like(scaled), where=readable)
    return _metres(metres, unit)


def _stored_depth(data: np.ndarray, name: str, topic: str) -> tuple[np.ndarray, bool]:
    """The 16-bit image (H, W) of compressedDepth, and whether its header precedes it."""
    size = CONFIG_HEADER.size
    start = next((k for k in (size, 0) if _is_png(data[k:])), None)
    if start is None and name.split(";")[-1].strip().lower().endswith("rvl"):
        width, height = rvl_size(data[size:], topic)
        _check_size(width, height, topic)
        return decode_rvl(data[size:], topic), True
    if start is None:
        jpeg = any(data[k : k + 3].tobytes() == JPEG_SIGNATURE for k in (0, size))
        found = "a JPEG, which changes depth" if jpeg else "neither a PNG nor RVL"
        raise FrameError(
            f"{topic}: field data holds {found}, and format is {name!r}. Set the format of "
            "compressedDepth to png or rvl in the camera driver, or use the raw depth topic."
        )
    values = _decode_file(data[start:], topic, cv2.IMREAD_UNCHANGED, name)
    if values.ndim != 2 or values.dtype != np.uint16:
        raise FrameError(
            f"{topic}: field data holds a PNG of {values.dtype} and {values.ndim} dimensions; "
            "depth must be a 16-bit PNG with one channel. Is this a colour topic?"
        )
    return values, start > 0


def _pixels(
    message: Any, topic: str, dtype: np.dtype, channels: int, rows: Fraction = Fraction(1)
) -> np.ndarray:
    """The raw pixels as a view (H * rows, W) or (H * rows, W, channels), row padding skipped."""
    height, width, step = message.height, message.width, message.step
    _check_size(width, height, topic)
    height = int(height * rows)
    row = width * channels * dtype.itemsize
    if step < row:
        raise FrameError(
            f"{topic}: field step is {step}, but a row of {width} pixels {message.encoding} has "
            f"{row} bytes. Correct step or encoding in the publisher."
        )
    data = _buffer(message, topic)
    needed = (height - 1) * step + row
    if data.size < needed:
        raise FrameError(
            f"{topic}: field data has {data.size} bytes, but {width}x{message.height} "
            f"{message.encoding} with step {step} needs {needed}. The message is truncated: check "
            "the publisher."
        )
    shape = (height, width, channels) if channels > 1 else (height, width)
    strides = (step, channels * dtype.itemsize, dtype.itemsize)[: len(shape)]
    return np.ndarray(shape, dtype, buffer=data, strides=strides)


def _buffer(message: Any, topic: str) -> np.ndarray:
    data = message.data
    if len(data) == 0:
        raise FrameError(f"{topic}: field data is empty. Check the camera driver.")
    return np.frombuffer(data, dtype=np.uint8)


def _decode_file(data: np.ndarray, topic: str, flags: int, name: str) -> np.ndarray:
    size = _file_size(data)
    if size is None:
        raise _not_compressed(topic, name)
    _check_size(*size, topic)
    try:
        image = cv2.imdecode(data, flags)
    except cv2.error:
        image = None
    if image is None:
        raise FrameError(f"{topic}: field data is a damaged image. Check the link to the camera.")
    return image


def _file_size(data: np.ndarray) -> tuple[int, int] | None:
    """(width, height) in the header of a JPEG or PNG, read before anything is allocated."""
    if _is_png(data) and data.size >= 24:
        width, height = struct.unpack(">II", data[16:24].tobytes())
        return width, height
    if data[:3].tobytes() != JPEG_SIGNATURE:
        return None
    at = 2
    while at + 9 <= data.size and data[at] == 0xFF:
        marker, length = int(data[at + 1]), int(data[at + 2]) << 8 | int(data[at + 3])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame
            height, width = struct.unpack(">HH", data[at + 5 : at + 9].tobytes())
            return width, height
        at += 2 + length if marker != 0xFF else 1
    return None


def _is_png(data: np.ndarray) -> bool:
    return data[:8].tobytes() == PNG_SIGNATURE


def _check_size(width: int, height: int, topic: str) -> None:
    if width <= 0 or height <= 0 or width * height > MAX_PIXELS:
        raise FrameError(
            f"{topic}: fields width and height are {width}x{height}; between 1 and {MAX_PIXELS} "
            "pixels are possible. Check the publisher."
        )


def is_dense_png(message: Any) -> bool:
    """Whether compressed depth is a whole PNG that is too large to be an empty image."""
    data = np.frombuffer(message.data, np.uint8)
    start = next((k for k in (CONFIG_HEADER.size, 0) if _is_png(data[k:])), None)
    size = None if start is None else _file_size(data[start:])
    if size is None or b"IEND" not in data[-16:].tobytes():
        return False
    return data.size > DENSE_BYTES * size[0] * size[1]


def _not_compressed(topic: str, name: str) -> FrameError:
    if not any(word in name.lower() for word in ("jp", "png")):
        return FrameError(
            f"{topic}: field format is {name!r}, but only JPEG and PNG are read. Set the format of "
            "the publisher to jpeg or png, or use the raw topic."
        )
    return FrameError(
        f"{topic}: field data is neither a readable JPEG nor a readable PNG. The image is "
        "damaged, or the topic is not compressed: subscribe to the raw topic instead."
    )


def _unknown_encoding(
    topic: str, encoding: str, known: dict[str, Any], what: str, field: str = "encoding"
) -> FrameError:
    return FrameError(
        f"{topic}: field {field} is {encoding!r}, which is not known for {what}. "
        f"Known: {', '.join(known)}. Set the format of the camera driver to one of these, "
        "or remap to another topic."
    )
