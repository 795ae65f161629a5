"""The statuses that the node publishes on /diagnostics."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from std_msgs.msg import Header

from spatial3d_ros.nodes import qos

if TYPE_CHECKING:
    from rclpy.node import Node

    from spatial3d_ros.engine import Spatial3D
    from spatial3d_ros.nodes.camera_input import CameraInput
    from spatial3d_ros.nodes.query_handler import QueryHandler

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def status(name: str, level: bytes, message: str, values: Mapping[str, Any]) -> DiagnosticStatus:
    """The status of one part of the node; nested mappings get keys as in "received./rgb/image"."""
    pairs = [KeyValue(key=key, value=value) for key, value in _flatten(values)]
    return DiagnosticStatus(name=name, level=level, message=message, values=pairs)


def publish_regularly(node: Node, statuses: Callable[[], list[DiagnosticStatus]]) -> None:
    """Publish the statuses once a second until the node is destroyed."""
    publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.result())

    def publish() -> None:
        try:
            header = Header(stamp=node.get_clock().now().to_msg())
            publisher.publish(DiagnosticArray(header=header, status=statuses()))
        except Exception:  # raised from a timer, it would end the node
            if not node.context.ok():  # a signal ended it meanwhile
                return
            node.get_logger().error(f"failed to publish diagnostics: {traceback.format_exc()}")

    # Not the node's clock: with use_sim_time and no publisher on /clock it stands still.
    steady = Clock(clock_type=ClockType.STEADY_TIME)
    group = MutuallyExclusiveCallbackGroup()
    node.create_timer(1.0, publish, callback_group=group, clock=steady)


def inactive_status(name: str, failure: str) -> DiagnosticStatus:
    """A node that is not active: an error if a transition failed."""
    return status(name, ERROR if failure else OK, failure or "not active", {})


def sensor_status(name: str, camera: CameraInput, topic_timeout_s: float) -> DiagnosticStatus:
    """Counts and rates of the messages of a camera, and the problems found in them."""
    warnings = camera.warnings(topic_timeout_s)
    return status(
        f"{name}: sensors {camera.name}".strip(),
        WARN if warnings else OK,
        " ".join(warnings) or "every topic is received and its stamps match",
        camera.diagnostics(),
    )


def memory_status(name: str, engine: Spatial3D, problem: str) -> DiagnosticStatus:
    """Statistics of the engine, the error of the last update of the object map, and why nothing is
    stored across sessions.
    """
    values = engine.stats()
    lasting = values.get("lasting")
    unstored = str(lasting["problem"]) if isinstance(lasting, dict) else ""
    level = ERROR if problem else WARN if unstored else OK
    return status(f"{name}: memory", level, problem or unstored, values)


def question_status(name: str, handler: QueryHandler) -> DiagnosticStatus:
    """The number of open questions, and latency and time by stage of those answered."""
    values = {"latency": handler.latency_ms.summary(), "stages_ms": handler.stages_ms}
    return status(f"{name}: questions", OK, f"{handler.runner.open} open", values)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            pairs += _flatten(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", _text(value)))
    return pairs


def _text(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
