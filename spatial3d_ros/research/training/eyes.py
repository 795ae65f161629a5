"""The first stage of training (docs/INTERFACES.md, section 8): the vision tower learns to see.

Supervision is dense: what each patch of a rendered view shows, what each crop of an object shows,
and, contrastively, which crops show the same object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.batch import prepare_view
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.crops import CROPS, crop_windows, cut_crop, stack_crops
from spatial3d_ros.model.object_channels import APPEARANCE
from spatial3d_ros.model.vision import VisionTower
from spatial3d_ros.research.rooms.view_store import RoomViews
from spatial3d_ros.research.training.augmentation import disturb
from spatial3d_ros.research.training.patch_truth import object_names, patch_truth

TEMPERATURE = 0.1
MAJORITY = 0.5
"""A patch is counted in validation if one name has more than this share of its pixels."""
CROPPED = 16
"""Objects of a room whose crops are read in a step."""
_BARE = 0.3  # weight of pixels without an object in the class loss
_PATTERNED = 4.0  # weight of patterns other than plain
_HUE, _BRIGHTNESS = 0.06, 0.2


@dataclass(frozen=True)
class EyesSample:
    """Views and crops of some rooms: pixels (V, 3, S, S); truth by head (V, P, names); crops (n, K,
    4, s, s) with crop_valid (n, K); boxes (n, 6); names by head (n,), -1 unknown; room (n,) of each
    object.
    """

    pixels: Tensor
    truth: dict[str, Tensor]
    crops: Tensor
    crop_valid: Tensor
    boxes: Tensor
    names: dict[str, Tensor]
    room: Tensor

    def to(self, device: torch.device) -> EyesSample:
        """The same sample on another device."""
        return EyesSample(
            self.pixels.to(device),
            {head: shares.to(device) for head, shares in self.truth.items()},
            self.crops.to(device),
            self.crop_valid.to(device),
            self.boxes.to(device),
            {head: ids.to(device) for head, ids in self.names.items()},
            self.room.to(device),
        )


def eyes_sample(
    rooms: Sequence[RoomViews],
    config: ModelConfig,
    views: int,
    rng: np.random.Generator | None,
    most: int = CROPPED,
) -> EyesSample:
    """Some views and objects of rooms, at most `most` of each; all are augmented with `rng`, the
    first ones without.
    """
    parts = [_of_room(room, config, views, rng, most) for room in rooms]
    counts = [len(part.crops) for part in parts]
    return EyesSample(
        torch.cat([part.pixels for part in parts]),
        {head: torch.cat([part.truth[head] for part in parts]) for head in parts[0].truth},
        torch.cat([part.crops for part in parts]),
        torch.cat([part.crop_valid for part in parts]),
        torch.cat([part.boxes for part in parts]),
        {head: torch.cat([part.names[head] for part in parts]) for head in parts[0].names},
        torch.arange(len(parts)).repeat_interleave(torch.tensor(counts)),
    )


def _of_room(
    stored: RoomViews, config: ModelConfig, views: int, rng: np.random.Generator | None, most: int
) -> EyesSample:
    count = min(views, len(stored.rgb))
    chosen = np.arange(count)
    if rng is not None:
        chosen = np.sort(rng.choice(len(stored.rgb), count, replace=False))
    images = [_lit(stored.rgb[v], rng) for v in chosen]
    vision = config.vision
    prepared = [
        prepare_view(
            image, stored.depth[v], stored.camera, stored.pose[v], vision, config.pooled_grid
        )
        for image, v in zip(images, chosen, strict=True)
    ]
    truth = patch_truth(stored, chosen, config.names, vision.grid)
    boxes = np.array([o.box.array() for o in stored.room.objects])
    boxes = torch.from_numpy(boxes if rng is None else disturb(boxes, rng)).float()
    windows = crop_windows(
        torch.stack([view.points for view in prepared]),
        torch.stack([view.valid for view in prepared]),
        boxes,
    )
    shown = windows.found.any(1).nonzero()[:, 0].numpy()
    if rng is not None and len(shown) > most:
        shown = np.sort(rng.choice(shown, most, replace=False))
    crops = []
    for n in shown:
        for v, window, found in zip(
            windows.view[n], windows.window[n], windows.found[n], strict=True
        ):
            seen = prepared[v].points, prepared[v].valid
            cut = cut_crop(images[v], *seen, boxes[n], window.tolist(), (0.0, 1.0))
            crops.append(cut if found else torch.zeros_like(cut))
    names = object_names(stored.room.objects, config.names)
    return EyesSample(
        torch.stack([view.pixels for view in prepared]),
        {head: torch.from_numpy(shares) for head, shares in truth.items()},
        stack_crops(crops).unflatten(0, (len(shown), -1)) if crops else _no_crops(),
        windows.found[torch.from_numpy(shown)],
        boxes[torch.from_numpy(shown)],
        {head: torch.from_numpy(ids[shown]) for head, ids in names.items()},
        torch.zeros(len(shown), dtype=torch.long),
    )


def _no_crops() -> Tensor:
    return stack_crops([])[:, None].expand(-1, CROPS, -1, -1, -1)


def _lit(rgb: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    """An image under another light and exposure."""
    if rng is None:
        return rgb
    gain = np.exp(rng.normal(0, _HUE, 3) + rng.normal(0, _BRIGHTNESS))
    return np.clip(rgb * gain, 0, 255).astype(np.uint8)


class EyesObjective(nn.Module):
    """forward(sample) -> the sum of the losses, and the metrics by name."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.vision.width
        self.vision = VisionTower(config.vision)
        self.appearance = nn.Linear(width, APPEARANCE)
        self.heads = nn.ModuleDict(
            {
                head: nn.Linear(width, len(names) + (head == "class"))
                for head, names in config.names.heads.items()
            }
        )

    def forward(self, sample: EyesSample) -> tuple[Tensor, dict[str, float]]:
        features, crops = self.vision(sample.pixels), self.crops(sample)
        losses = {}
        for head, linear in self.heads.items():
            if head in sample.truth:
                losses[f"patch/{head}"] = dense_loss(linear(features), weighted(sample.truth, head))
            if sample.crop_valid.any():
                logits = linear(crops)[sample.crop_valid]
                ids = sample.names[head][:, None].expand_as(sample.crop_valid)
                weights = _weights(logits, head)
                losses[f"crop/{head}"] = _named(logits, ids[sample.crop_valid], weights)
        losses["appearance"] = appearance_loss(self.appearance(crops), sample.crop_valid)
        total = torch.stack([*losses.values()]).sum()
        return total, {name: float(value.detach()) for name, value in losses.items()}

    def crops(self, sample: EyesSample) -> Tensor:
        """Mean feature of each crop (n, K, C), zero where there is none."""
        valid = sample.crop_valid
        width = self.appearance.in_features
        found = sample.pixels.new_zeros(*valid.shape, width)
        if not valid.any():
            return found
        return found.masked_scatter(
            valid[..., None], self.vision(sample.crops[valid][:, :3]).mean(-2)
        )

    @torch.no_grad()
    def count(self, sample: EyesSample) -> tuple[Counter[str], Counter[str]]:
        """Right and asked names: of patches with an object, by majority of their pixels; of crops;
        and which other crop of the room shows the same object.
        """
        right, asked = Counter[str](), Counter[str]()
        features, crops = self.vision(sample.pixels), self.crops(sample)
        nothing = sample.truth["class"][..., -1] > 1 - MAJORITY
        for head, linear in self.heads.items():
            if head in sample.truth:
                share, name = sample.truth[head].max(-1)
                counted = (share > MAJORITY) & ~nothing
                found = linear(features)
                found = found[..., :-1] if head == "class" else found
                _add(right, asked, f"patch/{head}", (found.argmax(-1) == name)[counted])
            found = linear(crops)
            found = found[..., :-1] if head == "class" else found
            ids = sample.names[head][:, None].expand_as(sample.crop_valid)
            counted = sample.crop_valid & (ids >= 0)
            _add(right, asked, f"crop/{head}", (found.argmax(-1) == ids)[counted])
        vectors = F.normalize(self.appearance(crops), dim=-1)
        both = sample.crop_valid[:, :2].all(1) if len(crops) else sample.crop_valid.any(-1)
        other_room = sample.room[both][:, None] != sample.room[both]
        one, two = vectors[both, 0], vectors[both, 1]
        alike = (one @ two.T).masked_fill(other_room, -2.0)
        if len(alike):
            same = torch.arange(len(alike), device=alike.device)
            _add(right, asked, "appearance", alike.argmax(-1) == same)
        return right, asked


