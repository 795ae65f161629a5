"""The image decoder: every encoding, every layout in memory, and what it refuses."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from helpers import messages
from spatial3d_ros.errors import FrameError
from spatial3d_ros.sensors import image_decoding as decoding

TOPIC = "/camera/image"
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def colors(channels):
    shape = SIZES.map(lambda size: (*size, channels) if channels > 1 else size)
    return npst.arrays(np.uint8, shape)


@given(colors(3), st.integers(0, 5))
def test_rgb8_is_the_image_and_shares_its_memory(array, padding):
    message = messages.image(array, "rgb8", padding=padding)
    decoded = decoding.decode_color(message, TOPIC)
    np.testing.assert_array_equal(decoded, array)
    assert np.shares_memory(decoded, np.frombuffer(message.data, np.uint8))


@given(colors(4), st.integers(0, 5), st.sampled_from(["bgr8", "rgba8", "bgra8"]))
def test_other_channel_orders_come_out_as_rgb(rgba, padding, encoding):
    order = ["rgba".index(letter) for letter in encoding.removesuffix("8")]
    decoded = decoding.decode_color(
        messages.image(rgba[..., order], encoding, padding=padding), TOPIC
    )
    np.testing.assert_array_equal(decoded, rgba[..., :3])
    assert decoded.flags.c_contiguous


@given(colors(1), st.integers(0, 5))
def test_mono8_becomes_grey(array, padding):
    decoded = decoding.decode_color(messages.image(array, "mono8", padding=padding), TOPIC)
    np.testing.assert_array_equal(decoded, np.repeat(array[..., None], 3, axis=2))


@given(
    npst.arrays(np.uint16, SIZES),
    st.integers(0, 5),
    st.booleans(),
    st.sampled_from(["16UC1", "mono16"]),
)
def test_integer_depth_is_millimetres(array, padding, big_endian, encoding):
    message = messages.image(array, encoding, padding=padding, big_endian=big_endian)
    decoded = decoding.decode_depth(message, TOPIC)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, array % 65535 / 1000, rtol=1e-6)


@given(npst.arrays(np.float32, SIZES), st.integers(0, 5), st.booleans())
def test_float_depth_is_metres_bit_by_bit(array, padding, big_endian):
    message = messages.image(array, "32FC1", padding=padding, big_endian=big_endian)
    decoded = decoding.decode_depth(message, TOPIC)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, array)


def test_png_color_is_exact_and_jpeg_is_close():
    ramp = np.linspace(0, 255, 32 * 48 * 3).reshape(32, 48, 3).astype(np.uint8)
    bgr = np.ascontiguousarray(ramp[..., ::-1])
    exact = messages.compressed(messages.png(bgr), "rgb8; png compressed bgr8")
    np.testing.assert_array_equal(decoding.decode_compressed_color(exact, TOPIC), ramp)
    jpeg = messages.compressed(cv2.imencode(".jpg", bgr)[1].tobytes(), "jpeg")
    close = decoding.decode_compressed_color(jpeg, TOPIC)
    assert np.abs(close.astype(int) - ramp).mean() < 3


@pytest.mark.parametrize("name", ["webp", "rgb8; h264"])
def test_another_compression_is_named(name):
    message = messages.compressed(b"RIFF" + bytes(100), name)
    for read in (decoding.decode_compressed_color, decoding.inspect_color):
        with pytest.raises(FrameError, match=f"{TOPIC}: field format is '{name}'"):
            read(message, TOPIC)


@given(npst.arrays(np.uint16, SIZES), st.sampled_from(["", "16UC1; png compressed", "png"]))
def test_compressed_depth_of_millimetres_with_and_without_header(array, bare):
    if not bare:
        message = messages.compressed_depth(array)
    else:
        message = messages.compressed(messages.png(array), bare)
    np.testing.assert_allclose(
        decoding.decode_compressed_depth(message, TOPIC), array % 65535 / 1000, rtol=1e-6
    )


def test_compressed_depth_of_metres_is_quantised_inverse_depth():
    depth = np.array([[0.5, 1.0, 2.0], [4.0, 8.0, 0.0]], dtype=np.float32)
    quant_a, quant_b = 1000.0, 10.0
    with np.errstate(divide="ignore"):
        values = np.where(depth > 0, quant_a / depth + quant_b, 0).astype(np.uint16)
    message = messages.compressed_depth(
        values, quant=(quant_a, quant_b), name="32FC1; compressedDepth png"
    )
    np.testing.assert_allclose(decoding.decode_compressed_depth(message, TOPIC), depth, rtol=1e-2)


@pytest.mark.parametrize(
    ("decode", "known"),
    [(decoding.decode_color, "bgra8"), (decoding.decode_depth, "32FC1")],
)
def test_unknown_encoding_lists_the_known_ones(decode, known):
    message = messages.image(np.zeros((2, 2), np.uint8), "yuv444")
    with pytest.raises(FrameError, match=rf"{TOPIC}.*encoding.*yuv444.*{known}"):
        decode(message, TOPIC)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"height": 0}, "height"),
        ({"width": 0}, "width"),
        ({"width": 2**31, "height": 2**31}, "width"),
        ({"step": 5}, "step"),
        ({"data": b""}, "data"),
        ({"data": bytes(10)}, "data"),
        ({"height": 7}, "data"),
        ({"encoding": "rgba8"}, "step"),
    ],
)
def test_impossible_layouts_are_refused_by_field(change, field):
    message = messages.image(np.zeros((3, 2, 3), np.uint8), "rgb8")
    vars(message).update(change)
    with pytest.raises(FrameError, match=f"{TOPIC}: fields?.* {field}"):
        decoding.decode_color(message, TOPIC)


def test_a_last_row_without_padding_is_enough():
    message = messages.image(np.ones((3, 2, 3), np.uint8), "rgb8", padding=4)
    message.data = message.data[:-4]
    assert decoding.decode_color(message, TOPIC).sum() == 18


def test_damaged_rvl_jpeg_and_color_in_a_depth_topic_are_named():
    rvl = messages.compressed_rvl(np.arange(48, dtype=np.uint16).reshape(6, 8))
    rvl.data = rvl.data[:-8]
    with pytest.raises(FrameError, match=rf"{TOPIC}: field data is a damaged RVL image"):
        decoding.decode_compressed_depth(rvl, TOPIC)
    lossy = cv2.imencode(".jpg", np.zeros((6, 8), np.uint8))[1].tobytes()
    with pytest.raises(FrameError, match=r"a JPEG, which changes depth.*png or rvl"):
        decoding.decode_compressed_depth(messages.compressed(lossy, "16UC1; jpeg"), TOPIC)
    color = messages.compressed(messages.png(np.zeros((4, 4, 3), np.uint8)), "16UC1; png")
    with pytest.raises(FrameError, match=r"uint8.*colour topic"):
        decoding.decode_compressed_depth(color, TOPIC)
    jpeg = messages.compressed(bytes(100), "bgr8; jpeg compressed bgr8")
    with pytest.raises(FrameError, match=r"format.*16UC1"):
        decoding.decode_compressed_depth(jpeg, TOPIC)


def test_float_depth_needs_a_usable_header():
    values = np.ones((4, 4), np.uint16)
    bare = messages.compressed(messages.png(values), "32FC1; png")
    with pytest.raises(FrameError, match="header"):
        decoding.decode_compressed_depth(bare, TOPIC)
    bad = messages.compressed_depth(values, quant=(float("nan"), 0), name="32FC1; compressedDepth")
    with pytest.raises(FrameError, match="depthQuantA"):
        decoding.decode_compressed_depth(bad, TOPIC)


def test_a_png_that_claims_to_be_huge_is_refused_before_decoding():
    data = bytearray(messages.png(np.zeros((4, 4), np.uint16)))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    with pytest.raises(FrameError, match="60000x60000"):
        decoding.decode_compressed_depth(messages.compressed(bytes(data), "16UC1; png"), TOPIC)


RAMP = np.stack(
    np.broadcast_arrays(*np.ogrid[40:200:48j, 60:220:64j], np.full((48, 64), 120.0)), -1
).astype(np.uint8)  # (48, 64, 3), smooth, so that subsampled colour loses little


def planes(image):
    """Y (H, W), U and V (H/2, W/2) of a smooth RGB image, BT.601 as cameras have it."""
    i420 = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    height, width = image.shape[:2]
    u, v = i420[height:].reshape(2, height // 2, width // 2)
    return i420[:height], u, v


def as_yuv(image, encoding):
    y, u, v = planes(image)
    if encoding.startswith("nv"):
        pair = (u, v) if encoding == "nv12" else (v, u)
        return np.concatenate([y, np.stack(pair, -1).reshape(len(u), -1)])
    chroma = np.stack([u, v], -1).repeat(2, 0).reshape(y.shape)  # U and V alternate in a row
    pair = (chroma, y) if encoding in ("yuv422", "uyvy") else (y, chroma)
    return np.stack(pair, -1)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"])
def test_yuv_becomes_rgb(encoding, padding):
    message = messages.image(as_yuv(RAMP, encoding), encoding, padding=padding)
    message.height = len(RAMP)
    decoded = decoding.decode_color(message, TOPIC)
    assert decoded.shape == RAMP.shape
    assert np.abs(decoded.astype(int) - RAMP).max() < 8
    message.data = message.data[: len(message.data) // 2]
    with pytest.raises(FrameError, match="truncated"):
        decoding.decode_color(message, TOPIC)
    message.width -= 1
    with pytest.raises(FrameError, match="even"):
        decoding.decode_color(message, TOPIC)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_becomes_rgb(pattern, bits, big_endian):
    color = np.full((12, 16, 3), (200, 120, 40), np.uint8)
    mosaic = np.empty((12, 16), f"u{bits // 8}")
    for k, letter in enumerate(pattern):
        mosaic[k // 2 :: 2, k % 2 :: 2] = (200, 120, 40)["rgb".index(letter)]
    mosaic <<= bits - 8
    name = f"bayer_{pattern}{bits}"
    message = messages.image(mosaic, name, padding=2, big_endian=big_endian)
    np.testing.assert_array_equal(decoding.decode_color(message, TOPIC), color)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [
        ("rgb16", "rgb"),
        ("bgr16", "bgr"),
        ("rgba16", "rgba"),
        ("8UC3", "bgr"),
        ("8UC4", "bgra"),
        ("BGR8", "bgr"),
    ],
)
def test_other_color_encodings(encoding, order, big_endian):
    rgba = np.dstack([RAMP, np.full(RAMP.shape[:2], 255, np.uint8)])
    pixels = rgba[..., ["rgba".index(letter) for letter in order]]
    if encoding.endswith("16"):
        pixels = pixels.astype(np.uint16) * 257
    message = messages.image(pixels, encoding, padding=4, big_endian=big_endian)
    np.testing.assert_array_equal(decoding.decode_color(message, TOPIC), RAMP)


@pytest.mark.parametrize(("encoding", "factor"), [("mono8", 1), ("8UC1", 1), ("mono16", 257)])
def test_grey_encodings(encoding, factor):
    kind = np.uint16 if factor > 1 else np.uint8
    message = messages.image(RAMP[..., 1].astype(kind) * kind(factor), encoding)
    np.testing.assert_array_equal(
        decoding.decode_color(message, TOPIC), RAMP[..., 1:2].repeat(3, -1)
    )


@pytest.mark.parametrize(
    ("encoding", "unit", "metres"),
    [("16UC1", 0.0, 1.6), ("16UC1", 0.00025, 0.4), ("mono16", 0.0001, 0.16), ("16SC1", 0.0, 1.6),
     ("32FC1", 0.0, 1600.0), ("32FC1", 0.001, 1.6)],
)  # fmt: skip
def test_depth_has_the_unit_of_its_encoding_or_the_given_one(encoding, unit, metres):
    kind = {"32FC1": np.float32, "16SC1": np.int16}.get(encoding, np.uint16)
    message = messages.image(np.full((4, 6), 1600, kind), encoding, padding=2)
    np.testing.assert_allclose(decoding.decode_depth(message, TOPIC, unit), metres, rtol=1e-5)
    if encoding != "32FC1":
        packed = messages.compressed_depth(
            np.full((4, 6), 1600, np.uint16), name=f"{encoding}; compressedDepth png"
        )
        depth = decoding.decode_compressed_depth(packed, TOPIC, unit)
        np.testing.assert_allclose(depth, metres, rtol=1e-5)


@given(npst.arrays(np.uint16, SIZES, elements=st.sampled_from([0, 0, 1, 7, 800, 801, 65535])))
def test_rvl_is_exact(array):
    decoded = decoding.decode_compressed_depth(messages.compressed_rvl(array), TOPIC)
    np.testing.assert_allclose(decoded, array % 65535 / 1000, rtol=1e-6)


def test_a_whole_number_at_its_limit_is_no_measurement():
    values = np.array([[65535, 1600], [65534, 0]], np.uint16)
    expected = [[0, 1.6], [65.534, 0]]
    for message in (messages.image(values, "16UC1"), messages.image(values, "mono16")):
        np.testing.assert_allclose(decoding.decode_depth(message, TOPIC), expected, rtol=1e-6)
    assert decoding.inspect_depth(messages.image(values, "16UC1"), TOPIC, 1) == 0.5


def test_damage_is_seen_without_decoding():
    color, depth = messages.image(RAMP, "bgr8"), messages.image(np.ones((4, 6), "f4"), "32FC1")
    decoding.inspect_color(color, TOPIC)
    assert decoding.inspect_depth(depth, TOPIC, 2) == 1.0
    color.data, depth.encoding = color.data[:-9], "32FC7"
    for inspect, message in (
        (decoding.inspect_color, color),
        (decoding.inspect_color, messages.compressed(b"none", "jpeg")),
        (lambda m, topic: decoding.inspect_depth(m, topic, 2), depth),
    ):
        with pytest.raises(FrameError, match=TOPIC):
            inspect(message, TOPIC)
    rough = np.random.default_rng(0).integers(500, 4000, (48, 64)).astype(np.uint16)
    dense, empty = messages.compressed_depth(rough), messages.compressed_depth(rough * 0)
    assert decoding.is_dense_png(dense) and not decoding.is_dense_png(empty)
    dense.data = dense.data[:-40]
    assert not decoding.is_dense_png(dense)


def test_rvl_of_metres_is_quantised_inverse_depth():
    message = messages.compressed_rvl(
        np.array([[0, 510], [260, 1010]], np.uint16),
        quant=(1000.0, 10.0),
        name="32FC1; compressedDepth rvl",
    )
    expected = [[0.0, 2.0], [4.0, 1.0]]
    np.testing.assert_allclose(decoding.decode_compressed_depth(message, TOPIC), expected)


@pytest.mark.parametrize("orientation", [3, 6])
def test_exif_orientation_is_ignored(orientation):
    jpeg = cv2.imencode(".jpg", RAMP[..., ::-1])[1].tobytes()
    turned = messages.jpeg_with_orientation(RAMP[..., ::-1], orientation)
    plain, rotated = (
        decoding.decode_compressed_color(messages.compressed(data, "jpeg"), TOPIC)
        for data in (jpeg, turned)
    )
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), 1)[0, 0].tolist() != plain[0, 0].tolist()
    np.testing.assert_array_equal(rotated, plain)
