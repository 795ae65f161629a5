"""Declares the parameters to ROS, checks their values, and locks them while they are in use."""

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
from spatial3d_ros.runtime.cameras import CameraSource, camera_sources
from spatial3d_ros.runtime.parameters import (
    FIELDS,
    RENAMED,
    Parameters,
    check,
    explain_renamed,
    explain_unknown,
)

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.parameter import Parameter

ROS_PARAMETERS = ("use_sim_time", "start_type_description_service", "qos_overrides.")
WHEN = {
    "live": "at once",
    "activate": "when the node is activated",
    "configure": "when the node is configured",
    "start": "when the node starts",
}


class ParameterTable:
    """The parameters of a node. They are always valid: an invalid value is refused.

    Attributes:
        values: the current values.
        problems: the error of each invalid or renamed parameter set at start (command line, YAML),
            by its name. Its default is used, so that the node starts and can report the error; a
            valid value set later clears it.
        unknown: a warning for each parameter set at start that does not exist. ROS ignores those
            without a warning.
        active: whether the node is active. Then only live parameters can change.
        loaded: the values with which the network was loaded, None if none is loaded.
    """

    def __init__(self, node: Node) -> None:
        self.values = Parameters()
        self.problems: dict[str, str] = {}
        self.active = False
        self.loaded: Parameters | None = None
        self._logger = node.get_logger()
        self._node_name = node.get_fully_qualified_name()
        self._entries: dict[str, dict[str, Any]] = {}
        self._started = False
        for name, entry in FIELDS.items():
            # First without a range: rclpy ends the process over a YAML value out of range.
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
        self._declare_cameras(node)
        overrides = node._parameter_overrides  # rclpy has no public access to undeclared ones
        for name in RENAMED.keys() & overrides.keys():
            self.problems[RENAMED[name]] = explain_renamed(name)
        known = (*FIELDS, *RENAMED)
        own = (*ROS_PARAMETERS, *(f"{name}." for name in self.values.cameras))
        self.unknown = [
            explain_unknown(name)
            for name in overrides
            if name not in known and not name.startswith(own)
        ]
        self._started = True
        node.add_on_set_parameters_callback(self._on_set)

    def cameras(self) -> list[CameraSource]:
        """The cameras of the node with the current values. Raises ConfigError."""
        return camera_sources(self.values, self._entries)

    def _declare_cameras(self, node: Node) -> None:
        """Declare NAME.KEY of the cameras that the parameter cameras names, as far as they are set.

        They are read once, at start: parameters of a ROS node have no lists of structures.
        """
        for name in self.values.cameras:
            for given in [n for n in node._parameter_overrides if n.startswith(f"{name}.")]:
                description = ParameterDescriptor(
                    description=f"Of camera {name}; see the parameter cameras.",
                    dynamic_typing=True,
                    read_only=True,
                )
                value = node.declare_parameter(given, None, description).value
                self._entries.setdefault(name, {})[given.partition(".")[2]] = value
        try:
            self.cameras()
        except ConfigError as error:
            self.problems["cameras"] = str(error)

    def outdated(self) -> str:
        """Which parameters of the loaded network have changed since, "" if none."""
        if self.loaded is None:
            return ""
        changed = [
            f"{name} is {getattr(self.values, name)!r} now, but was {before!r}"
            for name, before in vars(self.loaded).items()
            if _effective(name) == "configure" and getattr(self.values, name) != before
        ]
        if not changed:
            return ""
        return (
            f"{', '.join(changed)} when the network was loaded. To load it again, run: ros2 "
            f"lifecycle set {self._node_name} cleanup, then configure, then activate"
        )

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        values = {change.name: change.value for change in changes if change.name in FIELDS}
        try:
            self._store(values)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for name in values:
            if _effective(name) != "start":
                self.problems.pop(name, None)
        if any(_effective(name) == "configure" for name in values) and (why := self.outdated()):
            self._logger.warning(why)  # rclpy drops the reason of a successful result
        return SetParametersResult(successful=True)

    def _store(self, changes: dict[str, Any]) -> None:
        checked = {name: check(name, value) for name, value in changes.items()}
        for name, value in checked.items():
            changed = value != getattr(self.values, name)
            if self._started and changed and _effective(name) == "start":
                raise ConfigError(f"parameter {name} is read when the node starts: start it again")
            if self.active and changed and _effective(name) != "live":
                reload = _effective(name) == "configure"
                before = "deactivate, cleanup" if reload else "deactivate"
                after = "configure and activate" if reload else "activate"
                raise ConfigError(
                    f"parameter {name} is in use and cannot change while the node is active. Run: "
                    f"ros2 lifecycle set {self._node_name} {before}; set it; then {after} again"
                )
        self.values = replace(self.values, **checked)


def _effective(name: str) -> str:
    return str(FIELDS[name].metadata["effective"])


def _descriptor(entry: Field[Any]) -> ParameterDescriptor:
    limits = entry.metadata
    descriptor = ParameterDescriptor(
        description=f"{limits['description']} Takes effect {WHEN[limits['effective']]}.",
        additional_constraints=", ".join(limits["choices"]),
        dynamic_typing=True,  # accepts 2 for 2.0
    )
    if isinstance(entry.default, float):
        bounds = FloatingPointRange(from_value=limits["low"], to_value=limits["high"])
        descriptor.floating_point_range = [bounds]
    elif limits["low"] is not None:
        bounds = IntegerRange(from_value=limits["low"], to_value=limits["high"])
        descriptor.integer_range = [bounds]
    return descriptor
