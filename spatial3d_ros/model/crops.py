"""The crops channel: the box of an object cut out of its best views (docs/INTERFACES.md, 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from spatial3d_ros.model.config import VisionConfig

CROPS = 2
"""Crops of an object, from different views."""
CROP_SIZE = 64
MARGIN = 0.15
"""Added to each side of a window, as a share of its longer side."""
MIN_SIDE = 12
"""Least side of a window, in pixels of the camera image."""
_STRIDE = 2
_BORDER = 0.2  # factor on the area of an object that the image border truncates
_CHUNK = 2**23  # pairs of a box and a pixel that are tested at once


@dataclass(frozen=True)
class CropWindows:
    """Windows of N objects in their CROPS best views: view (N, CROPS) int64; window (N, CROPS, 4):
    x0, y0, x1, y1 of the visible part of the box as shares of the network's image; found (N, CROPS)
    bool.
    """

    view: Tensor
    window: Tensor
    found: Tensor


def crop_windows(points: Tensor, valid: Tensor, boxes: Tensor) -> CropWindows:
    """The views with the largest visible area of each box, those that show it without the image
    border first: points (V, S, S, 3), valid (V, S, S), boxes (N, 6), all in one frame, metres.
    """
    points, valid = points[:, ::_STRIDE, ::_STRIDE], valid[:, ::_STRIDE, ::_STRIDE]
    side = points.shape[1]
    parts = []
    for some in boxes.split(max(1, _CHUNK // max(1, valid.numel()))):
        low, high = some[:, :3] - some[:, 3:] / 2, some[:, :3] + some[:, 3:] / 2
        inside = valid[None].expand(len(some), *valid.shape).clone()
        for axis in range(3):
            along = points[None, ..., axis]
            inside &= (along >= low[:, axis, None, None, None]) & (
                along <= high[:, axis, None, None, None]
            )
        area = inside.flatten(2).sum(-1).float()
        rows, columns = inside.any(-1), inside.any(-2)
        ends = [
            end
            for seen in (columns, rows)
            for end in (seen.byte().argmax(-1), side - seen.flip(-1).byte().argmax(-1))
        ]
        x0, x1, y0, y1 = ends
        border = (x0 == 0) | (y0 == 0) | (x1 == side) | (y1 == side)
        score = torch.where(border, _BORDER * area, area)
        best, view = score.topk(min(CROPS, score.shape[1]), dim=1)
        window = torch.stack([x0, y0, x1, y1], -1).float() / side
        window = window.gather(1, view[..., None].expand(-1, -1, 4))
        parts.append((view, window, best > 0))
    if not parts:
        none = torch.zeros(0, CROPS, dtype=torch.long)
        return CropWindows(none, torch.zeros(0, CROPS, 4), none.bool())
    view, window, found = (torch.cat(part) for part in zip(*parts, strict=True))
    missing = CROPS - view.shape[1]
    pad = torch.nn.functional.pad
    return CropWindows(
        pad(view, (0, missing)), pad(window, (0, 0, 0, missing)), pad(found, (0, missing))
    )


def cut_crop(
    image: np.ndarray,
    points: Tensor,
    valid: Tensor,
    box: Tensor,
    window: Sequence[float],
    shown: tuple[float, float],
) -> Tensor:
    """The square around a window, (4, CROP_SIZE, CROP_SIZE): colors in [-1, 1] of a camera image
    (H, W, 3) uint8, and a mask, 1 within the box (6,), -1 outside, 0 without depth.

    points (S, S, 3), valid (S, S): of the network's image of the view, in the frame of the box.
    shown: left end and width of the part of the camera image that it shows, as of `shown_width`.
    """
    (rows, columns), (left, width) = image.shape[:2], shown
    x0, x1 = (columns * (left + width * window[i]) for i in (0, 2))
    y0, y1 = (rows * window[i] for i in (1, 3))
    side = max(x1 - x0, y1 - y0) * (1 + 2 * MARGIN)
    side = min(max(round(side), MIN_SIDE), rows, columns)
    x = min(max(round((x0 + x1 - side) / 2), 0), columns - side)
    y = min(max(round((y0 + y1 - side) / 2), 0), rows - side)
    cut = image[y : y + side, x : x + side]
    method = cv2.INTER_AREA if side > CROP_SIZE else cv2.INTER_CUBIC
    cut = cv2.resize(cut, (CROP_SIZE, CROP_SIZE), interpolation=method)
    colors = torch.from_numpy(cut).permute(2, 0, 1).float() / 127.5 - 1.0
    steps = (torch.arange(CROP_SIZE) + 0.5) / CROP_SIZE * side
    last = points.shape[0] - 1
    row = ((y + steps) / rows * len(points)).long().clamp(0, last)
    column = (((x + steps) / columns - left) / width * len(points)).long().clamp(0, last)
    known = valid[row][:, column]
    inside = ((points[row][:, column] - box[:3]).abs() <= box[3:] / 2).all(-1)
    mask = torch.where(inside, 1.0, -1.0) * known
    return torch.cat([colors, mask[None]])


def shown_width(width: int, height: int, config: VisionConfig) -> tuple[float, float]:
    """The part of a camera image that the network's image shows: left end and width, in shares of
    the width.
    """
    if config.resize == "stretch":
        return 0.0, 1.0
    share = config.image_size / max(config.image_size, int(width * config.image_size / height))
    return (1 - share) / 2, share


def stack_crops(crops: Sequence[Tensor]) -> Tensor:
    """Results of `cut_crop` as one tensor (n, 4, CROP_SIZE, CROP_SIZE), which may be empty."""
    return torch.stack([*crops]) if crops else torch.zeros(0, 4, CROP_SIZE, CROP_SIZE)
