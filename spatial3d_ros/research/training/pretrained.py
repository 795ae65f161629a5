"""Converts the weights of LLaVA-Video-7B-Qwen2 from a local folder (METHODS 1.2, 1.4, 1.6).

Both public layouts are read, in one file or in shards: the original (`model.mm_projector.0`) and
that of transformers (`multi_modal_projector.linear_1`, with and without a leading `model.`). Names
and shapes of all tensors are checked before the first one is read. Parts without counterpart in the
public model (structure block, ray code, objects, heads, new tokens) are initialised.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Qwen2Tokenizer

from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.model.checkpoint import fill_tables
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.tokens import END, START, special_tokens, with_special_tokens

log = logging.getLogger(__name__)

TENSOR_NAMES = (  # prefix of a public name -> prefix in this package; the first match counts
    (r"(model\.)?(vision_tower\.)+(vision_model\.)?", "vision.siglip."),
    (r"(model\.)?multi_modal_projector\.linear_1\.", "projector.0."),
    (r"(model\.)?multi_modal_projector\.linear_2\.", "projector.2."),
    (r"model\.mm_projector\.", "projector."),
    (r"(model\.)?image_newline$", "newline"),
    (r"(language_model\.)?lm_head\.", "decoder.lm_head."),
    (r"(model\.)?language_model\.(model\.)?", "decoder.qwen."),
    (r"model\.", "decoder.qwen."),
)
PUBLIC_PARTS = ("vision.", "projector.", "newline", "decoder.")
VOCABULARY = ("decoder.qwen.embed_tokens.weight", "decoder.lm_head.weight")


@dataclass(frozen=True)
class Pretrained:
    """A network ready for training or for an adapter; `fresh` lists the initialised tensors, which
    the public weights do not have.
    """

    model: SpatialModel
    tokenizer: Tokenizer
    fresh: tuple[str, ...]


def load_pretrained(
    folder: str | Path,
    config: ModelConfig,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
) -> Pretrained:
    """Build `config` around the public weights in `folder`, one shard in memory at a time.

    The vocabulary is that of the folder's tokenizer plus the special tokens, in place of
    `config.text.vocab`; new rows are the mean of the existing ones. Raises CheckpointError, with
    every name, if a file is missing or damaged, a setting differs, or a tensor is missing,
    unexpected or of another shape.
    """
    folder = Path(folder)
    settings = _settings(folder)
    _check_settings(folder, settings, config)
    tokenizer, known = grow_tokenizer(folder, config)
    rows = max(tokenizer.get_vocab().values()) + 1
    text = config.text.model_copy(update={"vocab": rows})
    config = config.model_copy(update={"text": text})
    with torch.device("meta"):
        model = SpatialModel(config).to(dtype)
    shards = _shards(folder)
    _check_tensors(folder, shards, model, known)
    for path, names in shards.items():
        with safe_open(path, framework="pt", device=str(device)) as file:
            tensors = {
                ours: _grow(file.get_tensor(name).to(dtype), known, rows)
                if ours in VOCABULARY
                else file.get_tensor(name).to(dtype)
                for name, ours in names.items()
                if not _unused(ours, config)
            }
        model.load_state_dict(tensors, strict=False, assign=True)
    fresh = _initialise_rest(model, dtype, device)
    log.info(
        "%s: %d tensors read; fresh: %s",
        folder,
        len(model.state_dict()) - len(fresh),
        ", ".join(sorted({name.split(".")[0] for name in fresh})),
    )
    return Pretrained(model.eval(), tokenizer, fresh)


def grow_tokenizer(folder: Path, config: ModelConfig) -> tuple[Tokenizer, int]:
    """The folder's tokenizer with the special tokens added, and its number of rows before."""
    files = [(folder / name).is_file() for name in ("tokenizer.json", "vocab.json", "merges.txt")]
    if not (files[0] or all(files[1:])):
        raise CheckpointError(f"{folder}: no tokenizer.json, and no vocab.json with merges.txt")
    try:
        tokenizer = Qwen2Tokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    except Exception as error:  # transformers raises many types
        raise CheckpointError(f"{folder}: its tokenizer cannot be read ({error})") from error
    absent = [token for token in (START, END) if tokenizer.token_to_id(token) is None]
    if absent:
        raise CheckpointError(
            f"{folder}: its tokenizer lacks {' and '.join(absent)}, so it is not the one of "
            "LLaVA-Video; copy its tokenizer files beside its weights"
        )
    known = max(tokenizer.get_vocab().values()) + 1
    return with_special_tokens(tokenizer, special_tokens(config)), known


