"""Paths of the files that ship with the package: weights, DDS profile, configuration.

They are next to the package in a checkout, inside it after ``pip install``, and in
``share/spatial3d_ros`` of the prefix after ``colcon build``.
"""

from __future__ import annotations

from pathlib import Path

from spatial3d_ros.errors import ConfigError

_PACKAGE = Path(__file__).absolute().parent


def resource_path(name: str = "") -> Path:
    """Absolute path of a file or folder of ``resource/``, e.g. ``weights/tiny``.

    Raises ConfigError if this installation does not contain it.
    """
    return _shipped("resource", name)


def config_path(name: str = "") -> Path:
    """Absolute path of a file or folder of ``config/``, e.g. ``models/tiny.yaml``.

    Raises ConfigError if this installation does not contain it.
    """
    return _shipped("config", name)


def _shipped(folder: str, name: str) -> Path:
    share = [prefix / "share" / _PACKAGE.name for prefix in _PACKAGE.parents]
    for root in (_PACKAGE, _PACKAGE.parent, *share):
        if (root / folder / name).exists():
            return root / folder / name
    raise ConfigError(
        f"{folder}/{name} is not part of this installation of spatial3d_ros (searched next to "
        f"{_PACKAGE}); check the name, or install again: `make setup`, `pip install .` or "
        "`colcon build`"
    )
