"""The parameters of the grounding node: one table with meaning, unit and range of each.

The table declares them to ROS, checks every value, and is what the reference in the docs and the
YAML files follow. The checks need no ROS.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from spatial3d_ros.errors import ConfigError

if TYPE_CHECKING:
    from rclpy.node import Node


def parameter(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A field with what `ros2 param describe` shows; a `live` one may change at any time."""
    limits = {"description": description, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata={**limits, "live": live})


@dataclass(frozen=True)
class Parameters:
    """Every parameter of `grounding_node`, with its default."""

    model: str = parameter("tiny", "Name of a shipped model, or path of a folder with weights.")
    device: str = parameter("auto", "Where the network runs: auto, cpu, cuda, cuda:1, ...")
    dtype: str = parameter(
        "auto",
        "Number format of the network.",
        choices=("auto", "float32", "float16", "bfloat16"),
    )
    weights: str = parameter(
        "auto",
        "Weights of the decoder: auto (as dtype says), or fewer bits to save memory.",
        choices=("auto", "int8", "int4"),
    )
    autostart: bool = parameter(True, "Configure and activate without being asked.")

    pose_source: str = parameter(
        "pose",
        "Where poses come from: topic pose (PoseStamped), topic odom (Odometry), or tf: the frame "
        "of the colour image in world_frame.",
        choices=("pose", "odom", "tf"),
    )
    world_frame: str = parameter(
        "odom",
        "Frame that memory is kept in when pose_source is tf: one in which motion is continuous.",
    )
    target_frame: str = parameter(
        "",
        "Frame that answers are given in, by TF at the moment of the answer; empty: that of the "
        "poses.",
    )
    base_T_camera: tuple[float, ...] = parameter(
        (),
        "Pose of the camera (optical frame) in the frame whose pose the topic tells, as "
        "[x, y, z, qx, qy, qz, qw] in metres; empty if the topic tells the camera's own pose.",
    )
    max_pose_gap_s: float = parameter(
        0.3, "Longest time between two poses to interpolate over [s].", low=0.001, high=10.0
    )
    max_pose_wait_s: float = parameter(
        1.0, "Longest time an image waits for its pose, in image time [s].", low=0.0, high=10.0
    )

    color_transport: str = parameter(
        "raw", "rgb/image as it is, or rgb/image/compressed.", choices=("raw", "compressed")
    )
    depth_transport: str = parameter(
        "raw",
        "depth/image as it is, or depth/image/compressedDepth.",
        choices=("raw", "compressedDepth"),
    )
    images_rectified: bool = parameter(
        False, "The images are undistorted already: use P of camera_info and ignore D."
    )
    depth_alignment: str = parameter(
        "auto",
        "Depth in another frame or size than colour: auto registers it (depth/camera_info and "
        "TF, or color_T_depth), refuse complains, given takes it as aligned.",
        choices=("auto", "refuse", "given"),
    )
    color_T_depth: tuple[float, ...] = parameter(
        (),
        "Pose of the depth camera in the colour camera (optical frames), as "
        "[x, y, z, qx, qy, qz, qw] in metres; empty: by TF.",
    )
    sync_slop_s: float = parameter(
        0.02, "Largest difference of the stamps of a colour and depth pair [s].", low=0.0, high=1.0
    )
    sync_queue_size: int = parameter(
        10, "Images per topic that may wait for their partner.", low=1, high=200
    )

    keyframe_translation_m: float = parameter(
        0.15, "Look at a new view after the camera moved this far [m].", low=0.0, high=10.0
    )
    keyframe_rotation_rad: float = parameter(
        0.26, "Look at a new view after the camera turned this far [rad].", low=0.0, high=3.1416
    )
    keyframe_max_hz: float = parameter(
        10.0, "Look at no more views a second than this [Hz].", low=0.1, high=100.0
    )
    keyframe_still_s: float = parameter(
        2.0,
        "Look at a view this long after the last one even if nothing moved [s].",
        low=0.1,
        high=3600.0,
    )
    max_views: int = parameter(16, "Views kept in memory.", low=1, high=256)
    max_seconds: float = parameter(60.0, "Age of the oldest view kept [s].", low=1.0, high=86400.0)
    max_megabytes: float = parameter(
        512.0, "Memory that the images of the views may take [MiB].", low=1.0, high=65536.0
    )

    refresh_period_s: float = parameter(
        0.5,
        "Shortest time between two updates of the object map [s].",
        low=0.0,
        high=60.0,
        live=True,
    )
    max_objects: int = parameter(
        5, "Objects in an answer when the request names no number.", low=1, high=100, live=True
    )
    max_pending_questions: int = parameter(
        4, "Questions that may wait; more are answered with busy.", low=0, high=64, live=True
    )
    max_questions_hz: float = parameter(
        100.0,
        "Questions taken in a second [Hz]; more are answered with busy.",
        low=0.1,
        high=10000.0,
        live=True,
    )
    question_timeout_s: float = parameter(
        10.0, "Longest time from question to answer [s].", low=0.05, high=3600.0, live=True
    )
    silence_s: float = parameter(
        5.0,
        "Complain about a topic that is silent for this long [s].",
        low=0.5,
        high=3600.0,
        live=True,
    )


FIELDS = {entry.name: entry for entry in fields(Parameters)}


def check(name: str, value: Any) -> Any:
    """The value in the type of the parameter.

    Whole numbers are accepted for real ones, since people write 2 for 2.0. Raises ConfigError,
    naming parameter, value and range, when it is unknown, of another type, or impossible.
    """
    entry = FIELDS.get(name)
    if entry is None:
        raise ConfigError(f"parameter {name} is unknown. Known: {', '.join(FIELDS)}")
    value = _cast(name, value, entry.default)
    low, high, choices = (entry.metadata[key] for key in ("low", "high", "choices"))
    if choices and value not in choices:
        raise ConfigError(f"parameter {name} is {value!r}; it must be one of {', '.join(choices)}")
    if low is not None and not low <= value <= high:
        raise ConfigError(f"parameter {name} is {value}; it must be between {low} and {high}")
    return value


def _cast(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        if value is None or isinstance(value, str | bytes) or not isinstance(value, Iterable):
            value = () if value is None else (value,)
        numbers = tuple(value)
        if all(_is_finite(number) for number in numbers) and len(numbers) in (0, 7):
            return tuple(float(number) for number in numbers)
        raise ConfigError(
            f"parameter {name} is {list(numbers)}; it must be 7 numbers "
            "[x, y, z, qx, qy, qz, qw], or empty"
        )
    if isinstance(default, float) and _is_finite(value):
        return float(value)
    if type(value) is type(default) and not isinstance(default, float):
        return value
    kind = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}
    raise ConfigError(f"parameter {name} is {value!r}; it must be {kind[type(default)]}")


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


class ParameterTable:
    """The parameters of a node, always valid: a bad value is refused and the old one stays.

    A bad value given at start (command line, YAML) is put down in `problems` and the default used
    in its place, so that the node comes up and can say so; a later good value clears the problem.
    While `locked` is True only live parameters can change.
    """

    def __init__(self, node: Node) -> None:
        from rcl_interfaces.msg import ParameterDescriptor

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
        from rcl_interfaces.msg import SetParametersResult

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
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

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
