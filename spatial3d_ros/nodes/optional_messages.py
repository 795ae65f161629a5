"""Message packages that are not always installed: imported where they are used.

The pip wheels of ROS include none of them. Of tf2 only the message is needed: `sensors/transforms`
holds the buffer, for bags and robots alike. It is tested without ROS and never blocks a callback.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType
from typing import Any

from spatial3d_ros.errors import ConfigError


def vision_messages(needed_for: str) -> ModuleType:
    """The module vision_msgs.msg. Raises ConfigError if it is not installed."""
    return _module("vision_msgs.msg", needed_for)


def transform_message() -> type:
    """The class tf2_msgs.msg.TFMessage. Raises ConfigError if tf2_msgs is not installed."""
    needed_for = "TF (parameters pose_source: tf, target_frame)"
    message: type = _module("tf2_msgs.msg", needed_for).TFMessage
    return message


def navigate_to_pose() -> Any:
    """The action NavigateToPose of Nav2. Raises ConfigError if it is not installed."""
    return _module("nav2_msgs.action", "approach_node").NavigateToPose


def have_vision_messages() -> bool:
    """Whether vision_msgs is installed."""
    return importlib.util.find_spec("vision_msgs") is not None


def have_transform_message() -> bool:
    """Whether tf2_msgs is installed."""
    return importlib.util.find_spec("tf2_msgs") is not None


def _module(name: str, needed_for: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        distribution = os.environ.get("ROS_DISTRO", "jazzy")
        raise ConfigError(
            f"{needed_for} needs {package}, which is not installed: sudo apt install "
            f"ros-{distribution}-{package.replace('_', '-')} (the pip wheels of ROS do not "
            "include it)"
        ) from None
