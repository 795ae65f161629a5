"""Stress: boxes are disturbed as it says, and every level is asked the same."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.small_model import small_config, small_tokenizer
from spatial3d_ros.categories import CATEGORIES, COLORS
from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.research.experiments import robustness as stress
from spatial3d_ros.research.experiments.ablations import Stress, kept_report
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.training.augmentation import shift_faces
from spatial3d_ros.research.training.config import TrainConfig
from spatial3d_ros.research.training.samples import Samples
from spatial3d_ros.tasks.prompt import Prompt

NETWORK = small_config(names={"classes": list(CATEGORIES), "colors": list(COLORS)})
LEVELS = Stress(
    of=("full",), views=(1, 3), jitter=(0.0, 0.3), missed=(0.0, 1.0),
    split=(0.0, 1.0),
)  # fmt: skip


def training(folder):
    return TrainConfig(
        model="m", out="o", workers=1, rendered={"folder": str(folder), "views": 2},
        boxes={"questions": 5}, validation={"rooms": 2, "questions": 4},
    )  # fmt: skip


@pytest.fixture
def samples(tmp_path):
    return Samples(training(tmp_path), NETWORK, Prompt(small_tokenizer()), None, split="test")


@pytest.fixture
def room(samples):
    return samples.boxes_room(850_001, np.random.default_rng(0))


def volume(boxes):
    return boxes[:, 3:].prod(1)


def test_jitter_moves_every_face_by_its_share_at_most(room):
    assert np.allclose(shift_faces(room.boxes, 0.0, np.random.default_rng(0)), room.boxes)
    shaken = shift_faces(room.boxes, 0.3, np.random.default_rng(0))
    for sign in (-1, 1):
        moved = (shaken[:, :3] + sign * shaken[:, 3:] / 2) - (
            room.boxes[:, :3] + sign * room.boxes[:, 3:] / 2
        )
        share = np.abs(moved) / room.boxes[:, 3:]
        assert share.max() <= 0.3 + 1e-9 and share.mean() == pytest.approx(0.15, abs=0.03)


def test_a_split_box_becomes_two_that_fill_it(room):
    same, whole = stress.split(room, 0.0, np.random.default_rng(0))
    assert np.array_equal(same.boxes, room.boxes) and (whole == np.arange(len(whole))).all()
    cut, whole = stress.split(room, 1.0, np.random.default_rng(0))
    assert len(cut.boxes) == 2 * len(room.boxes) and cut.owners.count(None) == len(room.boxes)
    for slot, owner in enumerate(room.owners):
        large = cut.owners.index(owner)
        (small,) = set(np.flatnonzero(whole == large)) - {large}
        parts = cut.boxes[[large, small]]
        assert volume(parts)[0] >= volume(parts)[1] >= 0.29 * volume(parts).sum()
        low, high = (
            (parts[:, :3] - parts[:, 3:] / 2).min(0),
            (parts[:, :3] + parts[:, 3:] / 2).max(0),
        )
        assert np.allclose(np.append((low + high) / 2, high - low), room.boxes[slot])
        assert volume(parts).sum() == pytest.approx(room.boxes[slot, 3:].prod())
    partly, _ = stress.split(room, 0.3, np.random.default_rng(0))
    assert len(room.boxes) < len(partly.boxes) < 2 * len(room.boxes)


def test_both_parts_of_a_split_target_can_count(samples, room):
    cut, whole = stress.split(room, 1.0, np.random.default_rng(0))
    smaller = replace(room, boxes=room.boxes[:3], owners=room.owners[:3], questions=[])
    sample = samples.collate([smaller, cut])
    both = stress.with_both_parts(sample, [np.arange(3), whole])
    fits = ~sample.targets[:, -1]
    assert fits.any() and torch.equal(both.targets[:, -1], sample.targets[:, -1])
    assert (both.targets.sum(1)[fits] == 2 * sample.targets.sum(1)[fits]).all()
    assert (both.targets | ~sample.targets).all()


def test_what_is_missed_is_never_the_target(room):
    for share, most in ((0.0, len(room.boxes)), (1.0, 2)):
        rooms = stress._missed(share)(room, np.random.default_rng(0))
        assert len(rooms) == len(room.questions)
        for question, left in zip(room.questions, rooms, strict=True):
            ids = {owner.id for owner in left.owners}
            assert {*question.targets, *question.second} <= ids and left.questions == [question]
            assert len(left.boxes) == len(left.owners) <= most


def test_views_that_show_most_come_first():
    seen = np.array([[9, 0, 0, 0], [0, 5, 7, 0], [9, 5, 7, 0], [0, 0, 0, 1]])
    order = stress.order_by_new_objects(SimpleNamespace(seen=seen))
    assert order.tolist()[:2] == [2, 3] and sorted(order) == [0, 1, 2, 3]


def test_every_level_asks_the_same_questions(tmp_path):
    torch.manual_seed(0)
    config = training(tmp_path / "rooms")
    with pytest.raises(CheckpointError, match="missing"):
        stress.measure_run(tmp_path / "run", config, LEVELS)
    save_model(tmp_path / "run/model", SpatialModel(NETWORK), small_tokenizer(), torch.float32)
    assert kept_report(tmp_path / "run", LEVELS) is None
    stress.measure_run(tmp_path / "run", config, LEVELS)
    report = kept_report(tmp_path / "run", LEVELS)
    report = {kind: found for kind, found in report.items() if found}
    assert list(report) == ["views", "jitter", "missed", "split", "split, either part"]
    asked = {level["rendered"]["n"] for kind in report.values() for level in kind.values()}
    assert len(asked) == 1 and asked.pop() >= 8
    calm = [report[kind]["0.0"]["rendered"] for kind in ("jitter", "missed", "split")]
    assert calm[0] == calm[1] == calm[2]
    strict, either = (report[k]["1.0"]["rendered"] for k in ("split", "split, either part"))
    assert strict["accuracy"] <= either["accuracy"]
    fewer = LEVELS.model_copy(update={"jitter": (0.0,)})
    assert kept_report(tmp_path / "run", fewer) is None
    others = LEVELS.model_copy(update={"of": ("full", "again")})
    assert kept_report(tmp_path / "run", others) == report | {"crowded": {}}


def test_rooms_of_the_fixture_have_something_to_ask(room):
    assert len(generate_room(850_001).objects) == len(room.boxes) >= 5 and len(room.questions) == 5


def test_crowded_rooms_need_no_pictures(tmp_path):
    save_model(tmp_path / "run/model", SpatialModel(NETWORK), small_tokenizer(), torch.float32)
    levels = Stress(of=("full",), views=(), jitter=(), missed=(), split=(), crowded=(12, 40))
    stress.measure_run(tmp_path / "run", training(tmp_path / "no rooms"), levels)
    report = kept_report(tmp_path / "run", levels)
    assert list(report["crowded"]) == ["12", "40"]
    assert all(scores["boxes"]["n"] > 0 for scores in report["crowded"].values())
    assert not any(report[kind] for kind in ("views", "jitter", "missed", "split"))
