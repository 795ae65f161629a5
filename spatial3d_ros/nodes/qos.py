"""Quality of service of every topic, in one place."""

from __future__ import annotations

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions


def sensor(depth: int) -> QoSProfile:
    """For sensors: best effort, which is compatible with every publisher."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT
    )


def result() -> QoSProfile:
    """For answers: reliable, volatile, ten messages deep."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10)


def requests() -> QoSProfile:
    """For services: a hundred requests at once. The default depth of ten drops the others."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100)


def latched(depth: int = 1) -> QoSProfile:
    """Late subscribers get the last `depth` messages."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL
    )


def transforms() -> QoSProfile:
    """For /tf, as in tf2: reliable, and deep enough for bursts."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100)


def overridable() -> QoSOverridingOptions:
    """The policies that the parameters qos_overrides.TOPIC.subscription.POLICY may override.

    They include durability for drivers that publish camera_info once, as transient local.
    """
    kinds = (
        QoSPolicyKind.HISTORY,
        QoSPolicyKind.DEPTH,
        QoSPolicyKind.RELIABILITY,
        QoSPolicyKind.DURABILITY,
    )
    return QoSOverridingOptions(kinds)


def no_events() -> SubscriptionEventCallbacks:
    """No event handlers: destroying one while an rclpy executor waits can end the executor.

    The watchdog reports incompatible QoS instead.
    """
    return SubscriptionEventCallbacks(use_default_callbacks=False)


def describe(profile: QoSProfile) -> str:
    """Reliability and durability as text: the policies that must be compatible."""
    reliability = profile.reliability.name.lower().replace("_", " ")
    return f"{reliability}, {profile.durability.name.lower().replace('_', ' ')}"
