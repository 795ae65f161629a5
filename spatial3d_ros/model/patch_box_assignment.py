"""Assignment of patches to boxes (METHODS 1.7), and the mean color inside each box.

A box intersects few patches. The bounds of every patch's points are computed once for a scene, and
only pairs of a box and a patch whose bounds intersect are tested pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK_PAIRS = 512  # the gathered points of so many pairs fit into the cache of a CPU core


@dataclass(frozen=True)
class PatchAssignment:
    """patches (B, N, V * P) bool; pixels (B, N) int64: how many lie inside; colors (B, N, K): their
    mean color in [0, 1], NaN without pixels or images.
    """

    patches: Tensor
    pixels: Tensor
    colors: Tensor


def assign_patches(
    points: Tensor,
    valid: Tensor,
    boxes: Tensor,
    *,
    patch: int,
    grid: int,
    fraction: float,
    images: Tensor | None = None,
) -> PatchAssignment:
    """Patches and pixels of each closed axis-aligned box (centre, size): points (B, V, S, S, 3) in
    metres, valid (B, V, S, S), boxes (B, N, 6), images (B, V, K, S, S) in [-1, 1], K = 3 for RGB.

    A patch belongs to a box if at least `fraction` of its pixels lie inside. Pixels without depth
    never do, and pixels outside the patch grid are ignored. Memory beyond one copy of the points is
    bounded by CHUNK_PAIRS.
    """
    batch, count = boxes.shape[:2]
    low, high = boxes[..., :3] - boxes[..., 3:] / 2, boxes[..., :3] + boxes[..., 3:] / 2
    cells = _patches(points.movedim(-1, 2), patch, grid)
    real = _patches(valid[:, :, None], patch, grid)
    number = cells.shape[1]
    first = torch.where(real, cells, torch.inf).amin(-1)
    last = torch.where(real, cells, -torch.inf).amax(-1)
    # Disjoint is tested, not intersecting, so that a patch with a NaN point is still a candidate.
    disjoint = torch.zeros(batch, count, number, dtype=torch.bool, device=boxes.device)
    for axis in range(3):
        disjoint |= first[:, None, :, axis] > high[..., axis, None]
        disjoint |= last[:, None, :, axis] < low[..., axis, None]
    inside = torch.zeros(batch * count * number, device=boxes.device)
    shades = 3 if images is None else images.shape[2]
    total = torch.zeros(batch * count, shades, device=boxes.device)
    color = None if images is None else _patches(images, patch, grid).flatten(0, 1)
    low, high, cells, real = (part.flatten(0, 1) for part in (low, high, cells, real))
    for pairs in (~disjoint).flatten().nonzero()[:, 0].split(CHUNK_PAIRS):
        box = pairs // number
        index = box // count * number + pairs % number
        candidate = cells[index]
        hit = (candidate >= low[box, :, None]) & (candidate <= high[box, :, None])
        hit = (hit.all(1) & real[index, 0]).float()
        inside[pairs] = hit.sum(-1)
        if color is not None:
            total.index_add_(0, box, (color[index] @ hit[..., None])[..., 0].float())
    inside = inside.view(batch, count, number)
    pixels = inside.sum(-1, dtype=torch.float64).long()
    mean = (total.view(batch, count, shades) / pixels[..., None] + 1) / 2
    colors = torch.full_like(mean, torch.nan) if images is None else mean
    return PatchAssignment(inside >= fraction * patch * patch, pixels, colors)


def _patches(maps: Tensor, patch: int, grid: int) -> Tensor:
    """Maps (B, V, C, S, S) cut into patches: (B, V * P, C, patch * patch)."""
    size = grid * patch
    cells = maps[..., :size, :size].unflatten(-1, (grid, patch)).unflatten(-3, (grid, patch))
    return cells.permute(0, 1, 3, 5, 2, 4, 6).flatten(5).flatten(1, 3)
