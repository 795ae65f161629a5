"""Pieces of work for tests of research/spread.py, importable by new processes."""

from __future__ import annotations

import os
from pathlib import Path

from spatial3d_ros.errors import ConfigError


def piece(item: str) -> tuple[str, int]:
    """By the item's name: its length and this process, or a way to fail."""
    kind, _, place = item.partition(" ")
    if kind == "wrong":
        raise ConfigError("this one is wrong")
    if kind == "dies":
        os._exit(3)
    if kind == "once":  # fails the first time
        path = Path(place)
        if not path.exists():
            path.touch()
            raise ConfigError("not yet")
    return len(kind), os.getpid()
