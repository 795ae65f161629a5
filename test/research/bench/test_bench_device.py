"""The device benchmark on the CPU, with a small network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from helpers.small_model import small_config
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.bench import gpu_check as measured
from spatial3d_ros.research.bench.gpu_check import gpu_check
from spatial3d_ros.research.bench.network import bench_device, random_network

ROOT = Path(__file__).resolve().parents[3]


def test_results_of_a_small_network(tmp_path):
    config = small_config(text={**small_config().text.model_dump(), "vocab": 2048})
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    result = bench_device(str(path), views=(1, 3), repeats=1, device="cpu")
    assert result["model"] == "small" and result["dtype"] == "float32"
    assert result["matrix_tflops"] > 0
    one, three = result["1_views"], result["3_views"]
    assert 0 < one["scene_tflop"] < three["scene_tflop"]
    assert one["question_ms"] > 0 and 0 < one["scene_share"] < 1


def test_a_network_is_built_in_its_own_format():
    network = random_network(small_config(), torch.device("cpu"), torch.bfloat16)
    assert network.decoder.embed.weight.dtype == torch.bfloat16
    assert network.objects.norm.weight.dtype == torch.float32
    assert torch.get_default_dtype() == torch.float32


def test_an_unknown_model_is_named():
    with pytest.raises(ConfigError, match="no_such_model"):
        bench_device("no_such_model")


def test_the_gpu_check_runs_on_a_cpu_with_a_small_network(tmp_path):
    small = ROOT / "config/models/ablation.yaml"
    options = ["--device", "cpu", "--model", small, "--views", "2", "--questions", "6"]
    made = subprocess.run(
        [ROOT / "scripts/gpu_check.sh", *options, "--repeats", "1"],
        env={**os.environ, "OUT": str(tmp_path / "found.json"), "PYTHON": sys.executable},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["tiny"]["same_answers"] == found["tiny"]["questions"] == 6
    large = found[f"{small} bfloat16"]["2_views"]
    assert large["question_ms"] > 0
    assert large["estimated_gib"] > 0
    step = found["training step lite"]
    assert step["seconds"] > 0
    assert step["loss"] > 0


def test_without_a_gpu_the_check_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no CUDA device is found"):
        gpu_check()


def test_a_part_that_fails_leaves_the_others(monkeypatch):
    monkeypatch.setattr(measured, "same_answers", lambda *_: {"same_answers": 1})

    def full(*_: object) -> None:
        raise RuntimeError("out of memory\nmore")

    monkeypatch.setattr(measured, "bench_device", full)
    monkeypatch.setattr(measured, "training_step", lambda *_: {"seconds": 1.0})
    found = gpu_check("x", device="cpu")
    assert found["x bfloat16"] == {"error": "out of memory"}
    assert found["training step lite"] == {"seconds": 1.0}
