"""Which patches of which views belong to which box (METHODS 1.7), and the colour seen inside.

A box touches few of the patches. The bounds of every patch's points are found once for a scene, and
only pairs of a box and a patch whose bounds meet are tested pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PAIRS_AT_ONCE = 512  # what is gathered for so many pairs still fits a core's cache


@dataclass(frozen=True)
class Membership:
    """patches (B, N, V * P) bool; pixels (B, N) int64: how many lie inside; colors (B, N, 3): their
    mean colour in [0, 1], NaN where there are none or no images were given.
    """

    patches: Tensor
    pixels: Tensor
    colors: Tensor


def box_membership(
    points: Tensor,
    valid: Tensor,
    boxes: Tensor,
    *,
    patch: int,
    grid: int,
    fraction: float,
    images: Tensor | None = None,
) -> Membership:
    """Members of each closed axis-aligned box (centre, size): points (B, V, S, S, 3) in metres,
    valid (B, V, S, S), boxes (B, N, 6), images (B, V, 3, S, S) in [-1, 1].

    A patch belongs to a box when at least `fraction` of its pixels lie inside. Pixels without depth
    never do; those outside the grid of patches count for nothing. Memory beyond one copy of the
    points is bounded by the pairs tested at once.
    """
    batch, count = boxes.shape[:2]
    low, high = boxes[..., :3] - boxes[..., 3:] / 2, boxes[..., :3] + boxes[..., 3:] / 2
    cells = _patches(points.movedim(-1, 2), patch, grid)
    real = _patches(valid[:, :, None], patch, grid)
    number = cells.shape[1]
    first = torch.where(real, cells, torch.inf).amin(-1)
    last = torch.where(real, cells, -torch.inf).amax(-1)
    # "Not apart" instead of "meeting": a patch with a NaN point among others is still looked at.
    apart = torch.zeros(batch, count, number, dtype=torch.bool, device=boxes.device)
    for axis in range(3):
        apart |= first[:, None, :, axis] > high[..., axis, None]
        apart |= last[:, None, :, axis] < low[..., axis, None]
    inside = torch.zeros(batch * count * number, device=boxes.device)
    total = torch.zeros(batch * count, 3, device=boxes.device)
    color = None if images is None else _patches(images, patch, grid).flatten(0, 1)
    low, high, cells, real = (part.flatten(0, 1) for part in (low, high, cells, real))
    for pairs in (~apart).flatten().nonzero()[:, 0].split(PAIRS_AT_ONCE):
        box = pairs // number
        where = box // count * number + pairs % number
        candidate = cells[where]
        hit = (candidate >= low[box, :, None]) & (candidate <= high[box, :, None])
        hit = (hit.all(1) & real[where, 0]).float()
        inside[pairs] = hit.sum(-1)
        if color is not None:
            total.index_add_(0, box, (color[where] @ hit[..., None])[..., 0].float())
    inside = inside.view(batch, count, number)
    pixels = inside.sum(-1, dtype=torch.float64).long()
    mean = (total.view(batch, count, 3) / pixels[..., None] + 1) / 2
    colors = torch.full_like(mean, torch.nan) if images is None else mean
    return Membership(inside >= fraction * patch * patch, pixels, colors)


def _patches(maps: Tensor, patch: int, grid: int) -> Tensor:
    """Maps (B, V, C, S, S) cut into patches: (B, V * P, C, patch * patch)."""
    size = grid * patch
    cells = maps[..., :size, :size].unflatten(-1, (grid, patch)).unflatten(-3, (grid, patch))
    return cells.permute(0, 1, 3, 5, 2, 4, 6).flatten(5).flatten(1, 3)
