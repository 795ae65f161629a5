"""The recipe of the large network on small shapes: guidance trained first and frozen, optimiser
states of 8 bits, costs planned before the run.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from helpers.scan_training import scan_settings
from spatial3d_ros.__main__ import app
from spatial3d_ros.errors import CheckpointError, ConfigError, NotAvailableError
from spatial3d_ros.research.training.config import TrainConfig
from spatial3d_ros.research.training.optimizer import make_optimizer, set_rate
from spatial3d_ros.research.training.plan import plan
from spatial3d_ros.research.training.reconstruction import GUIDANCE
from spatial3d_ros.research.training.trainer import train
from spatial3d_ros.resources import config_path

SG = {"width": 16, "layers": 2, "heads": 2}


def preset(tmp_path: Path, name: str) -> str:
    """The shipped preset with a small decoder of guidance."""
    values = yaml.safe_load(Path(config_path(f"train/presets/{name}.yaml")).read_text())
    values["model"]["s2"]["sg"] |= SG
    values["model"].pop("text", None)
    values |= {"last_blocks": 1} if name == "paper" else {}
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def write(config: TrainConfig, tmp_path: Path) -> str:
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return str(path)


def losses(folder: Path, name: str) -> list[float]:
    return [float(r[name]) for r in csv.DictReader((folder / "metrics.csv").open())]


def test_paper_trains_with_a_frozen_decoder_that_was_trained_before(
    scannet: Path, tmp_path: Path
) -> None:
    only_grounding = {
        "scanrefer": str(scannet / "scanrefer/ScanRefer_filtered_train.json"),
        "referit3d": [], "multi3drefer": None, "scanqa": None, "sqa3d": None, "scan2cap": None,
    }  # fmt: skip
    scans = {"train": only_grounding, "held_out": only_grounding}
    common = {"noise": {"boxes": False}, "scans": scans}
    before = {"preset": preset(tmp_path, "guidance"), "out": str(tmp_path / "guidance")}
    first = train(scan_settings(scannet, tmp_path, steps=12, lr=3e-3, **common, **before))
    curve = losses(tmp_path / "guidance", "scans/guide")
    assert sum(curve[-4:]) < sum(curve[:4])  # it learns
    assert {path.name for path in first.iterdir()} == {GUIDANCE}
    assert not list(tmp_path.glob("guidance/validation_*"))

    paper = {"preset": preset(tmp_path, "paper"), "out": str(tmp_path / "paper")} | common
    with pytest.raises(ConfigError, match="freezes the decoder of guidance, so it needs a trained"):
        train(scan_settings(scannet, tmp_path, **paper))
    trained = str(first / GUIDANCE)
    config = scan_settings(scannet, tmp_path, guidance=trained, checkpointing=True, **paper)
    adapter = train(config)
    assert losses(tmp_path / "paper", "scans/guide")[-1] > 0
    assert {path.name for path in adapter.iterdir()} == {"adapter.safetensors", "config.yaml"}
    with pytest.raises(CheckpointError, match=r"missing, unknown or of another shape"):
        other = yaml.safe_load(Path(paper["preset"]).read_text())
        other["model"]["s2"]["sg"]["layers"] = 3
        Path(paper["preset"]).write_text(yaml.safe_dump(other))
        train(scan_settings(scannet, tmp_path, guidance=trained, **paper))


def test_the_plan_counts_what_is_trained() -> None:
    path = str(config_path("train/llava_video_7b_paper.yaml"))
    made = CliRunner().invoke(app, ["train", path, "--plan", "--card", "RTX4090", "--json"])
    assert made.exit_code == 0, made.output
    found = json.loads(made.stdout)
    assert found["bytes"]["trained weights"] / 4e6 == pytest.approx(1767.50, abs=0.005)  # published
    assert found["bytes"]["optimiser states"] * 2 == found["bytes"]["gradients"]
    assert not found["fits"]
    assert 0 < found["seconds"] * 3000 / 86400 == pytest.approx(found["days"])


def test_the_plan_scales_with_cards_and_refuses_what_it_cannot_count(
    scannet: Path, tmp_path: Path
) -> None:
    config = scan_settings(scannet, tmp_path)
    shown = CliRunner().invoke(app, ["train", write(config, tmp_path), "--plan"])
    assert "fits" in shown.output
    one, two, sharded = plan(config), plan(config, cards=2), plan(config, cards=2, sharded=True)
    assert two.operations == pytest.approx(one.operations / 2)
    assert two.bytes["gradients"] == one.bytes["gradients"]
    assert sharded.bytes["gradients"] == one.bytes["gradients"] // 2
    eight = plan(config.model_copy(update={"optimizer_bits": 8}))
    assert eight.bytes["optimiser states"] * 4 == one.bytes["optimiser states"]
    with pytest.raises(ConfigError, match="'P4' is unknown; use A100"):
        plan(config, "P4")
    scans = config.scans.model_copy(update={"batch": 0})
    with pytest.raises(ConfigError, match="no scenes with views"):
        plan(config.model_copy(update={"scans": scans}))


def test_optimiser_states_of_8_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = torch.nn.Linear(128, 128)
    groups = [{"params": list(layer.parameters()), "lr": 1e-3, "weight_decay": 0.0}]
    with monkeypatch.context() as absent:
        absent.setitem(__import__("sys").modules, "torchao.optim", None)
        with pytest.raises(NotAvailableError, match=r"needs torchao: pip install"):
            make_optimizer(groups, 1e-3, 8)
    pytest.importorskip("torchao", reason="torchao (extra quantize) is not installed")
    optimizer = make_optimizer(groups, 1e-3, 8)
    before = layer.weight.detach().clone()
    set_rate(optimizer.param_groups[0], 1e-2)
    layer(torch.ones(1, 128)).square().mean().backward()
    optimizer.step()
    assert (layer.weight - before).abs().max().item() == pytest.approx(1e-2, rel=0.2)
    assert optimizer.state[layer.weight]["exp_avg"].codes.dtype == torch.uint8
