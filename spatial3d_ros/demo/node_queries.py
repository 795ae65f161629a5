"""Plays a bag into running nodes and asks them questions."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spatial3d_ros.bags.bag import Bag, bag_topics
from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.bags.poses import read_transforms
from spatial3d_ros.bags.reader import DEFAULTS
from spatial3d_ros.bags.topics import TF_TYPE, Topics
from spatial3d_ros.demo.processes import DEMO, NodeGroup
from spatial3d_ros.errors import BagError, ConfigError
from spatial3d_ros.recognition.prompts import PromptList

REPLIES = "replies.json"
START_S = 120.0  # for the nodes to come up on a busy machine
USUAL_START_S = 10.0  # of it on an idle one
MARGIN_S = 0.05  # so that the last message is sent before the player stops


def ask_nodes(
    bag: Path,
    questions: list[dict[str, str]],
    out: Path,
    print_status: Callable[[str], None],
    model: str = "tiny",
    *,
    options: RecordingOptions = DEFAULTS,
    seconds: float | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Start the nodes, play the bag into them and ask; the replies and the object map.

    Questions are asked after the bag was played once, while it plays again; with `seconds`, after
    that much of it was played, without further frames.
    """
    topics = options.topics(bag)
    require_playable(bag, topics)
    play = ["--loop"] if seconds is None else ["--seconds", f"{seconds + MARGIN_S:.3f}"]
    if seconds is None:
        with Bag(bag) as opened:
            seconds = opened.duration_s
    out.mkdir(parents=True, exist_ok=True)
    question_file, answers = out / "questions.json", out / REPLIES
    question_file.write_text(json.dumps(questions, indent=2))
    answers.unlink(missing_ok=True)
    with NodeGroup(out / "logs") as nodes:
        domain = nodes.environment["ROS_DOMAIN_ID"]
        print_status(f"starting the nodes (ROS domain {domain}, logs in {nodes.logs})")
        nodes.start("grounding_node", *node_arguments(bag, topics, model, options))
        if options.recogniser:
            texts = [question["text"] for question in questions]
            arguments = recogniser_arguments(bag, topics, options.recogniser, texts)
            nodes.start("recognition_node", *arguments)
        nodes.start("visualizer_node")
        nodes.start("bag_player", str(bag), *play, "--wait", str(START_S), package=DEMO)
        print_status(
            f"playing {bag.name} in real time ({seconds:.0f} s), then {len(questions)} questions"
        )
        nodes.start(
            "query_client", str(question_file), str(answers), "--settle", f"{seconds + 1:.1f}",
            package=DEMO,
        )  # fmt: skip
        expected = math.ceil(USUAL_START_S + seconds + len(questions))
        nodes.wait(
            "query_client",
            START_S + seconds + 10.0 * len(questions),
            lambda waited: progress(min(int(waited), expected), expected),
        )
        nodes.check()
    result = json.loads(answers.read_text())
    return result["answers"], result["scene"]


def node_parameters(out: Path) -> dict[str, Any]:
    """The parameters that the grounding node had in `ask_nodes`."""
    return json.loads((out / REPLIES).read_text()).get("parameters", {})


def require_playable(bag: Path, topics: Topics) -> None:
    """Raise BagError for a bag that the engine reads but that cannot be played to the nodes."""
    with Bag(bag) as opened:
        kind = opened.topics[topics.pose][0]
    if opened.is_ros1:
        raise BagError(
            f"{bag}: a bag of ROS 1 cannot be played to the nodes, which take ROS 2 messages; "
            "without the nodes it can be evaluated"
        )
    if kind == TF_TYPE and importlib.util.find_spec("tf2_msgs") is None:
        raise BagError(
            f"{bag}: a bag with poses as TF ({topics.pose}) cannot be played to the nodes, because "
            "the messages of TF are not installed (ros-jazzy-tf2-msgs; the wheels do not have "
            "them); without the nodes it can be evaluated"
        )


def node_arguments(
    bag: Path, topics: Topics, model: str, options: RecordingOptions = DEFAULTS
) -> list[str]:
    """Command line arguments of the grounding node for the topics of a bag."""
    kinds = {name: kind for name, (kind, _) in bag_topics(bag).items()}
    arguments = ["--ros-args", "-p", f"model:={model}"]

    def add(flag: str, name: str, value: str) -> None:
        arguments.extend([flag, f"{name}:={value}"])

    for name, topic, parameter, transport in (
        ("rgb/image", topics.rgb, "color_transport", "compressed"),
        ("depth/image", topics.depth, "depth_transport", "compressedDepth"),
    ):
        if kinds[topic].endswith("CompressedImage"):
            add("-p", parameter, transport)
            name = f"{name}/{transport}"
        add("-r", name, topic)
    add("-r", "rgb/camera_info", topics.camera_info)
    for parameter in ("depth_unit", "sync_slop_s", "max_pose_gap_s"):
        if getattr(options, parameter) != getattr(DEFAULTS, parameter):
            add("-p", parameter, str(float(getattr(options, parameter))))
    if options.rectified:
        add("-p", "images_rectified", "true")
    for parameter, topic in _label_topics(bag, options).items():
        add("-p", parameter, topic)
    if kinds[topics.pose] == TF_TYPE:
        add("-p", "pose_source", "tf")
        add("-p", "world_frame", _world_frame(bag, topics))
        return arguments
    odometry = kinds[topics.pose].endswith("Odometry")
    add("-r", "odom" if odometry else "pose", topics.pose)
    if odometry:
        add("-p", "pose_source", "odom")
    return arguments


def recogniser_arguments(
    bag: Path, topics: Topics, folders: Sequence[str], questions: Sequence[str]
) -> list[str]:
    """Command line arguments of recognition_node; an open-vocabulary model looks for the nouns of
    the questions.
    """
    prompts = PromptList(max_count=64)
    for question in questions:
        prompts.add_question(question)
    compressed = bag_topics(bag)[topics.rgb][0].endswith("CompressedImage")
    name = "rgb/image/compressed" if compressed else "rgb/image"
    models = [str(Path(folder).resolve()) for folder in folders]
    return [
        "--ros-args", "-r", f"{name}:={topics.rgb}",
        "-p", f"models:={json.dumps(models)}",
        "-p", f"prompts:={json.dumps(list(prompts.current()) or [''])}",
        "-p", f"color_transport:={'compressed' if compressed else 'raw'}",
    ]  # fmt: skip


def _label_topics(bag: Path, options: RecordingOptions) -> dict[str, str]:
    """Parameters of the grounding node for the labels of a recording."""
    if options.recogniser:
        names = {
            "class_images": "recognition_node/classes",
            "detection_delay_s": "15.0",
            "detection_min_hits": "1",  # as in the engine without nodes
        }
        if importlib.util.find_spec("vision_msgs") is not None:
            names["detections_2d"] = "recognition_node/detections"
            names["detection_masks"] = "recognition_node/masks"
        return names
    if options.detections and options.detections not in bag_topics(bag):
        raise ConfigError(
            f"--detections {options.detections}: no topic of {bag}, and a file cannot be played to "
            "the nodes; use `spatial3d ask` or `demo --folder`, which take a file"
        )
    return {"detections_2d": options.detections} if options.detections else {}


def _world_frame(bag: Path, topics: Topics) -> str:
    """The frame of the poses that the engine uses for the same bag."""
    with Bag(bag) as opened:
        color = opened.first(topics.rgb)
        return read_transforms(opened).world_of(color.header.frame_id)
