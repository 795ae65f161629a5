"""LoRA adapters and trainable token rows of a large network with frozen base weights.

LoRA comes from peft (METHODS 1.11). An adapter file holds every trained tensor and the fingerprint
of its base network; loading it on another base raises an error. A merged adapter adds no run time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.model.network import SpatialModel

ADAPTER = "adapter.safetensors"


class PartlyTrainedEmbedding(nn.Module):
    """An embedding table of which only some rows are trained: ids (...) -> (..., D).

    The other rows need neither gradients nor optimizer states, which for the large vocabulary are
    several gigabytes.
    """

    def __init__(self, base: nn.Embedding, ids: Sequence[int]) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.ids = tuple(ids)
        device = base.weight.device
        self.rows = nn.Parameter(base.weight[torch.tensor(ids, device=device)].detach().clone())
        slots = torch.full((base.num_embeddings,), -1, device=device)
        slots[torch.tensor(ids, device=device)] = torch.arange(len(ids), device=device)
        self.register_buffer("slots", slots, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        slot = self.slots[ids]
        trained = self.rows[slot.clamp(min=0)]
        return torch.where((slot >= 0)[..., None], trained, self.base(ids).to(trained.dtype))

    @property
    def embedding_dim(self) -> int:
        """Width of a row."""
        return self.base.embedding_dim

    @property
    def weight(self) -> Tensor:
        """The table (V, D) with the trained rows."""
        index = torch.tensor(self.ids, device=self.rows.device)
        return self.base.weight.index_copy(0, index, self.rows.to(self.base.weight.dtype))

    @torch.no_grad()
    def merge(self) -> nn.Embedding:
        """Write the trained rows into the table and return it."""
        self.base.weight.copy_(self.weight)
        return self.base


def add_lora(module: nn.Module, targets: str, rank: int, alpha: int, dropout: float) -> None:
    """Add LoRA to every linear layer whose full name matches the pattern `targets`.

    Everything else in `module` is frozen. Does nothing if the module already has LoRA (an adapter
    was loaded to continue its training).
    """
    if not any(isinstance(layer, LoraLayer) for layer in module.modules()):
        inject_adapter_in_model(
            LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets),
            module,
        )
        module.train(module.training)  # new layers start in training mode


def train_token_rows(model: SpatialModel, ids: Sequence[int]) -> None:
    """Train only the rows `ids` of the token embedding table."""
    if not isinstance(model.decoder.embed, PartlyTrainedEmbedding):
        model.decoder.qwen.embed_tokens = PartlyTrainedEmbedding(model.decoder.embed, ids)


def save_adapter(folder: str | Path, model: SpatialModel, dtype: torch.dtype) -> None:
    """Write every trained tensor of a network with LoRA, and the fingerprint of its base.

    A failed write leaves an older file in place.
    """
    layer = next((part for part in model.modules() if isinstance(part, LoraLayer)), None)
    if layer is None:
        raise CheckpointError(f"'{model.config.name}' has no adapter; save the whole model instead")
    tensors = {
        name: value.detach().to(dtype).contiguous()
        for name, value in model.named_parameters()
        if value.requires_grad
    }
    lora = {
        "modules": [n for n, part in model.named_modules() if isinstance(part, LoraLayer)],
        "rank": layer.r["default"],
        "alpha": layer.lora_alpha["default"],
        "dropout": getattr(layer.lora_dropout["default"], "p", 0.0),
    }
    words = (
        model.decoder.embed.ids if isinstance(model.decoder.embed, PartlyTrainedEmbedding) else ()
    )
    metadata = {
        "format": "pt",
        "base": model.config.name,
        **_fingerprint(model),
        "lora": json.dumps(lora),
        "words": json.dumps(words),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{ADAPTER}.part"
    save_file(tensors, part, metadata=metadata)
    part.replace(folder / ADAPTER)


def load_adapter(folder: str | Path, model: SpatialModel) -> None:
    """Add a saved adapter to its base network; the base stays frozen.

    Raises CheckpointError if the file is missing, damaged or no adapter, if it belongs to a base of
    other shapes or other weights, or if tensors are missing or unknown.
    """
    path = Path(folder) / ADAPTER
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; expected the output of training with a preset")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    if "lora" not in metadata:
        raise CheckpointError(f"{path}: not an adapter; whole models are loaded by their folder")
    for what, value in _fingerprint(model).items():
        if metadata.get(what) != value:
            raise CheckpointError(
                f"{path}: trained on another base: '{metadata.get('base')}', with other {what} "
                f"than this '{model.config.name}'; load it on its own base"
            )
    lora, words = json.loads(metadata["lora"]), json.loads(metadata["words"])
    targets = "|".join(name.replace(".", r"\.") for name in lora["modules"])
    add_lora(model, targets, lora["rank"], lora["alpha"], lora["dropout"])
    if words:
        train_token_rows(model, words)
    expected = {name: tuple(value.shape) for name, value in model.named_parameters()}
    problems = [f"{name} is unexpected" for name in sorted(tensors.keys() - expected.keys())]
    problems += [
        f"{name} is missing"
        for name in expected
        if (".lora_" in name or name.endswith("embed_tokens.rows")) and name not in tensors
    ]
    problems += [
        f"{name} has shape {tuple(value.shape)}, expected {expected[name]}"
        for name, value in tensors.items()
        if expected.get(name, tuple(value.shape)) != tuple(value.shape)
    ]
    if problems:
        raise CheckpointError(
            f"{path}: {len(problems)} tensors differ ({'; '.join(problems[:5])}); take the adapter "
            "from the training run of this network"
        )
    model.load_state_dict(tensors, strict=False)


def merge_adapter(model: SpatialModel) -> None:
    """Add the adapter to the base weights and remove its layers.

    Raises CheckpointError if the result is not finite.
    """
    for name, layer in list(model.named_modules()):
        if isinstance(layer, PartlyTrainedEmbedding):
            merged = layer.merge()
        elif isinstance(layer, LoraLayer):
            try:
                layer.merge(safe_merge=True)
            except ValueError as error:
                raise CheckpointError(
                    f"{name}: merging gives values that are not finite; the adapter is damaged"
                ) from error
            merged = layer.get_base_layer()
        else:
            continue
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, merged)
    model.__dict__.pop("peft_config", None)


def _fingerprint(model: SpatialModel) -> dict[str, str]:
    """Fingerprint of a base without its adapter: all names and shapes, and the values of the final
    norm, which no preset with LoRA trains.
    """
    shapes = sorted(
        f"{name.replace('.base_layer', '').replace('embed_tokens.base', 'embed_tokens')} "
        f"{tuple(value.shape)}"
        for name, value in model.named_parameters()
        if ".lora_" not in name and not name.endswith("embed_tokens.rows")
    )
    norm = model.decoder.qwen.norm.weight.detach().to("cpu", torch.bfloat16).view(torch.int16)
    return {
        "shapes": hashlib.sha256("\n".join(shapes).encode()).hexdigest(),
        "weights": hashlib.sha256(norm.numpy().tobytes()).hexdigest(),
    }
