"""`spatial3d knockout`: each part is off inside the block, and back after it."""

from dataclasses import replace

import pytest
import torch

from helpers.small_model import small_model, small_scene
from spatial3d_ros.engine import Spatial3D
from spatial3d_ros.model.checkpoint import load_model, model_folder
from spatial3d_ros.research.experiments import knockout
from spatial3d_ros.research.experiments.knockout_parts import (
    IMAGE_ROWS,
    PARTS,
    Foreign,
    remembered_features,
)
from spatial3d_ros.tasks import resolution
from spatial3d_ros.tasks.prompt import Prompt
from spatial3d_ros.tasks.query import Description, RelationPhrase


@pytest.fixture(scope="module")
def small():
    psa = {"enabled": True, "seeds": 32, "referents": 8, "tokens": 8, "width": 16, "heads": 2}
    objects = {"relation_layers": 1, "relation_hidden": 8, "fronts": True, "label_bias": True,
               "predicted_names": True}  # fmt: skip
    looks = {"pattern": ["plain", "striped"]}
    names = {"classes": ["chair", "table"], "colors": ["red", "blue"], "looks": looks}
    model, prompt = small_model(
        psa=psa, objects=objects, object_tokens="object+referent", names=names
    )
    labels = prompt.name_ids(["chair", "table", "red", "lamp", "blue"])[None]
    batch = small_scene()
    batch.boxes[0, 0] = torch.tensor([2.0, 2, 2, 5, 5, 5])  # holds all patches
    return model, prompt, replace(batch, labels=labels[:, :, None])


CHANNEL_ROWS = ("no_object_crops", "no_object_points", "no_names_of_crops")


@pytest.mark.parametrize("row", [*IMAGE_ROWS, *CHANNEL_ROWS])
def test_rows_of_channels(row):
    vision = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 1, "stem": "conv",
              "resize": "stretch"}  # fmt: skip
    objects = {"channels": ["geometry", "crops", "points", "color"], "identifier": "added",
               "predicted_names": True, "crop_names": True}  # fmt: skip
    model, prompt = small_model(vision=vision, objects=objects)
    generator = torch.Generator().manual_seed(0)
    batch = replace(
        small_scene(),
        crop_pixels=torch.rand(1, 5, 2, 4, 64, 64, generator=generator) * 2 - 1,
        crop_valid=torch.ones(1, 5, 2, dtype=torch.bool),
        colors=torch.tensor([[[0.9, 0.1, 0.1], *[[torch.nan] * 3] * 4]]),  # as the engine gives
    )
    batch.boxes[0, 0] = torch.tensor([2.0, 2, 2, 5, 5, 5])
    foreign = Foreign(-batch.pixels[0], torch.ones(3, 3, 64, 64))
    before = scores((model, prompt, batch))
    with knockout.knocked_out(model, row, foreign):
        assert (scores((model, prompt, batch)) - before).abs().max() > 1e-5
    assert torch.equal(scores((model, prompt, batch)), before)


def scores(small):
    model, prompt, batch = small
    with torch.no_grad():
        scene = model.encode_scene(batch, prompt.tokens)
        questions = prompt.batch([prompt.grounding("the red chair")], [0])
        return model(scene, questions, prompt.tokens).scores


@pytest.mark.parametrize("row", [*IMAGE_ROWS, *(n for n in PARTS if n not in CHANNEL_ROWS)])
def test_each_row_changes_the_scores_and_is_undone(row, small):
    foreign = Foreign(small_scene(seed=1, views=2).pixels[0], torch.zeros(0, 3, 8, 8))
    before = scores(small)
    with knockout.knocked_out(small[0], row, foreign):
        assert (scores(small) - before).abs().max() > 1e-5
    assert torch.equal(scores(small), before)


def test_foreign_images_keep_the_mean_colors(small):
    model, _, batch = small
    seen = []
    handle = model.objects.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    scores(small)
    with knockout.knocked_out(
        model, "gray_pixels", Foreign(batch.pixels[0], torch.zeros(0, 3, 8, 8))
    ):
        scores(small)
    handle.remove()
    assert torch.equal(seen[0].colors.nan_to_num(9), seen[1].colors.nan_to_num(9))
    assert not torch.equal(seen[0].visual, seen[1].visual)


