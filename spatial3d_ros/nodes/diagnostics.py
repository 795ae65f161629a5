"""What the node tells on /diagnostics: facts as text, and whether they are fine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def status(name: str, level: bytes, message: str, facts: Mapping[str, Any]) -> DiagnosticStatus:
    """One part of the node; facts that are mappings are spread as "key.subkey"."""
    values = [KeyValue(key=key, value=value) for key, value in _flat(facts)]
    return DiagnosticStatus(name=name, level=level, message=message, values=values)


def array(now: Time, statuses: list[DiagnosticStatus]) -> DiagnosticArray:
    """The message of all parts."""
    return DiagnosticArray(header=Header(stamp=now), status=statuses)


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
