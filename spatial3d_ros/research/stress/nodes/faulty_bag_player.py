"""A bag player that plays in a loop and corrupts messages on request.

    python -m spatial3d_ros.research.stress.nodes.faulty_bag_player room.mcap --rate 3

Methods: `play`, `corrupt` (see `stress.message_corruption`), `count`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
from collections.abc import Mapping
from typing import Any

import rclpy
from geometry_msgs.msg import TransformStamped, Vector3
from rclpy.executors import ExternalShutdownException
from rclpy.serialization import deserialize_message, serialize_message

from spatial3d_ros.bags.reader import find_topics
from spatial3d_ros.bags.writer import OPTICAL_FRAME
from spatial3d_ros.demo.nodes.bag_player import BagPlayer
from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.optional_messages import transform_message
from spatial3d_ros.research.stress.message_corruption import Corruption, corruption
from spatial3d_ros.research.stress.nodes.json_rpc import serve

SUBSCRIBERS_S = 120.0


class FaultyBagPlayer(BagPlayer):
    """A bag player whose bag, stamps and corruptions can be changed while it plays.

    With `transforms` poses are also sent as transforms of the camera. Raises NotAvailableError if
    that is wanted and tf2_msgs is not installed.
    """

    def __init__(self, path: str, rate: float, *, transforms: bool = False) -> None:
        super().__init__(path, rate=rate)
        self._transforms = (
            self.create_publisher(transform_message(), "/tf", qos.transforms())
            if transforms
            else None
        )
        topics = find_topics(path)
        self._roles = {
            topics.rgb: "color",
            topics.depth: "depth",
            topics.camera_info: "camera_info",
            topics.pose: "pose",
        }
        self._corruptions: tuple[Corruption, ...] = ()
        self._switch = threading.Event()

    def switch_to(self, bag: str, keep_stamps: bool = False) -> None:
        """Play this bag, which has the same topics, from its start."""
        self.path, self.keep_stamps = bag, keep_stamps
        self._switch.set()

    def corrupt(self, corruptions: list[dict[str, Any]]) -> None:
        """Apply these corruptions to messages from now on; an empty list ends them."""
        self._corruptions = tuple(corruption(**options) for options in corruptions)

    def count(self) -> Mapping[str, int]:
        """Messages sent by topic."""
        return {topic: self.sent[topic] for topic in self._roles}

    def interrupted(self) -> bool:
        """Whether another bag was requested."""
        return self._switch.is_set()

    def send(self, topic: str, data: bytes) -> None:
        """Publish a message, or what the corruptions make of it."""
        role, corruptions = self._roles.get(topic), self._corruptions
        as_transform = role == "pose" and self._transforms is not None
        if role is None or not (corruptions or as_transform):
            super().send(topic, data)
            return
        messages = [deserialize_message(data, self._kinds[topic])]
        for apply in corruptions:
            messages = [after for before in messages for after in apply(role, before)]
        for message in messages:
            super().send(topic, serialize_message(message))
            if as_transform:
                self._send_transform(message)

    def _send_transform(self, pose: Any) -> None:
        assert self._transforms is not None
        transform = TransformStamped(header=pose.header, child_frame_id=OPTICAL_FRAME)
        position = pose.pose.position
        transform.transform.translation = Vector3(x=position.x, y=position.y, z=position.z)
        transform.transform.rotation = pose.pose.orientation
        self._transforms.publish(transform_message()(transforms=[transform]))

    def play_until_shutdown(self) -> None:
        """Play the bag again and again until ROS shuts down."""
        self.wait_for_subscribers(SUBSCRIBERS_S)
        with contextlib.suppress(ExternalShutdownException):
            while rclpy.ok():
                self._switch.clear()
                self.play()


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bag")
    parser.add_argument("--rate", type=float, default=1.0, help="speed, 1 is real time")
    parser.add_argument("--tf", action="store_true", help="send poses as transforms too")
    options = parser.parse_args(rclpy.utilities.remove_ros_args(sys.argv)[1:])
    rclpy.init(args=sys.argv)
    player = FaultyBagPlayer(options.bag, options.rate, transforms=options.tf)
    threading.Thread(target=player.play_until_shutdown, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        serve({"play": player.switch_to, "corrupt": player.corrupt, "count": player.count})
    rclpy.try_shutdown()
