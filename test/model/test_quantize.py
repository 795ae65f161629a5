"""Weights of fewer bits: what is quantised, what it costs in accuracy, what is refused."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from helpers.small_model import small_model, small_scene
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.budget import estimate
from spatial3d_ros.model.checkpoint import load_model, save_model
from spatial3d_ros.model.quantize import (
    check_weights,
    group_size,
    is_quantised,
    place_model,
    stored_dtype,
    weight_bytes,
)
from spatial3d_ros.resources import resource_path
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.prompt import Prompt

CPU = torch.device("cpu")
PHRASES = ("the red chair", "the table", "the lamp next to the bed", "the largest object", "a book")


def scores(model, prompt, dtype=torch.float32):
    words = prompt.batch([prompt.grounding(text) for text in PHRASES], [0] * len(PHRASES))
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        scene = model.encode_scene(small_scene(objects=8), prompt.tokens)
        return model(scene, words, prompt.tokens).scores.float()


def test_the_transformers_change_format_and_geometry_does_not():
    model, prompt = small_model(1)
    reference = scores(model, prompt)
    place_model(model, CPU, torch.bfloat16)
    for name, weight in model.named_parameters():
        tower = name.startswith(("vision.", "decoder."))
        assert weight.dtype == (torch.bfloat16 if tower or weight.dim() > 1 else torch.float32)
        assert weight.dtype == stored_dtype(name, weight, torch.bfloat16)
    assert all(table.dtype != torch.bfloat16 for table in model.buffers())
    near = torch.cosine_similarity(scores(model, prompt, torch.bfloat16), reference)
    assert near.min() > 0.99


def test_float32_keeps_the_weights():
    model, prompt = small_model()
    before = scores(model, prompt)
    assert torch.equal(scores(place_model(model, CPU, torch.float32), prompt), before)


def test_int8_is_close_and_its_bytes_equal_the_estimate():
    pytest.importorskip("torchao", reason="needs the extra 'quantize'")
    model, prompt = small_model()
    reference = scores(model, prompt)
    kinds = {name for name, module in model.named_modules() if is_quantised(name, module)}
    place_model(model, CPU, torch.float32, "int8")
    held = 0
    for name, weight in model.named_parameters():
        small = name.removesuffix(".weight") in kinds
        assert (type(weight).__name__ == "Int8Tensor") == small
        held += weight.qdata.nbytes + weight.scale.nbytes if small else weight.nbytes
    told = estimate(model.config, views=1, dtype=torch.float32, weights="int8").weights
    assert sum(told.values()) == held
    near = torch.cosine_similarity(scores(model, prompt), reference)
    assert 0.99 < near.min() < 1


def test_int8_works_with_bfloat16_and_through_the_model_runner(tmp_path):
    pytest.importorskip("torchao", reason="needs the extra 'quantize'")
    model, prompt = small_model()
    reference = scores(model, prompt)
    save_model(tmp_path, model, prompt.tokenizer, torch.float32)
    reader = ModelRunner.load(str(tmp_path), "cpu", "bfloat16", "int8")
    assert reader.runs_on == "cpu, bfloat16, int8"
    near = torch.cosine_similarity(scores(reader.model, prompt, torch.bfloat16), reference)
    assert near.min() > 0.98


def test_the_shipped_weights_still_choose_alike_with_int8():
    pytest.importorskip("torchao", reason="needs the extra 'quantize'")
    found = []
    for weights in ("auto", "int8"):
        model, tokenizer = load_model(resource_path("weights/tiny"))
        place_model(model, CPU, torch.float32, weights)
        prompt = Prompt(tokenizer)
        words = prompt.batch([prompt.grounding(text) for text in PHRASES], [0] * len(PHRASES))
        scene = small_scene(objects=12)
        boxes_only = type(scene)(boxes=scene.boxes, object_valid=scene.object_valid)
        with torch.inference_mode():
            encoded = model.encode_scene(boxes_only, prompt.tokens)
            found.append(model(encoded, words, prompt.tokens).scores)
    assert torch.cosine_similarity(*found).min() > 0.99


@pytest.mark.parametrize(("inputs", "size"), [(3584, 128), (192, 64), (96, 32), (4304, None)])
def test_groups_of_int4_divide_the_inputs(inputs, size):
    assert group_size(inputs) == size


def test_int4_counts_padding_and_leaves_what_no_group_fits():
    with torch.device("meta"):
        wide, odd = nn.Linear(3584, 18944), nn.Linear(4304, 1152)
    assert weight_bytes(wide, "int4", 2) == 18944 * (4096 // 2 + 4096 // 128 * 4)
    assert weight_bytes(odd, "int4", 2) == weight_bytes(odd, "auto", 2) == 4304 * 1152 * 2
    assert weight_bytes(wide, "int8", 2) == 18944 * (3584 + 4)


def test_what_cannot_be_is_refused_before_loading(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"'int2' is unknown; use auto, int8, int4"):
        check_weights("int2", CPU, torch.float32)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(ConfigError, match=r"torchao.*pip install 'spatial3d_ros\[quantize\]'"):
        ModelRunner.load(str(tmp_path), "cpu", weights="int8")
    check_weights("auto", CPU, torch.float32)


def test_int4_names_the_kernel_it_needs(monkeypatch):
    pytest.importorskip("torchao", reason="needs the extra 'quantize'")
    with pytest.raises(ConfigError, match=r"compute capability 8\.0.*not cpu with bfloat16.*int8"):
        check_weights("int4", CPU, torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 7))
    check_weights("int4", torch.device("cuda"), torch.bfloat16)
    with pytest.raises(ConfigError, match=r"dtype bfloat16, not cuda with float16"):
        check_weights("int4", torch.device("cuda"), torch.float16)
