"""Example: asks the grounding node for an object and sends Nav2 a goal in front of it.

ros2 run spatial3d_ros approach_node --ros-args -p query:="the red chair"
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import rclpy
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.task import Future

from spatial3d_ros.errors import FrameError, NotAvailableError, Spatial3DError
from spatial3d_ros.msg import GroundedObject
from spatial3d_ros.nodes import conversions, qos
from spatial3d_ros.nodes.optional_messages import (
    have_transform_message,
    navigate_to_pose,
    transform_message,
)
from spatial3d_ros.sensors.transforms import TransformTree
from spatial3d_ros.srv import GetScene, Ground
from spatial3d_ros.tasks.approach_pose import ApproachPose, find_approach_pose

REPLY_TIMEOUT_S, DRIVE_TIMEOUT_S, TF_TIMEOUT_S = 30.0, 600.0, 1.0
PARAMETERS = {
    "query": "",
    "source": "grounding_node",
    "action": "navigate_to_pose",
    "robot_frame": "base_link",
    "distance_m": 0.6,
    "radius_m": 0.3,
    "height_m": 1.0,
}


class ApproachNode(Node):
    """Sends the parameter `query` to the node `source` and drives to a pose `distance_m` from the
    answer, for a robot of `radius_m` and `height_m`.

    The answers must be in a frame that Nav2 knows: set target_frame of the grounding node to map.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("approach_node", **options)
        self._options = {n: self.declare_parameter(n, v).value for n, v in PARAMETERS.items()}
        source = self._options["source"]
        self._action_type = navigate_to_pose()
        self._ground = self.create_client(Ground, f"{source}/ground")
        self._scene = self.create_client(GetScene, f"{source}/get_scene")
        self._action_client = ActionClient(self, self._action_type, self._options["action"])
        self._tree = TransformTree(live=True)
        if have_transform_message():
            for name, fixed, profile in (
                ("/tf", False, qos.transforms()),
                ("/tf_static", True, qos.latched(100)),
            ):
                add = partial(self._tree.add, fixed=fixed)
                self.create_subscription(transform_message(), name, add, profile)

    def run(self, spin: Callable[[Future, float], None]) -> str:
        """Ask, drive, and return the outcome; `spin` runs the node until a future is done.

        Raises NotAvailableError if a server does not reply or Nav2 does not reach the goal.
        """
        query = self._options["query"]
        reply = self._call(self._ground, Ground.Request(query=query), spin)
        if not reply.grounding.objects:
            raise NotAvailableError(f"{query!r}: {reply.grounding.text}")
        found = reply.grounding.objects[0]
        others = self._call(self._scene, GetScene.Request(), spin).scene.objects
        goal = self.approach_pose(found, others)
        self.get_logger().info(
            f"{reply.grounding.text}; driving to ({goal.x:.2f}, {goal.y:.2f}), "
            f"{math.degrees(goal.yaw):.0f} degrees, in {found.header.frame_id!r}"
        )
        self._drive(found.header.frame_id, goal, spin)
        return f"arrived in front of {found.label or 'the object'}"

    def approach_pose(self, found: GroundedObject, others: list[GroundedObject]) -> ApproachPose:
        """The goal. Raises NotAvailableError if no pose around the object is free."""
        robot = None
        deadline = time.monotonic() + TF_TIMEOUT_S
        while have_transform_message() and robot is None and time.monotonic() < deadline:
            try:
                pose = self._tree.latest(found.header.frame_id, self._options["robot_frame"])
                robot = (float(pose[0, 3]), float(pose[1, 3]))
            except FrameError:
                rclpy.spin_once(self, timeout_sec=0.05)
        if robot is None:
            self.get_logger().warning(
                f"TF has no pose of {self._options['robot_frame']!r} (parameter robot_frame): "
                "the goal is on any free side of the object"
            )
        obstacles = [conversions.box(item) for item in others if item.id != found.id]
        sizes = {name: self._options[name] for name in ("distance_m", "radius_m", "height_m")}
        return find_approach_pose(conversions.box(found), robot, obstacles, **sizes)

    def _drive(self, frame: str, goal: ApproachPose, spin: Callable[[Future, float], None]) -> None:
        if not self._action_client.wait_for_server(REPLY_TIMEOUT_S):
            raise NotAvailableError(
                f"no server of the action {self._options['action']!r}: is Nav2 active?"
            )
        pose = PoseStamped()
        pose.header.frame_id = frame
        pose.pose.position.x, pose.pose.position.y = goal.x, goal.y
        pose.pose.orientation = conversions.orientation(goal.yaw)
        sent = self._action_client.send_goal_async(self._action_type.Goal(pose=pose))
        spin(sent, REPLY_TIMEOUT_S)
        handle = sent.result() if sent.done() else None
        if handle is None or not handle.accepted:
            raise NotAvailableError("Nav2 rejected the goal: see its log")
        done = handle.get_result_async()
        try:
            spin(done, DRIVE_TIMEOUT_S)
        finally:
            if not done.done():
                handle.cancel_goal_async()
        if not done.done() or done.result().status != GoalStatus.STATUS_SUCCEEDED:
            state = (
                f"status {done.result().status}" if done.done() else f"over {DRIVE_TIMEOUT_S:g} s"
            )
            raise NotAvailableError(f"Nav2 did not reach the goal ({state}): see its log")

    def _call(self, client: Any, request: Any, spin: Callable[[Future, float], None]) -> Any:
        if not client.wait_for_service(REPLY_TIMEOUT_S):
            raise NotAvailableError(f"no service {client.srv_name}: is the grounding node running?")
        future = client.call_async(request)
        spin(future, REPLY_TIMEOUT_S)
        if not future.done():
            raise NotAvailableError(f"{client.srv_name}: no answer within {REPLY_TIMEOUT_S:g} s")
        if not future.result().success:
            raise NotAvailableError(future.result().message)
        return future.result()


def main(args: list[str] | None = None) -> None:
    """Drive once. An error is one log line and exit code 1."""
    rclpy.init(args=args)
    code = 0
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        try:
            node = ApproachNode()
            spin = partial(rclpy.spin_until_future_complete, node)
            outcome = node.run(lambda future, timeout_s: spin(future, timeout_sec=timeout_s))
            node.get_logger().info(outcome)
            node.destroy_node()
        except Spatial3DError as error:
            rclpy.logging.get_logger("approach_node").fatal(str(error))
            code = 1
    rclpy.try_shutdown()
    raise SystemExit(code)
