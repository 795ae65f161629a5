"""The first stage: truth of patches, losses that fall, exact resuming."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from helpers.rendered_names import NAMES, VISION
from helpers.small_model import small_config
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.rooms.view_store import render_room
from spatial3d_ros.research.training import eyes, eyes_trainer, trainer
from spatial3d_ros.research.training.patch_truth import patch_truth

NETWORK = small_config(vision=VISION, names=NAMES)


@pytest.fixture(scope="module")
def room():
    return render_room(800_220, views=3, size=(64, 48), catalog="full")


def test_shares_of_a_patch_are_those_of_its_pixels(room):
    truth = patch_truth(room, np.array([1]), NETWORK.names, 4)
    assert set(truth) == {"class", "color", "material", "pattern"}
    found = truth["class"][0]
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=0.02)  # every pixel has a class or none
    first = room.instance[1][:6, :8]  # 24 x 32 truth pixels, 4 x 4 patches
    for item in room.room.objects:
        same = [o.id for o in room.room.objects if o.category == item.category]
        expected = np.isin(first, same).mean()
        assert found[0, NAMES["classes"].index(item.category)] == pytest.approx(expected)


def test_a_sample_is_the_same_for_one_generator(room):
    one, two = (
        eyes.eyes_sample([room, room], NETWORK, 2, np.random.default_rng(3)) for _ in range(2)
    )
    assert torch.equal(one.pixels, two.pixels) and torch.equal(one.crops, two.crops)
    assert one.pixels.shape == (4, 3, 32, 32) and set(one.room.tolist()) == {0, 1}
    assert one.crops.shape[1:] == (2, 4, 64, 64) and len(one.names["class"]) == len(one.crops)


def test_losses_fall_on_one_room_and_reach_the_tower(room):
    torch.manual_seed(0)
    objective = eyes.EyesObjective(NETWORK)
    sample = eyes.eyes_sample([room], NETWORK, 2, None)
    optimizer = torch.optim.Adam(objective.parameters(), 5e-3)
    losses = []
    for _ in range(12):
        loss, parts = objective(sample)
        loss.backward()
        assert objective.vision.conv.stem[0].weight.grad.abs().max() > 0
        optimizer.step()
        optimizer.zero_grad()
        losses.append(parts)
    for name in losses[0]:
        assert losses[-1][name] < losses[0][name], name
    right, asked = objective.count(sample)
    assert asked["crop/class"] > 0 and right["patch/color"] <= asked["patch/color"]


def test_other_crops_of_an_object_are_told_from_those_of_others():
    vectors = torch.eye(4)[:, None].expand(4, 2, 4)
    valid = torch.ones(4, 2, dtype=torch.bool)
    assert eyes.appearance_loss(vectors, valid) < 0.01
    assert eyes.appearance_loss(vectors.roll(1, 0).contiguous(), valid) < 0.01
    mixed = torch.stack([vectors[:, 0], vectors[:, 1].roll(1, 0)], 1)
    assert eyes.appearance_loss(mixed, valid) > 5
    assert eyes.appearance_loss(vectors, valid & False) == 0


def settings(folder, **changes):
    model = folder / "model.yaml"
    model.write_text(yaml.safe_dump(NETWORK.model_dump(mode="json")))
    values = {
        "stage": "eyes", "model": str(model), "out": str(folder / "run"), "steps": 4,
        "warmup": 1, "batch": 1, "shown": 2, "validation_rooms": 1, "log_every": 1,
        "save_every": 2, "evaluate_every": 4,
        "rendered": {"folder": str(folder.parent / "rooms"), "rooms": 2, "views": 2,
                     "size": (64, 48), "first": 800_230},
    }  # fmt: skip
    return values | changes


def test_a_stopped_run_resumes_to_the_same_weights(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    path = tmp_path / "a" / "eyes.yaml"
    path.write_text(yaml.safe_dump(settings(tmp_path / "a")))
    trainer.main(str(path))
    whole = tmp_path / "a" / "run"
    config = eyes_trainer.EyesConfig(**settings(tmp_path / "b"))

    class Unplugged(Exception):
        pass

    def unplug(self, *_):
        raise Unplugged

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Unplugged):
        step = eyes_trainer._Run.train_step
        patch.setattr(
            eyes_trainer._Run, "train_step",
            lambda self, n, sample: unplug(self) if n == 4 else step(self, n, sample),
        )  # fmt: skip
        eyes_trainer.train_eyes(config)
    stopped = tmp_path / "b" / "run"
    assert int(load_file(stopped / "last.safetensors")["step"]) == 2
    eyes_trainer.train_eyes(config)
    one, other = (load_file(run / "last.safetensors") for run in (whole, stopped))
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], msg=name, rtol=0, atol=1e-7)
    assert [row["loss"] for row in rows(whole)] == [row["loss"] for row in rows(stopped)]
    names = load_file(stopped / "model" / "model.safetensors")
    assert any(name.startswith("vision.conv.") for name in names)
    assert names["objects.appearance.weight"].dtype == torch.float16


def test_a_run_continues_from_the_small_checkpoint_of_another(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    first = eyes_trainer.EyesConfig(**settings(tmp_path / "a", steps=2))
    eyes_trainer.train_eyes(first)
    small = tmp_path / "a" / "run" / "small.safetensors"
    assert small.stat().st_size < 0.55 * (small.parent / "last.safetensors").stat().st_size
    later = eyes_trainer.EyesConfig(**settings(tmp_path / "b", steps=3, init=str(small)))
    eyes_trainer.train_eyes(later)
    assert [row["step"] for row in rows(tmp_path / "b" / "run")] == ["3"]


def test_patches_without_an_object_weigh_little_and_rare_patterns_much(room):
    sample = eyes.eyes_sample([room], NETWORK, 2, None)
    bare = sample.truth["class"][..., -1]
    empty, full = bare > 0.99, bare < 0.01
    for head in ("class", "color", "material", "pattern"):
        found, given = eyes.weighted(sample.truth, head), sample.truth[head]
        assert (found[empty].sum() < 0.4 * given[empty].sum()) and empty.any()
        if head != "pattern":
            torch.testing.assert_close(found[full], given[full], atol=0.02, rtol=0)
    patterned = eyes.weighted(sample.truth, "pattern")[..., 1:].sum()
    assert patterned >= sample.truth["pattern"][..., 1:].sum() * 0.4


def rows(run: Path):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_bad_configuration_names_the_key(tmp_path):
    path = tmp_path / "eyes.yaml"
    path.write_text(yaml.safe_dump(settings(tmp_path, speed=3)))
    with pytest.raises(ConfigError, match=r"eyes\.yaml: speed"):
        eyes_trainer.load_stage(eyes_trainer.EyesConfig, path)


def test_the_rate_rises_stays_and_falls():
    config = eyes_trainer.EyesConfig(
        stage="eyes", model="m", out="o", steps=100, warmup=10, decay=0.2,
        rendered={"folder": "f", "rooms": 1},
    )  # fmt: skip
    rates = [eyes_trainer._factor(step, config) for step in (1, 10, 50, 81, 100)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 1.0, 0.05])


def test_crops_of_an_unseen_object_are_left_out(room):
    empty = replace(room, depth=np.zeros_like(room.depth))
    sample = eyes.eyes_sample([empty], NETWORK, 2, None)
    assert sample.crops.shape[0] == 0
    objective = eyes.EyesObjective(NETWORK)
    loss, parts = objective(sample)
    assert loss.isfinite() and "crop/class" not in parts
    objective.count(sample)
