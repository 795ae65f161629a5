"""The public benchmarks on scans with views: the network sees pixels, no labels, and chooses among
true boxes or proposals.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from helpers.small_model import small_model, small_tokenizer
from spatial3d_ros.__main__ import app
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.research.datasets.box_sources import ScanBoxes
from spatial3d_ros.research.datasets.boxes_only import BoxRoom
from spatial3d_ros.research.evaluation.public.scan_runner import GIVEN, ScanSetup

VAL = "scene0002_00"
TEXTS = ["the red chair next to the table", "the blue lamp on the shelf"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights trained, as their configuration says, to generate the category."""
    folder = tmp_path_factory.mktemp("weights")
    s2 = {
        "se": {"heads": 2, "init": "default"}, "mpe": {"ray_hidden": 8},
        "category_mode": "generate",
    }  # fmt: skip
    model, _ = small_model(s2=s2, tasks=("ground", "ask", "caption"))
    save_model(folder, model, small_tokenizer(), torch.float32)
    return folder


def evaluate(*arguments: object) -> dict:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def files(scannet: Path) -> dict[str, list[object]]:
    sqa = "sqa3d/v1_balanced_{}_val_scannetv2.json"
    described = scannet / "scanrefer/ScanRefer_filtered_val.json"
    return {
        "scanrefer": ["--utterances", described, "--unique-by", "annotated"],
        "referit3d": ["--utterances", scannet / "referit3d/nr3d_val.csv"],
        "multi3drefer": ["--descriptions", scannet / "multi3drefer/multi3drefer_val.json"],
        "scanqa": ["--questions", scannet / "scanqa/ScanQA_v1.0_val.json"],
        "sqa3d": [
            "--questions", scannet / sqa.format("questions"),
            "--annotations", scannet / sqa.format("sqa_annotations"),
        ],
        "scan2cap": ["--descriptions", described],
    }  # fmt: skip


@pytest.mark.parametrize(
    "benchmark", ["scanrefer", "referit3d", "multi3drefer", "scanqa", "sqa3d", "scan2cap"]
)
def test_every_benchmark_runs_on_views_and_proposals(
    scannet: Path, weights: Path, benchmark: str
) -> None:
    report = evaluate(
        benchmark, "--scans", scannet / "scans", "--proposals", scannet / "mask3d",
        "--model", weights, "--views", 3, *files(scannet)[benchmark],
    )  # fmt: skip
    assert report["samples"]["evaluated"] > 0
    assert report["samples"]["absent"]["count"] == 0
    assert report["settings"]["views"] == "3 of each scene, uniform"
    assert report["settings"]["category_mode"] == "generate"
    if benchmark in ("scanrefer", "referit3d"):
        assert set(report["scores"]["network"]["overall"]) == {"n", "acc@0.25", "acc@0.5"}
    else:
        assert "mask3d (top 50, IoU below 0.9)" in report["settings"]["boxes"]


def scores(setup: ScanSetup, weights: Path, room: BoxRoom) -> torch.Tensor:
    return setup.load(str(weights)).scores(room, TEXTS, ["chair", "lamp"])


def test_pixels_move_the_scores_and_labels_do_not(
    scannet: Path, weights: Path, tmp_path: Path
) -> None:
    shutil.copytree(scannet / "scans" / VAL, tmp_path / VAL)
    setup = ScanSetup(tmp_path, views=3, category_mode="none")
    room = setup.truth.rooms([VAL])[VAL]
    seen = scores(setup, weights, room)
    renamed = [item.model_copy(update={"label": "piano"}) for item in room.objects]
    other = room.model_copy(update={"objects": tuple(renamed)})
    assert torch.equal(scores(setup, weights, other), seen)
    for path in (tmp_path / VAL / "color").iterdir():
        cv2.imwrite(str(path), np.zeros_like(cv2.imread(str(path))))
    dark = scores(setup, weights, room)
    assert dark.shape == seen.shape
    assert (dark - seen).abs().max() > 1e-3


def test_the_true_category_is_given_only_when_asked_for_and_marked(
    scannet: Path, weights: Path
) -> None:
    scans = scannet / "scans"
    room = ScanBoxes(scans).rooms([VAL])[VAL]
    generate, given = (ScanSetup(scans, views=2, category_mode=m) for m in ("generate", "given"))
    assert ScanSetup(scans).load(str(weights)).settings["category_mode"] == "generate"
    assert given.load(str(weights)).settings["category_mode"] == GIVEN
    assert not torch.allclose(scores(generate, weights, room), scores(given, weights, room))
    runner = given.load(str(weights))
    told = [runner.scores(room, TEXTS, names) for names in (["chair"] * 2, ["table"] * 2)]
    assert not torch.allclose(*told)
    with pytest.raises(ConfigError, match="'best' is unknown; use none, generate, given"):
        ScanSetup(scans, category_mode="best")  # type: ignore[arg-type]


def test_scans_that_are_missing_are_counted_and_none_is_an_error(
    scannet: Path, weights: Path, tmp_path: Path
) -> None:
    asked = files(scannet)["scanqa"]
    shutil.copytree(scannet / "scans/scene0000_00", tmp_path / "scene0000_00")
    with pytest.raises(ConfigError, match="no entry is about the 0 scenes"):
        evaluate("scanqa", "--scans", tmp_path, "--model", weights, *asked)
    with pytest.raises(ConfigError, match="no such folder"):
        evaluate("scanqa", "--scans", tmp_path / "nowhere", "--model", weights, *asked)
    for wrong in (["--proposals", scannet], ["--category-mode", "given"]):
        made = CliRunner().invoke(app, ["evaluate", "scanqa", *map(str, [*asked, *wrong])])
        assert made.exit_code == 2
