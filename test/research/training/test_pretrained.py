"""Public LLaVA-Video weights: every layout gives transformers' own logits, every fault is named."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from helpers.llava_checkpoint import (
    config,
    random_llava,
    tokenizer,
    write_checkpoint,
)
from spatial3d_ros.__main__ import app
from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.checkpoint import load_model
from spatial3d_ros.model.config import load_config
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.tokens import GROUND, SPECIAL_TOKENS, START
from spatial3d_ros.research.training.adapters import add_lora, save_adapter
from spatial3d_ros.research.training.pretrained import load_pretrained
from spatial3d_ros.resources import config_path
from spatial3d_ros.tasks.prompt import Prompt


@pytest.fixture(scope="module")
def public():
    return random_llava()


@pytest.fixture(params=["transformers", "prefixed", "original"])
def folder(public, tmp_path, request):
    """A public folder in each layout."""
    write_checkpoint(public, tmp_path, request.param)
    return tmp_path


def views(count):
    pixels = torch.rand(1, count, 3, 40, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return SceneBatch(
        boxes=torch.zeros(1, 0, 6),
        object_valid=torch.zeros(1, 0, dtype=torch.bool),
        pixels=pixels,
        points=torch.zeros(1, count, 40, 40, 3),
        valid=torch.ones(1, count, 40, 40, dtype=torch.bool),
        rays=torch.zeros(1, count, 9, 3),
        view_valid=torch.ones(1, count, dtype=torch.bool),
    )


@torch.no_grad()
def public_logits(public, pixels, before, words):
    """Transformers' towers on LLaVA-Video's layout: pooled rows, the newline after each."""
    inner = public.model
    seen = inner.vision_tower(pixels[0], output_hidden_states=True).hidden_states[-2]
    pooled = inner.apply_pooling(inner.multi_modal_projector(seen)).unflatten(1, (3, 3))
    newline = inner.image_newline.expand(*pooled.shape[:2], 1, -1)
    scene = torch.cat([pooled, newline], dim=2).flatten(0, 2)
    embed = public.get_input_embeddings()
    sequence = torch.cat([embed(before), scene, embed(words)])[None]
    return public(inputs_embeds=sequence).logits[0, -len(words) :]


def test_same_logits_as_transformers(public, folder):
    loaded = load_pretrained(folder, config(), torch.float32)
    model, prompt = loaded.model, Prompt(loaded.tokenizer)
    batch, sentence = views(2), prompt.grounding("the red chair next to the table")
    words = prompt.batch([sentence], [0])
    with torch.no_grad():
        scene = model.encode_scene(batch, prompt.tokens)
        ours = model.decoder.logits(model(scene, words, prompt.tokens).states[0])
    new = prompt.tokenizer.token_to_id("<ground>")
    old = words.ids[0] < new  # rows of new words are not in the public table
    text = torch.cat([prompt.tokens.after, words.ids[0][old]])
    theirs = public_logits(public, batch.pixels, prompt.tokens.before, text)
    theirs = theirs[len(prompt.tokens.after) :]
    assert old.sum() == len(old) - 1
    assert theirs.std() > 0.3
    assert torch.allclose(ours[old][:, :new], theirs[:, :new], atol=1e-4)


def test_fresh_parts_are_listed_and_change_nothing_at_first(folder):
    torch.manual_seed(0)
    loaded = load_pretrained(folder, config(s2={"se": {"heads": 2}}), torch.float32)
    model = loaded.model
    parts = {name.split(".")[0] for name in loaded.fresh}
    assert parts == {
        "structure", "ray", "objects", "edges", "relations", "bias", "readout", "roles", "head",
    }  # fmt: skip
    assert not any(value.is_meta for value in [*model.parameters(), *model.buffers()])
    x = torch.randn(1, 2, 25, 16)
    assert torch.equal(model.structure(x, torch.ones(1, 2, dtype=torch.bool)), x)
    torch.manual_seed(0)
    reference = SpatialModel(model.config)  # drawn in another order, from the same distributions
    for name in loaded.fresh:
        value, drawn = model.get_parameter(name).data, reference.get_parameter(name).data
        assert value.std(correction=0).item() == pytest.approx(
            drawn.std(correction=0).item(), rel=0.5, abs=0.02
        ), name


def test_new_words_start_as_the_mean_of_the_known_ones(public, folder):
    loaded = load_pretrained(folder, config(), torch.float32)
    known = loaded.tokenizer.get_vocab_size() - len(SPECIAL_TOKENS) + 2  # two were there before
    assert loaded.tokenizer.token_to_id("<ground>") == known
    for table, theirs in (
        (loaded.model.decoder.embed, public.get_input_embeddings()),
        (loaded.model.decoder.lm_head, public.get_output_embeddings()),
    ):
        assert len(table.weight) == known + len(SPECIAL_TOKENS) - 2
        assert torch.equal(table.weight[:known], theirs.weight[:known])
        mean = theirs.weight[:known].mean(0)
        assert torch.allclose(table.weight[known:], mean.expand(len(SPECIAL_TOKENS) - 2, -1))
    published = config(
        object_tokens="none",
        head={"object_source": "input"},
        objects={"relation_layers": 0, "decoder_bias": False},
        slim={"objects": "causal", "inst": False},
    )
    grown = load_pretrained(folder, published, torch.float32).model.decoder.embed
    assert len(grown.weight) == known + 2


def test_target_type_and_rotary_precision(folder):
    model = load_pretrained(folder, config(), torch.bfloat16).model
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    assert model.decoder.qwen.rotary_emb.inv_freq.dtype == torch.float32
    assert not model.training


@pytest.fixture
def single(public, tmp_path):
    tokenizer().save(str(tmp_path / "tokenizer.json"))
    public.save_pretrained(tmp_path)
    return tmp_path


def test_every_differing_tensor_is_named(single):
    tensors = load_file(single / "model.safetensors")
    tensors["surplus.weight"] = torch.zeros(1)
    tensors["image_newline"] = torch.zeros(3)
    tensors["language_model.lm_head.weight"] = torch.zeros(100, 24)
    del tensors["vision_tower.encoder.layers.1.mlp.fc1.bias"]
    save_file(tensors, single / "model.safetensors")
    known = tokenizer().get_vocab_size()
    with pytest.raises(CheckpointError) as error:
        load_pretrained(single, config(), torch.float32)
    for words in (
        "surplus.weight is unexpected",
        "image_newline has shape [3], expected [24]",
        f"lm_head.weight has shape [100, 24], expected [{known} or more, 24]",
        "vision.siglip.encoder.layers.1.mlp.fc1.bias (our name) is missing",
    ):
        assert words in str(error.value)


def test_a_fourth_vision_layer_is_not_ours(single):
    tensors = load_file(single / "model.safetensors")
    extra = {
        name.replace("layers.2", "layers.3"): value.clone()
        for name, value in tensors.items()
        if "vision_tower.encoder.layers.2" in name
    }
    save_file(tensors | extra, single / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"layers\.3.* is unexpected.*and 11 more"):
        load_pretrained(single, config(), torch.float32)


def test_missing_shard(public, tmp_path):
    tokenizer().save(str(tmp_path / "tokenizer.json"))
    public.save_pretrained(tmp_path, max_shard_size="30KB")
    shard = sorted(tmp_path.glob("model-0000*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(CheckpointError, match=f"{shard.name}: missing"):
        load_pretrained(tmp_path, config(), torch.float32)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"index\.json: not an index"):
        load_pretrained(tmp_path, config(), torch.float32)


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b"\xff" * 64, lambda b: b""])
def test_damaged_weights(single, damage):
    path = single / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a readable safetensors"):
        load_pretrained(single, config(), torch.float32)


def test_wrong_folders(single, tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json: missing"):
        load_pretrained(tmp_path / "nowhere", config(), torch.float32)
    settings = json.loads((single / "config.json").read_text())
    (single / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
        load_pretrained(single, config(), torch.float32)
    settings["text_config"]["num_key_value_heads"] = 4
    settings["text_config"]["rope_parameters"]["rope_theta"] = 1e6
    (single / "config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=r"num_key_value_heads is 4.* 2; rope_theta is 1000"):
        load_pretrained(single, config(), torch.float32)


def test_wrong_tokenizers(single):
    tokenizer(specials=("<|endoftext|>",)).save(str(single / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"lacks <\|im_start\|> and <\|im_end\|>"):
        load_pretrained(single, config(), torch.float32)
    (single / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="tokenizer cannot be read"):
        load_pretrained(single, config(), torch.float32)
    (single / "tokenizer.json").rename(single / "vocab.json")
    with pytest.raises(
        CheckpointError, match=r"no tokenizer\.json, and no vocab\.json with merges"
    ):
        load_pretrained(single, config(), torch.float32)


@pytest.mark.parametrize("added_in", ["tokenizer_config.json", "added_tokens.json"])
def test_a_tokenizer_of_separate_files(single, added_in):
    whole = json.loads((single / "tokenizer.json").read_text())
    (single / "tokenizer.json").unlink()
    (single / "vocab.json").write_text(json.dumps(whole["model"]["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in whole["model"]["merges"])
    (single / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    added = {str(token.pop("id")): token for token in whole["added_tokens"]}
    settings = {"tokenizer_class": "Qwen2Tokenizer"}
    if added_in == "added_tokens.json":
        words = {token["content"]: int(place) for place, token in added.items()}
        (single / added_in).write_text(json.dumps(words))
    else:
        settings["added_tokens_decoder"] = added
    (single / "tokenizer_config.json").write_text(json.dumps(settings))
    grown = load_pretrained(single, config(), torch.float32).tokenizer
    assert grown.token_to_id(START) == tokenizer().token_to_id(START)
    text = "where is the red chair?"
    assert grown.encode(text).ids == tokenizer().encode(text).ids
    assert len(grown.encode("<OBJ007>").ids) == 1


def test_the_large_network_is_a_configuration():
    with torch.device("meta"):
        model = SpatialModel(load_config(config_path("models/llava_video_7b.yaml")))
        x = torch.empty(1, 2, 3, 384, 384)
    assert sum(p.numel() for p in model.decoder.qwen.layers[0].parameters()) == 233_057_792
    assert sum(p.numel() for p in model.vision.parameters()) == 26 * 15_239_504 + 1_518_336
    assert model.config.pooled_grid == 14
    assert model.encode_views(x).shape == (1, 2, 729, 1152)


def test_base_and_adapter_become_one_model_folder(folder, tmp_path):
    """What `spatial3d assemble` writes answers as the base with its adapter does."""
    settings = tmp_path / "small.yaml"
    settings.write_text(yaml.safe_dump(config().model_dump(mode="json")))
    base = load_pretrained(folder, config(), torch.float32)
    add_lora(base.model, r"decoder\.qwen\.layers\..*_proj", 2, 4, 0.0)
    torch.manual_seed(0)
    for name, weight in base.model.named_parameters():
        if ".lora_B" in name or name.startswith("objects."):
            weight.data = torch.randn_like(weight) * 0.1
            weight.requires_grad_(True)
        elif not name.startswith(("vision.", "decoder.", "projector.", "newline")):
            weight.requires_grad_(True)
    save_adapter(tmp_path / "adapter", base.model, torch.float32)
    options = ["--adapter", str(tmp_path / "adapter"), "--dtype", "float32"]
    made = CliRunner().invoke(
        app,
        ["assemble", str(folder), str(tmp_path / "robot"), *options, "--model", str(settings)],
    )
    assert made.exit_code == 0, made.output
    model, words = load_model(tmp_path / "robot")
    assert words.token_to_id(GROUND) == base.tokenizer.token_to_id(GROUND)
    ids, real = torch.tensor([[1, 2, 3, 4]]), torch.ones(1, 4, dtype=torch.bool)
    with torch.no_grad():
        expected, given = (
            m.decoder.encode_prefix(m.decoder.embed(ids), real)[-1] for m in (base.model, model)
        )
    torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(model.objects.color[0].weight, base.model.objects.color[0].weight)
