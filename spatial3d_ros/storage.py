"""Files that are written whole or not at all, and files of settings, which people write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from spatial3d_ros.errors import ConfigError, StorageError


def read_yaml(path: Path) -> Any:
    """What stands in a YAML file. Raises ConfigError that names it, whatever is wrong with it."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    # Beside YAMLError: no UTF-8, a date such as 2001-99-99, brackets that never close.
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error})") from error


def write_whole(path: Path, text: str) -> None:
    """Write a text file (UTF-8) in place of what was there.

    Raises StorageError, and leaves what was there, when it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # some file systems tell of a full disk only now
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another folder. "
            "What was there before is unchanged"
        ) from error
