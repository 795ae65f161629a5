"""Sensitivity of the network to each of its mechanisms, and mutants that lack one of them.

Every check measures an effect on a small network with random weights. It must hold for the network
and fail for its mutant: a network in which the mechanism has no effect.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.mutants import mutate
from helpers.small_model import small_config, small_model, small_scene
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.model import batch as batches
from spatial3d_ros.model import (
    network,
    object_channels,
    object_points,
    objects,
    psa,
    view_tokens,
)
from spatial3d_ros.model.heads import GroundingHead
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.object_channels import ObjectChannels
from spatial3d_ros.model.seeds import Seeds
from spatial3d_ros.model.structure import StructureEnhanced
from spatial3d_ros.model.vision import Projector
from spatial3d_ros.research.training.config import LossWeights
from spatial3d_ros.research.training.objective import Objective
from spatial3d_ros.research.training.reconstruction import Reconstruction

MOVED = 1e-4
"""Least change of a score or feature that counts as an effect; without one it is zero."""
FAR = torch.tensor([40.0, 0, 0, 0, 0, 0])


def scores(model, prompt, batch, text="the red chair"):
    with torch.no_grad():
        scene = model.encode_scene(batch, prompt.tokens)
        return model(scene, prompt.batch([prompt.grounding(text)], [0]), prompt.tokens).scores


def difference(one, two):
    return (one - two).abs().max().item()


def changed_view(batch, name, view, change):
    values = getattr(batch, name).clone()
    values[:, view] = change(values[:, view])
    return replace(batch, **{name: values})


def check_pixels():
    model, prompt = small_model()
    batch = small_scene()
    # Colors are given, so that only the vision tower reads the pixels.
    batch = replace(batch, colors=torch.full((1, 5, 3), 0.5))
    other = changed_view(batch, "pixels", 1, torch.neg)
    assert difference(scores(model, prompt, batch), scores(model, prompt, other)) > MOVED


def check_structure():
    model, _ = small_model()
    batch = small_scene()
    other = changed_view(batch, "pixels", 1, torch.neg)
    with torch.no_grad():
        first, second = (model.project_views(b)[:, 0] for b in (batch, other))
    assert difference(first, second) > MOVED  # view 0 depends on the pixels of view 1


def check_rays():
    """Rays are in the world frame, and the scores depend on them."""
    camera, pose = Camera(32, 32, 30.0, 30.0, 15.5, 15.5), np.eye(4)
    turned = np.eye(4)
    turned[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    config = small_config()
    rgb, depth = np.zeros((32, 32, 3), np.uint8), np.ones((32, 32), np.float32)
    rays, turned_rays = (
        batches.prepare_view(rgb, depth, camera, p, config.vision, config.pooled_grid).rays
        for p in (pose, turned)
    )
    rotation = torch.tensor(turned[:3, :3], dtype=torch.float32)
    torch.testing.assert_close(turned_rays, rays @ rotation.T)
    model, prompt = small_model()
    batch = replace(small_scene(), rays=rays.expand(1, 3, -1, -1))
    other = replace(batch, rays=turned_rays.expand(1, 3, -1, -1))
    assert difference(scores(model, prompt, batch), scores(model, prompt, other)) > MOVED


def check_coordinate_code_of_patches():
    """With all boxes far from the views, points act through the code of the patches only."""
    model, prompt = small_model()
    batch = small_scene()
    batch = replace(batch, boxes=batch.boxes + FAR)
    other = changed_view(batch, "points", 1, lambda points: points + 1.0)
    assert difference(scores(model, prompt, batch), scores(model, prompt, other)) > MOVED


def check_coordinate_code_of_objects():
    """A single object without views, moved horizontally, changes by its code only."""
    model, prompt = small_model()
    scene = small_scene(objects=1)
    batch = type(scene)(boxes=scene.boxes, object_valid=scene.object_valid)
    other = replace(batch, boxes=batch.boxes + torch.tensor([1.0, 0, 0, 0, 0, 0]))
    assert difference(scores(model, prompt, batch), scores(model, prompt, other)) > MOVED


def check_guidance():
    """The gradient of the reconstruction loss reaches tower, structure block and projector."""
    s2 = small_config().s2.model_dump()
    s2["sg"] |= {"enabled": True, "width": 16, "layers": 1, "heads": 2}
    model, prompt = small_model(s2=s2)
    objective = Objective(model, prompt, LossWeights())
    batch = replace(small_scene(), poses=torch.eye(4).expand(1, 3, 4, 4))
    objective.guidance(model.project_views(batch), batch).backward()
    for part in (model.vision, model.structure, model.projector):
        gradients = [w.grad.abs().max() for w in part.parameters() if w.grad is not None]
        assert max(gradients, default=0) > 0


def check_temperature():
    torch.manual_seed(0)
    head = GroundingHead(24, small_config().head.model_copy(update={"temperature": 0.05}))
    query, candidates = torch.randn(2, 24), torch.randn(2, 5, 24)
    with torch.no_grad():
        found = head(query, candidates, torch.ones(2, 5, dtype=torch.bool))
    assert 1.0 < found.abs().max() <= 1 / 0.05 + 1e-4  # cosines are at most 1


def check_instruction():
    """Object states depend on the instruction, which stands after them in the sequence."""
    model, prompt = small_model()
    with torch.no_grad():
        scene = model.encode_scene(small_scene(), prompt.tokens)
        questions = prompt.batch([prompt.grounding(t) for t in ("the chair", "a lamp")], [0, 0])
        states = model(scene, questions, prompt.tokens).contextual_objects
    assert difference(states[0], states[1]) > MOVED


def check_distance_weights():
    """A referent that moves without a change of the adjacency changes its neighbours."""
    torch.manual_seed(0)
    module = psa.GraphConvolution(12)
    centers = torch.tensor([[[0.0, 0, 0], [0.5, 0, 0], [2.0, 0, 0]]])
    nearer = torch.tensor([[[0.0, 0, 0], [0.3, 0, 0], [2.0, 0, 0]]])
    found = torch.ones(1, 3, dtype=torch.bool)
    assert torch.equal(psa.neighbours(centers, found), psa.neighbours(nearer, found))
    features, sizes = torch.randn(1, 3, 12), torch.ones(1, 3, 3)
    with torch.no_grad():
        first, second = (module(features, c, sizes, found) for c in (centers, nearer))
    assert difference(first, second) > MOVED


def check_context_positions():
    """The context stage depends on the positions of seeds and of referents."""
    torch.manual_seed(0)
    block = psa.ContextBlock(12, 2)
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(1, 6, 3, generator=generator)
    seeds = Seeds(points, torch.randn(1, 6, 12), torch.ones(1, 6, dtype=torch.bool))
    moved = replace(seeds, points=points.flip(1))
    features, centers = torch.randn(1, 4, 12), torch.rand(1, 4, 3, generator=generator)
    with torch.no_grad():
        first = block(features, centers, seeds)
        assert difference(first, block(features, centers, moved)) > MOVED
        assert difference(first, block(features, centers + 1.0, seeds)) > MOVED


def channel_inputs(channel):
    """A network whose object tokens have their geometry and one other channel, and a scene with
    crops and given colors and patch features: what reads pixels are crops and points.
    """
    vision = small_config().vision.model_dump() | {"stem": "conv"}
    model, prompt = small_model(
        vision=vision, objects={"channels": ["geometry", channel], "identifier": "added"}
    )
    batch = small_scene()
    batch.boxes[0, 0] = torch.tensor([2.0, 2, 2, 5, 5, 5])  # holds all patches
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        patches = model.encode_views(batch.pixels)
    return model, prompt, replace(
        batch,
        patches=patches,
        colors=torch.full((1, 5, 3), 0.5),
        crop_pixels=torch.rand(1, 5, 2, 4, 64, 64, generator=generator) * 2 - 1,
        crop_valid=torch.ones(1, 5, 2, dtype=torch.bool),
    )  # fmt: skip


def check_crops():
    model, prompt, batch = channel_inputs("crops")
    other = replace(batch, crop_pixels=-batch.crop_pixels)
    assert difference(scores(model, prompt, batch), scores(model, prompt, other)) > MOVED


def check_crop_names():
    """Other colors of the crops, and then only another mask, change the probabilities of names."""
    vision = small_config().vision.model_dump() | {"stem": "conv"}
    objects = {"channels": ["geometry", "crops"], "identifier": "added", "crop_names": True}
    model, prompt = small_model(vision=vision, objects=objects)
    _, _, batch = channel_inputs("crops")
    for part in (slice(0, 3), slice(3, 4)):
        crops = batch.crop_pixels.clone()
        crops[..., part, :, :] *= -1
        with torch.no_grad():
            one, two = (
                model.encode_scene(replace(batch, patches=None, crop_pixels=c), prompt.tokens)
                for c in (batch.crop_pixels, crops)
            )
        assert difference(one.name_shares, two.name_shares) > MOVED / 10


def check_points():
    model, prompt, batch = channel_inputs("points")
    other = replace(batch, pixels=-batch.pixels)
    assert difference(scores(model, prompt, batch), scores(model, prompt, other)) > MOVED


def check_patches():
    """Of the objects' own features, those before any attention, patches are the only ones here
    that depend on the tower.
    """
    model, prompt, batch = channel_inputs("patches")
    other = replace(batch, patches=-batch.patches)
    with torch.no_grad():
        features = [model.encode_scene(b, prompt.tokens).object_features for b in (batch, other)]
    assert difference(*features) > MOVED


MUTANTS = {
    "projector constant": (check_pixels, Projector, "forward", None),
    "structure block skipped": (check_structure, StructureEnhanced, "forward", None),
    "rays not rotated": (
        check_rays, batches, "prepare_view",
        ("centre[None]] @ rotation.T", "centre[None]]"),
    ),
    "no coordinate code on patches": (
        check_coordinate_code_of_patches, view_tokens, "view_tokens",
        ("projected + mpe.coord_scale * code.to(projected.dtype)", "projected"),
    ),
    "no coordinate code on objects": (
        check_coordinate_code_of_objects, objects, "pool_object_features",
        ("mpe.coord_scale * coded * coordinate_code", "0.0 * coordinate_code"),
    ),
    "guidance detached": (
        check_guidance, Reconstruction, "forward",
        ("self.input(projected)", "self.input(projected.detach())"),
    ),
    "no temperature": (check_temperature, GroundingHead, "forward", (" / self.temperature", "")),
    "Inst ignored": (
        check_instruction, SpatialModel, "forward",
        ("questions.instruction & self.config.slim.inst", "questions.instruction & False"),
    ),
    "GCN without distance weights": (
        check_distance_weights, psa.GraphConvolution, "forward",
        ("torch.exp(-((_distances(centers) / REACH_M) ** 2)) * neighbours(centers, found)",
         "1.0 * neighbours(centers, found)"),
    ),
    "context stage without positions": (
        check_context_positions, psa.ContextBlock, "forward",
        ("self.norm_seeds(seeds.features) + coordinate_code(seeds.points, width)",
         "self.norm_seeds(seeds.features)"),
    ),
    "no crops": (
        check_crops, ObjectChannels, "_inputs",
        ("return _mean(batch.crops[..., :size], batch.crop_valid)",
         "return _mean(batch.crops[..., :size], batch.crop_valid & False)"),
    ),
    "crops without names": (
        check_crop_names, network, "name_shares",
        ("logits = crop_names(logits, ", "crop_names(logits, "),
    ),
    "crops without masks": (
        check_crop_names, SpatialModel, "encode_crops", ("crops[:, 3]", "crops[:, 3] * 0"),
    ),
    "no colors of points": (
        check_points, object_points, "object_points", ("c.float() / 2 + 0.5", "c.float() * 0"),
    ),
    "no patches of objects": (
        check_patches, ObjectChannels, "_inputs",
        ("return pooled.visual, pooled.visible", "return pooled.visual, pooled.visible & False"),
    ),
}  # fmt: skip
IMPORTERS = {objects: network, view_tokens: network, object_points: object_channels}
REPLACED = {
    "projector constant": lambda self, x: torch.ones(*x.shape[:-1], self[2].out_features),
    "structure block skipped": lambda self, x, view_valid: x,
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mechanism_has_an_effect(name):
    MUTANTS[name][0]()


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name, monkeypatch):
    check, owner, function, change = MUTANTS[name]
    if change is None:
        monkeypatch.setattr(owner, function, REPLACED[name])
    else:
        mutate(monkeypatch, owner, function, *change)
    importer = IMPORTERS.get(owner)  # has the function by name
    if importer is not None:
        monkeypatch.setattr(importer, function, getattr(owner, function))
    with pytest.raises(AssertionError):
        check()
