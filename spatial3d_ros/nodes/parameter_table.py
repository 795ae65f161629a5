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
from spatial3d_ros.nodes.parameters import FIELDS, Parameters, check

if TYPE_CHECKING:
    from rclpy.node import Node


class ParameterTable:
    """The parameters of a node, always valid: a bad value is refused and the old one stays.

    A bad value given at start (command line, YAML) is put down in `problems` and the default used
    in its place, so that the node comes up and can say so; a later good value clears the problem.
    While `locked` is True only live parameters can change.
    """

    def __init__(self, node: Node) -> None:
        self.values = Parameters()
        self.problems: dict[str, str] = {}
        self.locked = False
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
        node.add_on_set_parameters_callback(self._on_set)

    def _on_set(self, changes: list[Any]) -> Any:
        ours = {change.name: change.value for change in changes if change.name in FIELDS}
        try:
            self._store(ours)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for name in ours:
            self.problems.pop(name, None)
        return SetParametersResult(successful=True)

    def _store(self, changes: dict[str, Any]) -> None:
        checked = {name: check(name, value) for name, value in changes.items()}
        for name, value in checked.items():
            changed = value != getattr(self.values, name)
            if self.locked and changed and not FIELDS[name].metadata["live"]:
                raise ConfigError(
                    f"parameter {name} is in use and cannot change now: deactivate and clean up "
                    "the node (ros2 lifecycle set), set it, then configure and activate again"
                )
        self.values = replace(self.values, **checked)


def _descriptor(entry: Field) -> Any:
    limits = entry.metadata
    descriptor = ParameterDescriptor(
        description=limits["description"],
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
