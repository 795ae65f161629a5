"""Single operations against plain loops: object masks, patch-box assignment, farthest point
sampling, and the forms of attention. Every pair must give the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from spatial3d_ros.model.attention import AttentionContext, attend
from spatial3d_ros.model.config import SlimConfig
from spatial3d_ros.model.patch_box_assignment import assign_patches
from spatial3d_ros.model.point_encoder import RADII_M, SAMPLES
from spatial3d_ros.model.psa import BALL_M, BALL_VOTES
from spatial3d_ros.model.sampling import ball_query, farthest_points, gather
from spatial3d_ros.model.slim_mask import geometry_adaptive_mask, token_mask
from spatial3d_ros.research.bench.timing import least_ms, median_ms, single_thread, summary_ms

TOKENS, PATCH, GRID, FRACTION = 3, 14, 27, 0.5
POINTS, SEEDS, REFERENTS = 40_000, 1024, 256  # METHODS 3.2


def bench_masks(repeats: int = 50) -> dict[str, object]:
    """Object masks and patch-box assignment on one thread: median milliseconds of the plain loop
    (`plain_ms`) and of the network's code (`ours_ms`), their ratio, and `equal` results.
    """
    with single_thread():
        result: dict[str, object] = {f"mask_{n}_objects": _mask(n, repeats) for n in (50, 100, 200)}
        result["membership_50_boxes_16_views"] = _assignment(max(repeats // 10, 3))
    return result


def _mask(count: int, repeats: int) -> dict[str, object]:
    centers = torch.rand(1, count, 3, generator=torch.Generator().manual_seed(count))
    valid = torch.ones(1, count, dtype=torch.bool)
    config = SlimConfig()
    bounds = config.k_min, config.k_max
    return _compared(
        lambda: [plain_mask(centers[0], TOKENS, *bounds)],
        lambda: [token_mask(geometry_adaptive_mask(centers, valid, config), TOKENS)[0]],
        repeats,
    )


def _assignment(repeats: int) -> dict[str, object]:
    points, valid, boxes = room_scene()

    def ours() -> list[Tensor]:
        found = assign_patches(points, valid, boxes, patch=PATCH, grid=GRID, fraction=FRACTION)
        return [found.patches[0], found.pixels[0]]

    return _compared(lambda: plain_assignment(points[0], valid[0], boxes[0]), ours, repeats)


def _compared(
    plain: Callable[[], list[Tensor]], ours: Callable[[], list[Tensor]], repeats: int
) -> dict[str, object]:
    if not all(map(torch.equal, plain(), ours())):
        raise AssertionError("the network's code and the plain loop give different results")
    plain_ms, ours_ms = median_ms(plain, repeats), median_ms(ours, repeats * 4)
    return {"plain_ms": plain_ms, "ours_ms": ours_ms, "ratio": plain_ms / ours_ms, "equal": True}


def plain_mask(centers: Tensor, tokens: int, k_min: int, k_max: int) -> Tensor:
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


def plain_assignment(points: Tensor, valid: Tensor, boxes: Tensor) -> list[Tensor]:
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
    return [torch.stack(patches), torch.stack(pixels)]


def room_scene(views: int = 16, size: int = 384, boxes: int = 50) -> tuple[Tensor, Tensor, Tensor]:
    """A full circle of views from the center of an empty room, one pixel in 20 without depth, and
    boxes on its surfaces: points (1, V, S, S, 3), valid (1, V, S, S), boxes (1, N, 6).
    """
    random = torch.Generator().manual_seed(0)
    across = torch.linspace(-0.8, 0.8, size)
    down, right = torch.meshgrid(across, across, indexing="ij")
    turn = (torch.arange(views) * (2 * torch.pi / views))[:, None, None]
    x, y = turn.cos() - right * turn.sin(), turn.sin() + right * turn.cos()
    rays = torch.stack([x, y, -down.expand_as(x)], dim=-1)
    depth = (torch.tensor([3.0, 2.5, 1.3]) / rays.abs()).amin(-1, keepdim=True)
    points = (rays * depth)[None]
    valid = torch.rand(points.shape[:-1], generator=random) > 0.05
    surface = points.reshape(-1, 3)
    centers = surface[torch.randint(len(surface), (boxes,), generator=random)]
    sizes = 0.1 + 0.9 * torch.rand(boxes, 3, generator=random)
    return points, valid, torch.cat([centers, sizes], dim=-1)[None]


def bench_sampling(repeats: int) -> dict[str, object]:
    """Farthest point sampling and ball queries at the sizes of METHODS 3.2: 40,000 points to 1,024
    seeds with their balls, and these to 256 referents with theirs.
    """
    points, _, _ = room_scene()
    order = torch.randperm(points[0, ..., 0].numel(), generator=torch.Generator().manual_seed(0))
    cloud = points.reshape(1, -1, 3)[:, order[:POINTS]].contiguous()
    real = torch.ones(cloud.shape[:2], dtype=torch.bool)
    index, found = farthest_points(cloud, real, SEEDS)
    if not torch.equal(index[0], plain_farthest(cloud[0], SEEDS)):
        raise AssertionError("farthest_points and the plain loop choose different points")
    seeds = gather(cloud, index)
    centers, valid = farthest_points(seeds, found, REFERENTS)
    steps: dict[str, Callable[[], object]] = {
        "seeds": lambda: farthest_points(cloud, real, SEEDS),
        "balls_of_seeds": lambda: ball_query(cloud, real, index, found, RADII_M[0], SAMPLES[0]),
        "referents": lambda: farthest_points(seeds, found, REFERENTS),
        "balls_of_referents": lambda: ball_query(seeds, found, centers, valid, BALL_M, BALL_VOTES),
    }
    times = {f"{name}_ms": summary_ms(work, repeats) for name, work in steps.items()}
    clocks = ("least", "median", "processor")
    return {**times, "total_ms": {c: sum(one[c] for one in times.values()) for c in clocks}}


def plain_farthest(points: Tensor, count: int) -> Tensor:
    """Farthest point sampling as a plain loop: (N, 3) -> (count,)."""
    near = torch.full((len(points),), torch.inf)
    chosen = [0]
    while len(chosen) < count:
        x, y, z = (points - points[chosen[-1]]).square().unbind(-1)
        near = torch.minimum(near, x + y + z)
        chosen.append(int(near.argmax()))
    return torch.tensor(chosen)


def bench_attention(
    prefixes: Sequence[int] = (120, 3360),
    objects: Sequence[int] = (20, 100),
    shapes: Sequence[tuple[int, int]] = ((192, 6), (1024, 16)),
    words: int = 16,
    repeats: int = 20,
) -> dict[str, object]:
    """Least milliseconds of one decoder layer's attention in each form of `model/attention.py`, and
    eager, for prefixes of these lengths; shapes: (width, heads). The masks are built once, as for
    all layers of a forward pass.
    """
    with single_thread():
        return {
            f"width_{width}_prefix_{prefix}_objects_{count}": _attention_forms(
                width, heads, prefix, count, words, repeats
            )
            for width, heads in shapes
            for prefix in prefixes
            for count in objects
        }


def _attention_forms(
    width: int, heads: int, prefix: int, objects: int, words: int, repeats: int
) -> dict[str, float]:
    random = torch.Generator().manual_seed(0)
    size, length = width // heads, objects + words

    def draw(rows: int) -> Tensor:
        return torch.randn(1, heads, rows, size, generator=random)

    query, key, value = draw(length), draw(length), draw(length)
    cached = draw(prefix), draw(prefix)
    mask = torch.ones(1, length, length, dtype=torch.bool).tril()
    mask[:, :objects, :objects] = torch.rand(objects, objects, generator=random) < 0.5
    mask[:, :objects, objects : length - 1] = True
    mask |= torch.eye(length, dtype=torch.bool)
    bias = torch.randn(1, heads, objects, objects, generator=random)
    layer = torch.nn.Module()
    layer.layer_idx, scaling = 0, size**-0.5
    contexts = {
        form: AttentionContext(
            mask,
            (cached,),
            torch.ones(1, prefix, dtype=torch.bool),
            torch.zeros(1, dtype=torch.long),
            bias=bias,
            object_length=objects,
            form=form,
        )
        for form in ("masked", "rows", "shared")
    }

    def eager() -> Tensor:
        keys, values = (torch.cat(pair, 2) for pair in zip(cached, (key, value), strict=True))
        return (query @ keys.mT * scaling + contexts["masked"].full_bias).softmax(-1) @ values

    expected = eager().transpose(1, 2)
    times = {"eager": least_ms(eager, repeats)}
    for form, context in contexts.items():
        run = lambda c=context: attend(layer, query, key, value, c, scaling)[0]  # noqa: E731
        torch.testing.assert_close(run(), expected, atol=1e-4, rtol=1e-4)
        times[form] = least_ms(run, repeats)
    return times
