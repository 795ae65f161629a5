"""A camera that misbehaves on order: plays a bag in a loop, and spoils what it sends.

    python -m spatial3d_ros.research.stress.nodes.faulty_bag_player room.mcap --rate 3

Orders: `play`, `spoil` (see `reliability.spoiling`), `count`.
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
from spatial3d_ros.nodes.transform_message import transform_message
from spatial3d_ros.research.stress.message_corruption import Spoiler, spoiler
from spatial3d_ros.research.stress.nodes.json_rpc import serve

SUBSCRIBERS_S = 120.0


class RoughPlayer(BagPlayer):
    """A bag player whose bag, stamps and messages change while it plays.

    With `transforms` poses are also sent as transforms of the camera; without tf2_msgs that raises
    NotAvailableError.
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
        self._spoilers: tuple[Spoiler, ...] = ()
        self._next = threading.Event()

    def play_on(self, bag: str, keep_stamps: bool = False) -> None:
        """Go on with this bag (of the same topics) from its start."""
        self.path, self.keep_stamps = bag, keep_stamps
        self._next.set()

    def spoil(self, spoilers: list[dict[str, Any]]) -> None:
        """Spoil messages in these ways from now on; an empty list ends it."""
        self._spoilers = tuple(spoiler(**options) for options in spoilers)

    def count(self) -> Mapping[str, int]:
        """Messages sent by role."""
        return {role: self.sent[topic] for topic, role in self._roles.items()}

    def interrupted(self) -> bool:
        """Whether another bag is wanted."""
        return self._next.is_set()

    def send(self, topic: str, data: bytes) -> None:
        """Publish a message, or what the spoilers make of it."""
        role, spoilers = self._roles.get(topic), self._spoilers
        as_transform = role == "pose" and self._transforms is not None
        if role is None or not (spoilers or as_transform):
            super().send(topic, data)
            return
        messages = [deserialize_message(data, self._kinds[topic])]
        for spoil in spoilers:
            messages = [after for before in messages for after in spoil(role, before)]
        for message in messages:
            super().send(topic, serialize_message(message))
            if as_transform:
                self._send_transform(message)

    def _send_transform(self, pose: Any) -> None:
        transform = TransformStamped(header=pose.header, child_frame_id=OPTICAL_FRAME)
        place, turn = pose.pose.position, pose.pose.orientation
        transform.transform.translation = Vector3(x=place.x, y=place.y, z=place.z)
        transform.transform.rotation = turn
        self._transforms.publish(transform_message()(transforms=[transform]))

    def play_for_ever(self) -> None:
        """Play round after round until ROS shuts down."""
        self.wait_for_subscribers(SUBSCRIBERS_S)
        with contextlib.suppress(ExternalShutdownException):
            while rclpy.ok():
                self._next.clear()
                self.play()


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bag")
    parser.add_argument("--rate", type=float, default=1.0, help="speed, 1 is real time")
    parser.add_argument("--tf", action="store_true", help="send poses as transforms too")
    options = parser.parse_args(rclpy.utilities.remove_ros_args(sys.argv)[1:])
    rclpy.init(args=sys.argv)
    player = RoughPlayer(options.bag, options.rate, transforms=options.tf)
    threading.Thread(target=player.play_for_ever, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        serve({"play": player.play_on, "spoil": player.spoil, "count": player.count})
    rclpy.try_shutdown()
