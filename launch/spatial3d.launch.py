"""Starts the grounding node and its visualizer: `ros2 launch spatial3d_ros spatial3d.launch.py`.

Parameters come from config/base.yaml, then the camera preset, then the model preset, then your
params_file, then the arguments given here; later ones win. `--show-args` lists the arguments.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory("spatial3d_ros"))
CONFIG = SHARE / "config"


def argument(
    name: str, description: str, default: str = "", choices: list[str] | None = None
) -> DeclareLaunchArgument:
    """A launch argument; an empty one leaves its setting to the presets and the params_file."""
    return DeclareLaunchArgument(
        name, default_value=default, choices=choices, description=description
    )


ARGUMENTS = [
    argument(
        "camera",
        "Preset of topic names and parameters.",
        default="generic",
        choices=sorted(path.stem for path in (CONFIG / "cameras").glob("*.yaml")),
    ),
    argument("rgb_image", "Topic of the colour image, if not the preset's."),
    argument("depth_image", "Topic of depth registered to colour, if not the preset's."),
    argument("camera_info", "Topic of the colour camera's calibration, if not the preset's."),
    argument(
        "pose_source",
        "Type of the pose topic: pose (PoseStamped) or odom (Odometry).",
        choices=["", "pose", "odom"],
    ),
    argument("pose_topic", "Topic of the poses, if not the preset's."),
    argument("model", "Name of a shipped model, or path of a folder with weights."),
    argument("device", "Where the network runs: auto, cpu, cuda, cuda:1, ..."),
    argument("params_file", "Path of your own parameter YAML."),
    argument("namespace", "Namespace of the nodes: one per robot."),
    argument(
        "use_sim_time",
        "Follow /clock: for simulators and ros2 bag play --clock.",
        default="false",
        choices=["true", "false"],
    ),
    argument(
        "autostart",
        "Configure and activate at once; false waits for ros2 lifecycle set.",
        choices=["", "true", "false"],
    ),
    argument("visualizer", "Publish markers.", default="true", choices=["true", "false"]),
    argument("rviz", "Open RViz.", default="false", choices=["true", "false"]),
    argument(
        "log_level",
        "Least severe messages that are logged.",
        default="info",
        choices=["debug", "info", "warn", "error", "fatal"],
    ),
]


def generate_launch_description() -> LaunchDescription:
    """The entry point of `ros2 launch`."""
    profile = str(SHARE / "resource" / "fastdds.xml")
    return LaunchDescription(
        [
            *ARGUMENTS,
            *(
                SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=profile))
                for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
            ),
            OpaqueFunction(function=start_nodes),
        ]
    )


def start_nodes(context: LaunchContext) -> list[Node]:
    """The nodes, now that the values of the arguments are known."""
    given = {entry.name: LaunchConfiguration(entry.name).perform(context) for entry in ARGUMENTS}
    camera = yaml.safe_load((CONFIG / "cameras" / f"{given['camera']}.yaml").read_text())
    user_file = [given["params_file"]] if given["params_file"] else []
    chosen = {name: given[name] for name in ("model", "device", "pose_source") if given[name]}
    if given["autostart"]:
        chosen["autostart"] = given["autostart"] == "true"
    clock = {"use_sim_time": given["use_sim_time"] == "true"}
    log_level = ["--log-level", given["log_level"]]

    nodes = [
        Node(
            package="spatial3d_ros",
            executable="grounding_node",
            name="grounding_node",
            namespace=given["namespace"],
            ros_arguments=[*presets(camera["parameters"], given["model"]), *log_level],
            parameters=[*user_file, chosen | clock],
            remappings=topics(camera["remappings"], given),
            output="screen",
        )
    ]
    if given["visualizer"] == "true":
        nodes.append(
            Node(
                package="spatial3d_ros",
                executable="visualizer_node",
                name="visualizer_node",
                namespace=given["namespace"],
                ros_arguments=log_level,
                parameters=[*user_file, clock],
                output="screen",
            )
        )
    if given["rviz"] == "true":
        nodes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                namespace=given["namespace"],
                arguments=["-d", str(SHARE / "resource" / "spatial3d.rviz")],
                parameters=[clock],
            )
        )
    return nodes


def presets(camera_parameters: dict, model: str) -> list[str]:
    """Base, camera and model as ROS arguments, in this order.

    Not as `parameters` of the node: launch addresses those to the node by name, and whatever is
    addressed by name outweighs a user's file for all nodes (`/**`), wherever it stands.
    """
    arguments = ["--params-file", str(CONFIG / "base.yaml")]
    for name, value in camera_parameters.items():
        arguments += ["-p", f"{name}:={json.dumps(value)}"]
    model_preset = CONFIG / "models" / f"{model}.params.yaml"
    if model_preset.is_file():
        arguments += ["--params-file", str(model_preset)]
    return arguments


def topics(preset: dict[str, str], given: dict[str, str]) -> list[tuple[str, str]]:
    """Remappings of the grounding node: the preset's, unless an argument names the topic."""
    arguments = {
        "rgb/image": "rgb_image",
        "depth/image": "depth_image",
        "rgb/camera_info": "camera_info",
        "pose": "pose_topic",
        "odom": "pose_topic",
    }
    chosen = {name: given[key] or preset.get(name, name) for name, key in arguments.items()}
    # a remapping is for one whole name, and compressed images have names of their own
    chosen["rgb/image/compressed"] = f"{chosen['rgb/image']}/compressed"
    chosen["depth/image/compressedDepth"] = f"{chosen['depth/image']}/compressedDepth"
    return list(chosen.items())
