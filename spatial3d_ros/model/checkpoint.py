"""A model on disk: `config.yaml`, `tokenizer.json`, `model.safetensors`. Nothing is ever unpickled
or downloaded.
"""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer

from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.model.config import ModelConfig, load_config
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.tokens import load_tokenizer, special_tokens
from spatial3d_ros.resources import resource_path

WEIGHTS = "model.safetensors"
CONFIG = "config.yaml"
TOKENIZER = "tokenizer.json"


def model_folder(model: str | Path) -> Path:
    """Folder of a model given by the name of shipped weights or by a path."""
    shipped = "/" not in str(model) and not Path(model).is_dir()
    return resource_path(f"weights/{model}") if shipped else Path(model)


def save_model(
    folder: str | Path, model: SpatialModel, tokenizer: Tokenizer, dtype: torch.dtype
) -> None:
    """Write a model folder. Tensors are stored as `dtype`; a failed write keeps the old weights."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.to(dtype).contiguous() for name, value in model.state_dict().items()}
    part = folder / f"{WEIGHTS}.part"
    save_file(tensors, part, metadata={"format": "pt", "model": model.config.name})
    part.replace(folder / WEIGHTS)
    save_config(folder, model.config)
    tokenizer.save(str(folder / TOKENIZER))


def save_config(folder: Path, config: ModelConfig) -> None:
    """Write `config.yaml`, the configuration that `load_model` and `assemble` read."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    (folder / CONFIG).write_text(text)


def load_model(
    folder: str | Path, dtype: torch.dtype = torch.float32
) -> tuple[SpatialModel, Tokenizer]:
    """Read a model folder onto the CPU, one copy of the weights in memory.

    Raises CheckpointError naming the file, and for foreign weights the tensors that are missing,
    unexpected or of another shape; ConfigError for an invalid configuration.
    """
    folder = Path(folder)
    for name in (CONFIG, TOKENIZER, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder / name}: missing; a model has {CONFIG}, {TOKENIZER} and {WEIGHTS}"
            )
    config: ModelConfig = load_config(folder / CONFIG)
    tokenizer = load_tokenizer(folder / TOKENIZER, special_tokens(config))
    tensors = read_tensors(folder / WEIGHTS)
    with torch.device("meta"):
        model = SpatialModel(config)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    problems = [f"{name} is missing" for name in expected.keys() - found.keys()]
    problems += [f"{name} is unexpected" for name in found.keys() - expected.keys()]
    problems += [
        f"{name} has shape {found[name]}, expected {expected[name]}"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:5])
        raise CheckpointError(
            f"{folder / WEIGHTS}: not the weights of '{config.name}': {len(problems)} tensors "
            f"differ ({shown}); take weights and {CONFIG} from the same training run"
        )
    model.load_state_dict({name: v.to(dtype) for name, v in tensors.items()}, assign=True)
    fill_tables(model)
    return model.eval(), tokenizer


def fill_tables(model: SpatialModel, device: torch.device | str = "cpu") -> SpatialModel:
    """Compute the buffers that no file contains (rotary code, patch positions) of a network built
    on the meta device. Returns a new network without the layers of the towers, which has them all.
    """
    config = model.config
    update = {"text": {"layers": 0, "vocab": 1}, "vision": {"layers": 0}}
    parts = {k: getattr(config, k).model_copy(update=values) for k, values in update.items()}
    shallow = SpatialModel(config.model_copy(update=parts)).to(device)
    for name, table in shallow.named_buffers():
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, table)
    return shallow


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file. Raises CheckpointError when it is truncated or of another
    format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
