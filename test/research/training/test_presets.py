"""Presets: the published count of trainable parameters, part by part; what learns, what stays."""

import json

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from helpers.small_model import small_config, small_model, small_scene
from spatial3d_ros.__main__ import app
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.config import load_config
from spatial3d_ros.model.tokens import SPECIAL_TOKENS
from spatial3d_ros.research.training.adapters import load_adapter, merge_adapter, save_adapter
from spatial3d_ros.research.training.config import LossWeights
from spatial3d_ros.research.training.objective import Objective
from spatial3d_ros.research.training.presets import apply_preset, load_preset, trainable_table
from spatial3d_ros.resources import config_path

PUBLISHED = {  # millions, METHODS 1.11
    "LLM blocks": 932.23,
    "token embeddings": 543.51,
    "LLM LoRA": 161.48,
    "vision LoRA": 33.49,
    "grounding head": 51.41,
    "projector": 16.98,
    "guidance input": 3.97,
    "ray code": 1.84,
    "structure": 22.58,
}


def info(*arguments):
    return CliRunner().invoke(app, ["info", *arguments])


def test_paper_trains_exactly_what_was_published():
    table = trainable_table("llava_video_7b", "paper")
    assert table["parts"] == PUBLISHED
    assert table["total"] == 1767.50


def test_info_prints_the_table():
    result = info("--model", "llava_video_7b", "--train", "paper", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["parts"] == PUBLISHED
    assert printed["total"] == 1767.5
    shown = info("--train", "tiny").stdout
    assert "structure" in shown
    assert "LoRA" not in shown
    assert isinstance(info("--train", "nothing").exception, ConfigError)
    assert info().exit_code == 2


def test_paper_sets_the_switches_of_the_release():
    base = load_config(config_path("models/llava_video_7b.yaml"))
    config = load_preset("paper").configure(base)
    assert config.object_tokens == "none"
    assert config.slim.objects == "causal"
    assert not config.slim.inst
    assert config.s2.se.grouping == "release"
    assert config.s2.sg.enabled
    assert config.text.vocab == 151_649
    assert config.vision == base.vision
    assert config.s2.mpe == base.s2.mpe
    assert config.s2.sg.backend == "own"
    lite = load_preset("lite").configure(base)
    assert lite.s2.category_mode == "generate"
    s2 = lite.s2.model_copy(update={"category_mode": base.s2.category_mode})
    assert lite.model_copy(update={"s2": s2}) == base


def test_lite_is_a_fraction_of_paper():
    lite = trainable_table("llava_video_7b", "lite")
    assert "LLM blocks" not in lite["parts"]
    assert lite["parts"]["token embeddings"] == round(102 * 3584 / 1e6, 2)
    assert lite["total"] < 0.4 * 1767.5


def all_groups(groups):
    return [parameter for group in groups for parameter in group["params"]]


def test_tiny_trains_everything_once():
    model, _ = small_model()
    groups = apply_preset(model, load_preset("tiny"))
    learnt = all_groups(groups)
    assert {id(p) for p in learnt} == {id(p) for p in model.parameters()}
    assert len(learnt) == len({id(p) for p in learnt})
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decays[id(model.projector[0].weight)] == 0.01
    assert decays[id(model.projector[0].bias)] == 0.0
    assert decays[id(model.decoder.embed.weight)] == 0.0
    assert {group["factor"] for group in groups} == {1.0}


def objective(preset):
    config = preset.configure(small_config())
    model, prompt = small_model(
        **{name: getattr(config, name) for name in type(config).model_fields}
    )
    return Objective(model, prompt, LossWeights())


def test_lite_moves_only_adapters_new_words_and_our_own_parts():
    whole = objective(load_preset("lite"))
    model, prompt = whole.model, whole.prompt
    groups = apply_preset(whole, load_preset("lite"))
    before = {name: value.clone() for name, value in model.named_parameters()}
    scene = model.encode_scene(small_scene(), prompt.tokens)
    words = prompt.batch([prompt.grounding("the red chair <OBJ003>")], [0])
    reading = model.train()(scene, words, prompt.tokens)
    (reading.scores.sum() + reading.states.square().sum()).backward()
    torch.optim.AdamW(groups, lr=1e-2).step()
    moved = {n for n, value in model.named_parameters() if not torch.equal(value, before[n])}
    frozen = {n for n in moved if n.startswith(("vision.", "decoder."))}
    assert all(".lora_" in n or n == "decoder.qwen.embed_tokens.rows" for n in frozen)
    assert any("lora_B" in n and n.startswith("vision.") for n in moved)
    assert any("lora_B" in n and n.startswith("decoder.") for n in moved)
    assert "decoder.qwen.embed_tokens.rows" in moved
    assert "newline" not in moved
    assert {"head.query.0.weight", "projector.0.weight", "structure.inter.qkv.weight"} <= moved
    rows = model.decoder.embed.ids
    assert [prompt.tokenizer.id_to_token(i) for i in rows] == list(SPECIAL_TOKENS[2:])


def test_what_lite_learnt_travels_as_an_adapter(tmp_path):
    whole = objective(load_preset("lite"))
    model, prompt = whole.model, whole.prompt
    groups = apply_preset(whole, load_preset("lite"))
    torch.manual_seed(3)
    for value in all_groups(groups):
        value.data += 0.05 * torch.randn_like(value)
    save_adapter(tmp_path, model, torch.float32)
    robot = small_model()[0]
    load_adapter(tmp_path, robot)
    merge_adapter(robot)
    words = prompt.batch([prompt.grounding("the red chair <OBJ003>")], [0])
    with torch.no_grad():
        scores = [
            network(network.encode_scene(small_scene(), prompt.tokens), words, prompt.tokens).scores
            for network in (model.eval(), robot, small_model()[0])
        ]
    assert torch.allclose(scores[0], scores[1], atol=1e-3)
    assert not torch.allclose(scores[0], scores[2], atol=1e-1)


def test_vision_adapters_learn_ten_times_as_fast():
    whole = objective(load_preset("lite"))
    groups = apply_preset(whole, load_preset("lite"))
    fast = {id(p) for group in groups if group["factor"] == 10.0 for p in group["params"]}
    assert fast == {
        id(p) for n, p in whole.named_parameters() if ".lora_" in n and ".vision." in f".{n}"
    }
    assert {group["lr"] for group in groups} == {2e-5, 2e-4}


def test_paper_on_a_small_network_frees_the_last_blocks():
    recipe = load_preset("paper").model_copy(update={"last_blocks": 1})
    recipe.model["s2"]["sg"].update(width=8)
    recipe.model["text"].update(vocab=600)
    whole = objective(recipe)
    apply_preset(whole, recipe)
    learnt = {name for name, value in whole.named_parameters() if value.requires_grad}
    assert "guidance.input.base_layer.weight" in learnt
    assert "guidance.input.lora_A.default.weight" in learnt
    assert "model.decoder.qwen.layers.1.mlp.up_proj.base_layer.weight" in learnt
    assert "model.decoder.qwen.layers.0.mlp.up_proj.base_layer.weight" not in learnt
    assert "model.decoder.qwen.layers.0.mlp.up_proj.lora_A.default.weight" in learnt
    assert "model.decoder.qwen.embed_tokens.weight" in learnt
    assert {"model.newline", "model.decoder.qwen.norm.weight"}.isdisjoint(learnt)


def test_what_trains_is_float32_beside_a_half_precision_base():
    model = small_model()[0].to(torch.bfloat16)
    learnt = all_groups(apply_preset(model, load_preset("lite")))
    assert {p.dtype for p in learnt} == {torch.float32}
    assert model.decoder.qwen.norm.weight.dtype == torch.bfloat16


def test_wrong_presets_name_file_and_key(tmp_path):
    path = tmp_path / "mine.yaml"
    for text, words in (
        ("lr: 1", r"mine\.yaml: lr: Extra inputs"),
        ("lora: {rank: 0}", r"lora\.rank"),
        ("lora: {rank: 4}", "frozen decoder"),
        ("- 1", "cannot be read as a preset"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            load_preset(path)
    with pytest.raises(ConfigError, match=r"presets/mine\.yaml"):
        load_preset("mine")
    path.write_text("model: {slim: {k_mni: 2}}")
    with pytest.raises(ConfigError, match=r"small with preset mine: slim\.k_mni"):
        load_preset(path).configure(small_config())
    path.write_text("frozen: [vision, projector]")
    with pytest.raises(ConfigError, match="no parameter is trained"):
        apply_preset(_OnlyProjector(), load_preset(path))


class _OnlyProjector(nn.Module):
    """A network of which a preset freezes all."""

    def __init__(self):
        super().__init__()
        self.projector = nn.Linear(2, 2)
        self.decoder = nn.Module()
        self.decoder.qwen = nn.Module()
        self.decoder.qwen.layers = nn.ModuleList()


def test_rows_of_new_words_need_adapters(tmp_path):
    path = tmp_path / "rows.yaml"
    path.write_text("frozen: [decoder]\nwords: new\n")
    with pytest.raises(ConfigError, match=r"words: new requires lora"):
        load_preset(path)
