"""Other objects behind the cached prefix of a scene: those that one question needs."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.objects import pool_object_features
from spatial3d_ros.model.sequence import EncodedScene


def with_objects(
    model: SpatialModel, scene: EncodedScene, batch: SceneBatch, rows: Tensor
) -> EncodedScene:
    """The scene (of one) with the objects of a batch without views in the place of its own.

    rows: (N,) index of each object among those of the scene, whose patch features it keeps; -1 for
    one that no view shows.
    """
    pooled = pool_object_features(batch, None, model.config)
    if scene.visual.shape[1]:
        visual = scene.visual[:, rows.clamp(min=0)]
        visible = (rows >= 0) & (visual != pooled.visual).any(-1)
        visual = torch.where(visible[..., None], visual, pooled.visual)
        pooled = replace(pooled, visual=visual, visible=visible)
    found = model.with_prefix(scene.prefix, scene.prefix_valid, scene.referents, batch, pooled)
    return replace(found, origin=scene.origin)
