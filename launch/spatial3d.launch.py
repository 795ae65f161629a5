"""Starts the grounding node and its visualizer: `ros2 launch spatial3d_ros spatial3d.launch.py`.

With `bag:=PATH` a recording is played too; `spatial3d check PATH` prints the whole line for it.
Parameters come from config/base.yaml, then the camera preset, then the model preset, then your
params_file, then the arguments given here; later ones win. `--show-args` lists the arguments.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    SetEnvironmentVariable,
)
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
    argument("depth_image", "Topic of the depth image, if not the preset's."),
    argument("camera_info", "Topic of the colour camera's calibration, if not the preset's."),
    argument(
        "depth_info",
        "Topic of the depth camera's calibration, for depth that is not registered to colour; if "
        "not camera_info beside the depth image.",
    ),
    argument(
        "color_transport",
        "How colour travels: raw, or JPEG or PNG on rgb_image/compressed.",
        choices=["", "raw", "compressed"],
    ),
    argument(
        "depth_transport",
        "How depth travels: raw, or PNG on depth_image/compressedDepth.",
        choices=["", "raw", "compressedDepth"],
    ),
    argument(
        "pose_source",
        "Where poses come from: pose (PoseStamped), odom (Odometry), or tf.",
        choices=["", "pose", "odom", "tf"],
    ),
    argument("pose_topic", "Topic of the poses, if not the preset's."),
    argument("world_frame", "With pose_source:=tf, the frame that memory is kept in [odom]."),
    argument("target_frame", "Frame that answers are given in, by TF (map); empty: as the poses."),
    argument("detections_2d", "Topic of a detector's Detection2DArray in the colour image."),
    argument("detections_3d", "Topic of a detector's Detection3DArray, in any known frame."),
    argument("detection_masks", "Topic of label images with the stamps of detections_2d."),
    argument(
        "detector",
        "Folder of an open-vocabulary model (spatial3d download owlv2_base): looks for what "
        "questions name.",
    ),
    argument(
        "mask_model",
        "Folder of a SAM 2 model (spatial3d download sam2_tiny), with detector: masks what it "
        "found.",
    ),
    argument("model", "Name of a shipped model, or path of a folder with weights."),
    argument("device", "Where the network runs: auto, cpu, cuda, cuda:1, ..."),
    argument("params_file", "Path of your own parameter YAML."),
    argument("namespace", "Namespace of the nodes: one per robot."),
    argument(
        "topics_in_namespace",
        "With a namespace, look there for the preset's topics and for TF; false: global ones, as "
        "those of a recording usually are.",
        default="true",
        choices=["true", "false"],
    ),
    argument("bag", "Recording to play (ros2 bag play --clock); sets use_sim_time."),
    argument("bag_args", "More for ros2 bag play, as in '--loop --rate 0.5'."),
    argument("bag_delay", "Seconds before the recording starts: models take some to load.", "5.0"),
    argument(
        "use_sim_time",
        "Follow /clock, as with simulators; empty: only with bag.",
        choices=["", "true", "false"],
    ),
    argument(
        "autostart",
        "Configure and activate at once; false waits for ros2 lifecycle set.",
        choices=["", "true", "false"],
    ),
    argument(
        "enclaves",
        "With SROS 2, what stands before the nodes' names in their enclaves (/spatial3d).",
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


PARAMETERS = (
    "model", "device", "pose_source", "world_frame", "target_frame", "color_transport",
    "depth_transport", "detections_2d", "detections_3d", "detection_masks",
)  # fmt: skip
"""Arguments that are parameters of the node, by the same name."""

DETECTIONS, MASKS = "detector_node/detections", "detector_node/masks"
"""Where our own detector publishes."""


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


def start_nodes(context: LaunchContext) -> list[Action]:
    """The nodes, now that the values of the arguments are known."""
    given = {entry.name: LaunchConfiguration(entry.name).perform(context) for entry in ARGUMENTS}
    camera = yaml.safe_load((CONFIG / "cameras" / f"{given['camera']}.yaml").read_text())
    user_file = [given["params_file"]] if given["params_file"] else []
    chosen = {name: given[name] for name in PARAMETERS if given[name]}
    if given["mask_model"] and not given["detector"]:
        raise ValueError("mask_model masks what our own detector finds: give detector:=... too")
    if given["autostart"]:
        chosen["autostart"] = given["autostart"] == "true"
    if given["detector"]:
        # It is slow and asked for one thing at a time: every look counts.
        own = {"detections_2d": DETECTIONS, "detection_delay_s": 15.0, "detection_min_hits": 1}
        if given["mask_model"] and not given["detections_2d"]:
            own["detection_masks"] = MASKS  # they count the boxes of our own detector
        chosen = own | chosen
    clock = {"use_sim_time": (given["use_sim_time"] or str(bool(given["bag"])).lower()) == "true"}
    log_level = ["--log-level", given["log_level"]]
    enclaves = given["enclaves"].rstrip("/")

    def arguments(node: str) -> list[str]:
        return [*log_level, *(["--enclave", f"{enclaves}/{node}"] if enclaves else [])]

    remappings = topics(camera["remappings"], given)

    actions: list[Action] = [
        Node(
            package="spatial3d_ros",
            executable="grounding_node",
            name="grounding_node",
            namespace=given["namespace"],
            ros_arguments=[
                *presets(camera["parameters"], given["model"]),
                *arguments("grounding_node"),
            ],
            parameters=[*user_file, chosen | clock],
            remappings=remappings,
            output="screen",
        )
    ]
    if given["detector"]:
        names = ("device", "color_transport", "mask_model")
        own = {"model": given["detector"]} | {n: given[n] for n in names if given[n]}
        actions.append(
            Node(
                package="spatial3d_ros",
                executable="detector_node",
                name="detector_node",
                namespace=given["namespace"],
                ros_arguments=log_level,
                parameters=[camera_subset(camera["parameters"]), *user_file, own | clock],
                remappings=remappings,
                output="screen",
            )
        )
    if given["visualizer"] == "true":
        actions.append(
            Node(
                package="spatial3d_ros",
                executable="visualizer_node",
                name="visualizer_node",
                namespace=given["namespace"],
                ros_arguments=arguments("visualizer_node"),
                parameters=[*user_file, clock],
                output="screen",
            )
        )
    if given["rviz"] == "true":
        frame = given["target_frame"] or given["world_frame"]
        actions.append(
            Node(
                package="rviz2",
                executable="rviz2",
                namespace=given["namespace"],
                arguments=[
                    *("-d", str(SHARE / "resource" / "spatial3d.rviz")),
                    *(("-f", frame) if frame else ()),
                ],
                parameters=[clock],
                remappings=remappings,
            )
        )
    if given["bag"]:
        play = ["ros2", "bag", "play", given["bag"], "--clock", "--delay", given["bag_delay"]]
        actions.append(
            ExecuteProcess(cmd=[*play, *shlex.split(given["bag_args"])], output="screen")
        )
    return actions


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


def camera_subset(camera_parameters: dict) -> dict:
    """What the detector has to know of a camera's preset: how colour travels."""
    return {k: v for k, v in camera_parameters.items() if k == "color_transport"}


def topics(preset: dict[str, str], given: dict[str, str]) -> list[tuple[str, str]]:
    """Remappings of the grounding node: the preset's, unless an argument names the topic."""
    inside = bool(given["namespace"]) and given["topics_in_namespace"] == "true"
    if inside:  # a name without a slash before it is one of the namespace
        preset = {name: topic.lstrip("/") for name, topic in preset.items()}
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
    beside = f"{chosen['depth/image'].rpartition('/')[0]}/camera_info"
    chosen["depth/camera_info"] = given["depth_info"] or beside
    if inside:
        chosen |= {"/tf": "tf", "/tf_static": "tf_static"}
    return list(chosen.items())
