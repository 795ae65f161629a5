"""Training: samples that depend on seed and step alone, exact resuming, boxes that move with their
views.
"""

import numpy as np
import pytest
import torch
import yaml
from small_model import small_config, small_tokenizer

from spatial3d_ros.data.catalog import CATEGORIES, COLORS
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.model.checkpoint import load_model
from spatial3d_ros.tasks.prompt import Prompt
from spatial3d_ros.training import trainer
from spatial3d_ros.training.config import TrainConfig, load_train_config
from spatial3d_ros.training.samples import Samples, _turn_boxes, _turn_views, disturb, false_boxes

NAMES = {"classes": list(CATEGORIES), "colors": list(COLORS)}


def settings(tmp_path, **changes):
    model = tmp_path / "model.yaml"
    model.write_text(yaml.safe_dump(small_config(names=NAMES).model_dump(mode="json")))
    values = {
        "model": str(model),
        "out": str(tmp_path / "out"),
        "steps": 4,
        "warmup": 1,
        "save_every": 2,
        "evaluate_every": 100,
        "workers": 0,
        "precision": "no",
        "tokenizer_sentences": 200,
        "rendered": {"batch": 0},
        "boxes": {"batch": 2, "questions": 3},
    }
    return TrainConfig(**(values | changes))


def samples(tmp_path, **options):
    prompt = Prompt(small_tokenizer())
    return Samples(settings(tmp_path), small_config(names=NAMES), prompt, None, **options)


def test_a_sample_depends_on_seed_and_step_alone(tmp_path):
    whole, resumed = samples(tmp_path), samples(tmp_path, start=2)
    assert len(whole) == 4 and len(resumed) == 2
    first, again = whole[3][0], resumed[1][0]
    assert torch.equal(first.scenes.boxes, again.scenes.boxes)
    assert torch.equal(first.words.ids, again.words.ids)
    assert not torch.equal(first.words.ids[:1, :9], whole[2][0].words.ids[:1, :9])


def test_processes_share_a_batch(tmp_path):
    one, other = (samples(tmp_path, share=(rank, 2))[0][0] for rank in range(2))
    assert len(one.scenes.boxes) == len(other.scenes.boxes) == 1
    assert one.scenes.boxes.shape != other.scenes.boxes.shape or not torch.equal(
        one.scenes.boxes, other.scenes.boxes
    )


def test_targets_roles_and_labels_agree_with_the_questions(tmp_path):
    sample = samples(tmp_path, split="test")[0][0]
    names = NAMES["classes"]
    for row, kind in enumerate(sample.kinds):
        nothing = kind.startswith("none")
        assert sample.targets[row].sum() == 1 and sample.targets[row, -1] == nothing
        if not nothing:
            slot, scene = int(sample.targets[row].nonzero()[0]), int(sample.words.scene[row])
            assert sample.classes[scene, slot] >= 0 and names
            assert sample.roles[row, slot, 0] == 1  # the target is one of those its noun could mean
    told = sample.labels >= 0
    assert told.any(1).all()
    assert (sample.labels[:, :-1][told[:, :-1]] == sample.words.ids[:, 1:][told[:, :-1]]).all()


def test_boxes_move_with_their_views():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(-2, 2, (6, 3)), rng.uniform(0.2, 1, (6, 3))], axis=1)
    points = torch.from_numpy(boxes[:, :3] + boxes[:, 3:] * rng.uniform(-0.5, 0.5, (6, 3))).float()
    views = {
        "points": points.reshape(1, 1, 6, 1, 3),
        "rays": torch.nn.functional.normalize(points, dim=-1)[None, None],
        "valid": torch.ones(1, 1, 6, 1, dtype=torch.bool),
        "poses": torch.from_numpy(look_at((1.0, 2.0, 1.5), (0.0, 0.0, 0.5))).float()[None, None],
    }
    seen = in_camera(views)
    shift = np.array([1.0, -2.0, 0.0])
    for quarter in range(4):
        turned, moved = _turn_boxes(boxes, quarter, shift), _turn_views(views, quarter, shift)
        inside = (
            np.abs(moved["points"].reshape(6, 3).numpy() - turned[:, :3])
            <= turned[:, 3:] / 2 + 1e-5
        )
        assert inside.all()
        torch.testing.assert_close(moved["rays"].norm(dim=-1), torch.ones(1, 1, 6))
        torch.testing.assert_close(in_camera(moved), seen)


def in_camera(views):
    pose = views["poses"][0, 0]
    return (views["points"][0, 0] - pose[:3, 3]) @ pose[:3, :3]


def test_disturbed_boxes_stay_boxes():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(-2, 2, (50, 3)), rng.uniform(0.03, 1, (50, 3))], axis=1)
    for _ in range(20):
        assert (disturb(boxes, rng)[:, 3:] >= 0.02).all()
        extra = false_boxes(boxes, rng, 1.2)
        assert extra.shape[1] == 6 and len(extra) <= 60 and (extra[:, 3:] > 0).all()


def test_resuming_after_a_stop_gives_the_same_weights(tmp_path, monkeypatch):
    whole = settings(tmp_path, out=str(tmp_path / "whole"))
    trainer.train(whole)
    stopped = settings(tmp_path, out=str(tmp_path / "stopped"))

    def pull_the_plug(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "save_model", pull_the_plug)
        with pytest.raises(KeyboardInterrupt):
            trainer.train(stopped)
    assert (tmp_path / "stopped/last/step").read_text() == "2"
    trainer.train(stopped)
    one, other = (load_model(tmp_path / name / "model")[0] for name in ("whole", "stopped"))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_configuration_errors_name_the_key(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("model: m\nout: o\nstpes: 3\n")
    with pytest.raises(ConfigError, match=r"train\.yaml: stpes"):
        load_train_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_train_config(tmp_path / "absent.yaml")
