"""LoRA and rows of new words: identity at first, same when saved and merged, strict about bases."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from helpers.small_model import small_model, small_scene, small_tokenizer
from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.research.training.adapters import (
    ADAPTER,
    PartlyTrainedEmbedding,
    add_lora,
    load_adapter,
    merge_adapter,
    save_adapter,
    train_token_rows,
)

TARGETS = r"decoder\.qwen\.layers\.\d+\..*_proj|vision\..*\.(fc1|out_proj)"
WORDS = [2, 3, 7]


def read(model, prompt):
    words = prompt.batch([prompt.grounding("the red chair <OBJ003>")], [0])
    with torch.no_grad():
        scene = model.encode_scene(small_scene(), prompt.tokens)
        output = model(scene, words, prompt.tokens)
        return torch.cat([output.scores.flatten(), model.decoder.logits(output.states).flatten()])


def adapted(seed=0, trained=True):
    """A small network with an adapter that has learnt something, and its trained head."""
    model, prompt = small_model(seed)
    add_lora(model, TARGETS, rank=4, alpha=8, dropout=0.1)
    train_token_rows(model, WORDS)
    model.head.requires_grad_(True)
    if trained:
        torch.manual_seed(1)
        for value in model.parameters():
            if value.requires_grad:
                value.data += 0.1 * torch.randn_like(value)
    return model, prompt


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    model, prompt = adapted()
    save_adapter(folder, model, torch.float32)
    return folder, read(model, prompt)


def copy_of(saved, tmp_path):
    (tmp_path / ADAPTER).write_bytes((saved[0] / ADAPTER).read_bytes())
    return tmp_path


def test_a_new_adapter_changes_nothing_and_a_trained_one_does():
    base = read(*small_model())
    assert torch.allclose(read(*adapted(trained=False)), base, atol=1e-5)
    assert (read(*adapted()) - base).abs().max() > 0.1


def test_only_the_adapter_and_the_chosen_rows_learn():
    model, _ = adapted()
    names = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {n for n in names if ".lora_" not in n and not n.startswith("head.")} == {
        "decoder.qwen.embed_tokens.rows"
    }
    ids = torch.tensor([1, 2, 7, 7])
    model.decoder.embed(ids).sum().backward()
    assert model.decoder.embed.base.weight.grad is None
    assert model.decoder.embed.rows.grad.sum(1).tolist() == [24, 0, 48]
    table = model.decoder.embed.weight
    assert torch.equal(table[ids], model.decoder.embed(ids))
    other = [i for i in range(600) if i not in WORDS]
    assert torch.equal(table[other], small_model()[0].decoder.embed.weight[other])


def test_saved_and_loaded_beside_the_same_base(saved):
    folder, expected = saved
    model, prompt = small_model()
    load_adapter(folder, model)
    assert torch.equal(read(model, prompt), expected)  # dropout included: it must be off
    assert set(load_file(folder / ADAPTER)) < set(model.state_dict())


def test_merged_it_is_the_plain_network_again(saved):
    folder, expected = saved
    model, prompt = small_model()
    load_adapter(folder, model)
    merge_adapter(model)
    assert list(model.state_dict()) == list(small_model()[0].state_dict())
    assert not isinstance(model.decoder.embed, PartlyTrainedEmbedding)
    assert torch.allclose(read(model, prompt), expected, atol=1e-4)
    assert not torch.allclose(read(*small_model()), expected, atol=1e-1)


def test_training_goes_on_from_a_loaded_adapter(saved):
    model, _ = small_model()
    load_adapter(saved[0], model)
    values = {name: value.clone() for name, value in model.state_dict().items()}
    add_lora(model, TARGETS, rank=4, alpha=8, dropout=0.1)
    train_token_rows(model, WORDS)
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())


def test_another_base_is_refused(saved):
    wider = small_model(objects={"relation_layers": 2, "relation_hidden": 8})[0]
    with pytest.raises(CheckpointError, match=r"another base: 'small', with other shapes"):
        load_adapter(saved[0], wider)
    with pytest.raises(CheckpointError, match=r"another base: 'small', with other weights"):
        load_adapter(saved[0], small_model(seed=5)[0])
    untouched = small_model(seed=5)[0].state_dict()
    assert list(wider.state_dict()) != list(untouched)
    assert not any("lora" in name for name in wider.state_dict())


def test_half_precision_of_the_base_is_no_other_base(saved):
    model = small_model()[0].to(torch.bfloat16)
    load_adapter(saved[0], model)
    layer = model.decoder.qwen.layers[0].mlp.up_proj
    assert layer.lora_A["default"].weight.dtype == torch.bfloat16


def test_damaged_files(saved, tmp_path):
    folder = copy_of(saved, tmp_path)
    model = small_model()[0]
    path = folder / ADAPTER
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_adapter(folder, model)
    path.unlink()
    with pytest.raises(CheckpointError, match=rf"{ADAPTER}: missing"):
        load_adapter(folder, model)
    save_model(folder, model, small_tokenizer(), torch.float32)
    (folder / "model.safetensors").rename(path)
    with pytest.raises(CheckpointError, match="not an adapter"):
        load_adapter(folder, model)


def test_every_differing_tensor_is_named(saved, tmp_path):
    folder = copy_of(saved, tmp_path)
    metadata = _metadata(folder)
    tensors = load_file(folder / ADAPTER)
    gone = "decoder.qwen.layers.1.mlp.up_proj.lora_A.default.weight"
    del tensors[gone]
    tensors["head.nothing"] = torch.zeros(3)
    tensors["surplus"] = torch.zeros(1)
    save_file(tensors, folder / ADAPTER, metadata=metadata)
    with pytest.raises(CheckpointError) as error:
        load_adapter(folder, small_model()[0])
    for words in (
        "3 tensors differ", f"{gone} is missing", "surplus is unexpected",
        "head.nothing has shape (3,), expected (24,)",
    ):  # fmt: skip
        assert words in str(error.value)


def test_values_that_are_not_finite_do_not_reach_the_base(saved, tmp_path):
    folder = copy_of(saved, tmp_path)
    tensors = load_file(folder / ADAPTER)
    tensors["decoder.qwen.layers.0.mlp.up_proj.lora_B.default.weight"][0, 0] = torch.inf
    save_file(tensors, folder / ADAPTER, metadata=_metadata(folder))
    model = small_model()[0]
    load_adapter(folder, model)
    with pytest.raises(CheckpointError, match=r"up_proj: merging gives values that are not finite"):
        merge_adapter(model)


def test_a_network_without_adapter_is_not_saved_as_one(tmp_path):
    with pytest.raises(CheckpointError, match="no adapter"):
        save_adapter(tmp_path, small_model()[0], torch.float32)
    assert not list(tmp_path.iterdir())


def _metadata(folder):
    with safe_open(folder / ADAPTER, framework="pt") as file:
        return file.metadata()
