"""The message of TF, which comes with ROS but not with its wheels: imported at the point of use.

Only the message is needed, not tf2 itself: looking up is `sensors/transforms`, the same for a bag
and for a robot, tested without ROS, and it never makes a callback wait.
"""

from __future__ import annotations

import os

from spatial3d_ros.errors import ConfigError


def transform_message() -> type:
    """The class of tf2_msgs/TFMessage. Raises ConfigError with the way to get it."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        distribution = os.environ.get("ROS_DISTRO", "jazzy")
        raise ConfigError(
            "transforms (pose_source tf, target_frame) need the messages of TF, which are not "
            f"installed: sudo apt install ros-{distribution}-tf2-msgs (the wheels of ROS do not "
            "have them; without, give poses as PoseStamped or Odometry)"
        ) from None
    return TFMessage


def can_hear_transforms() -> bool:
    """Whether the message is installed."""
    try:
        transform_message()
    except ConfigError:
        return False
    return True
