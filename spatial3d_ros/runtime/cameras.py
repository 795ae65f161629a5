"""The cameras of a node: one on rgb/image by default, or those that the parameter cameras names.

This module does not use ROS.
"""

from __future__ import annotations

import difflib
import os.path
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.resources import config_path
from spatial3d_ros.runtime.parameters import Parameters, check

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
PRESET_TOPICS = {
    "rgb/image": "rgb_image",
    "depth/image": "depth_image",
    "rgb/camera_info": "camera_info",
}
TOPICS = (*PRESET_TOPICS.values(), "depth_info")
NO_DETECTORS: dict[str, Any] = {
    "detections_2d": "", "detections_3d": "", "detection_masks": "", "class_images": "",
}  # fmt: skip
OPTIONS = (
    "color_transport",
    "depth_transport",
    "depth_unit",
    "depth_alignment",
    "images_rectified",
    "color_T_depth",
    "base_T_camera",
    "sync_slop_s",
    "sync_queue_size",
    *NO_DETECTORS,
    "class_labels",
)
"""Parameters of a node that a camera may have a value of its own for."""
KEYS = (*TOPICS, "preset", "namespace", *OPTIONS)


@dataclass(frozen=True)
class CameraSource:
    """One camera: the names of its topics, without transport, and the parameters that hold for it.

    `name` is "" for the only camera of a node; its topics are remapped as usual.
    """

    parameters: Parameters
    name: str = ""
    rgb_image: str = "rgb/image"
    depth_image: str = "depth/image"
    camera_info: str = "rgb/camera_info"
    depth_info: str = "depth/camera_info"

    @property
    def color(self) -> str:
        """Topic of the colour image in its transport."""
        return _transported(self.rgb_image, self.parameters.color_transport)

    @property
    def depth(self) -> str:
        """Topic of the depth image in its transport."""
        return _transported(self.depth_image, self.parameters.depth_transport)

    def rename(self, key: str, topic: str) -> str:
        """How to give a topic another name: "remap rgb/image", or "set front.rgb_image"."""
        return f"set {self.name}.{key}" if self.name else f"remap {topic}"


def camera_sources(
    parameters: Parameters, entries: Mapping[str, Mapping[str, Any]]
) -> list[CameraSource]:
    """The cameras of a node.

    `entries` holds the parameters NAME.KEY of each name in `parameters.cameras`. What a camera
    does not set is that of its preset, else the general value. General detector topics are those
    of the first camera. Raises ConfigError, naming the parameter.
    """
    if not parameters.cameras:
        return [CameraSource(parameters)]
    sources = []
    for number, name in enumerate(parameters.cameras):
        if not NAME.fullmatch(name) or parameters.cameras.count(name) > 1:
            raise ConfigError(
                f"parameter cameras is {list(parameters.cameras)}; it must be different names of "
                "letters, digits and _"
            )
        general = parameters if number == 0 else replace(parameters, **NO_DETECTORS)
        sources.append(_source(name, general, entries.get(name, {})))
    for topic in (source.color for source in sources):
        shared = [source.name for source in sources if source.color == topic]
        if len(shared) > 1:
            raise ConfigError(
                f"parameters {' and '.join(f'{name}.rgb_image' for name in shared)} are both "
                f"{topic!r}; each camera must have a topic of its own"
            )
    return sources


def _source(name: str, general: Parameters, entry: Mapping[str, Any]) -> CameraSource:
    for key in entry:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            advice = f"did you mean {name}.{near[0]}?" if near else f"known: {', '.join(KEYS)}"
            raise ConfigError(f"parameter {name}.{key} is unknown: {advice}")
    for key in (*TOPICS, "preset", "namespace"):
        if not isinstance(entry.get(key, ""), str):
            raise ConfigError(f"parameter {name}.{key} is {entry[key]!r}; it must be a name")
    topics, options = _preset(name, entry)
    topics |= {key: entry[key] for key in TOPICS if entry.get(key)}
    options |= {key: entry[key] for key in OPTIONS if key in entry}
    for key in PRESET_TOPICS.values():
        if key not in topics:
            raise ConfigError(
                f"parameter {name}.{key} is missing: set it, or {name}.preset, because cameras "
                f"names {name!r}"
            )
    topics.setdefault("depth_info", f"{topics['depth_image'].rpartition('/')[0]}/camera_info")
    try:
        checked = {key: check(key, value) for key, value in options.items()}
    except ConfigError as error:
        raise ConfigError(str(error).replace("parameter ", f"parameter {name}.", 1)) from error
    return CameraSource(replace(general, **checked), name, **topics)


def _preset(name: str, entry: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Topics and options of the preset of a camera; its namespace replaces that of the preset."""
    preset, namespace = entry.get("preset", ""), entry.get("namespace", "")
    if not preset:
        if namespace:
            raise ConfigError(
                f"parameter {name}.namespace needs {name}.preset, whose topics it moves"
            )
        return {}, {}
    known = {path.stem: path for path in config_path("cameras").glob("*.yaml")}
    if preset not in known:
        raise ConfigError(
            f"parameter {name}.preset is {preset!r}; it must be one of {', '.join(sorted(known))}"
        )
    read = yaml.safe_load(known[preset].read_text())
    topics = {key: read["remappings"][role] for role, key in PRESET_TOPICS.items()}
    if namespace:
        root = os.path.commonpath(list(topics.values())).rstrip("/")
        moved = namespace.rstrip("/")
        topics = {key: moved + topic.removeprefix(root) for key, topic in topics.items()}
    return topics, {key: value for key, value in read["parameters"].items() if key in OPTIONS}


def _transported(name: str, transport: str) -> str:
    return name if transport == "raw" else f"{name}/{transport}"
