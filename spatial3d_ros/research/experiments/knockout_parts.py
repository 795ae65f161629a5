"""The parts of a network that `knockout` switches off, each by a change of the loaded network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha1

import torch
from torch import Tensor

from spatial3d_ros.model import network
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.config import SlimConfig
from spatial3d_ros.model.crop_names import name_shares
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.position import coordinate_code
from spatial3d_ros.model.sequence import EncodedScene, PromptTokens

IMAGE_ROWS = ("pixels_of_another_room", "gray_pixels")


@dataclass(frozen=True)
class Foreign:
    """Images of another room: views (V, 3, S, S) and crops (n, 3, s, s), both in [-1, 1]."""

    views: Tensor
    crops: Tensor

    def gray(self) -> Foreign:
        """Gray images of the same shapes."""
        return Foreign(torch.zeros_like(self.views), torch.zeros_like(self.crops))


@dataclass(frozen=True)
class Part:
    """A part of the network: `out` switches it off in a `with` block; `present`: whether the
    network has it.
    """

    out: Callable[[SpatialModel], AbstractContextManager[None]]
    present: Callable[[SpatialModel], bool] = lambda model: True


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """An attribute with another value in a `with` block."""
    own = name in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own or isinstance(before, torch.nn.Module):
            setattr(owner, name, before)
        else:
            delattr(owner, name)


@contextmanager
def remembered_features(model: SpatialModel) -> Iterator[None]:
    """In a `with` block, images that passed the vision tower once do not pass it again."""
    tower, known = model.vision.forward, dict[tuple[torch.Size, bytes], Tensor]()

    def forward(pixels: Tensor) -> Tensor:
        key = pixels.shape, sha1(pixels.contiguous().numpy(force=True).data).digest()
        if key not in known:
            known[key] = tower(pixels)
        return known[key]

    with replaced(model.vision, "forward", forward):
        yield


def other_image(
    model: SpatialModel,
    images: Foreign,
    colors: Callable[[SceneBatch], Tensor],
    encode: Callable[..., EncodedScene],
    batch: SceneBatch,
    prompt_tokens: PromptTokens,
    projected: Tensor | None = None,
) -> EncodedScene:
    """`encode_scene` with foreign images. Boxes, depth, labels and mean colors stay true; what the
    tower and the point encoder read from an image, crops too, is foreign.
    """
    count = batch.views.pixels.shape[1]
    index = torch.arange(count) % len(images.views)
    pixels = images.views[index][None].to(batch.views.pixels)
    patches = None if batch.patches is None else model.encode_views(pixels).to(batch.patches)
    changes: dict[str, Tensor | None] = {
        "pixels": pixels,
        "patches": patches,
        "colors": colors(batch),
    }
    if batch.crop_valid is not None and len(images.crops):
        which = torch.arange(batch.crop_valid.numel()) % len(images.crops)
        crops = images.crops[which].unflatten(0, batch.crop_valid.shape).to(batch.boxes)
        if batch.crop_pixels is not None:  # the box and depth stay true, and so does the mask
            crops = torch.cat([crops[..., :3, :, :], batch.crop_pixels[..., 3:, :, :]], -3)
        changes |= {"crop_pixels": crops, "crops": None}
    return encode(replace(batch, **changes), prompt_tokens)


def _without_views(model: SpatialModel) -> AbstractContextManager[None]:
    prefix = model._prefix

    def without(batch: SceneBatch, tokens: Tensor | None, *others: object) -> object:
        return prefix(batch, None, *others)

    return replaced(model, "_prefix", without)


@contextmanager
def _slim(model: SpatialModel, **changes: object) -> Iterator[None]:
    slim: SlimConfig = model.config.slim.model_copy(update=changes)
    with replaced(model, "config", model.config.model_copy(update={"slim": slim})):
        yield


@contextmanager
def _without_coordinates(model: SpatialModel) -> Iterator[None]:
    s2 = model.config.s2
    s2 = s2.model_copy(update={"mpe": s2.mpe.model_copy(update={"coord": False})})
    with replaced(model, "config", model.config.model_copy(update={"s2": s2})):
        yield


def _input(**fields: object) -> Callable[[SpatialModel], AbstractContextManager[None]]:
    """Knocks out fields of the batch for the whole network."""

    def out(model: SpatialModel) -> AbstractContextManager[None]:
        encode = model.encode_scene
        return replaced(
            model, "encode_scene", lambda batch, *rest: encode(replace(batch, **fields), *rest)
        )

    return out


@contextmanager
def _hidden(module: torch.nn.Module, change: Callable[..., object], before: bool) -> Iterator[None]:
    """Inputs (`before`) or the output of a module changed in a `with` block."""
    register = module.register_forward_pre_hook if before else module.register_forward_hook
    handle = register(change)
    try:
        yield
    finally:
        handle.remove()


def _without_color(model: SpatialModel) -> AbstractContextManager[None]:
    def unknown(_: torch.nn.Module, inputs: tuple) -> tuple:
        batch, pooled, *rest = inputs
        return batch, replace(pooled, colors=pooled.colors * torch.nan), *rest

    return _hidden(model.objects, unknown, before=True)


def _without_patches(model: SpatialModel) -> AbstractContextManager[None]:
    def unseen(_: torch.nn.Module, inputs: tuple) -> tuple:
        batch, pooled, *rest = inputs
        mpe = model.config.s2.mpe
        code = coordinate_code(batch.boxes[..., :3], pooled.visual.shape[-1])
        code = mpe.coord_scale * mpe.coord * code
        return batch, replace(pooled, visual=code, visible=pooled.visible & False), *rest

    return _hidden(model.objects, unseen, before=True)


def _without_points(model: SpatialModel) -> AbstractContextManager[None]:
    def none(_: torch.nn.Module, inputs: tuple) -> tuple:
        points, present = inputs
        return points, present & False

    return _hidden(model.objects.parts["points"], none, before=True)


def _channel(name: str) -> Callable[[SpatialModel], bool]:
    return lambda model: name in model.config.objects.channels


@contextmanager
def _without_pairs(model: SpatialModel) -> Iterator[None]:
    modules = [model.edges, *([] if model.fronts is None else [model.fronts])]
    handles = [m.register_forward_hook(lambda *args: torch.zeros_like(args[2])) for m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _no_evidence(shares: Tensor, *rest: object) -> Tensor:
    return shares.new_zeros(shares.shape[0], shares.shape[1] + 1)


def _own_names(
    features: Tensor, heads: torch.nn.ModuleDict, batch: SceneBatch, crop_names: object = None
) -> Tensor | None:
    return name_shares(features, heads, batch)


def _objects(model: SpatialModel) -> bool:
    return model.roles is not None


PARTS = {
    "no_view_tokens": Part(_without_views),
    "no_structure_block": Part(
        lambda model: replaced(model, "structure", None), lambda model: model.structure is not None
    ),
    "no_coordinate_code": Part(_without_coordinates, lambda model: model.config.s2.mpe.coord),
    "no_ray_code": Part(
        lambda model: replaced(model, "ray", None), lambda model: model.ray is not None
    ),
    "no_mean_color": Part(_without_color, _objects),
    "no_object_patches": Part(_without_patches, _objects),
    "no_object_crops": Part(
        _input(crop_valid=None, crop_pixels=None, crops=None), _channel("crops")
    ),
    "no_object_points": Part(_without_points, _channel("points")),
    "no_predicted_names": Part(
        lambda model: replaced(model, "predicted", None), lambda model: model.predicted is not None
    ),
    "no_names_of_crops": Part(
        lambda model: replaced(network, "name_shares", _own_names),
        lambda model: model.crop_names is not None,
    ),
    "no_evidence_of_looks": Part(
        lambda model: replaced(model.predicted, "evidence", _no_evidence),
        lambda model: model.predicted is not None,
    ),
    "no_pair_geometry": Part(_without_pairs, _objects),
    "no_labels": Part(_input(labels=None), _objects),
    "no_referents": Part(
        lambda model: replaced(model.psa, "forward", lambda *inputs: None),
        lambda model: model.psa is not None,
    ),
    "inst_off": Part(lambda model: _slim(model, inst=False), lambda model: model.config.slim.inst),
    "geo_full": Part(lambda model: _slim(model, objects="full")),
    "geo_causal": Part(lambda model: _slim(model, objects="causal")),
}
"""In the order of the tables."""