def weighted(truth: Mapping[str, Tensor], head: str) -> Tensor:
    """The shares of a head (V, P, names) with less weight where there is no object, and with more
    for the rare patterns.
    """
    shares, bare = truth[head], truth["class"][..., -1:]
    if head == "class":
        return torch.cat([shares[..., :-1], _BARE * bare], -1)
    shares = shares * (1 - bare * (1 - _BARE / 3))
    return shares * _weights(shares, head)


def _weights(values: Tensor, head: str) -> Tensor:
    """Weight of each name (names,), for values (..., names): the first pattern, plain, and the
    first second color, none, are as frequent as all others.
    """
    weights = torch.ones(values.shape[-1], device=values.device)
    if head in ("pattern", "second_color"):
        weights[1:] = _PATTERNED
    return weights


def dense_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy with the shares of the names in each patch: logits and truth (V, P, names)."""
    return -(truth * logits.log_softmax(-1)).sum() / truth.sum().clamp(min=1.0)


def appearance_loss(vectors: Tensor, valid: Tensor) -> Tensor:
    """InfoNCE: of all objects of a step, the second crop of an object is the most similar to its
    first one. vectors (n, 2, C), valid (n, 2).
    """
    both = valid.all(-1) if len(valid) else valid.any(-1)
    if both.sum() < 2:
        return vectors.sum() * 0.0
    one, two = F.normalize(vectors[both].float(), dim=-1).unbind(1)
    scores = one @ two.T / TEMPERATURE
    same = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, same) + F.cross_entropy(scores.T, same)) / 2


def _named(logits: Tensor, names: Tensor, weights: Tensor) -> Tensor:
    total = F.cross_entropy(logits, names, weights, ignore_index=-1, reduction="sum")
    return total / weights[names[names >= 0]].sum().clamp(min=1)


def _add(right: Counter[str], asked: Counter[str], name: str, hits: Tensor) -> None:
    right[name] += int(hits.sum())
    asked[name] += len(hits)
