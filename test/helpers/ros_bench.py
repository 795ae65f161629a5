"""Set-up for tests with real nodes: own domain, this machine only, and a test client.

Skips by name where ROS or the built interfaces are missing.
"""

from __future__ import annotations

import gc
import os
import threading
import time

import pytest

os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

rclpy = pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")
pytest.importorskip(
    "spatial3d_ros.msg", reason="the interfaces are not built: run colcon build, source install"
)

import numpy as np  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from rclpy.executors import MultiThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402

from spatial3d_ros.nodes import qos  # noqa: E402

SECOND = 1_000_000_000
EPOCH = 1_700_000_000 * SECOND
WIDTH, HEIGHT = 64, 48
DOMAIN = 20 + os.getpid() % 80  # parallel runs do not receive each other's messages


def set_stamp(message, stamp_ns, frame_id):
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    message.header.frame_id = frame_id
    return message


def image(array, encoding, stamp_ns):
    message = Image(height=array.shape[0], width=array.shape[1], encoding=encoding)
    message.step = array.nbytes // array.shape[0]
    message.data = array.tobytes()
    return set_stamp(message, stamp_ns, "camera_optical_frame")


class Bench:
    """The nodes under test, spinning in the domain of this run."""

    def __init__(self, *arguments):
        # What an earlier test left is there until it is collected, and its actions and services
        # count as servers: one that is half gone would make `wait_for_server` wait for ever.
        gc.collect()
        self.context = rclpy.Context()
        self.context.init(args=["--ros-args", *arguments], domain_id=DOMAIN)
        self._closing = threading.Event()
        self.executor = MultiThreadedExecutor(40, context=self.context)
        self._nodes = []
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def add(self, node):
        self._nodes.append(node)
        self.executor.add_node(node)
        if not self._thread.is_alive():
            self._thread.start()
        return node

    def _spin(self):
        while not self._closing.is_set():
            self.executor.spin_once(timeout_sec=0.1)

    @property
    def spinning(self):
        return self._thread.is_alive()

    def close(self):
        for node in self._nodes:
            if hasattr(node, "close"):
                node.close()
        self._closing.set()
        if self._thread.is_alive():  # first: rclpy cannot destroy what an executor waits for
            self.executor.wake()
            self._thread.join(5.0)
        self.executor.shutdown()
        for node in self._nodes:
            node.destroy_node()
        self.context.try_shutdown()


class LoadClient(Node):
    """Plays the camera and the localisation, and asks questions, each with a time limit."""

    def __init__(self, context, target="grounding_node", depth=QoSProfile(depth=10)):  # noqa: B008
        super().__init__("load_client", context=context)
        self.target = target
        self._senders = {
            name: self.create_publisher(kind, name, depth)
            for name, kind in (
                ("rgb/image", Image),
                ("depth/image", Image),
                ("rgb/camera_info", CameraInfo),
                ("pose", PoseStamped),
            )
        }
        self._asked = {}

    def listeners(self):
        return min(sender.get_subscription_count() for sender in self._senders.values())

    def send(self, name, message):
        self._senders[name].publish(message)

    def frame(self, stamp_ns, *, x=0.0, color=None, depth=None, info=None, pose=None):
        """One colour and depth pair with calibration and pose; any part may be replaced."""
        self.send("rgb/camera_info", info or self.info(stamp_ns))
        self.send("pose", pose or self.pose(stamp_ns, x))
        plain = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        flat = np.full((HEIGHT, WIDTH), 2000, np.uint16)
        self.send("rgb/image", color or image(plain, "rgb8", stamp_ns))
        self.send("depth/image", depth or image(flat, "16UC1", stamp_ns))

    def info(self, stamp_ns, focal=60.0):
        message = CameraInfo(width=WIDTH, height=HEIGHT)
        message.k = [focal, 0.0, WIDTH / 2, 0.0, focal, HEIGHT / 2, 0.0, 0.0, 1.0]
        return set_stamp(message, stamp_ns, "camera_optical_frame")

    def pose(self, stamp_ns, x=0.0, w=1.0):
        message = set_stamp(PoseStamped(), stamp_ns, "map")
        message.pose.position.x = x
        message.pose.orientation.w = w
        return message

    def call(self, service, name, /, **fields):
        """Call a service of the node under test; fails the test when no reply comes in time."""
        return self.call_async(service, name, **fields).wait()

    def call_async(self, service, name, /, **fields):
        client = self._asked.get(name)
        if client is None:
            path = f"{self.target}/{name}"  # of the usual ten, replies to more at once are lost
            client = self.create_client(service, path, qos_profile=qos.requests())
            self._asked[name] = client
        assert client.wait_for_service(10.0), f"no service {name}"
        return Pending(client.call_async(service.Request(**fields)))


class Pending:
    """A reply on its way."""

    def __init__(self, future):
        self.future = future
        self._done = threading.Event()
        future.add_done_callback(lambda _: self._done.set())

    def wait(self, timeout_s=10.0):
        assert self._done.wait(timeout_s), "no reply in time"
        return self.future.result()


def eventually(condition, timeout_s=10.0):
    """Wait for a condition; its last value is returned, so that an assert can show it."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return value
