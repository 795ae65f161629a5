"""Starts the grounding node and its visualizer: `ros2 launch spatial3d_ros spatial3d.launch.py`.

With `bag:=PATH` it also plays a recording; `spatial3d check PATH` prints the full command.
Parameters come from config/base.yaml, then the camera preset, then the model preset, then your
params_file, then the arguments given here; later ones win. `--show-args` lists the arguments.
Several cameras are named in a params_file as in config/two_cameras.yaml; the arguments camera,
rgb_image, depth_image, camera_info and depth_info then have no effect on the grounding node.
"""

from __future__ import annotations

import importlib.util
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
    """A launch argument; if empty, the presets and the params_file decide."""
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
    argument("rgb_image", "Topic of the color image [from the preset]."),
    argument("depth_image", "Topic of the depth image [from the preset]."),
    argument("camera_info", "CameraInfo topic of the color camera [from the preset]."),
    argument(
        "depth_info",
        "CameraInfo topic of the depth camera, for depth that is not registered to color "
        "[camera_info in the namespace of the depth image].",
    ),
    argument(
        "color_transport",
        "Transport of the color image: raw, or JPEG or PNG on rgb_image/compressed.",
        choices=["", "raw", "compressed"],
    ),
    argument(
        "depth_transport",
        "Transport of the depth image: raw, or PNG on depth_image/compressedDepth.",
        choices=["", "raw", "compressedDepth"],
    ),
    argument(
        "pose_source",
        "Source of the camera poses: pose (PoseStamped), odom (Odometry), or tf.",
        choices=["", "pose", "odom", "tf"],
    ),
    argument("pose_topic", "Topic of the poses [from the preset]."),
    argument("world_frame", "With pose_source:=tf, the fixed frame of the object map [odom]."),
    argument("target_frame", "Frame of the answers, by TF (map) [the frame of the poses]."),
    argument("detections_2d", "Topic of a detector's Detection2DArray in the color image."),
    argument("detections_3d", "Topic of a detector's Detection3DArray, in any known frame."),
    argument("detection_masks", "Topic of label images with the stamps of detections_2d."),
    argument("class_images", "Topic of a segmenter's images: the class of every pixel."),
    argument(
        "recogniser",
        "Folder of a model that labels the images, or several with commas between them.",
    ),
    argument(
        "detector",
        "Folder of an open-vocabulary model (spatial3d download owlv2_base), which detects the "
        "objects that questions name.",
    ),
    argument(
        "mask_model",
        "With detector, folder of a SAM 2 model (spatial3d download sam2_tiny), which segments "
        "the detections.",
    ),
    argument("model", "Name of a shipped model, or path of a folder with weights."),
    argument("device", "Device of the network: auto, cpu, cuda, cuda:1, ..."),
    argument("memory", "Folder in which objects are remembered across sessions [none]."),
    argument("params_file", "Path of your own parameter YAML."),
    argument("namespace", "Namespace of the nodes: one per robot."),
    argument(
        "topics_in_namespace",
        "With a namespace, whether the preset's topics and TF are in it; false: they are global, "
        "as in most recordings.",
        default="true",
        choices=["true", "false"],
    ),
    argument("bag", "Recording to play (ros2 bag play --clock); sets use_sim_time."),
    argument("bag_args", "Further arguments of ros2 bag play, e.g. '--loop --rate 0.5'."),
    argument("bag_delay", "Delay of the recording, while the model loads [s].", "5.0"),
    argument(
        "use_sim_time",
        "Use the time of /clock (simulation) [true with bag].",
        choices=["", "true", "false"],
    ),
    argument(
        "autostart",
        "Configure and activate the node at start; false: by ros2 lifecycle set.",
        choices=["", "true", "false"],
    ),
    argument(
        "enclaves",
        "With SROS 2, the enclave of the nodes without their names (/spatial3d).",
    ),
    argument("visualizer", "Publish markers.", default="true", choices=["true", "false"]),
    argument(
        "web",
        "Show the map in a browser, http://localhost:8080 (extra `web`).",
        default="false",
        choices=["true", "false"],
    ),
    argument("rviz", "Open RViz.", default="false", choices=["true", "false"]),
    argument(
        "log_level",
        "Minimum severity of log messages.",
        default="info",
        choices=["debug", "info", "warn", "error", "fatal"],
    ),
]


PARAMETERS = (
    "model", "device", "pose_source", "world_frame", "target_frame", "color_transport",
    "depth_transport", "detections_2d", "detections_3d", "detection_masks", "class_images",
)  # fmt: skip
"""Arguments with the name of a node parameter."""

RECOGNISED = {
    "detections_2d": "recognition_node/detections",
    "detection_masks": "recognition_node/masks",
    "class_images": "recognition_node/classes",
}
"""Topics of recognition_node, by the parameter of the grounding node that takes them."""

