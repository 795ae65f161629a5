"""The weights that ship: every input and every part of the network has an effect on a score."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from helpers.small_model import small_scene
from spatial3d_ros.model.channels import channel_variation, dead_channels
from spatial3d_ros.model.checkpoint import load_model, model_folder
from spatial3d_ros.research.experiments.knockout import knocked_out, rows_of
from spatial3d_ros.research.experiments.knockout_parts import Foreign, remembered_features
from spatial3d_ros.tasks.prompt import Prompt

DEAD_INPUTS: set[str] = set()
DEAD_ROWS: set[str] = set()
"""What has no effect in the weights that ship, because their projector is dead; both sets have to
be empty for retrained weights.
"""
NAMES = ("chair", "table", "lamp", "bin", "mug", "box") * 2
LEAST = {"pixels": 0.05, "color": 0.05, "label": 0.05, "crops": 0.01}
LEAST_OTHER = 1e-3
"""Least change of any score, in logits, that counts as an effect."""


@pytest.fixture(scope="module")
def shipped():
    """Network, prompt, and a scene: two views of random squares, and twelve objects of which some
    lie in the views.
    """
    model, tokenizer = load_model(model_folder("tiny"))
    prompt, config = Prompt(tokenizer, model.config.s2.category_mode), model.config
    side, tokens = config.vision.image_size, config.pooled_grid**2
    generator = torch.Generator().manual_seed(0)
    colors = torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1
    crops = torch.rand(12, 2, 4, 4, 4, generator=generator) * 2 - 1
    channels = config.objects.channels
    batch = replace(
        small_scene(objects=12),
        pixels=F.interpolate(colors, size=(side, side))[None],
        points=torch.rand(1, 2, side, side, 3, generator=generator) * 4,
        valid=torch.ones(1, 2, side, side, dtype=torch.bool),
        rays=F.normalize(torch.randn(1, 2, tokens, 3, generator=generator), dim=-1),
        view_valid=torch.ones(1, 2, dtype=torch.bool),
        colors=torch.rand(1, 12, 3, generator=generator),
        labels=prompt.name_ids(NAMES)[None, :, None],
        crop_pixels=F.interpolate(crops.flatten(0, 1), size=(64, 64)).unflatten(0, (1, 12, 2)),
        crop_valid=torch.ones(1, 12, 2, dtype=torch.bool),
    )
    if "crops" not in channels:
        batch = replace(batch, crop_pixels=None, crop_valid=None)
    return model, prompt, batch


def scores(model, prompt, batch):
    with torch.inference_mode():
        scene = model.encode_scene(batch, prompt.tokens)
        questions = prompt.batch([prompt.grounding("the striped red chair next to the table")], [0])
        return model(scene, questions, prompt.tokens).scores


MASK_TURNED = torch.tensor([1.0, 1, 1, -1]).view(4, 1, 1)
INPUTS = {
    "pixels": lambda b: {"pixels": -b.pixels},
    "rays": lambda b: {"rays": b.rays.flip(2)},
    "depth": lambda b: {"points": b.points + 0.5},
    "color": lambda b: {"colors": 1 - b.colors},
    "label": lambda b: {"labels": b.labels.roll(1, 1)},
    "box": lambda b: {"boxes": b.boxes + torch.tensor([0.5, 0, 0, 0, 0, 0])},
    "crops": lambda b: {"crop_pixels": -b.crop_pixels},
    "mask of crops": lambda b: {
        "crop_pixels": b.crop_pixels * torch.tensor([1, 1, 1, -1.0]).view(4, 1, 1)
    },
}


def test_scores_depend_on_each_input(shipped):
    model, prompt, batch = shipped
    before, moved = scores(*shipped), {}
    for name, change in INPUTS.items():
        if "crops" not in name or batch.crop_pixels is not None:
            other = scores(model, prompt, replace(batch, **change(batch)))
            moved[name] = (other - before).abs().max().item()
    still = {name for name, value in moved.items() if value <= LEAST.get(name, LEAST_OTHER)}
    assert still == DEAD_INPUTS, moved


def test_every_part_has_an_effect(shipped):
    model, _, batch = shipped
    crops = torch.zeros(0) if batch.crop_pixels is None else -batch.crop_pixels[0].flatten(0, 1)
    foreign, moved = Foreign(-batch.pixels[0], crops), {}
    with remembered_features(model):
        before = scores(*shipped)
        for row in rows_of(model)[1:]:
            with knocked_out(model, row, foreign):
                moved[row] = (scores(*shipped) - before).abs().max().item()
    assert {row for row, value in moved.items() if value <= LEAST_OTHER} == DEAD_ROWS, moved


def test_dead_channels_are_found(shipped):
    assert set(dead_channels(channel_variation(shipped[0]))) == DEAD_INPUTS
