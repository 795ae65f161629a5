"""How much faster masks and memberships are than plain loops over objects, which must agree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from spatial3d_ros.model.patch_box_assignment import box_membership
from spatial3d_ros.model.slim_mask import geometry_adaptive_mask, token_mask

TOKENS, PATCH, GRID, FRACTION = 3, 14, 27, 0.5
Result = TypeVar("Result")


def plain_mask(centers: Tensor, tokens: int, k_min: int = 2, k_max: int = 10) -> Tensor:
    """The mask of one scene object by object (METHODS 2.3): (N, 3) -> bool (N * tokens,) * 2."""
    count = len(centers)
    low, high = centers.amin(0), centers.amax(0)
    points = (centers - low) / (high - low + 1e-7)
    rows = [torch.linalg.vector_norm(points - point, dim=-1) for point in points]
    mean = torch.stack([row.sum(dtype=torch.float64) / max(count - 1, 1) for row in rows])
    density = (mean.max() - mean) / (mean.max() - mean.min() + 1e-6)
    mask = torch.zeros(count * tokens, count * tokens, dtype=torch.bool)
    for i, row in enumerate(rows):
        k = min(round(k_min + density[i].item() * (k_max - k_min)), count - 1)
        row[i] = -1.0
        for j in row.argsort(stable=True)[: k + 1].tolist():
            mask[i * tokens : (i + 1) * tokens, j * tokens : (j + 1) * tokens] = True
    return mask


def plain_membership(points: Tensor, valid: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """All pixels for every box of one scene (METHODS 1.7): (V, S, S, 3), (V, S, S), (N, 6) ->
    patches (N, V * P) and pixels (N,).
    """
    size = GRID * PATCH
    points, valid = points[:, :size, :size], valid[:, :size, :size]
    patches, pixels = [], []
    for box in boxes:
        low, high = box[:3] - box[3:] / 2, box[:3] + box[3:] / 2
        inside = valid.clone()
        for axis in range(3):
            inside &= (points[..., axis] >= low[axis]) & (points[..., axis] <= high[axis])
        cells = inside.unflatten(-1, (GRID, PATCH)).unflatten(-3, (GRID, PATCH))
        count = cells.sum((-1, -3), dtype=torch.float32)
        patches.append((count >= FRACTION * PATCH * PATCH).flatten())
        pixels.append(inside.sum())
    return torch.stack(patches), torch.stack(pixels)


def room_scene(views: int = 16, size: int = 384, boxes: int = 50) -> tuple[Tensor, Tensor, Tensor]:
    """Views all round from the middle of an empty room, a twentieth without depth, and boxes on its
    surfaces: points (1, V, S, S, 3), valid (1, V, S, S), boxes (1, N, 6).
    """
    random = torch.Generator().manual_seed(0)
    across = torch.linspace(-0.8, 0.8, size)
    down, right = torch.meshgrid(across, across, indexing="ij")
    turn = (torch.arange(views) * (2 * torch.pi / views))[:, None, None]
    x, y = turn.cos() - right * turn.sin(), turn.sin() + right * turn.cos()
    rays = torch.stack([x, y, -down.expand_as(x)], dim=-1)
    reach = (torch.tensor([3.0, 2.5, 1.3]) / rays.abs()).amin(-1, keepdim=True)
    points = (rays * reach)[None]
    valid = torch.rand(points.shape[:-1], generator=random) > 0.05
    surface = points.reshape(-1, 3)
    centers = surface[torch.randint(len(surface), (boxes,), generator=random)]
    sizes = 0.1 + 0.9 * torch.rand(boxes, 3, generator=random)
    return points, valid, torch.cat([centers, sizes], dim=-1)[None]


def bench_masks(repeats: int = 50) -> dict[str, object]:
    """Median milliseconds of both ways and their ratio, on one thread; `equal`: whether the results
    agree to the bit.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result: dict[str, object] = {f"mask_{n}_objects": _mask(n, repeats) for n in (50, 100, 200)}
        result["membership_50_boxes_16_views"] = _membership(max(repeats // 10, 3))
    finally:
        torch.set_num_threads(threads)
    return result


def _mask(count: int, repeats: int) -> dict[str, object]:
    centers = torch.rand(1, count, 3, generator=torch.Generator().manual_seed(count))
    valid = torch.ones(1, count, dtype=torch.bool)
    plain_ms, plain = _timed(lambda: plain_mask(centers[0], TOKENS), repeats)
    ours_ms, ours = _timed(
        lambda: token_mask(geometry_adaptive_mask(centers, valid), TOKENS), repeats * 4
    )
    return _compared(plain_ms, ours_ms, torch.equal(plain, ours[0]))


def _membership(repeats: int) -> dict[str, object]:
    points, valid, boxes = room_scene()
    plain_ms, (patches, pixels) = _timed(
        lambda: plain_membership(points[0], valid[0], boxes[0]), repeats
    )
    ours_ms, ours = _timed(
        lambda: box_membership(points, valid, boxes, patch=PATCH, grid=GRID, fraction=FRACTION),
        repeats,
    )
    equal = torch.equal(patches, ours.patches[0]) and torch.equal(pixels, ours.pixels[0])
    return _compared(plain_ms, ours_ms, equal)


def _compared(plain_ms: float, ours_ms: float, equal: bool) -> dict[str, object]:
    if not equal:
        raise AssertionError("the fast way and the plain loop disagree: no ratio to report")
    return {"plain_ms": plain_ms, "ours_ms": ours_ms, "ratio": plain_ms / ours_ms, "equal": equal}


def _timed(work: Callable[[], Result], repeats: int) -> tuple[float, Result]:
    result, times = work(), []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3, result
