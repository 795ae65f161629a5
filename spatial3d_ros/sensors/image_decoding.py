"""Image messages to arrays: the encodings of RGB-D cameras, without cv_bridge.

Takes anything with the fields of `sensor_msgs/Image` or `sensor_msgs/CompressedImage`; ROS is not
needed. Sizes are checked before anything is allocated. An array shares the memory of its message
where the encoding allows it.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np

from spatial3d_ros.errors import FrameError

MAX_PIXELS = 1 << 26  # 8192 x 8192: anything larger is a damaged header, not a camera
CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
}
DEPTH_TYPES = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
LABEL_TYPES = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2", "32SC1": "i4"}
MILLIMETRES = 1e-3
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
CONFIG_HEADER = struct.Struct("<iff")  # compressedDepth: format, depthQuantA, depthQuantB


def decode_color(message: Any, topic: str) -> np.ndarray:
    """`sensor_msgs/Image` to uint8 (H, W, 3) in RGB order; a view of the message for rgb8.

    Raises FrameError, naming topic and field, when the image cannot be read.
    """
    channels = CHANNELS.get(message.encoding)
    if channels is None:
        raise _unknown_encoding(topic, message.encoding, CHANNELS, "a colour image")
    pixels = _pixels(message, topic, np.dtype("u1"), channels)
    conversion = TO_RGB.get(message.encoding)
    return pixels if conversion is None else cv2.cvtColor(pixels, conversion)


def decode_depth(message: Any, topic: str) -> np.ndarray:
    """`sensor_msgs/Image` to float32 (H, W) in metres.

    The encoding decides the unit (REP 118): 16UC1 and mono16 are millimetres, 32FC1 is metres.
    32FC1 comes back as it is (a view, NaN and infinities included): `Frame` cleans it.
    Raises FrameError, naming topic and field, when the image cannot be read.
    """
    kind = DEPTH_TYPES.get(message.encoding)
    if kind is None:
        raise _unknown_encoding(topic, message.encoding, DEPTH_TYPES, "a depth image")
    dtype = np.dtype((">" if message.is_bigendian else "<") + kind)
    pixels = _pixels(message, topic, dtype, 1)
    if kind == "u2":
        return np.multiply(pixels, np.float32(MILLIMETRES), dtype=np.float32)
    return pixels.astype(np.float32, copy=False)


def decode_labels(message: Any, topic: str) -> np.ndarray:
    """`sensor_msgs/Image` whose pixels are whole numbers, (H, W); a view of the message.

    Raises FrameError, naming topic and field, when the image cannot be read.
    """
    kind = LABEL_TYPES.get(message.encoding)
    if kind is None:
        raise _unknown_encoding(topic, message.encoding, LABEL_TYPES, "a label image")
    return _pixels(message, topic, np.dtype((">" if message.is_bigendian else "<") + kind), 1)


def decode_compressed_color(message: Any, topic: str) -> np.ndarray:
    """`sensor_msgs/CompressedImage` holding JPEG or PNG to uint8 (H, W, 3) in RGB order."""
    data = _buffer(message, topic)
    image = _decode_file(data, topic, cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decode_compressed_depth(message: Any, topic: str) -> np.ndarray:
    """`sensor_msgs/CompressedImage` of compressedDepth (or a bare 16-bit PNG) to float32 metres.

    compressedDepth puts 12 bytes before the PNG. 16UC1 is stored as it is; 32FC1 is stored as
    quantised inverse depth, depth = A / (value - B), and value 0 means no measurement.
    """
    data = _buffer(message, topic)
    encoding = message.format.split(";")[0].strip()
    if encoding not in DEPTH_TYPES:
        raise _unknown_encoding(topic, message.format, DEPTH_TYPES, "compressed depth", "format")
    start = next((k for k in (CONFIG_HEADER.size, 0) if _is_png(data[k:])), None)
    if start is None:
        raise FrameError(
            f"{topic}: field data holds no PNG, and format is {message.format!r}. Only PNG can be "
            "read, not RVL: set the format of compressedDepth to 'png' in the camera driver, or "
            "use the raw depth topic."
        )
    values = _decode_file(data[start:], topic, cv2.IMREAD_UNCHANGED)
    if values.ndim != 2 or values.dtype != np.uint16:
        raise FrameError(
            f"{topic}: field data holds a PNG of {values.dtype} and {values.ndim} dimensions; "
            "depth must be a 16-bit PNG with one channel. Is this a colour topic?"
        )
    if DEPTH_TYPES[encoding] == "u2":
        return np.multiply(values, np.float32(MILLIMETRES), dtype=np.float32)
    if start == 0:
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
    return np.divide(np.float32(quant_a), scaled, out=np.zeros_like(scaled), where=readable)


def _pixels(message: Any, topic: str, dtype: np.dtype, channels: int) -> np.ndarray:
    """The raw pixels as a view (H, W) or (H, W, channels), row padding skipped."""
    height, width, step = message.height, message.width, message.step
    _check_size(width, height, topic)
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
            f"{topic}: field data has {data.size} bytes, but {width}x{height} {message.encoding} "
            f"with step {step} needs {needed}. The message is truncated: check the publisher."
        )
    shape = (height, width, channels) if channels > 1 else (height, width)
    strides = (step, channels * dtype.itemsize, dtype.itemsize)[: len(shape)]
    return np.ndarray(shape, dtype, buffer=data, strides=strides)


def _buffer(message: Any, topic: str) -> np.ndarray:
    data = message.data
    if len(data) == 0:
        raise FrameError(f"{topic}: field data is empty. Check the camera driver.")
    return np.frombuffer(data, dtype=np.uint8)


def _decode_file(data: np.ndarray, topic: str, flags: int) -> np.ndarray:
    size = _file_size(data)
    if size is None:
        raise FrameError(
            f"{topic}: field data is neither a readable JPEG nor a readable PNG. The image is "
            "damaged, or the topic is not compressed: subscribe to the raw topic instead."
        )
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


def _unknown_encoding(
    topic: str, encoding: str, known: dict[str, Any], what: str, field: str = "encoding"
) -> FrameError:
    return FrameError(
        f"{topic}: field {field} is {encoding!r}, which is not known for {what}. "
        f"Known: {', '.join(known)}. Set the format of the camera driver to one of these, "
        "or remap to another topic."
    )
