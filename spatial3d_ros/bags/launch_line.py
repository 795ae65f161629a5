"""The launch line for a recording: the camera preset that fits, and what differs from it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from spatial3d_ros.bags.topics import Topics
from spatial3d_ros.resources import config_path

LAUNCH = "ros2 launch spatial3d_ros spatial3d.launch.py"
DEFAULT = "generic"  # the preset of the launch file when none is named
TRANSPORTS = {
    "/compressedDepth": ("depth_transport", "compressedDepth"),
    "/compressed": ("color_transport", "compressed"),
}


def launch_line(
    path: str | Path, topics: Topics, poses: Mapping[str, Any], links: Sequence[str] = ()
) -> str:
    """The command that plays the recording into the nodes.

    `poses` holds "source" (pose, odom or tf) and "frame_id", the world frame; `links` are those of
    TF, as in "map -> odom (moving, 10.0 Hz)".
    """
    arguments: dict[str, str] = {"bag": str(path)}
    names = {}
    for role, topic in (("rgb_image", topics.rgb), ("depth_image", topics.depth)):
        ending = next((end for end in TRANSPORTS if topic.endswith(end)), "")
        names[role] = topic.removesuffix(ending)
        if ending:
            arguments |= [TRANSPORTS[ending]]
    names["camera_info"] = topics.camera_info
    presets = {file.stem: _names(file) for file in sorted(config_path("cameras").glob("*.yaml"))}
    # the most matches; of equals the one that needs no argument
    best = max(
        presets, key=lambda name: (len(names.items() & presets[name].items()), name == DEFAULT)
    )
    if best != DEFAULT:
        arguments["camera"] = best
    arguments |= {role: name for role, name in names.items() if presets[best].get(role) != name}
    source = poses["source"]
    if source != "pose":
        arguments["pose_source"] = source
    if source == "tf" and poses["frame_id"] != "odom":
        world = poses["frame_id"]
        # With odom below it, memory is kept in odom, where motion is continuous (REP 105).
        below = any(link.startswith(f"{world} -> odom ") for link in links)
        arguments["target_frame" if below else "world_frame"] = world
    if source != "tf" and presets[best].get(source) != topics.pose:
        arguments["pose_topic"] = topics.pose
    return " ".join([LAUNCH, *(f"{name}:={shlex.quote(v)}" for name, v in arguments.items())])


def _names(preset: Path) -> dict[str, str]:
    """The topics of a preset by the name of their launch argument, and of pose and odom."""
    remappings = yaml.safe_load(preset.read_text())["remappings"]
    arguments = {"rgb/image": "rgb_image", "depth/image": "depth_image"}
    return {
        arguments.get(name, name.removeprefix("rgb/")): topic for name, topic in remappings.items()
    }
