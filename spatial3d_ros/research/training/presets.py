"""Trained parameters and optimiser settings: presets in `config/train/presets/` (METHODS 1.11).

`paper` is S2-MLLM as published, `lite` needs less memory, `tiny` trains all parameters. A preset
can also override keys of the model configuration.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.config import ModelConfig, named_config, parse_config
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.tokens import END, START, special_tokens
from spatial3d_ros.research.training.adapters import add_lora, train_token_rows
from spatial3d_ros.research.training.reconstruction import build_guidance
from spatial3d_ros.resources import config_path
from spatial3d_ros.storage import read_yaml

LORA = {
    "decoder": r"decoder\.qwen\.layers\.\d+\.(self_attn|mlp)\.[a-z]+_proj",
    "vision": r"vision\.siglip\.encoder\.layers\.\d+\.(self_attn\.[a-z]+_proj|mlp\.fc\d)",
    "guidance": r"guidance\.input",
}
PARTS = {  # rows of the table: a parameter belongs to the first pattern that matches its name
    "LLM blocks": r"decoder\.qwen\.layers\.(?!.*\.lora_)",
    "token embeddings": r"decoder\.qwen\.embed_tokens\.",
    "LLM LoRA": r"decoder\.qwen\.layers\.",
    "vision LoRA": r"vision\..*\.lora_",
    "grounding head": r"head\.",
    "projector": r"(feature_norm|projector)\.",
    "guidance input": r"guidance\.input\.",
    "ray code": r"ray\.",
    "structure": r"structure\.",
    "guidance decoder": r"guidance\.",
    "object tokens": r"objects\.",
    "spatial awareness": r"psa\.",
    "relations": r"(edges|fronts|relations|bias|label_bias|readout)\.",
    "names and roles": r"(names|crop_names|predicted|roles|answers)\.",
    "vision tower": r"vision\.",
    "rest": r"",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LoraSettings(_Strict):
    """Rank, scale (alpha / rank), dropout, and the parts whose linear layers get adapters."""

    rank: int = Field(64, ge=1)
    alpha: int = Field(16, ge=1)
    dropout: float = Field(0.05, ge=0.0, lt=1.0)
    parts: tuple[Literal["decoder", "vision", "guidance"], ...] = ("decoder", "vision")


class OptimizerSettings(_Strict):
    """AdamW. `warmup`: share of all steps with linear warm-up; a cosine schedule follows."""

    lr: float = Field(2e-5, gt=0.0)
    vision_lora_lr: float | None = Field(None, gt=0.0)
    weight_decay: float = Field(0.0, ge=0.0)
    warmup: float = Field(0.05, ge=0.0, lt=1.0)


class Preset(_Strict):
    """A training recipe.

    All parameters are trained except those whose name begins with an entry of `frozen`. With a
    frozen decoder, its `last_blocks` and rows of its token embeddings are still trained: `words`
    selects all rows, those of new tokens, or none.
    """

    name: str
    model: dict = Field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    last_blocks: int = Field(0, ge=0)
    words: Literal["all", "new", "none"] = "all"
    lora: LoraSettings | None = None
    optimizer: OptimizerSettings = OptimizerSettings()

    @model_validator(mode="after")
    def _adapters_have_a_base(self) -> Preset:
        if self.lora is not None and "decoder" not in self.frozen:
            raise ValueError("lora requires a frozen decoder; add it to `frozen`")
        if self.words == "new" and self.lora is None:
            raise ValueError("words: new requires lora, whose file holds the rows; use all or none")
        return self

    def configure(self, config: ModelConfig) -> ModelConfig:
        """The network's configuration with the preset's overrides."""
        values = _merged(config.model_dump(), self.model)
        return parse_config(values, f"{config.name} with preset {self.name}")


def load_preset(preset: str | Path) -> Preset:
    """Read a shipped preset by name, or any YAML file. Raises ConfigError naming file and key."""
    path = Path(preset)
    if path.suffix != ".yaml":
        path = config_path(f"train/presets/{preset}.yaml")
    values = read_yaml(path)
    try:
        return Preset(name=path.stem, **values)
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {lines}") from error
    except TypeError as error:
        raise ConfigError(f"{path}: cannot be read as a preset ({error})") from error


def apply_preset(module: nn.Module, preset: Preset) -> list[dict]:
    """Freeze, add adapters, and return the parameter groups for AdamW.

    module: a network, or an objective that holds one as `model` (and the reconstruction branch as
    `guidance`). Every group has `params`, `lr`, `weight_decay`, and `factor`: its rate as a
    multiple of the preset's. Trained parameters become float32, because steps at these rates are
    below the resolution of bfloat16; use autocast. Raises ConfigError if no parameter is trained.
    """
    model = getattr(module, "model", module)
    if preset.lora is not None:
        targets = "|".join(LORA[part] for part in preset.lora.parts)
        lora = preset.lora
        add_lora(module, rf"(?:model\.)?(?:{targets})", lora.rank, lora.alpha, lora.dropout)
    if preset.words == "new":
        train_token_rows(model, _new_tokens(module, model))
    blocks = len(model.decoder.qwen.layers)
    last = {f"decoder.qwen.layers.{i}." for i in range(blocks - preset.last_blocks, blocks)}
    rows = {"all": [""], "new": ["rows"], "none": []}[preset.words]
    always = (*last, *(f"decoder.qwen.embed_tokens.{row}" for row in rows))
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        name = name.removeprefix("model.")
        frozen = any(name == part or name.startswith(f"{part}.") for part in preset.frozen)
        trains = ".lora_" in name or not frozen or name.startswith(always)
        parameter.requires_grad_(trains)
        if trains:
            parameter.data = parameter.data.float()
            groups.setdefault(_lr_and_decay(name, parameter, preset.optimizer), []).append(
                parameter
            )
    if not groups:
        raise ConfigError(
            f"preset {preset.name}: no parameter is trained; `frozen` contains all of them"
        )
    return [
        {"params": params, "lr": lr, "factor": lr / preset.optimizer.lr, "weight_decay": decay}
        for (lr, decay), params in groups.items()
    ]


def trainable_table(model: str, preset: str) -> dict[str, object]:
    """Parameters in millions that a preset trains, by part, counted on the meta device.

    model: a shipped configuration's name, or a YAML file.
    """
    recipe = load_preset(preset)
    config = recipe.configure(named_config(model))
    with torch.device("meta"):
        parts = {"model": SpatialModel(config), "guidance": build_guidance(config)}
        network = nn.ModuleDict({name: part for name, part in parts.items() if part is not None})
        apply_preset(network, recipe)
    counts = dict.fromkeys(PARTS, 0)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            counts[_part(name.removeprefix("model."))] += parameter.numel()
    return {
        "model": config.name,
        "preset": recipe.name,
        "parts": {part: round(count / 1e6, 2) for part, count in counts.items() if count},
        "total": round(sum(counts.values()) / 1e6, 2),
        "network": round(sum(p.numel() for p in network.parameters()) / 1e6, 2),
    }


def _lr_and_decay(
    name: str, parameter: nn.Parameter, optimizer: OptimizerSettings
) -> tuple[float, float]:
    """Learning rate and weight decay; biases, norms and embeddings have no decay."""
    vision_lora = name.startswith("vision.") and ".lora_" in name
    lr = (optimizer.vision_lora_lr if vision_lora else None) or optimizer.lr
    decays = parameter.dim() > 1 and "embed" not in name
    return lr, optimizer.weight_decay if decays else 0.0


def _new_tokens(module: nn.Module, model: SpatialModel) -> list[int]:
    """Rows of our special tokens: their ids in the prompt's tokenizer, or else the last rows."""
    ours = [token for token in special_tokens(model.config) if token not in (START, END)]
    if hasattr(module, "prompt"):
        return [module.prompt.tokenizer.token_to_id(token) for token in ours]
    rows = model.config.text.vocab
    return list(range(rows - len(ours), rows))


def _part(name: str) -> str:
    return next(part for part, pattern in PARTS.items() if re.match(pattern, name))


def _merged(values: dict, changes: dict) -> dict:
    return values | {
        key: _merged(values[key], change) if isinstance(change, dict) and key in values else change
        for key, change in changes.items()
    }
