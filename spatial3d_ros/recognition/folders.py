"""Models of `transformers` in folders on this computer: nothing is downloaded, no code is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError

from spatial3d_ros.errors import CheckpointError, ConfigError

CONFIG, WEIGHTS = "config.json", "*.safetensors"
LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""Arguments of every `from_pretrained`."""

Loaded = TypeVar("Loaded")


def load_folder(
    folder: str | Path, kinds: Sequence[str], cure: str, load: Callable[[Path], Loaded]
) -> Loaded:
    """What `load` makes of a folder with config.json, of one of `kinds`, and safetensors.

    Raises CheckpointError with the folder, what is wrong with it, and `cure`.
    """
    from transformers import AutoConfig

    folder = Path(folder).expanduser()
    missing = [name for name in (CONFIG, WEIGHTS) if not [*folder.glob(name)]]
    if missing:
        raise CheckpointError(f"{folder}: no {' and no '.join(missing)} there; {cure}")
    try:
        kind = AutoConfig.from_pretrained(folder, **LOCAL).model_type
        if kind not in kinds:
            raise CheckpointError(
                f"{folder}: holds a {kind!r}, not one of {', '.join(kinds)}; {cure}"
            )
        return load(folder)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"{folder}: cannot be loaded ({reason}); {cure}") from error


def on_device(model: Any, device: str) -> tuple[Any, torch.device]:
    """The model, ready to be asked, and where it is; "auto" is a GPU where there is one.

    Raises ConfigError for a device that is not there.
    """
    chosen = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(chosen if device == "auto" else device)
        return model.to(place).eval(), place
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"parameter device is {device!r}: {reason}. Use auto or cpu") from error
