"""Crops of the boxes of a training room, cut as the engine cuts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spatial3d_ros.model.config import VisionConfig
from spatial3d_ros.model.crops import (
    CROP_SIZE,
    CROPS,
    crop_windows,
    cut_crop,
    shown_width,
    stack_crops,
)

_BLANK = torch.zeros(4, CROP_SIZE, CROP_SIZE)


def cut_crops(
    images: Sequence[np.ndarray], views: dict[str, Tensor], boxes: np.ndarray, config: VisionConfig
) -> dict[str, Tensor]:
    """crop_pixels (n, K, 4, s, s) and crop_valid (n, K) of boxes (n, 6): camera images (H, W, 3)
    uint8 of the views in `stack_views`, in the same frame as the boxes.
    """
    points, valid = views["points"][0], views["valid"][0]
    rows = torch.from_numpy(boxes).float()
    found = crop_windows(points, valid, rows)
    cut = [
        cut_crop(
            images[view], points[view], valid[view], rows[n // CROPS], window.tolist(),
            shown_width(images[view].shape[1], images[view].shape[0], config),
        )
        if there
        else _BLANK
        for n, (view, window, there) in enumerate(
            zip(
                found.view.flatten().tolist(),
                found.window.flatten(0, 1),
                found.found.flatten().tolist(),
                strict=True,
            )
        )
    ]  # fmt: skip
    crops = stack_crops(cut).unflatten(0, found.found.shape)
    return {"crop_pixels": crops, "crop_valid": found.found}
