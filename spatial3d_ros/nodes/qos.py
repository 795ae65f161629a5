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
    """Best effort matches every publisher, reliable or not."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT
    )


def result() -> QoSProfile:
    """Answers arrive."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10)


def requests() -> QoSProfile:
    """Of services: a hundred may ask at once. With the usual ten the others would hear nothing."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100)


def latched(depth: int = 1) -> QoSProfile:
    """Late subscribers get the last message, or several."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL
    )


def transforms() -> QoSProfile:
    """As tf2 subscribes to what moves: nothing may be lost, and much comes at once."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100)


def overridable() -> QoSOverridingOptions:
    """What a user may override with the parameters qos_overrides.TOPIC.subscription.POLICY.

    Durability is among it for drivers that publish camera_info once, as transient local.
    """
    kinds = (
        QoSPolicyKind.HISTORY,
        QoSPolicyKind.DEPTH,
        QoSPolicyKind.RELIABILITY,
        QoSPolicyKind.DURABILITY,
    )
    return QoSOverridingOptions(kinds)


def no_events() -> SubscriptionEventCallbacks:
    """No event handlers: those that are destroyed while rclpy's executor waits can end it.

    What they would tell (incompatible QoS) is in our own complaint about silence.
    """
    return SubscriptionEventCallbacks(use_default_callbacks=False)


def describe(profile: QoSProfile) -> str:
    """The two policies that decide whether two ends talk, in words."""
    reliability = profile.reliability.name.lower().replace("_", " ")
    return f"{reliability}, {profile.durability.name.lower().replace('_', ' ')}"
