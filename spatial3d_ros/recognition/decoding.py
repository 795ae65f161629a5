"""Decoders: from the raw outputs of a model file to boxes with classes, or to a class image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spatial3d_ros.errors import RecognitionError

MAX_CANDIDATES = 1000  # boxes with the highest scores that enter suppression


class Boxes(NamedTuple):
    """`corners` (n, 4) float, left, top, right, bottom in 0 .. 1 of the input image; `classes` (n,)
    int; `scores` (n,) 0 .. 1, highest first.
    """

    corners: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def decode_ssd(
    outputs: Sequence[np.ndarray],
    anchors: np.ndarray,
    labels: Sequence[str],
    activation: str,
    min_score: float,
    scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0),
) -> Boxes:
    """Boxes of an SSD head (Liu et al. 2016, section 2.2) in the form of TensorFlow's.

    Args:
        outputs: box codes (1, N, [1,] 4) y, x, h, w and class logits (1, N, C), in any order.
        anchors: (N, 4) y0, x0, y1, x1 in 0 .. 1 of the input image.
        labels: of the C classes; "" is ignored, as the background is.
        activation: of the logits: sigmoid, softmax or none.
        scales: divisors of the box codes.

    Raises:
        RecognitionError: the outputs have other shapes, or values that are not finite.
    """
    count = len(anchors)
    wanted = f"box codes (1, {count}, 4) and class logits (1, {count}, {len(labels)})"
    left = list(outputs)
    codes = _pop(left, (count, 4), wanted)
    logits = _pop(left, (count, len(labels)), wanted)
    _check_finite(codes, logits)
    y0, x0, y1, x1 = anchors.astype(np.float64).T
    height, width = y1 - y0, x1 - x0
    y, x, h, w = (codes / np.array(scales)).astype(np.float64).T
    center_y, center_x = y * height + (y0 + y1) / 2, x * width + (x0 + x1) / 2
    half_h, half_w = (np.exp(np.minimum(v, 20)) * n / 2 for v, n in ((h, height), (w, width)))
    corners = np.stack(
        [center_x - half_w, center_y - half_h, center_x + half_w, center_y + half_h], 1
    )
    return _best(corners, _activated(logits, activation), labels, min_score)


def decode_yolox(
    outputs: Sequence[np.ndarray], size: tuple[int, int], labels: Sequence[str], min_score: float
) -> Boxes:
    """Boxes of a YOLOX head (Ge et al. 2021) as its ONNX export gives them.

    Args:
        outputs: one (1, N, 5 + C): offset and log size in units of the stride, objectness and class
            probabilities; N cells of the strides 8, 16 and 32.
        size: height and width of the input image, multiples of 32.
        labels: of the C classes; "" is ignored.

    Raises:
        RecognitionError: the output has another shape, or values that are not finite.
    """
    height, width = size
    cells, strides = [], []
    for stride in (8, 16, 32):
        rows, columns = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], 1))
        strides.append(np.full(rows.size, stride))
    cell, stride_of = np.concatenate(cells), np.concatenate(strides)[:, None]
    shape = (len(cell), 5 + len(labels))
    values = _pop(list(outputs), shape, f"(1, {shape[0]}, {shape[1]})").astype(np.float64)
    _check_finite(values)
    center = (values[:, :2] + cell) * stride_of / (width, height)
    half = np.exp(np.minimum(values[:, 2:4], 20)) * stride_of / (width, height) / 2
    scores = values[:, 4:5] * values[:, 5:]
    return _best(np.hstack([center - half, center + half]), scores, labels, min_score)


def decode_argmax(outputs: Sequence[np.ndarray], num_classes: int) -> np.ndarray:
    """Class image (h, w) int32 of a semantic segmenter.

    Args:
        outputs: one: classes (1, h, w[, 1]) of an integer type, or class scores (1, num_classes, h,
            w) or (1, h, w, num_classes).

    Raises:
        RecognitionError: another shape, classes that have no label, or scores that are not finite.
    """
    if len(outputs) != 1:
        raise RecognitionError(f"decode: argmax needs one output, the model has {len(outputs)}")
    output = outputs[0]
    if output.ndim in (3, 4) and output.shape[0] == 1 and output.dtype.kind in "iu":
        image = output[0]
        image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
        if image.ndim == 2:
            if image.min(initial=0) < 0 or image.max(initial=0) >= num_classes:
                raise RecognitionError(
                    f"labels: the model gives class {int(image.max())}, but there are "
                    f'{num_classes} labels; add one for every class, "" for those to ignore'
                )
            return image.astype(np.int32)
    if output.ndim == 4 and output.shape[0] == 1 and output.dtype.kind == "f":
        for axis in (1, 3):
            if output.shape[axis] == num_classes:
                _check_finite(output)
                return output.argmax(axis)[0].astype(np.int32)
    raise RecognitionError(
        f"decode: argmax cannot read an output {output.shape} of {output.dtype}; it takes classes "
        f"(1, h, w) or scores (1, {num_classes}, h, w) of the {num_classes} labels"
    )


def sorted_by_score(boxes: Boxes) -> Boxes:
    """The boxes, highest score first."""
    order = np.argsort(-boxes.scores, kind="stable")
    return Boxes(*(column[order] for column in boxes))


def suppress(boxes: Boxes, max_iou: float) -> Boxes:
    """Non-maximum suppression for each class."""
    kept: list[int] = []
    area = np.prod(np.maximum(boxes.corners[:, 2:] - boxes.corners[:, :2], 0), axis=1)
    alive = np.ones(len(area), bool)
    for k in range(len(area)):
        if not alive[k]:
            continue
        kept.append(k)
        low = np.maximum(boxes.corners[k, :2], boxes.corners[:, :2])
        high = np.minimum(boxes.corners[k, 2:], boxes.corners[:, 2:])
        shared = np.maximum(high - low, 0).prod(1)
        iou = shared / np.maximum(area[k] + area - shared, 1e-12)
        alive &= (iou <= max_iou) | (boxes.classes != boxes.classes[k])
    return Boxes(boxes.corners[kept], boxes.classes[kept], boxes.scores[kept])


def _pop(outputs: list[np.ndarray], shape: tuple[int, ...], wanted: str) -> np.ndarray:
    """Removes the output that has a shape but for axes of length 1; returns it in that shape."""
    for k, output in enumerate(outputs):
        if output.size == np.prod(shape) and output.shape[-1] == shape[-1]:
            return outputs.pop(k).reshape(shape)
    shapes = ", ".join(str(output.shape) for output in outputs) or "none"
    raise RecognitionError(
        f"decode: the outputs of the model are {shapes}; expected {wanted}. Check decode, labels "
        "and anchors_file"
    )


def _check_finite(*arrays: np.ndarray) -> None:
    for array in arrays:
        if not np.isfinite(array).all():
            raise RecognitionError(
                "the model gives values that are not finite; check input.scale, mean and std"
            )


def _activated(logits: np.ndarray, activation: str) -> np.ndarray:
    logits = logits.astype(np.float64)
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))
    if activation == "softmax":
        logits = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(logits / logits.sum(1, keepdims=True))
    return logits


def _best(
    corners: np.ndarray, scores: np.ndarray, labels: Sequence[str], min_score: float
) -> Boxes:
    """Every class with a label of every box that reaches the score, highest first."""
    # Nearly every box is background: before the limit, or nothing else would be left.
    named = np.array([label != "" for label in labels], bool)
    rows, classes = np.nonzero((scores >= min_score) & named)
    order = np.argsort(-scores[rows, classes], kind="stable")[:MAX_CANDIDATES]
    rows, classes = rows[order], classes[order]
    return Boxes(corners[rows], classes, scores[rows, classes])
