"""The launch file: its arguments are described and reach the nodes.

Tests with the launch system are skipped if launch_ros is missing, as in the pip wheels of ROS.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

from spatial3d_ros.bags.launch_line import launch_line
from spatial3d_ros.bags.topics import Topics
from spatial3d_ros.resources import config_path, resource_path

FILE = Path(__file__).resolve().parents[2] / "launch" / "spatial3d.launch.py"
DECLARED = dict(re.findall(r'argument\(\s*"(\w+)",\s*"([^"]+)', FILE.read_text()))


def test_arguments_are_described_in_sentences():
    assert {"bag", "rviz", "namespace", "params_file", "model", "device"} <= set(DECLARED)
    for name, words in DECLARED.items():
        assert words[0].isupper(), name


def test_launch_line_of_check_uses_declared_arguments():
    odd = Topics("/a/compressed", "/b/compressedDepth", "/c", "/odom")
    lines = [
        launch_line("b", odd, {"source": source, "frame_id": "map"}) for source in ("odom", "tf")
    ]
    for name in re.findall(r"(\w+):=", " ".join(lines)):
        assert name in DECLARED
    used = set(re.findall(r"(\w+):=", " ".join(p.read_text() for p in documents())))
    # the rest are node parameters, as in ros2 run
    assert {"camera", "pose_source", "model"} <= used & set(DECLARED)


def documents():
    return [FILE.parent.parent / "README.md", *(FILE.parent.parent / "docs").glob("*.md")]


def test_rviz_displays_topics_of_the_nodes():
    displays = yaml.safe_load(resource_path("spatial3d.rviz").read_text())
    shown = displays["Visualization Manager"]["Displays"]
    topics = {entry["Topic"]["Value"] for entry in shown if "Topic" in entry and entry["Enabled"]}
    assert topics == {"visualizer_node/markers", "grounding_node/annotated"}


def test_foxglove_layout_configures_its_panels():
    layout = json.loads(resource_path("foxglove_layout.json").read_text())

    def leaves(part):
        if isinstance(part, str):
            return {part}
        return leaves(part["first"]) | leaves(part["second"])

    assert leaves(layout["layout"]) == set(layout["configById"])
    assert "/visualizer_node/markers" in layout["configById"]["3D!spatial3d"]["topics"]


@pytest.fixture
def launch_file():
    pytest.importorskip("launch_ros", reason="launch_ros is not installed (apt ROS)")
    pytest.importorskip("spatial3d_ros.msg", reason="the package is not built (colcon build)")
    spec = importlib.util.spec_from_file_location("spatial3d_launch", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def started(launch_file, **arguments):
    """Command lines of the processes to start, by executable."""
    from launch import LaunchContext
    from launch.utilities import perform_substitutions

    context = LaunchContext()
    for entry in launch_file.ARGUMENTS:
        context.launch_configurations[entry.name] = arguments.pop(
            entry.name, perform_substitutions(context, entry.default_value)
        )
    assert not arguments
    found = {}
    for action in launch_file.start_nodes(context):
        if hasattr(action, "node_executable"):  # the first half of Node.execute
            action._perform_substitutions(context)
            names = {"name": "__node:=NAME", "ns": f"__ns:={action.expanded_node_namespace}"}
            context.extend_locals({"ros_specific_arguments": names})
        words = [perform_substitutions(context, word) for word in action.cmd]
        files = [Path(w) for w in words if "launch_params_" in w]
        texts = [file.read_text() for file in files]
        found[Path(words[0]).name] = " ".join([*words, *texts])
    return found


def test_default_arguments(launch_file):
    commands = started(launch_file)
    assert set(commands) == {"grounding_node", "visualizer_node"}
    line = commands["grounding_node"]
    assert "rgb/image:=/camera/rgb/image " in line
    assert "depth/camera_info:=/camera/depth/camera_info" in line
    assert "use_sim_time: false" in line
    assert "/tf:=" not in line


def test_bag_is_played_and_sets_use_sim_time(launch_file):
    commands = started(launch_file, bag="/data/my room", bag_args="--loop --rate 0.5")
    assert commands["ros2"] == ("ros2 bag play /data/my room --clock --delay 5.0 --loop --rate 0.5")
    assert "use_sim_time: true" in commands["grounding_node"]
    assert "use_sim_time: true" in commands["visualizer_node"]


def test_namespace_applies_to_topics_and_tf(launch_file):
    line = started(launch_file, namespace="robot1", camera="realsense")["grounding_node"]
    assert "__ns:=/robot1" in line
    assert "rgb/image:=camera/camera/color/image_raw " in line
    assert "/tf:=tf " in line
    line = started(launch_file, namespace="robot1", rgb_image="/c")["grounding_node"]
    assert "rgb/image:=/c " in line
    line = started(launch_file, namespace="robot1", topics_in_namespace="false")["grounding_node"]
    assert "rgb/image:=/camera/rgb/image " in line


def test_each_node_has_its_own_enclave(launch_file):
    assert "--enclave" not in started(launch_file)["grounding_node"]
    commands = started(launch_file, enclaves="/spatial3d", web="true")
    for node in ("grounding_node", "visualizer_node", "web_node"):
        assert f"--enclave /spatial3d/{node} " in f"{commands[node]} "


def test_arguments_are_passed_as_parameters(launch_file, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("/**: {ros__parameters: {max_views: 8}}")
    line = started(
        launch_file, pose_source="tf", target_frame="map", depth_transport="compressedDepth",
        device="cuda", model="/models/robot", params_file=str(mine),
    )["grounding_node"]  # fmt: skip
    for text in (
        "pose_source: tf", "target_frame: map", "depth_transport: compressedDepth",
        "device: cuda", "model: /models/robot", f"--params-file {mine}",
    ):  # fmt: skip
        assert text in line


def test_detector_arguments(launch_file):
    line = started(launch_file, detections_2d="/yolo", detection_masks="/masks")["grounding_node"]
    assert "detections_2d: /yolo" in line and "detection_masks: /masks" in line
    commands = started(launch_file, detector="/models/owl", camera="realsense", device="cpu")
    assert "detections_2d: detector_node/detections" in commands["grounding_node"]
    assert "detection_min_hits: 1" in commands["grounding_node"]
    line = commands["detector_node"]
    assert "rgb/image:=/camera/camera/color/image_raw " in line
    assert "model: /models/owl" in line and "device: cpu" in line
    assert "detector_node" not in started(launch_file)
    assert "detection_masks" not in commands["grounding_node"] and "mask_model" not in line


def test_mask_model_of_the_detector_node(launch_file):
    commands = started(launch_file, detector="/models/owl", mask_model="/models/sam")
    assert "detection_masks: detector_node/masks" in commands["grounding_node"]
    assert "mask_model: /models/sam" in commands["detector_node"]
    # the masks number the boxes of detector_node, not of another detector
    others = started(launch_file, detector="/o", mask_model="/s", detections_2d="/yolo")
    assert "detection_masks" not in others["grounding_node"]
    with pytest.raises(ValueError, match="detector:="):
        started(launch_file, mask_model="/models/sam")


def test_camera_choices_are_the_preset_files(launch_file):
    names = {path.stem for path in config_path("cameras").glob("*.yaml")}
    camera = next(entry for entry in launch_file.ARGUMENTS if entry.name == "camera")
    assert set(camera.choices) == names


def test_recogniser_arguments(launch_file):
    commands = started(launch_file, recogniser="/models/a,/models/b", device="cpu")
    line = commands["grounding_node"]
    assert "class_images: recognition_node/classes" in line and "detection_delay_s: 15.0" in line
    assert (
        "/models/a" in commands["recognition_node"] and "/models/b" in commands["recognition_node"]
    )
    with pytest.raises(ValueError, match="set one of them"):
        started(launch_file, recogniser="/models/a", detector="/models/owl")
    assert "recognition_node" not in started(launch_file)
