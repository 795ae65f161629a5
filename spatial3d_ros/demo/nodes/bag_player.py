"""Plays a bag in real time through rclpy, for machines without `ros2 bag play`.

Messages are published as they lie in the bag, without decoding them. By default they are stamped
anew with the time of publishing; `--keep-stamps` leaves the recorded times.

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

STAMP = struct.Struct("<iI")  # std_msgs/Header begins with it, 4 bytes after the start of the CDR
STAMP_AT = 4
IMAGE_DEPTH, FIXED_DEPTH = 10, 100


class BagPlayer(Node):
    """Publishes the topics of one bag under their recorded names (remap them with `-r`).

    `play` returns when the bag is over or, with `loop`, when its time is up. `sent` counts.
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
                self.get_logger().warning(f"{topic} is left out: {kind} is not installed here")
                continue
            self._kinds[topic] = message_type
            profile = _profile(topic, kind)
            self._publishers_of[topic] = self.create_publisher(message_type, topic, profile)
        if not self._publishers_of:
            raise BagError(f"{path}: holds no topic that can be published")

    def wait_for_subscribers(self, timeout_s: float) -> None:
        """Return when every topic has a subscriber, so that the first message is not lost."""
        deadline = time.monotonic() + timeout_s
        while any(not p.get_subscription_count() for p in self._publishers_of.values()):
            if not rclpy.ok() or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        time.sleep(0.5)  # the other side learns of us a little later

    def play(self, *, loop: bool = False, seconds: float = math.inf) -> Counter[str]:
        """Publish the bag in the rhythm of its recording, for `seconds` at most.

        Returns the number of messages sent on each topic.
        """
        end = time.monotonic() + seconds
        while rclpy.ok() and time.monotonic() < end:
            self._play_once(end)
            if not loop:
                break
        return self.sent

    def _play_once(self, end: float) -> None:
        begin, first = time.monotonic(), None
        started = self.get_clock().now().nanoseconds
        with Bag(self.path) as bag:
            for topic, _, stamp, data in bag.raw(*self._publishers_of):
                first = stamp if first is None else first
                due = (stamp - first) / self.rate
                wait = begin + due * 1e-9 - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                if not rclpy.ok() or time.monotonic() >= end or self.interrupted():
                    return
                self.send(topic, self._stamped(topic, data, first, started))

    def interrupted(self) -> bool:
        """Whether to end this round before its end."""
        return False

    def send(self, topic: str, data: bytes) -> None:
        """Publish one message, serialised."""
        self._publishers_of[topic].publish(data)
        self.sent[topic] += 1

    def _stamped(self, topic: str, data: bytes, first_ns: int, started_ns: int) -> bytes:
        """The message with its stamps moved from the recording to this round."""

        def moved(stamp_ns: int) -> int:
            return started_ns + round((stamp_ns - first_ns) / self.rate)

        kind = self._kinds[topic]
        if self.keep_stamps:
            return data
        if hasattr(kind, "transforms"):  # TFMessage: many headers, small
            message = deserialize_message(data, kind)
            for transform in message.transforms:
                stamp = transform.header.stamp
                stamp.sec, stamp.nanosec = divmod(moved(stamp.sec * 10**9 + stamp.nanosec), 10**9)
            return serialize_message(message)
        if not hasattr(kind, "header") or data[1] != 1:  # the second byte tells little-endian CDR
            return data
        sec, nanosec = STAMP.unpack_from(data, STAMP_AT)
        copy = bytearray(data)
        STAMP.pack_into(copy, STAMP_AT, *divmod(moved(sec * 10**9 + nanosec), 10**9))
        return bytes(copy)


def _profile(topic: str, kind: str) -> QoSProfile:
    """Images may be lost, transforms not; those that are fixed wait for who comes later."""
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
    parser.add_argument("--loop", action="store_true", help="begin again at the end")
    parser.add_argument("--keep-stamps", action="store_true", help="leave the recorded times")
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
        time.sleep(0.5)  # the last messages still leave
    except BagError as error:
        sys.exit(str(error))
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
