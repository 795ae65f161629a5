"""`spatial3d check`: what is right is told, and each fault of a recording has its own sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from helpers import bag_files
from spatial3d_ros.__main__ import app
from spatial3d_ros.bags.bag import stamp_ns
from spatial3d_ros.bags.check import check_bag
from spatial3d_ros.bags.launch_line import LAUNCH, launch_line
from spatial3d_ros.bags.reader import read_bag
from spatial3d_ros.bags.topics import INFO_TYPE, TF_TYPE, Topics
from spatial3d_ros.bags.writer import OPTICAL_FRAME, write_bag
from spatial3d_ros.errors import BagError
from spatial3d_ros.geometry.pose import pose_matrix
from spatial3d_ros.resources import config_path
from spatial3d_ros.sensors.registration import register_depth

COLOR, DEPTH = "/camera/rgb/image", "/camera/depth/image"


def changed(folder: Path, change: bag_files.Change) -> Path:
    return bag_files.rewritten(bag_files.make_frames(8), folder, change)


def on(wanted: str, edit: Any) -> bag_files.Change:
    """A change that calls `edit(message)` on one topic and drops what it turns into None."""

    def change(topic: str, message: Any) -> list[tuple[str, str, Any]]:
        if topic == wanted:
            message = edit(message)
        return bag_files.unchanged(topic, message) if message is not None else []

    return change


def delayed(seconds: float) -> Any:
    def edit(message: Any) -> Any:
        stamp = stamp_ns(message) + round(seconds * 1e9)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        return message

    return edit


def other_frame(message: Any) -> Any:
    message.header.frame_id = "camera_depth_optical_frame"
    return message


def test_a_good_recording(tmp_path: Path) -> None:
    write_bag(tmp_path / "b.mcap", bag_files.make_frames(8))
    report = check_bag(tmp_path / "b.mcap")
    assert report.usable
    assert (report.problems, report.notes, report.tf) == ([], [], [])
    by_name = {row["name"]: row for row in report.topics}
    assert by_name[COLOR] == {
        "name": COLOR,
        "type": "sensor_msgs/msg/Image",
        "count": 8,
        "hz": 10.0,
        "frame_id": OPTICAL_FRAME,
        "encoding": "rgb8",
        "size": "64x48",
    }
    assert report.sync["paired"] == 1.0
    assert report.poses == {
        "source": "pose",
        "frame_id": "map",
        "camera_frame": OPTICAL_FRAME,
        "hz": 20.0,
        "longest_gap_s": 0.05,
    }
    assert report.depth["aligned"] == "yes"
    assert report.depth["valid"] == pytest.approx(44 / 48, abs=1e-3)
    assert 3.5 < report.depth["median_m"] < 4.0
    assert report.frames == {
        "made": 8, "left_out": {}, "found": 8, "used": 8, "lost_share": 0.0, "lost": {},
        "received": {"color": 8, "depth": 8, "pose": 15},
    }  # fmt: skip
    assert report.launch == f"{LAUNCH} bag:={tmp_path / 'b.mcap'}"


def test_only_the_beginning_is_checked(tmp_path: Path) -> None:
    write_bag(tmp_path / "b.mcap", bag_files.make_frames(8))
    assert check_bag(tmp_path / "b.mcap", seconds=0.35).frames["made"] == 4


def test_poses_from_transforms(tmp_path: Path) -> None:
    report = check_bag(changed(tmp_path, bag_files.transforms()))
    assert report.tf == [
        "base -> mount (fixed)",
        "map -> odom (moving, 20.0 Hz)",
        f"mount -> {OPTICAL_FRAME} (fixed)",
        "odom -> base (moving, 20.0 Hz)",
    ]
    assert (report.poses["source"], report.poses["hz"]) == ("tf", 20.0)
    assert report.launch.endswith("pose_source:=tf target_frame:=map")


def test_depth_of_another_camera_is_registered(tmp_path: Path) -> None:
    mounted = pose_matrix((-0.05, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))

    def change(topic: str, message: Any) -> list[tuple[str, str, Any]]:
        out = bag_files.unchanged(topic, message)
        if topic == DEPTH:
            message.header.frame_id = "depth_frame"
            moved = bag_files.KINDS[TF_TYPE](
                [bag_files.link(message.header, OPTICAL_FRAME, "depth_frame", mounted)]
            )
            out.append(("/tf_static", TF_TYPE, moved))
        if topic == "/camera/rgb/camera_info":
            out.append(("/camera/depth/camera_info", INFO_TYPE, message))
        return out

    report = check_bag(changed(tmp_path, change))
    assert report.roles["depth_info"] == "/camera/depth/camera_info"
    assert (report.depth["aligned"], report.frames["made"]) == ("by us", 8)
    assert "depth is registered to colour here" in report.notes[-1]
    frame = next(read_bag(report.bag))
    metres = np.round(bag_files.make_frames(1)[0].depth, 3)  # stored as whole millimetres
    expected = register_depth(metres, bag_files.CAMERA, bag_files.CAMERA, mounted)
    assert np.isclose(frame.depth, expected).mean() > 0.995  # but for borders of pixels
    assert np.abs(frame.depth - metres).max() > 1.0


def test_odometry_of_a_base(tmp_path: Path) -> None:
    report = check_bag(changed(tmp_path, bag_files.odometry("base")))
    assert not report.usable
    assert report.launch == ""
    assert "no chain from 'base'" in report.problems[0]
    assert f"pose of '{OPTICAL_FRAME}' in 'base' as the parameter base_T_camera" in report.notes[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (on(DEPTH, delayed(0.03)), r"0% of the colour.*95 % have one within 30 ms: set sync_slop"),
        (on(DEPTH, other_frame), "'camera_depth_optical_frame', but.*publish the calibration"),
        (on("/camera/pose", lambda _: None), "found no pose topic"),
        (on(DEPTH, lambda _: None), "found no depth topic"),
        (on("/camera/pose", delayed(100.0)), "clocks 100.0 s apart"),
        (
            bag_files.transforms("mount"),
            r"nothing links the camera frame.*roots of the tree: map, mount",
        ),
        (on(COLOR, lambda m: delayed(-stamp_ns(m) * 1e-9)(m)), "image: header.stamp is 0 in"),
    ],
    ids=["sync", "alignment", "no pose", "no depth", "clocks", "tree", "stamps"],
)
def test_each_fault_is_named(tmp_path: Path, change: bag_files.Change, words: str) -> None:
    report = check_bag(changed(tmp_path, change))
    assert any(re.search(words, problem) for problem in report.problems), report.problems


def test_what_is_missing_does_not_hide_the_rest(tmp_path: Path) -> None:
    report = check_bag(changed(tmp_path, on("/camera/pose", lambda _: None)))
    assert report.sync["paired"] == 1.0
    assert set(report.roles) == {"depth", "rgb", "camera_info"}


def test_the_launch_line_names_what_differs_from_the_nearest_preset() -> None:
    tum = yaml.safe_load((config_path("cameras") / "tum.yaml").read_text())["remappings"]
    topics = Topics(*tum.values(), "/vicon")
    line = launch_line("my bag", topics, {"source": "pose", "frame_id": "map"})
    assert line == f"{LAUNCH} bag:='my bag' camera:=tum pose_topic:=/vicon"
    packed = Topics("/c/rgb/compressed", "/c/depth/compressedDepth", "/c/info", "/odom")
    line = launch_line("b", packed, {"source": "odom", "frame_id": "odom"})
    assert line.removeprefix(LAUNCH).split() == [
        "bag:=b", "color_transport:=compressed", "depth_transport:=compressedDepth",
        "rgb_image:=/c/rgb", "depth_image:=/c/depth", "camera_info:=/c/info",
        "pose_source:=odom", "pose_topic:=/odom",
    ]  # fmt: skip
    usual = launch_line("b", Topics(), {"source": "tf", "frame_id": "odom"})
    assert usual == f"{LAUNCH} bag:=b pose_source:=tf"
    mapped = {"source": "tf", "frame_id": "map"}
    through_odom = launch_line("b", Topics(), mapped, ["map -> odom (moving, 10.0 Hz)"])
    assert through_odom == f"{LAUNCH} bag:=b pose_source:=tf target_frame:=map"
    assert launch_line("b", Topics(), mapped).endswith("pose_source:=tf world_frame:=map")


def test_the_command_prints_a_page_or_json(tmp_path: Path) -> None:
    write_bag(tmp_path / "b.mcap", bag_files.make_frames(4))
    shown = CliRunner().invoke(app, ["check", str(tmp_path / "b.mcap")])
    assert shown.exit_code == 0
    assert "aligned: yes" in shown.output
    assert f" {DEPTH} " in shown.output  # whole: it is there to be copied
    assert LAUNCH in shown.output
    printed = CliRunner().invoke(app, ["check", str(tmp_path / "b.mcap"), "--json"])
    assert json.loads(printed.stdout)["usable"] is True
    bad = CliRunner().invoke(app, ["check", str(changed(tmp_path, on(DEPTH, lambda _: None)))])
    assert bad.exit_code == 1
    none = CliRunner().invoke(app, ["check", str(tmp_path / "none.mcap")])
    assert isinstance(none.exception, BagError)


def test_a_real_bag_of_ros_1_with_a_humanoid_and_no_images() -> None:
    path = bag_files.shared_data("ros1_bag_watercan") / "watercan.bag"
    report = check_bag(path)
    assert not report.usable
    assert len(report.problems) == 4
    assert "a bag of ROS 1" in report.notes[0]
