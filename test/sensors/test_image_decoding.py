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
    np.testing.assert_allclose(decoded, array / 1000, rtol=1e-6)


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


@given(npst.arrays(np.uint16, SIZES), st.booleans())
def test_compressed_depth_of_millimetres_with_and_without_header(array, with_header):
    if with_header:
        message = messages.compressed_depth(array)
    else:
        message = messages.compressed(messages.png(array), "16UC1; png compressed")
    np.testing.assert_allclose(
        decoding.decode_compressed_depth(message, TOPIC), array / 1000, rtol=1e-6
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
    message = messages.image(np.zeros((2, 2), np.uint8), "yuv422")
    with pytest.raises(FrameError, match=rf"{TOPIC}.*encoding.*yuv422.*{known}"):
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


def test_rvl_and_color_in_a_depth_topic_are_named():
    rvl = messages.compressed(bytes(100), "16UC1; compressedDepth rvl")
    with pytest.raises(FrameError, match=r"RVL.*'png'"):
        decoding.decode_compressed_depth(rvl, TOPIC)
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
