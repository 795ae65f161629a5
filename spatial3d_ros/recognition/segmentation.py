"""SAM 2 of `transformers` on the boxes of one image: which pixels in each are the thing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.recognition.folders import LOCAL, load_folder, on_device

KINDS = ("sam2", "sam2_video")  # public folders hold the second, whose image part is the first
MARGIN = 0.05  # of the sides of a box: how far beyond it its mask may reach
LEAST_VISIBLE = 0.3  # of a mask: what smaller ones leave of it has to be more than its rim
BOXES_AT_ONCE = 16  # the decoder takes some 10 MB for each
CURE = (
    "on a computer that is online: spatial3d download sam2_tiny, then give its folder as the "
    "parameter mask_model"
)

Corners = tuple[float, float, float, float]


class BoxSegmenter:
    """SAM 2 from a folder on this computer; nothing is ever downloaded.

    `mean` and `std` are those of red, green and blue, 0 .. 1, that the model was trained with.
    """

    def __init__(
        self, model: Any, mean: Sequence[float], std: Sequence[float], device: str = "auto"
    ) -> None:
        self._model, self.device = on_device(model, device)
        self._side = model.config.prompt_encoder_config.image_size
        self._mean, self._std = (
            torch.tensor(values, device=self.device)[:, None, None] for values in (mean, std)
        )

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> BoxSegmenter:
        """From a folder with config.json, weights in safetensors and preprocessor_config.json.

        Raises CheckpointError, naming the folder and how to fill it, and ConfigError for a device
        that is not there or a `transformers` without SAM 2.
        """
        try:
            from transformers import ImageProcessingMixin, Sam2Model
        except ImportError as error:
            import transformers

            raise ConfigError(
                f"parameter mask_model: transformers {transformers.__version__}, which is "
                "installed, has no SAM 2: pip install 'transformers>=5.0,<6'"
            ) from error

        def read(folder: Path) -> BoxSegmenter:
            model, report = Sam2Model.from_pretrained(
                folder,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **LOCAL,
            )
            if missing := sorted(report["missing_keys"]):  # would be left as random numbers
                raise ValueError(f"{len(missing)} weights are not there, as {missing[0]}")
            # The processor class itself needs torchvision; of it only these numbers are needed.
            images, _ = ImageProcessingMixin.get_image_processor_dict(folder, **LOCAL)
            return cls(model, images["image_mean"], images["image_std"], device)

        return load_folder(folder, KINDS, CURE, read)

    @torch.inference_mode()
    def label_image(self, rgb: np.ndarray, corners: Sequence[Corners]) -> np.ndarray:
        """Pixels that are n belong to the n-th box, those that are 0 to none: (H, W), uint8 up to
        255 boxes, uint16 above.

        `rgb` is (H, W, 3) uint8; `corners` are left, top, right, bottom in pixels, the surest box
        first. Of the masks that the model offers for a box it is the one that it thinks best of,
        within the box and a margin of 5 % of its sides. Where masks overlap see `stacked`. A box
        without a mask has no pixels. The model does not run where there are no boxes.
        """
        size = rgb.shape[:2]
        masks: list[np.ndarray] = []
        if len(corners):
            image = self._model.get_image_embeddings(self._prepared(rgb))
            for start in range(0, len(corners), BOXES_AT_ONCE):
                masks += self._masks(image, corners[start : start + BOXES_AT_ONCE], size)
        return stacked(masks, size)

    def _prepared(self, rgb: np.ndarray) -> torch.Tensor:
        """The image as the model takes it (1, 3, side, side); its sides are not kept in ratio."""
        pixels = torch.tensor(rgb, device=self.device).permute(2, 0, 1)[None].float()
        side = (self._side, self._side)
        pixels = functional.interpolate(pixels, side, mode="bilinear", antialias=True)
        return (pixels / 255 - self._mean) / self._std

    def _masks(
        self, image: Sequence[torch.Tensor], corners: Sequence[Corners], size: tuple[int, int]
    ) -> list[np.ndarray]:
        """The mask (H, W) bool of each box."""
        height, width = size
        scale = self._side / torch.tensor([width, height, width, height])
        boxes = (torch.tensor(corners, dtype=torch.float32) * scale).to(self.device)
        found = self._model(image_embeddings=image, input_boxes=boxes[None], multimask_output=True)
        best = found.iou_scores[0].argmax(-1)  # of (boxes, masks)
        chosen = found.pred_masks[0, torch.arange(len(boxes), device=self.device), best]
        masks = []
        for logits, box in zip(chosen, corners, strict=True):
            whole = functional.interpolate(logits[None, None], size, mode="bilinear")[0, 0] > 0
            masks.append(_within(whole.cpu().numpy(), box))
        return masks


def stacked(masks: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Masks (H, W) bool as one label image (H, W), uint8 or uint16: n where the n-th is, else 0.

    The smaller mask lies on top, so that a cup on a table stays a cup; of two of one size the
    first. A mask of which others leave less than `LEAST_VISIBLE` goes wholly: a rim tells less of
    where a thing is than its box does.
    """
    labels = np.zeros(size, np.uint8 if len(masks) <= 255 else np.uint16)
    areas = np.array([np.count_nonzero(mask) for mask in masks])
    for place in sorted(range(len(masks)), key=lambda k: (-areas[k], -k)):
        labels[masks[place]] = place + 1
    visible = np.bincount(labels.ravel(), minlength=len(masks) + 1)[1:]
    numbers = np.arange(len(masks) + 1, dtype=labels.dtype)
    numbers[1:][visible < LEAST_VISIBLE * areas] = 0
    return numbers[labels]


def _within(mask: np.ndarray, corners: Corners) -> np.ndarray:
    """What of a mask (H, W) bool lies in its box and the margin around it."""
    left, top, right, bottom = corners
    across, down = MARGIN * (right - left), MARGIN * (bottom - top)
    rows = slice(max(0, math.floor(top - down)), max(0, math.ceil(bottom + down)))
    columns = slice(max(0, math.floor(left - across)), max(0, math.ceil(right + across)))
    kept = np.zeros_like(mask)
    kept[rows, columns] = mask[rows, columns]
    return kept