DETECTIONS, MASKS = "detector_node/detections", "detector_node/masks"
"""Topics of detector_node."""


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
    """The nodes, for the values of the launch arguments."""
    given = {entry.name: LaunchConfiguration(entry.name).perform(context) for entry in ARGUMENTS}
    camera = yaml.safe_load((CONFIG / "cameras" / f"{given['camera']}.yaml").read_text())
    user_file = [given["params_file"]] if given["params_file"] else []
    chosen = {name: given[name] for name in PARAMETERS if given[name]}
    if given["mask_model"] and not given["detector"]:
        raise ValueError(
            "mask_model segments the detections of detector_node: set detector:=... too"
        )
    if given["recogniser"] and given["detector"]:
        raise ValueError("recogniser and detector both give detections_2d: set one of them")
    if given["recogniser"]:
        chosen = recognised(given) | {"detection_delay_s": 15.0, "detection_min_hits": 1} | chosen
    if given["memory"]:
        chosen["memory_folder"] = given["memory"]
    if given["autostart"]:
        chosen["autostart"] = given["autostart"] == "true"
    if given["detector"]:
        # It is slow and detects only what was asked for: one detection is enough.
        own = {"detections_2d": DETECTIONS, "detection_delay_s": 15.0, "detection_min_hits": 1}
        if given["mask_model"] and not given["detections_2d"]:
            own["detection_masks"] = MASKS  # they number the detections of detector_node
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

    def image_node(name: str, own: dict) -> Node:
        return Node(
            package="spatial3d_ros",
            executable=name,
            name=name,
            namespace=given["namespace"],
            ros_arguments=log_level,
            parameters=[camera_subset(camera["parameters"]), *user_file, own | clock],
            remappings=remappings,
            output="screen",
        )

    if given["detector"]:
        names = ("device", "color_transport", "mask_model")
        own = {"model": given["detector"]} | {n: given[n] for n in names if given[n]}
        actions.append(image_node("detector_node", own))
    if given["recogniser"]:
        own = {"models": [folder for folder in given["recogniser"].split(",") if folder]}
        own |= {n: given[n] for n in ("device", "color_transport") if given[n]}
        actions.append(image_node("recognition_node", own))
    for node in ("visualizer_node", "web_node"):
        if given[node.removesuffix("_node")] == "true":
            actions.append(
                Node(
                    package="spatial3d_ros",
                    executable=node,
                    name=node,
                    namespace=given["namespace"],
                    ros_arguments=arguments(node),
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
    """Base, camera and model presets as ROS arguments, in this order.

    They are not `parameters` of the launch action: launch writes those under the name of the node,
    and they would override a user's file for all nodes (`/**`).
    """
    arguments = ["--params-file", str(CONFIG / "base.yaml")]
    for name, value in camera_parameters.items():
        arguments += ["-p", f"{name}:={json.dumps(value)}"]
    model_preset = CONFIG / "models" / f"{model}.params.yaml"
    if model_preset.is_file():
        arguments += ["--params-file", str(model_preset)]
    return arguments


def recognised(given: dict[str, str]) -> dict:
    """The topics of recognition_node that the grounding node takes: boxes where vision_msgs is
    installed, without which they are not published. Masks number these boxes, no others.
    """
    names = dict(RECOGNISED)
    if given["detections_2d"] or importlib.util.find_spec("vision_msgs") is None:
        del names["detections_2d"], names["detection_masks"]
    return names


def camera_subset(camera_parameters: dict) -> dict:
    """The parameters of a camera preset that detector_node and recognition_node have too."""
    return {k: v for k, v in camera_parameters.items() if k == "color_transport"}


def topics(preset: dict[str, str], given: dict[str, str]) -> list[tuple[str, str]]:
    """Remappings of the grounding node: arguments override the preset."""
    inside = bool(given["namespace"]) and given["topics_in_namespace"] == "true"
    if inside:  # names without a leading slash are relative to the namespace
        preset = {name: topic.lstrip("/") for name, topic in preset.items()}
    arguments = {
        "rgb/image": "rgb_image",
        "depth/image": "depth_image",
        "rgb/camera_info": "camera_info",
        "pose": "pose_topic",
        "odom": "pose_topic",
    }
    chosen = {name: given[key] or preset.get(name, name) for name, key in arguments.items()}
    # remappings apply to whole names, and compressed images have their own topics
    chosen["rgb/image/compressed"] = f"{chosen['rgb/image']}/compressed"
    chosen["depth/image/compressedDepth"] = f"{chosen['depth/image']}/compressedDepth"
    default_info = f"{chosen['depth/image'].rpartition('/')[0]}/camera_info"
    chosen["depth/camera_info"] = given["depth_info"] or default_info
    if inside:
        chosen |= {"/tf": "tf", "/tf_static": "tf_static"}
    return list(chosen.items())
