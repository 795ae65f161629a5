"""The second stage: rendered rooms with crops and noisy labels, from the tower of the first."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from helpers.small_model import small_config, small_tokenizer
from helpers.training_samples import settings
from spatial3d_ros.categories import CATEGORIES, COLORS, LOOKS, MATERIALS
from spatial3d_ros.model.checkpoint import load_model
from spatial3d_ros.model.config import CHANNELS
from spatial3d_ros.research.rooms.view_store import ViewStore
from spatial3d_ros.research.training import eyes_trainer, trainer
from spatial3d_ros.research.training.samples import Samples
from spatial3d_ros.tasks.prompt import Prompt

VISION = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 1, "stem": "conv",
          "resize": "stretch", "feature_norm": "layer"}  # fmt: skip
NETWORK = small_config(
    vision=VISION,
    names={"classes": list(CATEGORIES), "colors": list(COLORS),
           "looks": {what: list(names) for what, names in LOOKS.items()}},
    objects={"channels": CHANNELS, "identifier": "added", "relation_hidden": 8,
             "label_bias": True, "fronts": True, "member_fraction": 0.25},
    psa={"enabled": True, "seeds": 32, "referents": 8, "tokens": 8, "width": 16, "heads": 2},
    s2={"se": {"heads": 2}, "mpe": {"ray_hidden": 8},
        "sg": {"enabled": True, "width": 16, "layers": 1, "heads": 2}},
    object_tokens="object+referent",
)  # fmt: skip
RENDERED = {"rooms": 2, "views": 3, "size": (64, 48), "first": 800_240, "batch": 1, "questions": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rooms")


@pytest.fixture(scope="module")
def store(folder):
    return ViewStore(folder, 2, 3, 800_240, (64, 48))


def samples(tmp_path, folder, store, split="train"):
    config = settings(tmp_path, rendered={**RENDERED, "folder": str(folder)})
    return Samples(config, NETWORK, Prompt(small_tokenizer()), store, split=split)


def test_every_box_has_crops_false_ones_too(tmp_path, folder, store):
    made = samples(tmp_path, folder, store)
    room = made.rendered_room(store[0], np.random.default_rng(1), 3)
    valid, owned = room.crops["crop_valid"].any(1), [owner is not None for owner in room.owners]
    false = ~torch.tensor(owned)
    assert false.any() and valid[false].float().mean() > 0.3  # boxes in empty space have none
    assert valid[torch.tensor(owned)].float().mean() > 0.7
    batch = made.collate([room, room]).scenes
    assert batch.crop_pixels.shape[:2] == batch.boxes.shape[:2]
    assert torch.equal(batch.crop_valid[0], batch.crop_valid[1])


def test_labels_are_noisy_in_training_only(tmp_path, folder, store):
    rng = np.random.default_rng(0)
    train = samples(tmp_path, folder, store).rendered_room(store[0], rng, 3)
    held_out = samples(tmp_path, folder, store, "test").rendered_room(store[0], rng, 3)
    assert any(train.labels.values()) and not held_out.labels
    sample = samples(tmp_path, folder, store).collate([train])
    shares = sample.scenes.label_shares
    assert shares.shape[-1] == 4 and (shares.sum(-1) <= 1 + 1e-5).all()
    given = (sample.scenes.labels >= 0).any(-1)
    assert torch.equal(given, shares > 0)


def test_materials_and_patterns_are_targets(tmp_path, folder, store):
    made = samples(tmp_path, folder, store)
    room = made.rendered_room(store[0], np.random.default_rng(1), 3)
    sample = made.collate([room])
    for slot, owner in enumerate(room.owners):
        expected = -100 if owner is None else list(MATERIALS).index(owner.material)
        assert sample.names["material"][0, slot] == expected
        assert sample.names["pattern"][0, slot] == (-100 if owner is None else 0)


def test_the_stage_starts_from_the_tower_of_the_first(tmp_path, folder, store):
    model = tmp_path / "model.yaml"
    eyes = eyes_trainer.EyesConfig(
        stage="eyes", model=str(model), out=str(tmp_path / "eyes"), steps=1, batch=1, shown=2,
        validation_rooms=1,
        rendered={"folder": str(folder), "rooms": 2, "views": 3, "first": 800_240,
                  "size": (64, 48), "catalog": "basic"},
    )  # fmt: skip
    config = settings(
        tmp_path,
        steps=2,
        init=str(tmp_path / "eyes" / "model"),
        rendered={**RENDERED, "folder": str(folder)},
        validation={"rooms": 1, "views": 3, "questions": 2},
        save_every=2,
        homes={"batch": 1, "questions": 2, "sentences": 50},
    )
    model.write_text(yaml.safe_dump(NETWORK.model_dump(mode="json")))
    eyes_trainer.train_eyes(eyes)
    tower = eyes_trainer.load_file(tmp_path / "eyes" / "model" / "model.safetensors")
    run = trainer._Run(config)
    started = run.objective.model.state_dict()
    for name in ("vision.conv.stem.0.weight", "objects.appearance.weight"):
        torch.testing.assert_close(started[name], tower[name].float())
    trainer.train(config)
    with (Path(config.out) / "metrics.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    for name in ("class", "material", "pattern", "guide", "vote", "objectness"):
        assert float(last[f"rendered/{name}"]) > 0, name
    for name in ("crops", "points", "labels", "geometry", "referents", "variation", "vote_spread"):
        assert last[f"features/{name}"] != "", name
    trained, _ = load_model(Path(config.out) / "model")
    assert trained.config.objects.channels == CHANNELS
    assert not torch.equal(trained.vision.conv.stem[0].weight, started["vision.conv.stem.0.weight"])
    values = config.model_dump() | {"init": str(Path(config.out) / "model"), "out": str(tmp_path)}
    again = trainer._Run(config.model_validate(values | {"tower": str(tmp_path / "eyes/model")}))
    restarted = again.objective.model.state_dict()
    for name in ("vision.conv.stem.0.weight", "objects.appearance.weight"):
        torch.testing.assert_close(restarted[name], tower[name].float())
    assert not torch.allclose(restarted["projector.0.weight"], trained.projector[0].weight.float())
    torch.testing.assert_close(restarted["newline"], trained.newline.float())


def test_rooms_without_views_keep_their_labels(tmp_path, folder, store):
    made = samples(tmp_path, folder, store)
    room = made.boxes_room(800_250, np.random.default_rng(0))
    sample = made.collate([room])
    owned = torch.tensor([owner is not None for owner in room.owners])
    assert (sample.scenes.labels[0, owned, 0] >= 0).any(-1).all()
    assert sample.scenes.crop_pixels is None
    assert replace(sample.scenes).label_ids.shape[2] == 4
