"""Crops of the boxes of a training room, cut as the engine cuts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spatial3d_ros.model.config import VisionConfig
from spatial3d_ros.model.crops import crop_pixels, crop_windows, cut_crop, shown_width

_BLANK = np.zeros((1, 1, 3), np.uint8)


def cut_crops(
    images: Sequence[np.ndarray], views: dict[str, Tensor], boxes: np.ndarray, config: VisionConfig
) -> dict[str, Tensor]:
    """crop_pixels (n, K, 3, s, s) and crop_valid (n, K) of boxes (n, 6): camera images (H, W, 3)
    uint8 of the views in `stack_views`, in the same frame as the boxes.
    """
    found = crop_windows(views["points"][0], views["valid"][0], torch.from_numpy(boxes).float())
    cut = [
        cut_crop(
            images[view] if there else _BLANK,
            window.tolist(),
            *shown_width(images[view].shape[1], images[view].shape[0], config),
        )
        for view, window, there in zip(
            found.view.flatten().tolist(),
            found.window.flatten(0, 1),
            found.found.flatten().tolist(),
            strict=True,
        )
    ]
    pixels = crop_pixels(cut).unflatten(0, found.found.shape)
    return {"crop_pixels": pixels, "crop_valid": found.found}
