"""The parameters of the grounding node: one table with meaning, unit and range of each.

What the node declares to ROS, what every value is checked against, and what the YAML files follow.
No ROS here.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from spatial3d_ros.engine_config import EngineConfig, parameter
from spatial3d_ros.errors import ConfigError


@dataclass(frozen=True)
class Parameters(EngineConfig):
    """Every parameter of `grounding_node`, with its default: those of the engine and its own."""

    autostart: bool = parameter(
        True, "Configure and activate without being asked, when the node starts."
    )

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

    detections_2d: str = parameter(
        "", "Topic of a detector's vision_msgs/Detection2DArray in the colour image; empty: none."
    )
    detections_3d: str = parameter(
        "", "Topic of a detector's vision_msgs/Detection3DArray, in any known frame; empty: none."
    )
    detection_masks: str = parameter(
        "",
        "Topic of label images (mono8, mono16) with the stamps of detections_2d: pixel n belongs "
        "to the n-th box; empty: none.",
    )
    detection_classes: tuple[str, ...] = parameter(
        (), "Names of numbered classes in their order, or as id=name; empty: class ids are names."
    )
    detection_min_score: float = parameter(
        0.3, "Leave out boxes that the detector is less sure of, 0 .. 1.", low=0.0, high=1.0
    )
    detection_min_sightings: int = parameter(
        2,
        "Detections of an object that a detector must report before it enters the object map.",
        low=1,
        high=100,
        loaded=True,
    )
    detection_max_count: int = parameter(
        100, "Boxes taken of one message, the surest.", low=1, high=1000
    )
    detection_max_hz: float = parameter(
        5.0, "Use no more messages of a detector a second than this [Hz].", low=0.1, high=100.0
    )
    detection_delay_s: float = parameter(
        3.0,
        "Longest time from an image to the boxes found in it; so long images are kept [s].",
        low=0.1,
        high=60.0,
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


TEXTS = "tuple[str, ...]"  # the type of a parameter that is a list of texts, as it is annotated
FIELDS = {entry.name: entry for entry in fields(Parameters)}


def check(name: str, value: Any) -> Any:
    """The value in the type of the parameter.

    Whole numbers are accepted for real ones, since people write 2 for 2.0. Raises ConfigError,
    naming parameter, value and range, when it is unknown, of another type, or impossible.
    """
    entry = FIELDS.get(name)
    if entry is None:
        raise ConfigError(f"parameter {name} is unknown. Known: {', '.join(FIELDS)}")
    if entry.type == TEXTS:
        return _texts(name, value)
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


def _texts(name: str, value: Any) -> tuple[str, ...]:
    entries = () if value is None else value
    if isinstance(entries, (list, tuple)) and all(isinstance(entry, str) for entry in entries):
        return tuple(entries)
    raise ConfigError(f"parameter {name} is {value!r}; it must be a list of texts, or empty")


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def as_yaml(values: Parameters) -> str:
    """All of them, a line each as in a parameter file; what is not as it comes is marked."""
    lines = []
    for name, entry in FIELDS.items():
        value = getattr(values, name)
        line = f"{name}: {json.dumps(value)}"
        lines.append(
            line if value == entry.default else f"{line}  # not {json.dumps(entry.default)}"
        )
    return "\n".join(lines)


def explain_unknown(name: str) -> str:
    """What to say about a parameter that the node was given and does not have."""
    near = difflib.get_close_matches(name, FIELDS, n=1)
    meant = f"did you mean {near[0]}?" if near else "it changes nothing here."
    return f"parameter {name} is unknown: {meant}"
