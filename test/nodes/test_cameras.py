"""Two cameras feed one memory: two recordings of one room, played at once over real DDS."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

from diagnostic_msgs.msg import DiagnosticArray

from helpers import ros_bench as bench
from helpers.block_room import BLOCKS, PERIOD_NS, frame
from helpers.rewrite_bag import rewrite, transform
from helpers.small_model import small_model
from spatial3d_ros.bags.writer import write_bag
from spatial3d_ros.demo.processes import DEMO, NodeGroup
from spatial3d_ros.geometry.pose import look_at, quaternion_xyzw
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.nodes.grounding_node import build_engine
from spatial3d_ros.resources import config_path

UNIT = 0.00025  # of the depth of the rear camera
COUNT = 16


def base_at(number):
    """Position of the robot at the frame of that number."""
    return np.array([-0.8 + 0.04 * number, -1.2 + 0.02 * number, 0.0])


EYE = np.array([0.0, 0.0, 1.2])
CAMERAS = {"front": 0, "rear": 1}  # each looks at one block
MOUNTS = {
    name: look_at(EYE, np.mean(BLOCKS[block], axis=0) - base_at(COUNT / 2))
    for name, block in CAMERAS.items()
}


def recording(folder, name, source):
    """A bag of one camera of a robot that drives; that of the front camera has the robot's pose."""

    def pose(message, stamp):
        if name != "front":
            return []
        base = [float(number) for number in base_at((stamp - 10**9) / PERIOD_NS)]
        if source == "pose":
            position, turn = message.pose.position, message.pose.orientation
            position.x, position.y, position.z = base
            turn.x, turn.y, turn.z, turn.w = 0.0, 0.0, 0.0, 1.0
            return [("/pose", message, stamp)]
        links = [transform("map", "base", stamp, base, (0, 0, 0, 1))]
        return [("/tf", link, stamp) for link in links]

    def edit(topic, message, log_ns):
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        if topic == "/camera/pose":
            return pose(message, stamp)
        message.header.frame_id = f"{name}_optical"
        if "depth/image" in topic and name == "rear":
            message.data = (4 * message.data.view("<u2")).view(np.uint8)
        out = [(topic.replace("/camera/", f"/{name}/"), message, log_ns)]
        if source == "tf" and topic.endswith("camera_info"):
            mount = MOUNTS[name]
            turn = quaternion_xyzw(mount[:3, :3])
            link = transform("base", f"{name}_optical", stamp, mount[:3, 3], turn)
            out.append(("/tf_static", link, log_ns))
        return out

    mount = MOUNTS[name]
    at, ahead = mount[:3, 3], mount[:3, 2]
    eyes = [base_at(number) + at for number in range(COUNT)]
    frames = [frame(number, eye, eye + ahead) for number, eye in enumerate(eyes)]
    write_bag(folder / f"{name}_plain.mcap", frames)
    return rewrite(folder / f"{name}_plain.mcap", folder / name, edit)


def seen(frames, block):
    """Measured points in a block, of several frames."""
    low, high = np.array(BLOCKS[block])
    points = np.concatenate([frame.points_world(2).reshape(-1, 3) for frame in frames])
    return int(((points > low - 0.02) & (points < high + 0.02)).all(1).sum())


def facts(received, name):
    """The newest diagnostics of a status."""
    parts = [part for message in received for part in message.status if part.name == name]
    return {value.key: value.value for value in parts[-1].values} if parts else {}


@pytest.mark.parametrize("source", ["pose", "tf"])
def test_two_cameras_feed_one_map(make_system, tmp_path, source):
    if source == "tf":
        pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed (apt ROS)")
    model, prompt = small_model()
    save_model(tmp_path / "model", model, prompt.tokenizer, torch.float32)
    topics = ("rgb_image", "depth_image", "camera_info")
    entries = {
        name: {
            key: f"/{name}/{topic}"
            for key, topic in zip(
                topics, ("rgb/image", "depth/image", "rgb/camera_info"), strict=True
            )
        }
        for name in CAMERAS
    }
    entries["rear"]["depth_unit"] = UNIT
    if source == "pose":
        for name, mount in MOUNTS.items():
            turn = quaternion_xyzw(mount[:3, :3])
            entries[name]["base_T_camera"] = [float(x) for x in (*mount[:3, 3], *turn)]
    given = {
        "cameras": list(CAMERAS), "pose_source": source, "world_frame": "map",
        "max_pose_wait_s": 10.0, **entries,
    }  # fmt: skip
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump({"/**": {"ros__parameters": given}}))
    engines = []

    def build(parameters):
        engines.append(build_engine(replace(parameters, model=str(tmp_path / "model"))))
        return engines[-1]

    system = make_system("--params-file", str(mine), build=build)
    received = []
    system.client.create_subscription(DiagnosticArray, "/diagnostics", received.append, 10)
    assert bench.eventually(lambda: system.node._refresher, 120.0), system.node._failure
    (engine,) = engines

    def sources():
        return {view.frame.source for view in engine._memory.views.views}

    with NodeGroup(tmp_path / "logs") as nodes:
        nodes.environment["ROS_DOMAIN_ID"] = str(bench.DOMAIN)
        bags = {name: recording(tmp_path, name, source) for name in CAMERAS}
        for name, bag in bags.items():
            words = (str(bag), "--wait", "60", "--keep-stamps")
            nodes.start("bag_player", *words, package=DEMO, log=f"bag_player_{name}")
        for name in CAMERAS:
            nodes.wait(f"bag_player_{name}", 240.0)
    assert sources() == {"front", "rear"}
    views = engine._memory.views.views
    for name, block in CAMERAS.items():
        own = [view.frame for view in views if view.frame.source == name]
        assert seen(own, block) > 100 and not seen(own, 1 - block)  # one camera sees one block

    def boxes_in(block):
        low, high = np.array(BLOCKS[block])
        centers = [thing.box.center for thing in engine.scene().objects]
        return [c for c in centers if (low - 0.05 < c).all() and (c < high + 0.05).all()]

    assert bench.eventually(lambda: boxes_in(0) and boxes_in(1), 60.0), engine.scene().objects
    for name in CAMERAS:
        status = facts(received, f"grounding_node: sensors {name}")
        assert int(status["account.found"]) > 8 and int(status["frames.keyframes"]) > 2
        assert status[f"received./{name}/rgb/image"] and status["geometry"] == ""


def test_the_example_of_two_cameras_is_valid(make_system):
    system = make_system(
        "--params-file", str(config_path("two_cameras.yaml")), "-p", "pose_source:=pose"
    )
    assert bench.eventually(lambda: system.node._sensors), system.node._failure
    front, rear = system.node._sensors.cameras
    assert front.pipeline.topics.color == "/camera/front/color/image_raw"
    assert rear.pipeline.topics.depth == "/rear/depth_registered/image_raw"
    assert not system.node._table.unknown


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("front.preset:=realsens",), "front.preset is 'realsens'; it must be one of"),
        (("front.rgb_imag:=/a",), "front.rgb_imag is unknown: did you mean front.rgb_image?"),
        ((), "front.rgb_image is missing"),
    ],
)
def test_a_wrong_entry_is_named_when_the_node_is_configured(make_system, arguments, problem):
    words = [word for argument in ("cameras:=[front]", *arguments) for word in ("-p", argument)]
    system = make_system(*words)
    assert bench.eventually(lambda: system.node._failure)
    assert problem in system.node._failure
