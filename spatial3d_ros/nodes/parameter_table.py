"""The parameters as ROS knows them: declared with meaning and range, valid, locked while in use."""

from __future__ import annotations

from dataclasses import Field, replace
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.runtime.parameters import FIELDS, Parameters, check, explain_unknown

if TYPE_CHECKING:
    from rclpy.node import Node


NOT_OURS = ("use_sim_time", "start_type_description_service", "qos_overrides.")


class ParameterTable:
    """The parameters of a node, always valid: a bad value is refused and the old one stays.

    A bad value given at start (command line, YAML) is put down in `problems` and the default used
    in its place, so that the node comes up and can say so; a later good value clears the problem.
    `unknown` says which names given at start mean nothing: ROS itself passes over them in silence.

    While `active` only live parameters can change. `loaded` are the values that the network was
    loaded with, None while there is none; `outdated` tells what has changed since.
    """

    def __init__(self, node: Node) -> None:
        self.values = Parameters()
        self.problems: dict[str, str] = {}
        self.active = False
        self.loaded: Parameters | None = None
        self._logger = node.get_logger()
        self._node_name = node.get_fully_qualified_name()
        for name, entry in FIELDS.items():
            # First without limits: rclpy would end the program over a bad value from a YAML file.
            given = node.declare_parameter(name, None, ParameterDescriptor(dynamic_typing=True))
            node.undeclare_parameter(name)
            try:
                if given.value is not None:
                    self._store({name: given.value})
            except ConfigError as error:
                self.problems[name] = str(error)
            value = getattr(self.values, name)
            value = list(value) if isinstance(value, tuple) else value
            node.declare_parameter(name, value, _descriptor(entry), ignore_override=True)
        given = node._parameter_overrides  # rclpy tells what nobody declared nowhere else
        ours = (name for name in given if name not in FIELDS and not name.startswith(NOT_OURS))
        self.unknown = [explain_unknown(name) for name in ours]
        node.add_on_set_parameters_callback(self._on_set)

    def outdated(self) -> str:
        """Why the loaded network is not the one that the parameters name; "" when it is."""
        if self.loaded is None:
            return ""
        changed = [
            f"{name} is {getattr(self.values, name)!r} now, but was {before!r}"
            for name, before in vars(self.loaded).items()
            if FIELDS[name].metadata["loaded"] and getattr(self.values, name) != before
        ]
        if not changed:
            return ""
        return (
            f"{', '.join(changed)} when the network was loaded: ros2 lifecycle set "
            f"{self._node_name} cleanup, then configure, then activate"
        )

    def _on_set(self, changes: list[Any]) -> Any:
        ours = {change.name: change.value for change in changes if change.name in FIELDS}
        try:
            self._store(ours)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for name in ours:
            self.problems.pop(name, None)
        if any(FIELDS[name].metadata["loaded"] for name in ours) and (waits := self.outdated()):
            self._logger.warning(waits)  # rclpy passes no reason on with a success
        return SetParametersResult(successful=True)

    def _store(self, changes: dict[str, Any]) -> None:
        checked = {name: check(name, value) for name, value in changes.items()}
        for name, value in checked.items():
            changed = value != getattr(self.values, name)
            if self.active and changed and not FIELDS[name].metadata["live"]:
                steps = "deactivate, cleanup" if FIELDS[name].metadata["loaded"] else "deactivate"
                again = "configure and activate" if FIELDS[name].metadata["loaded"] else "activate"
                raise ConfigError(
                    f"parameter {name} is in use and cannot change while the node is active: "
                    f"ros2 lifecycle set {self._node_name} {steps}; set it; then {again} again"
                )
        self.values = replace(self.values, **checked)


def _descriptor(entry: Field) -> Any:
    limits = entry.metadata
    when = "at once"
    if not limits["live"]:
        when = "when the node is configured" if limits["loaded"] else "when the node is activated"
    descriptor = ParameterDescriptor(
        description=f"{limits['description']} Takes effect {when}.",
        additional_constraints=", ".join(limits["choices"]),
        dynamic_typing=True,  # so that 2 is accepted for 2.0
    )
    if isinstance(entry.default, float):
        span = FloatingPointRange(from_value=limits["low"], to_value=limits["high"])
        descriptor.floating_point_range = [span]
    elif limits["low"] is not None:
        span = IntegerRange(from_value=limits["low"], to_value=limits["high"])
        descriptor.integer_range = [span]
    return descriptor
