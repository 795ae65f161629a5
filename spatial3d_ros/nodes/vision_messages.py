"""The messages of detectors, which not every installation has: imported at the point of use."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from spatial3d_ros.errors import ConfigError


def vision_messages(needed_for: str) -> ModuleType:
    """The module vision_msgs.msg. Raises ConfigError with the way to get it."""
    try:
        return importlib.import_module("vision_msgs.msg")
    except ImportError:
        distribution = os.environ.get("ROS_DISTRO", "jazzy")
        raise ConfigError(
            f"{needed_for} needs the messages of detectors, which are not installed: sudo apt "
            f"install ros-{distribution}-vision-msgs (the wheels of ROS do not have them)"
        ) from None


def have_vision_messages() -> bool:
    """Whether they are installed."""
    try:
        vision_messages("")
    except ConfigError:
        return False
    return True
