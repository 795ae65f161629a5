"""Loads `transformers` models from local folders; nothing is downloaded, no remote code runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError

from spatial3d_ros.errors import CheckpointError, ConfigError
from spatial3d_ros.recognition.recogniser import CONFIG

WEIGHTS = "*.safetensors"
LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""Arguments of every `from_pretrained`."""

Loaded = TypeVar("Loaded")


def load_folder(
    folder: str | Path, kinds: Sequence[str], hint: str, load: Callable[[Path], Loaded]
) -> Loaded:
    """Checks a folder and calls `load` on it.

    Args:
        folder: has config.json, whose model_type is one of `kinds`, and *.safetensors.
        hint: how to get such a folder; ends every error.

    Raises:
        CheckpointError: a file is missing, of another model type, or cannot be loaded.
    """
    from transformers import AutoConfig

    folder = Path(folder).expanduser()
    missing = [name for name in (CONFIG, WEIGHTS) if not [*folder.glob(name)]]
    if missing:
        raise CheckpointError(f"{folder}: no {' and no '.join(missing)} there; {hint}")
    try:
        kind = AutoConfig.from_pretrained(folder, **LOCAL).model_type
        if kind not in kinds:
            raise CheckpointError(
                f"{folder}: holds a {kind!r}, not one of {', '.join(kinds)}; {hint}"
            )
        return load(folder)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"{folder}: cannot be loaded ({reason}); {hint}") from error


def on_device(model: Any, device: str) -> tuple[Any, torch.device]:
    """Moves a model to a device, in evaluation mode; "auto" is a GPU if there is one, else the CPU.

    Raises ConfigError for a device that does not exist.
    """
    auto = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(auto if device == "auto" else device)
        return model.to(chosen).eval(), chosen
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"parameter device is {device!r}: {reason}. Use auto or cpu") from error
