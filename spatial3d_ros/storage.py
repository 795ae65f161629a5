"""Atomic writing of text files, and reading of YAML files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from spatial3d_ros.errors import ConfigError, StorageError


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises ConfigError that names it, whatever is wrong with it."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    # Besides YAMLError: no UTF-8, a date such as 2001-99-99, brackets that never close.
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error})") from error


def write_whole(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically.

    Raises StorageError, and keeps the former content, when it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # some file systems report a full disk only now
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another folder. "
            "The former file is unchanged"
        ) from error
