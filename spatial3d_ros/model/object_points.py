"""Points with color of each object, and their encoder (docs/INTERFACES.md, section 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.sampling import gather
from spatial3d_ros.model.seeds import evenly

POINTS = 256
STRIDE = 2
"""Every so many pixels of a row and of a column are points of the scene."""
_CHUNK = 2**23  # pairs of a box and a point that are tested at once


def object_points(batch: SceneBatch) -> tuple[Tensor, Tensor]:
    """Points of the views in each box: (B, N, POINTS, 6), position relative to the box's centre
    divided by its half diagonal, and color in [0, 1]; and whether there are any, bool (B, N).
    Fewer points repeat; without any they are zero.
    """
    views = batch.views
    real = (views.valid & views.view_valid[..., None, None])[..., ::STRIDE, ::STRIDE].flatten(1)
    points = views.points[..., ::STRIDE, ::STRIDE, :].flatten(1, 3)
    colors = views.pixels[..., ::STRIDE, ::STRIDE].movedim(2, -1).flatten(1, 3)
    found, present = zip(
        *(
            _in_boxes(torch.cat([p, c.float() / 2 + 0.5], -1)[r], boxes)
            for p, c, r, boxes in zip(points, colors, real, batch.boxes, strict=True)
        ),
        strict=True,
    )
    return torch.stack(found), torch.stack(present)


def _in_boxes(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The same for one scene: points (M, 6), boxes (N, 6)."""
    parts = []
    for some in boxes.split(max(1, _CHUNK // max(1, len(points)))):
        center, half = some[:, None, :3], some[:, None, 3:] / 2
        low, high = center - half, center + half
        inside = torch.ones(len(some), len(points), dtype=torch.bool, device=boxes.device)
        for axis in range(3):
            inside &= (points[:, axis] >= low[..., axis]) & (points[:, axis] <= high[..., axis])
        index, kept = evenly(inside, POINTS)
        count = kept.sum(1, keepdim=True)
        index = index.gather(1, torch.arange(POINTS, device=index.device) % count.clamp(min=1))
        parts.append((index, count[:, 0] > 0))
    if not parts:
        return points.new_zeros(0, POINTS, 6), boxes.new_zeros(0, dtype=torch.bool)
    index, present = (torch.cat(part) for part in zip(*parts, strict=True))
    if not len(points):
        return boxes.new_zeros(len(boxes), POINTS, 6), present
    chosen = gather(points[None].expand(len(boxes), -1, -1), index)
    half = boxes[:, None, 3:].norm(dim=-1, keepdim=True).clamp(min=1e-3) / 2
    local = (chosen[..., :3] - boxes[:, None, :3]) / half
    return torch.cat([local, chosen[..., 3:]], -1) * present[:, None, None], present


class ObjectPointEncoder(nn.Module):
    """PointNet: an MLP on each point and a maximum over points, (B, N, P, 6) -> (B, N, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(6, width // 2), nn.LayerNorm(width // 2), nn.ReLU(),
            nn.Linear(width // 2, width), nn.LayerNorm(width), nn.ReLU(),
            nn.Linear(width, width),
        )  # fmt: skip

    def forward(self, points: Tensor) -> Tensor:
        return self.mlp(points).amax(-2)
