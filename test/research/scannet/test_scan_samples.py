"""Training on ScanNet scenes with views: what a sample holds, whether the network learns from the
pixels, and the features of a frozen tower on disk.
"""

from __future__ import annotations

import csv
import errno
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.scan_training import scan_settings
from helpers.small_model import small_config, small_tokenizer
from spatial3d_ros.errors import ConfigError, StorageError
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.checkpoint import load_model
from spatial3d_ros.research.datasets.annotations import AnnotationFiles
from spatial3d_ros.research.datasets.scannet_objects import read_scannet_objects
from spatial3d_ros.research.training.config import TrainConfig
from spatial3d_ros.research.training.sample import Sample
from spatial3d_ros.research.training.samples import Samples
from spatial3d_ros.research.training.scan_samples import ScanSamples, scan_fields
from spatial3d_ros.research.training.trainer import train
from spatial3d_ros.tasks.prompt import Prompt


def samples(config: TrainConfig, noise: bool = False) -> ScanSamples:
    return ScanSamples(config.scans, small_config(), config.scans.train, noise)


def sample(scans: ScanSamples, *seeds: int) -> Sample:
    drawn = [scans.draw(np.random.default_rng(seed)) for seed in seeds]
    prompt = Prompt(small_tokenizer(), "generate")
    return Sample(**scan_fields(drawn, prompt, small_config().names))


def test_a_sample_has_the_views_boxes_and_questions_of_its_scene(
    scannet: Path, tmp_path: Path
) -> None:
    scans = samples(scan_settings(scannet, tmp_path))
    drawn = scans.draw(np.random.default_rng(0))
    scene = drawn.questions[0].scene_id
    room = read_scannet_objects(scannet / "scans" / scene)
    assert sorted(drawn.ids) == sorted(room.slots)
    slots = [room.slots[i] for i in drawn.ids]
    np.testing.assert_allclose(drawn.boxes[:, :3] + room.origin, room.boxes[slots, :3], atol=1e-6)
    made = sample(scans, 0, 1)
    assert made.origin == "scans"
    assert made.scenes.points is not None
    assert made.scenes.points.shape[:2] == (2, 3)
    assert made.scenes.labels is None
    assert made.scenes.colors is None
    assert made.answers is not None
    assert made.counts["guide"] == 6
    asked = [q for q in drawn.questions if q.grounds]
    for question, target in zip(asked, made.targets, strict=False):
        ids = {drawn.ids[k] for k in target[: len(drawn.ids)].nonzero()[:, 0].tolist()}
        assert ids == set(question.targets)
    # Points of the views lie inside the boxes of the scene, so both are in one frame.
    points = made.scenes.points[0][made.scenes.views.valid[0]]
    low = made.scenes.boxes[0, :, :3] - made.scenes.boxes[0, :, 3:] / 2
    high = made.scenes.boxes[0, :, :3] + made.scenes.boxes[0, :, 3:] / 2
    inside = ((points[:, None] >= low - 0.05) & (points[:, None] <= high + 0.05)).all(-1).any(-1)
    assert inside.float().mean() > 0.3


def test_disturbed_samples_move_views_and_boxes_together(scannet: Path, tmp_path: Path) -> None:
    plain, moved = (
        sample(samples(scan_settings(scannet, tmp_path), noise), 3) for noise in (False, True)
    )
    assert not torch.allclose(plain.scenes.boxes, moved.scenes.boxes)

    def membership(batch: SceneBatch) -> torch.Tensor:
        points = batch.views.points[batch.views.valid]
        offset = (points[:, None] - batch.boxes[0, :, :3]).abs()
        return (offset <= batch.boxes[0, :, 3:] / 2 + 0.05).all(-1).float().mean(0)

    assert torch.allclose(membership(plain.scenes).sum(), membership(moved.scenes).sum(), rtol=0.35)


def test_training_logs_every_loss_and_leaves_a_model(scannet: Path, tmp_path: Path) -> None:
    config = scan_settings(scannet, tmp_path)
    folder = train(config)
    rows = list(csv.DictReader((tmp_path / "out/metrics.csv").open()))
    for name in ("ground", "lang", "guide", "answer", "about"):
        assert float(rows[-1][f"scans/{name}"]) > 0
    scores = json.loads((tmp_path / "out/validation_000002.json").read_text())
    assert {"scans", "scans/scanrefer", "answers/scans/ask/scanqa"} <= scores.keys()
    assert scores["scans/scanrefer"] == scores["scans"]  # the only benchmark that grounds
    model, _ = load_model(folder)
    assert model.config.tasks == ("ground", "ask", "caption")
    assert model.config.s2.category_mode == "generate"