def _settings(folder: Path) -> dict:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{path}: missing; expected the folder of LLaVA-Video-7B-Qwen2 with config.json, "
            "tokenizer and *.safetensors"
        )
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error})") from error


def _check_settings(folder: Path, settings: dict, config: ModelConfig) -> None:
    """Check settings that shapes do not determine: numbers of heads, base of the rotary code."""
    text, vision = settings.get("text_config") or settings, settings.get("vision_config") or {}
    rope = text.get("rope_parameters") or text
    compared = {
        "num_attention_heads": (text.get("num_attention_heads"), config.text.heads),
        "num_key_value_heads": (text.get("num_key_value_heads"), config.text.kv_heads),
        "rope_theta": (rope.get("rope_theta"), config.text.rope_theta),
        "vision_config.num_attention_heads": (
            vision.get("num_attention_heads"),
            config.vision.heads,
        ),
    }
    wrong = [
        f"{key} is {theirs}, '{config.name}' has {ours}"
        for key, (theirs, ours) in compared.items()
        if theirs not in (None, ours)
    ]
    if wrong:
        raise CheckpointError(f"{folder / 'config.json'}: another model: {'; '.join(wrong)}")


def _shards(folder: Path) -> dict[Path, dict[str, str]]:
    """The weight files with the tensor names in each: public name -> name in this package."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise CheckpointError(f"{index}: not an index of shards ({error!r})") from error
    else:
        files = ["model.safetensors"]
    shards = {}
    for path in (folder / name for name in files):
        if not path.is_file():
            raise CheckpointError(
                f"{path}: missing, {len(files)} file(s) of weights belong to this model; copy it "
                "again (only safetensors are read, other formats can run code)"
            )
        try:
            with safe_open(path, framework="pt") as file:
                shards[path] = {name: _package_name(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path}: not a readable safetensors file ({error}); copy it again"
            ) from error
    return shards


def _package_name(public: str) -> str:
    for begins, ours in TENSOR_NAMES:
        found = re.match(begins, public)
        if found:
            return ours + public[found.end() :]
    return public


def _unused(name: str, config: ModelConfig) -> bool:
    """Whether a tensor is not needed: SigLIP's last layer, final norm and pooling head, and buffers
    that are computed.
    """
    last = rf"vision\.siglip\.(encoder\.layers\.{config.vision.layers}|post_layernorm|head)\."
    return bool(re.match(last, name)) or name.endswith((".position_ids", ".rotary_emb.inv_freq"))


def _check_tensors(
    folder: Path, shards: dict[Path, dict[str, str]], model: SpatialModel, known: int
) -> None:
    """Raise CheckpointError if tensors are missing, unexpected or of another shape."""
    expected = {
        name: list(value.shape)
        for name, value in model.state_dict().items()
        if name.startswith(PUBLIC_PARTS)
    }
    problems, seen = [], set()
    for path, names in shards.items():
        with safe_open(path, framework="pt") as file:
            for public, ours in names.items():
                if _unused(ours, model.config):
                    continue
                shape = file.get_slice(public).get_shape()
                if ours not in expected:
                    problems.append(f"{public} is unexpected")
                elif ours in VOCABULARY and shape[0] >= known and shape[1:] == expected[ours][1:]:
                    pass
                elif ours in VOCABULARY:
                    problems.append(
                        f"{public} has shape {shape}, expected [{known} or more, "
                        f"{expected[ours][1]}]"
                    )
                elif shape != expected[ours]:
                    problems.append(f"{public} has shape {shape}, expected {expected[ours]}")
                seen.add(ours)
    problems += [f"{name} (our name) is missing" for name in sorted(expected.keys() - seen)]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(
            f"{folder}: not the weights of '{model.config.name}': {'; '.join(problems[:5])}{more}"
        )


def _grow(table: Tensor, known: int, rows: int) -> Tensor:
    """Keep the rows of the tokenizer's ids (public tables are padded); new rows are their mean."""
    grown = table.new_empty(rows, table.shape[1])
    grown[:known] = table[:known]
    grown[known:] = table[:known].mean(0, dtype=torch.float32).to(table.dtype)
    return grown


def _initialise_rest(
    model: SpatialModel, dtype: torch.dtype, device: torch.device | str
) -> tuple[str, ...]:
    """Initialise the tensors that were not read, as in a new network, and return their names.

    A network without the layers of the towers has exactly these tensors, and the computed buffers.
    """
    shallow = fill_tables(model, device)
    fresh = {
        name: value.to(dtype)
        for name, value in shallow.state_dict().items()
        if not name.startswith(PUBLIC_PARTS)
    }
    model.load_state_dict(fresh, strict=False, assign=True)
    return tuple(fresh)