def test_rows_of_the_pipeline_are_undone():
    table = RelationPhrase("next_to", (Description("the table", "table"),))
    asked = Description("the red chair next to the table", "chair", ("red",), relations=(table,))
    engine = Spatial3D()
    weight = engine.weights.of("network")
    with knockout.PIPELINE_ROWS["network_relation_score_off"](engine):
        assert resolution.phrase(asked) == "the red chair"
    with knockout.PIPELINE_ROWS["network_score_off"](engine):
        assert not any(engine.weights.of(term) for term in knockout.NETWORK_TERMS)
    assert resolution.phrase(asked) == asked.text and engine.weights.of("network") == weight > 0


def test_features_are_remembered_in_the_block(small):
    model, _, batch = small
    before, pixels = scores(small), batch.pixels.clone()
    seen = []
    handle = model.vision.register_forward_hook(lambda *_: seen.append(1))
    with torch.inference_mode(), remembered_features(model):
        first, again = model.encode_views(pixels), model.encode_views(pixels.clone())
        assert first is again and model.encode_views(-pixels) is not first
    handle.remove()
    assert len(seen) == 3 and torch.equal(scores(small), before)


def test_report_of_the_shipped_weights(monkeypatch):
    monkeypatch.setattr(
        knockout, "rows_of", lambda model: ["full", "inst_off", "pixels_of_another_room"]
    )
    monkeypatch.setattr(knockout, "QUESTIONS", 14)
    report = knockout.knock_out("tiny", rooms=1, seed=850_100)
    assert report["rooms"] == 1 and report["questions"]["all"] == 14
    assert list(report["pipeline"])[3:] == [*knockout.PIPELINE_ROWS]
    for table in (report["rows"], report["pipeline"]):
        assert list(table)[:2] == ["full", "inst_off"]
        assert list(table["full"]) == list(knockout.COLUMNS)
        assert table["full"]["all"] >= table["inst_off"]["all"]
        assert report["questions"]["appearance"] > 0
    assert report["rows"]["full"]["all"] > report["rows"]["inst_off"]["all"] + 0.2
    full, foreign = (report["names"][row] for row in ("full", "pixels_of_another_room"))
    assert report["objects"]["class"] == report["objects"]["color"] > 10
    assert full["class"] > foreign["class"] and full["color"] > foreign["color"]
    assert full["class_of_8"] >= full["class"] and full["look_alikes"] is not None


LOOKS_ROOMS = (871_000, 871_004, 871_009, 871_010, 871_011)
"""The first rooms from 871000 on with three or more questions about looks."""


def test_names_need_crops_and_questions_about_looks_pixels_and_the_evidence_of_looks():
    model, tokenizer = load_model(model_folder("tiny"))
    prompt = Prompt(tokenizer, model.eval().config.s2.category_mode)
    foreign = knockout._images(knockout.asked_room(model, prompt, 871_100))
    right = dict.fromkeys(("full", "no_evidence_of_looks", "pixels_of_another_room"), 0)
    named = {row: [] for row in ("full", "no_names_of_crops", "pixels_of_another_room")}
    for seed in LOOKS_ROOMS:
        room = knockout.asked_room(model, prompt, seed)
        for row in right:
            hits = knockout.ask_network(model, prompt, room, row, foreign)
            right[row] += sum(
                hit for hit, q in zip(hits, room.questions, strict=True) if q.kind == "appearance"
            )
        for row, hits in named.items():
            found = knockout.name_hits(model, prompt, room, row, foreign)
            hits += [hit for head, hit in found if head == "class"]
    share = {row: sum(hits) / len(hits) for row, hits in named.items()}
    assert share["full"] > 0.75, share
    assert share["no_names_of_crops"] < share["full"] - 0.1, share
    assert share["pixels_of_another_room"] < share["full"] - 0.25, share
    assert right["full"] >= 12  # of 16
    assert right["no_evidence_of_looks"] <= right["full"] - 3
    assert right["pixels_of_another_room"] <= right["full"] - 3
