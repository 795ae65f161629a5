"""The second stage: features of crops that are kept, names that are learnt from them."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from helpers.rendered_names import NAMES, VISION
from helpers.small_model import small_config
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.vision import VisionTower
from spatial3d_ros.research.training import crop_stage, trainer

OBJECTS = {"channels": ["geometry", "crops"], "identifier": "added", "crop_names": True}
NETWORK = small_config(vision=VISION, names=NAMES, objects=OBJECTS)


def settings(folder, **changes):
    model, tower = folder / "model.yaml", folder / "tower"
    model.write_text(yaml.safe_dump(NETWORK.model_dump(mode="json")))
    tower.mkdir(exist_ok=True)
    torch.manual_seed(0)
    weights = VisionTower(NETWORK.vision).state_dict()
    save_file({f"vision.{name}": t for name, t in weights.items()}, tower / "model.safetensors")
    (tower / "config.yaml").write_text(model.read_text())
    rooms = {"folder": str(folder.parent / "rooms"), "rooms": 2, "views": 3, "size": (64, 48)}
    return {
        "stage": "crops", "model": str(model), "tower": str(tower), "out": str(folder / "run"),
        "rendered": [rooms | {"first": 800_230}], "epochs": 30, "batch": 8, "warmup": 1,
        "passes": 2, "validation_rooms": 1,
    } | changes  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops")
    path = folder / "crops.yaml"
    path.write_text(yaml.safe_dump(settings(folder)))
    trainer.main(str(path))
    return folder / "run", path


def test_names_of_the_training_rooms_are_learnt(run):
    out, _ = run
    tensors = load_file(out / "model" / "model.safetensors")
    names = crop_stage.CropNames(NETWORK.vision.width, NETWORK.names)
    untrained = crop_stage.CropNames(NETWORK.vision.width, NETWORK.names)
    names.load_state_dict(
        {
            name.removeprefix("crop_names."): tensor.float()
            for name, tensor in tensors.items()
            if name.startswith("crop_names.")
        }
    )
    given = load_file(out / "features" / f"full_{800_230}_0" / "000000.safetensors")
    assert given["features"].shape[1:] == (64, 16) and given["mask"].shape[1:] == (8, 8)
    assert len(given["item"].unique()) == given["item"].max() + 1 > 10
    learnt, before = (crop_stage.accuracy(one, given) for one in (names, untrained))
    assert learnt["class"] > 0.5 > before["class"]
    assert {f"vision.{name}" for name in VisionTower(NETWORK.vision).state_dict()} < set(tensors)
    scores = json.loads((out / "validation_30.json").read_text())
    assert set(scores) == set(NETWORK.names.heads)


def test_a_pass_shows_other_crops_and_features_are_kept(run, monkeypatch):
    out, path = run
    one, two = (
        load_file(out / "features" / f"full_{800_230}_{k}" / "000000.safetensors") for k in (0, 1)
    )
    assert len(one["item"]) != len(two["item"]) or not torch.equal(one["mask"], two["mask"])
    monkeypatch.setattr(crop_stage, "crop_features", None)  # reading them again fails
    again = path.with_name("again.yaml")
    again.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"epochs": 1}))
    trainer.main(str(again))


def test_a_wrong_key_is_named(tmp_path):
    path = tmp_path / "crops.yaml"
    path.write_text(yaml.safe_dump(settings(tmp_path) | {"stepz": 4}))
    with pytest.raises(ConfigError, match="stepz"):
        trainer.main(str(path))


def test_crop_names_need_the_channel():
    with pytest.raises(ValueError, match="crop_names: true needs crops"):
        small_config(objects={"crop_names": True})
