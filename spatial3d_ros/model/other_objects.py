"""Other objects behind the cached prefix of a scene: those that one question needs."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spatial3d_ros.model.answer_conditioning import pair_code
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.objects import pool_object_features
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.model.slim_mask import object_mask


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
    features, embeddings, edges, tokens = model.encode_objects(batch, pooled, scene.referents)
    return replace(
        scene,
        object_embeddings=embeddings,
        visual=pooled.visual,
        object_features=features,
        valid=batch.object_valid,
        edges=edges,
        object_mask=object_mask(batch.boxes[..., :3], batch.object_valid, model.config.slim),
        pair_codes=pair_code(batch.boxes if model.config.answers else batch.boxes[:, :0]),
        labels=batch.label_ids,
        label_shares=None if batch.labels is None else batch.shares_of_labels,
        appearance=None,
        name_embeddings=model.predicted_names(features),
        referent_tokens=tokens,
    )
