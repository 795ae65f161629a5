"""The parameters of the grounding node: one table with description, unit and range of each.

The node declares these to ROS and checks every value against them; config/base.yaml holds the same
names and defaults. This module does not use ROS.
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
from spatial3d_ros.sensors.synchronizer import DEFAULT_QUEUE_SIZE


@dataclass(frozen=True)
class Parameters(EngineConfig):
    """Every parameter of `grounding_node`, with its default: those of the engine and its own."""

    autostart: bool = parameter(True, "Configure and activate when the node starts.")

    pose_source: str = parameter(
        "pose",
        "Source of the camera poses: topic pose (PoseStamped), topic odom (Odometry), or tf (the "
        "frame of the color image in world_frame).",
        choices=("pose", "odom", "tf"),
    )
    world_frame: str = parameter(
        "odom",
        "Fixed frame of the object map when pose_source is tf. Motion in it must be continuous.",
    )
    target_frame: str = parameter(
        "",
        "Frame of the answers, by TF at the time of the answer; empty: the frame of the poses.",
    )
    base_T_camera: tuple[float, ...] = parameter(
        (),
        "Pose of the camera (optical frame) in the frame whose pose the topic contains, as "
        "[x, y, z, qx, qy, qz, qw] in metres; empty if the topic contains the camera's pose.",
    )
    max_pose_gap_s: float = parameter(
        0.3, "Longest time between two poses to interpolate over [s].", low=0.001, high=10.0
    )
    max_pose_wait_s: float = parameter(
        1.0, "Longest time an image waits for its pose, in image time [s].", low=0.0, high=10.0
    )

    cameras: tuple[str, ...] = parameter(
        (),
        "Names of several cameras that feed one memory; each has its topics and options as "
        "parameters NAME.rgb_image, NAME.preset, ...; empty: one camera, on rgb/image.",
        effective="start",
    )
    memory_peers: tuple[str, ...] = parameter(
        (),
        "Grounding nodes of other robots in the same map frame, as /robot2/grounding_node: their "
        "objects are merged into the memory (needs memory_folder).",
        effective="configure",
    )
    color_transport: str = parameter(
        "raw",
        "Transport of the color image: rgb/image, or rgb/image/compressed.",
        choices=("raw", "compressed"),
    )
    depth_transport: str = parameter(
        "raw",
        "Transport of the depth image: depth/image, or depth/image/compressedDepth.",
        choices=("raw", "compressedDepth"),
    )
    depth_unit: float = parameter(
        0.0,
        "Metres of the depth value 1; 0: 16UC1 has millimetres and 32FC1 metres (REP 118).",
        low=0.0,
        high=100.0,
    )
    images_rectified: bool = parameter(
        False, "The images are already rectified: use P of camera_info and ignore D."
    )
    depth_alignment: str = parameter(
        "auto",
        "Depth in another frame or size than color: auto registers it (by depth/camera_info and "
        "TF, or color_T_depth), refuse reports an error, given assumes that it is registered.",
        choices=("auto", "refuse", "given"),
    )
    color_T_depth: tuple[float, ...] = parameter(
        (),
        "Pose of the depth camera in the color camera (optical frames), as "
        "[x, y, z, qx, qy, qz, qw] in metres; empty: from TF.",
    )
    sync_slop_s: float = parameter(
        0.02, "Largest difference of the stamps of a color and depth pair [s].", low=0.0, high=1.0
    )
    sync_queue_size: int = parameter(
        DEFAULT_QUEUE_SIZE,
        "Images per topic that wait for an image of the other topic.",
        low=1,
        high=200,
    )

    keyframe_translation_m: float = parameter(
        0.15, "Select a keyframe after the camera moved this far [m].", low=0.0, high=10.0
    )
    keyframe_rotation_rad: float = parameter(
        0.26, "Select a keyframe after the camera turned this far [rad].", low=0.0, high=3.1416
    )
    keyframe_max_hz: float = parameter(10.0, "Largest rate of keyframes [Hz].", low=0.1, high=100.0)
    keyframe_max_interval_s: float = parameter(
        2.0,
        "Select a keyframe this long after the last one even if the camera did not move [s].",
        low=0.1,
        high=3600.0,
    )

    detections_2d: str = parameter(
        "", "Topic of a detector's vision_msgs/Detection2DArray in the color image; empty: none."
    )
    detections_3d: str = parameter(
        "", "Topic of a detector's vision_msgs/Detection3DArray, in any known frame; empty: none."
    )
    detection_masks: str = parameter(
        "",
        "Topic of label images (mono8, mono16) with the stamps of detections_2d: pixel n belongs "
        "to the n-th box; empty: none.",
    )
    class_images: str = parameter(
        "",
        "Topic of a segmenter's label images (mono8, mono16), the class of every pixel, with the "
        "stamps of the color image; empty: none.",
    )
    class_labels: str = parameter(
        "recognition_node/labels",
        "Topic of the names of the classes of class_images, std_msgs/String with one a line; "
        "detection_classes names them instead if it is set.",
    )
    detection_classes: tuple[str, ...] = parameter(
        (), "Names of numeric class ids, in order or as id=name; empty: class ids are names."
    )
    detection_min_score: float = parameter(
        0.3, "Ignore detections with a lower score, 0 .. 1.", low=0.0, high=1.0
    )
    detection_min_hits: int = parameter(
        2,
        "Number of detections after which a tracked object enters the object map.",
        low=1,
        high=100,
        effective="configure",
    )
    detection_max_count: int = parameter(
        100, "Largest number of detections used of one message, by score.", low=1, high=1000
    )
    detection_max_hz: float = parameter(
        5.0, "Largest rate of detector messages used [Hz].", low=0.1, high=100.0
    )
    detection_delay_s: float = parameter(
        3.0,
        "Longest time from an image to its detections; images are kept this long [s].",
        low=0.1,
        high=60.0,
    )

    refresh_period_s: float = parameter(
        0.5,
        "Shortest time between two updates of the object map [s].",
        low=0.0,
        high=60.0,
        effective="live",
    )
    max_objects: int = parameter(
        5,
        "Largest number of objects in an answer if the request gives none.",
        low=1,
        high=100,
        effective="live",
    )
    max_pending_questions: int = parameter(
        4,
        "Largest number of waiting questions; further ones fail with busy.",
        low=0,
        high=64,
        effective="live",
    )
    max_questions_hz: float = parameter(
        100.0,
        "Largest rate of questions [Hz]; further ones fail with busy.",
        low=0.1,
        high=10000.0,
        effective="live",
    )
    question_timeout_s: float = parameter(
        10.0, "Longest time from question to answer [s].", low=0.05, high=3600.0, effective="live"
    )
    topic_timeout_s: float = parameter(
        5.0,
        "Warn about a topic on which no message arrives for this long [s].",
        low=0.5,
        high=3600.0,
        effective="live",
    )


STRING_LIST = "tuple[str, ...]"  # the annotation of a parameter that is a list of strings
RENAMED = {
    "detection_min_sightings": "detection_min_hits",
    "keyframe_still_s": "keyframe_max_interval_s",
    "silence_s": "topic_timeout_s",
}
"""Former names of parameters, which earlier parameter files contain."""

FIELDS = {entry.name: entry for entry in fields(Parameters)}


def check(name: str, value: Any) -> Any:
    """The value, converted to the type of the parameter.

    Integers are accepted for floats, because users write 2 for 2.0. Raises ConfigError with name,
    value and range if the parameter is unknown, or the value of another type or out of range.
    """
    entry = FIELDS.get(name)
    if entry is None:
        raise ConfigError(f"parameter {name} is unknown. The parameters are: {', '.join(FIELDS)}")
    if entry.type == STRING_LIST:
        return _strings(name, value)
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
    kind = {bool: "true or false", int: "an integer", float: "a finite number", str: "a string"}
    raise ConfigError(f"parameter {name} is {value!r}; it must be {kind[type(default)]}")


def _strings(name: str, value: Any) -> tuple[str, ...]:
    entries = () if value is None else value
    if isinstance(entries, (list, tuple)) and all(isinstance(entry, str) for entry in entries):
        return tuple(entries)
    raise ConfigError(f"parameter {name} is {value!r}; it must be a list of strings, or empty")


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def as_yaml(values: Parameters) -> str:
    """All parameters, one a line as in a parameter file; a comment marks changed ones."""
    lines = []
    for name, entry in FIELDS.items():
        value = getattr(values, name)
        line = f"{name}: {json.dumps(value)}"
        lines.append(
            line if value == entry.default else f"{line}  # default: {json.dumps(entry.default)}"
        )
    return "\n".join(lines)


def explain_unknown(name: str) -> str:
    """The warning for a parameter that is set but does not exist."""
    matches = difflib.get_close_matches(name, FIELDS, n=1)
    advice = f"did you mean {matches[0]}?" if matches else "it has no effect."
    return f"parameter {name} is unknown: {advice}"


def explain_renamed(name: str) -> str:
    """The error for a parameter that is set by its former name."""
    return f"parameter {name} is now named {RENAMED[name]}: rename it in the parameter file"
