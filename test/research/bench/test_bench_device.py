"""The device benchmark on the CPU, with a small network."""

import pytest
import torch
import yaml

from helpers.small_model import small_config
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.bench.network import bench_device, random_network


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
