"""Plays a bag in real time through rclpy, for machines without `ros2 bag play`.

Messages are published as stored, without decoding. By default they get current stamps;
`--keep-stamps` keeps the recorded ones.

    python -m spatial3d_ros.demo.nodes.bag_player room.mcap --rate 1.0 --loop
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import struct
import sys
import time
from collections import Counter
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message, serialize_message

from spatial3d_ros.bags.bag import Bag
from spatial3d_ros.bags.topics import TF_STATIC, TF_TYPE
from spatial3d_ros.errors import BagError
from spatial3d_ros.nodes import qos

STAMP = struct.Struct("<iI")  # first field of std_msgs/Header, after the 4 bytes of the CDR header
STAMP_OFFSET = 4
IMAGE_DEPTH, FIXED_DEPTH = 10, 100


class BagPlayer(Node):
    """Publishes the topics of one bag under their recorded names (remap them with `-r`).

    `play` returns at the end of the bag or, with `loop`, after `seconds`. `sent` counts messages by
    topic.
    """

    def __init__(self, path: str, *, rate: float = 1.0, keep_stamps: bool = False) -> None:
        super().__init__("bag_player")
        self.path = path
        self.rate = rate
        self.keep_stamps = keep_stamps
        with Bag(path) as bag:
            topics = bag.topics
        self.sent: Counter[str] = Counter()
        self._publishers_of: dict[str, Publisher] = {}
        self._kinds: dict[str, type] = {}
        for topic, (kind, _) in topics.items():
            try:
                message_type = _message_type(kind)
            except (AttributeError, ModuleNotFoundError, ValueError):
                self.get_logger().warning(f"{topic} is not played: {kind} is not installed")
                continue
            self._kinds[topic] = message_type
            profile = _profile(topic, kind)
            self._publishers_of[topic] = self.create_publisher(message_type, topic, profile)
        if not self._publishers_of:
            raise BagError(f"{path}: no topic can be published, no message type is installed")

    def wait_for_subscribers(self, timeout_s: float) -> None:
        """Return when every topic has a subscriber, so that the first message is not lost."""
        deadline = time.monotonic() + timeout_s
        while any(not p.get_subscription_count() for p in self._publishers_of.values()):
            if not rclpy.ok() or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        time.sleep(0.5)  # discovery ends later on the side of the subscriber

    def play(self, *, loop: bool = False, seconds: float = math.inf) -> Counter[str]:
        """Publish the bag at its recorded rate, for at most `seconds`.

        Returns the number of messages sent on each topic.
        """
        end = time.monotonic() + seconds
        while rclpy.ok() and time.monotonic() < end:
            self._play_once(end)
            if not loop:
                break
        return self.sent

    def _play_once(self, end: float) -> None:
        start, first = time.monotonic(), None
        started = self.get_clock().now().nanoseconds
        with Bag(self.path) as bag:
            for topic, _, stamp, data in bag.raw(*self._publishers_of):
                first = stamp if first is None else first
                due = (stamp - first) / self.rate
                wait = start + due * 1e-9 - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                if not rclpy.ok() or time.monotonic() >= end or self.interrupted():
                    return
                self.send(topic, self._stamped(topic, data, first, started))

    def interrupted(self) -> bool:
        """Whether to stop before the end of the bag."""
        return False

    def send(self, topic: str, data: bytes) -> None:
        """Publish one serialised message."""
        self._publishers_of[topic].publish(data)
        self.sent[topic] += 1

    def _stamped(self, topic: str, data: bytes, first_ns: int, started_ns: int) -> bytes:
        """The message with its stamps shifted from the recording to the current playback."""

        def shifted(stamp_ns: int) -> int:
            return started_ns + round((stamp_ns - first_ns) / self.rate)

        kind = self._kinds[topic]
        if self.keep_stamps:
            return data
        if hasattr(kind, "transforms"):  # TFMessage: many headers, small
            message = deserialize_message(data, kind)
            for transform in message.transforms:
                stamp = transform.header.stamp
                stamp.sec, stamp.nanosec = divmod(shifted(stamp.sec * 10**9 + stamp.nanosec), 10**9)
            return serialize_message(message)
        if not hasattr(kind, "header") or data[1] != 1:  # the second byte tells little-endian CDR
            return data
        sec, nanosec = STAMP.unpack_from(data, STAMP_OFFSET)
        copy = bytearray(data)
        STAMP.pack_into(copy, STAMP_OFFSET, *divmod(shifted(sec * 10**9 + nanosec), 10**9))
        return bytes(copy)


def _profile(topic: str, kind: str) -> QoSProfile:
    """Images best effort, transforms reliable, static transforms latched for later subscribers."""
    if kind != TF_TYPE:
        return qos.sensor(IMAGE_DEPTH)
    return qos.latched(FIXED_DEPTH) if topic.endswith(TF_STATIC) else qos.transforms()


def _message_type(kind: str) -> type:
    """The class of "package/msg/Name"; raises what importing it raises."""
    package, folder, name = kind.split("/")
    return getattr(importlib.import_module(f"{package}.{folder}"), name)


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bag", help="folder, .mcap or .db3")
    parser.add_argument("--rate", type=float, default=1.0, help="speed, 1 is real time")
    parser.add_argument("--loop", action="store_true", help="restart at the end")
    parser.add_argument("--keep-stamps", action="store_true", help="keep the recorded stamps")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for subscribers")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after this long")
    parser.add_argument("--summary", type=Path, help="JSON file for the number of messages sent")
    options = parser.parse_args(rclpy.utilities.remove_ros_args(sys.argv)[1:])
    rclpy.init(args=sys.argv)
    try:
        player = BagPlayer(options.bag, rate=options.rate, keep_stamps=options.keep_stamps)
        if options.wait:
            player.wait_for_subscribers(options.wait)
        sent = player.play(loop=options.loop, seconds=options.seconds)
        if options.summary:
            options.summary.write_text(json.dumps(sent))
        time.sleep(0.5)  # until the last messages are sent
    except BagError as error:
        sys.exit(str(error))
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
