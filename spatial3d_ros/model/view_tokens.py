"""Tokens of the views (METHODS 1.5, 1.6): position codes, pooling, and where each token is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.position import coordinate_code, patch_centroids, pool_views
from spatial3d_ros.model.slim_mask import object_mask


def view_tokens(
    batch: SceneBatch,
    projected: Tensor,
    config: ModelConfig,
    newline: Tensor,
    ray: Callable[[Tensor], Tensor] | None,
) -> tuple[Tensor, Tensor]:
    """Projected patches (B, V, P, D) -> features for the objects (B, V * P, D), with the coordinate
    code as `mpe.coord_on` says, and the pooled tokens with newlines (B, V * T, D).
    """
    vision, mpe, views = config.vision, config.s2.mpe, batch.views
    coded = projected
    if mpe.coord:
        centroid, usable = patch_centroids(
            views.points, views.valid, vision.patch_size, vision.grid
        )
        code = coordinate_code(centroid, projected.shape[-1]) * usable[..., None]
        coded = projected + mpe.coord_scale * code.to(projected.dtype)
    side = config.pooled_grid
    shown = coded if "views" in mpe.coord_on else projected
    pooled = pool_views(shown, vision.grid, side, mpe.pool)
    if ray is not None:
        pooled = pooled + ray(views.rays)
    rows = pooled.unflatten(-2, (side, side))
    ends = newline.expand(*rows.shape[:-2], 1, -1)
    features = coded if "objects" in mpe.coord_on else projected
    return features.flatten(1, 2), torch.cat([rows, ends], dim=-2).flatten(1, 3)


def view_mask(batch: SceneBatch, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """The masks of 3D-SLIM among the tokens of views (`slim.on: views`): which tokens are real
    (B, V * T), and attention (B, V * T, V * T), row attends to column.

    The centre of a token is the mean point of the pixels it covers. Newlines and tokens without
    depth attend to themselves alone, but in causal order to everything before.
    """
    side, views = config.pooled_grid, batch.views
    size = config.vision.grid * config.vision.patch_size
    cell = size // side
    centers, usable = patch_centroids(
        views.points[..., : cell * side, : cell * side, :],
        views.valid[..., : cell * side, : cell * side],
        cell,
        side,
    )
    real = views.view_valid[..., None].expand(usable.shape)
    centers = torch.nn.functional.pad(centers.unflatten(-2, (side, side)), (0, 0, 0, 1))
    usable, real = (
        torch.nn.functional.pad(part.unflatten(-1, (side, side)), (0, 1), value=value)
        for part, value in ((usable & real, False), (real, True))
    )
    real = (real & views.view_valid[..., None, None]).flatten(1)
    centers, usable = centers.flatten(1, 3), usable.flatten(1)
    itself = torch.eye(real.shape[1], dtype=torch.bool, device=real.device)
    if config.slim.objects == "causal":
        return real, (real[:, :, None] & real[:, None]).tril()
    return real, object_mask(centers, usable, config.slim) | itself
