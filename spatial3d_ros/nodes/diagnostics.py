"""What the node tells on /diagnostics: facts as text, and whether they are fine."""

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
    from spatial3d_ros.nodes.query_handler import Answering
    from spatial3d_ros.nodes.sensor_input import SensorInput

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def status(name: str, level: bytes, message: str, facts: Mapping[str, Any]) -> DiagnosticStatus:
    """One part of the node; facts that are mappings are spread as "key.subkey"."""
    values = [KeyValue(key=key, value=value) for key, value in _flat(facts)]
    return DiagnosticStatus(name=name, level=level, message=message, values=values)


def publish_regularly(node: Node, statuses: Callable[[], list[DiagnosticStatus]]) -> None:
    """Publish them once a second, as long as the node lives."""
    publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.result())

    def publish() -> None:
        try:
            header = Header(stamp=node.get_clock().now().to_msg())
            publisher.publish(DiagnosticArray(header=header, status=statuses()))
        except Exception:  # out of a timer it would end the node
            node.get_logger().error(f"diagnostics: {traceback.format_exc()}")

    # Not by the node's clock: with use_sim_time and nobody on /clock that one stands still.
    steady = Clock(clock_type=ClockType.STEADY_TIME)
    group = MutuallyExclusiveCallbackGroup()
    node.create_timer(1.0, publish, callback_group=group, clock=steady)


def of_inactive(name: str, failure: str) -> DiagnosticStatus:
    """A node that is not active, and whether it should be."""
    return status(name, ERROR if failure else OK, failure or "not active", {})


def of_sensors(name: str, sensors: SensorInput, silence_s: float) -> DiagnosticStatus:
    """What arrives, how fast, and what is wrong with it."""
    complaints = sensors.watchdog.complaints(silence_s)
    return status(
        f"{name}: sensors",
        WARN if complaints else OK,
        " ".join(complaints) or "all topics arrive and match",
        sensors.facts(),
    )


def of_memory(name: str, engine: Spatial3D, problem: str) -> DiagnosticStatus:
    """What is kept, by which model, and what stands in the way of the next update."""
    return status(f"{name}: memory", ERROR if problem else OK, problem, engine.stats())


def of_questions(name: str, questions: Answering) -> DiagnosticStatus:
    """How many wait, and where the time of the last ones went."""
    facts = {"latency": questions.latency_ms.summary(), "stages_ms": questions.stages_ms}
    return status(f"{name}: questions", OK, f"{questions.runner.open} open", facts)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", _text(value)))
    return pairs


def _text(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
