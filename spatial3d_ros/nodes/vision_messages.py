"""vision_msgs, which is optional: imported where it is used."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from spatial3d_ros.errors import ConfigError


def vision_messages(needed_for: str) -> ModuleType:
    """The module vision_msgs.msg. Raises ConfigError if it is not installed."""
    try:
        return importlib.import_module("vision_msgs.msg")
    except ImportError:
        distribution = os.environ.get("ROS_DISTRO", "jazzy")
        raise ConfigError(
            f"{needed_for} needs vision_msgs, which is not installed: sudo apt install "
            f"ros-{distribution}-vision-msgs (the pip wheels of ROS do not include it)"
        ) from None


def have_vision_messages() -> bool:
    """Whether vision_msgs is installed."""
    try:
        vision_messages("")
    except ConfigError:
        return False
    return True
