"""Instance masks for the boxes of one image with SAM 2 of `transformers`."""

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
from spatial3d_ros.scene.lifting import Corners

KINDS = ("sam2", "sam2_video")  # public folders hold the second, whose image encoder is the first
MARGIN = 0.05  # of the sides of a box: how far its mask may extend beyond it
MIN_VISIBLE = 0.3  # share of a mask that smaller masks must leave visible, or it is dropped
BATCH_SIZE = 16  # boxes decoded at once; the decoder needs some 10 MB for each
HINT = (
    "on a computer that is online: spatial3d download sam2_tiny, then give its folder as the "
    "parameter mask_model"
)


class BoxSegmenter:
    """SAM 2 from a local folder; nothing is downloaded.

    `mean` and `std` (3,) normalise red, green and blue in 0 .. 1 as in training.
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
        """Loads a folder with config.json, safetensors and preprocessor_config.json.

        Raises:
            CheckpointError: names the folder and how to fill it.
            ConfigError: the device does not exist, or `transformers` has no SAM 2.
        """
        try:
            from transformers import ImageProcessingMixin, Sam2Model
        except ImportError as error:
            import transformers

            raise ConfigError(
                f"parameter mask_model: the installed transformers {transformers.__version__} has "
                "no SAM 2: pip install 'transformers>=5.0,<6'"
            ) from error

        def read(folder: Path) -> BoxSegmenter:
            loaded: Any = Sam2Model.from_pretrained(
                folder,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **LOCAL,
            )
            model, report = loaded
            if missing := sorted(report["missing_keys"]):  # they would stay random
                raise ValueError(f"{len(missing)} weights are missing, for example {missing[0]}")
            # The processor class needs torchvision; mean and std are all that is used of it.
            images, _ = ImageProcessingMixin.get_image_processor_dict(folder, **LOCAL)
            return cls(model, images["image_mean"], images["image_std"], device)

        return load_folder(folder, KINDS, HINT, read)

    @torch.inference_mode()
    def label_image(self, rgb: np.ndarray, corners: Sequence[Corners]) -> np.ndarray:
        """Label image (H, W): n for pixels of the n-th box, 0 for none.

        Args:
            rgb: (H, W, 3) uint8.
            corners: left, top, right, bottom of each box in pixels, highest score first.

        Returns:
            uint8 for up to 255 boxes, else uint16. The mask of a box is the one with the highest
            predicted IoU, cut to the box and a margin of 5 % of its sides. `stack_masks` resolves
            overlaps. A box without a mask has no pixels. Without boxes the model does not run.
        """
        size = rgb.shape[:2]
        masks: list[np.ndarray] = []
        if len(corners):
            image = self._model.get_image_embeddings(self._prepared(rgb))
            for start in range(0, len(corners), BATCH_SIZE):
                masks += self._masks(image, corners[start : start + BATCH_SIZE], size)
        return stack_masks(masks, size)

    def _prepared(self, rgb: np.ndarray) -> torch.Tensor:
        """The normalised image (1, 3, side, side); the aspect ratio is not kept."""
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


def stack_masks(masks: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Label image (H, W) uint8 or uint16 of masks (H, W) bool: n where the n-th mask is, else 0.

    Smaller masks lie on top, so that a cup on a table keeps its pixels; of equal ones the first. A
    mask that is less than `MIN_VISIBLE` visible is removed: its box is better than a mere outline.
    """
    labels = np.zeros(size, np.uint8 if len(masks) <= 255 else np.uint16)
    areas = np.array([np.count_nonzero(mask) for mask in masks])
    for k in sorted(range(len(masks)), key=lambda k: (-areas[k], -k)):
        labels[masks[k]] = k + 1
    visible = np.bincount(labels.ravel(), minlength=len(masks) + 1)[1:]
    numbers = np.arange(len(masks) + 1, dtype=labels.dtype)
    numbers[1:][visible < MIN_VISIBLE * areas] = 0
    return numbers[labels]


def _within(mask: np.ndarray, corners: Corners) -> np.ndarray:
    """The part of a mask (H, W) bool in its box and the margin around it."""
    left, top, right, bottom = corners
    across, down = MARGIN * (right - left), MARGIN * (bottom - top)
    rows = slice(max(0, math.floor(top - down)), max(0, math.ceil(bottom + down)))
    columns = slice(max(0, math.floor(left - across)), max(0, math.ceil(right + across)))
    kept = np.zeros_like(mask)
    kept[rows, columns] = mask[rows, columns]
    return kept
