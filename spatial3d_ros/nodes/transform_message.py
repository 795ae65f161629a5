"""tf2_msgs/TFMessage, which the pip wheels of ROS do not include: imported where it is used.

Only the message is needed, not tf2: `sensors/transforms` holds the buffer, for bags and robots
alike. It is tested without ROS and never blocks a callback.
"""

from __future__ import annotations

import os

from spatial3d_ros.errors import ConfigError


def transform_message() -> type:
    """The class tf2_msgs.msg.TFMessage. Raises ConfigError if tf2_msgs is not installed."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        distribution = os.environ.get("ROS_DISTRO", "jazzy")
        raise ConfigError(
            "transforms (parameters pose_source: tf, target_frame) need tf2_msgs, which is not "
            f"installed: sudo apt install ros-{distribution}-tf2-msgs. The pip wheels of ROS do "
            "not include it; with them, publish poses as PoseStamped or Odometry"
        ) from None
    return TFMessage


def have_transform_message() -> bool:
    """Whether tf2_msgs is installed."""
    try:
        transform_message()
    except ConfigError:
        return False
    return True