def test_without_views_the_same_network_trains_on_boxes_alone(
    scannet: Path, tmp_path: Path
) -> None:
    train(scan_settings(scannet, tmp_path, scans={"views": 0}))
    (row, *_) = csv.DictReader((tmp_path / "out/metrics.csv").open())
    assert float(row["scans/ground"]) > 0 and not row.get("scans/guide")
    assert not any(value for name, value in row.items() if name.startswith("features/"))


def test_features_of_a_frozen_tower_come_from_disk(
    scannet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "frozen.yaml").write_text("frozen: [vision]\n")
    cached = {"preset": str(tmp_path / "frozen.yaml"), "scans": {"cache": str(tmp_path / "cache")}}
    losses = []
    for name, changes in (("plain", {"preset": cached["preset"]}), ("cached", cached)):
        train(scan_settings(scannet, tmp_path, **changes, steps=1, out=str(tmp_path / name)))
        rows = list(csv.DictReader((tmp_path / name / "metrics.csv").open()))
        losses.append([float(row["loss"]) for row in rows])
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)  # stored in float16
    stored = sorted((tmp_path / "cache").rglob("*.safetensors"))
    assert len(stored) == 3
    stored[0].write_bytes(b"no features")
    with pytest.raises(StorageError, match=r"no readable features .* it is filled again"):
        train(scan_settings(scannet, tmp_path, **cached, out=str(tmp_path / "again")))
    shutil.rmtree(tmp_path / "cache")
    full = SimpleNamespace(free=1000)
    monkeypatch.setattr(
        "spatial3d_ros.research.datasets.scan_views.shutil.disk_usage", lambda _: full
    )
    with pytest.raises(StorageError, match=r"the features need 0.0 GiB, 0.0 are free"):
        train(scan_settings(scannet, tmp_path, **cached, out=str(tmp_path / "full")))
    monkeypatch.undo()

    def fills(tensors: object, path: Path) -> None:  # while the features are written
        path.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("spatial3d_ros.research.datasets.scan_views.save_file", fills)
    with pytest.raises(StorageError, match=r"cannot be written .*No space left.*; free space"):
        train(scan_settings(scannet, tmp_path, **cached, out=str(tmp_path / "filled")))
    assert not list((tmp_path / "cache").rglob("*.*"))
    with pytest.raises(ConfigError, match="trains a part of the vision tower"):
        train(scan_settings(scannet, tmp_path, scans=cached["scans"], out=str(tmp_path / "learns")))


def test_missing_scenes_and_annotations_stop_before_training(scannet: Path, tmp_path: Path) -> None:
    config = scan_settings(scannet, tmp_path)
    scans = tmp_path / "scans"
    shutil.copytree(scannet / "scans/scene0000_00", scans / "scene0000_00")
    with pytest.raises(ConfigError, match="1 of 2 scenes are missing: scene0001_00"):
        samples(scan_settings(scannet, tmp_path, scans={"folder": str(scans)}))
    described = json.loads(Path(config.scans.train.scanrefer or "").read_text())
    described[0]["object_id"] = "99"
    (tmp_path / "described.json").write_text(json.dumps(described))
    wrong = {"train": {"scanrefer": str(tmp_path / "described.json")}, "held_out": {}}
    with pytest.raises(ConfigError, match=r"1 annotations refer to objects .* 99; take scans"):
        samples(scan_settings(scannet, tmp_path, scans=wrong))
    only = AnnotationFiles(scanqa=config.scans.train.scanqa)
    with pytest.raises(ConfigError, match="no annotations to ground"):
        ScanSamples(config.scans, small_config(), only, noise=False)


def test_processes_and_micro_batches_share_the_very_same_step(
    scannet: Path, tmp_path: Path
) -> None:
    config = scan_settings(scannet, tmp_path, scans={"batch": 4})
    network, prompt = small_config(), Prompt(small_tokenizer(), "generate")
    whole = Samples(config, network, prompt, None)[1][0][0].scenes.boxes
    parts = config.model_copy(update={"accumulate": 2})
    dealt = [
        sample.scenes.boxes[0]
        for rank in range(2)
        for micro_batch in Samples(parts, network, prompt, None, share=(rank, 2))[1]
        for sample in micro_batch
    ]
    assert len(dealt) == 4
    for boxes in dealt:  # padded to the largest room of its own batch
        count = len(boxes)
        assert any(torch.equal(boxes, room[:count]) for room in whole)
    with pytest.raises(ConfigError, match=r"scans\.batch: 2 rooms for 4 processes"):
        Samples(scan_settings(scannet, tmp_path), network, prompt, None, share=(0, 4))
