"""Model folders: round trip, and one clear error for everything that can be wrong with them."""

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from helpers.small_model import small_config, small_model, small_tokenizer
from spatial3d_ros.errors import CheckpointError, ConfigError
from spatial3d_ros.model.checkpoint import load_model, save_model
from spatial3d_ros.model.config import load_config, parse_config
from spatial3d_ros.model.tokens import SPECIAL_TOKENS, load_tokenizer


@pytest.fixture
def folder(tmp_path):
    model, prompt = small_model()
    save_model(tmp_path / "m", model, prompt.tokenizer, torch.float32)
    return tmp_path / "m"


def test_round_trip(folder):
    model, tokenizer = load_model(folder)
    original, _ = small_model()
    for name, value in original.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert model.config == original.config
    assert tokenizer.token_to_id("<ground>") == small_tokenizer().token_to_id("<ground>")


@pytest.mark.parametrize("name", ["config.yaml", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_model(folder)


def test_truncated_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors: not a readable safetensors file"
    ):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_foreign_files(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_model(folder)


def test_weights_of_another_model_are_listed(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["extra"] = torch.zeros(1)
    tensors["newline"] = torch.zeros(3)
    del tensors["head.nothing"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        load_model(folder)
    message = str(error.value)
    assert "3 tensors differ" in message
    assert "head.nothing is missing" in message
    assert "extra is unexpected" in message
    assert "newline has shape (3,), expected (24,)" in message


def test_tokenizer_without_our_tokens(folder):
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace("<ground>", "<grind>"))
    with pytest.raises(CheckpointError, match="<ground>"):
        load_model(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a tokenizer file"):
        load_tokenizer(folder / "tokenizer.json")


def test_configuration_errors_name_the_key(tmp_path):
    values = small_config().model_dump(mode="json")
    values["slim"]["reach"] = 1.0
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"config\.yaml: slim\.reach"):
        load_config(path)
    with pytest.raises(ConfigError, match="k_min"):
        parse_config({"name": "x", "slim": {"k_min": 9, "k_max": 3}}, "here")
    with pytest.raises(ConfigError, match="expected a mapping"):
        (tmp_path / "list.yaml").write_text("- 1")
        load_config(tmp_path / "list.yaml")
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "absent.yaml")


def test_any_text_has_tokens_and_special_tokens_are_single():
    tokenizer = small_tokenizer()
    for token in SPECIAL_TOKENS:
        assert len(tokenizer.encode(token, add_special_tokens=False).ids) == 1
    text = "où est la tasse? 你好 🤖"
    assert tokenizer.decode(tokenizer.encode(text).ids).strip() == text
