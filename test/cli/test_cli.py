"""The command line: help, conversions, synthetic rooms, and errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from spatial3d_ros.__main__ import app
from spatial3d_ros.bags.bag import bag_topics
from spatial3d_ros.bags.reader import read_bag
from spatial3d_ros.errors import BagError, ConfigError
from spatial3d_ros.research.rooms.recorded_rooms import load_recorded_room

COMMANDS = [
    ("demo",), ("ask",), ("explain",), ("check",), ("doctor",), ("convert",), ("synth", "room"),
    ("synth", "scannet"),
    ("evaluate", "rooms"), ("train",),
    ("bench",), ("bench", "ingest"), ("bench", "query"), ("bench", "masks"), ("bench", "gpu"),
    ("ablate",), ("info",), ("download",), ("assemble",),
    ("evaluate", "referit3d"), ("evaluate", "scanrefer"), ("evaluate", "sr3d-style"),
    ("evaluate", "multi3drefer"), ("evaluate", "scanqa"), ("evaluate", "sqa3d"),
    ("evaluate", "scan2cap"), ("evaluate", "distance"), ("scannet-boxes",),
]  # fmt: skip


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert len(result.output) > 200


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys, spatial3d_ros.__main__\n"
        "heavy = {'torch', 'transformers', 'rclpy', 'cv2', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def folder_of_images(path: Path) -> Path:
    for name in ("images", "depth"):
        (path / name).mkdir(parents=True)
    for k in range(3):
        cv2.imwrite(str(path / "images" / f"{k}.png"), np.full((8, 10, 3), 80, np.uint8))
        cv2.imwrite(str(path / "depth" / f"{k}.png"), np.full((8, 10), 3000, np.uint16))
    np.savetxt(path / "poses.txt", [np.eye(4).reshape(-1)] * 3)
    return path


def test_convert_a_folder(tmp_path: Path) -> None:
    folder = folder_of_images(tmp_path / "in")
    bag = tmp_path / "out.mcap"
    options = ("--intrinsics", "9,9,5,4", "--depth-unit", 0.0005, "--rate", 4, "--compressed")
    result = run("convert", folder, bag, *options)
    assert result.exit_code == 0, result.output
    assert "3 frames" in result.output
    frames = list(read_bag(bag))
    assert [f.stamp_ns for f in frames] == [10**9, 125 * 10**7, 150 * 10**7]
    assert frames[0].depth[0, 0] == pytest.approx(1.5)
    assert frames[0].camera.fx == 9
    assert "/camera/rgb/image/compressed" in bag_topics(bag)
    again = run("convert", folder, bag, *options)
    assert isinstance(again.exception, BagError)
    assert run("convert", folder, bag, *options, "--overwrite").exit_code == 0


def test_convert_says_what_is_wrong(tmp_path: Path) -> None:
    folder = folder_of_images(tmp_path / "in")
    for options, kind, words in (
        ((), BagError, "K.txt: missing"),
        (("--intrinsics", "1,2,3"), ConfigError, "FX,FY,CX,CY"),
        (("--intrinsics", "9,9,5,4", "--up", "w"), ConfigError, "--up w"),
        (("--intrinsics", "9,9,5,4", "--storage", "zip"), BagError, "unknown storage"),
    ):
        result = run("convert", folder, tmp_path / "bag", *options)
        assert isinstance(result.exception, kind), result.output
        assert words in str(result.exception)
    assert not (tmp_path / "bag").exists()


def test_synth_room(tmp_path: Path) -> None:
    bag = tmp_path / "r.mcap"
    options = ("--seed", 900_009, "--seconds", 0.4, "--rate", 5, "--path", "hand")
    result = run("synth", "room", bag, *options)
    assert result.exit_code == 0, result.output
    made = load_recorded_room(bag)
    assert made.room.seed == 900_009
    assert len(list(read_bag(bag))) == 2
    assert (tmp_path / "r.queries.yaml").exists()
    wrong = run("synth", "room", tmp_path / "s.mcap", "--path", "drone")
    assert isinstance(wrong.exception, ConfigError)


def test_errors_become_one_line_and_exit_code_1(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "spatial3d_ros",
        "convert",
        tmp_path / "no",
        tmp_path / "b",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no such folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_train_names_the_missing_file() -> None:
    result = run("train", "nowhere.yaml")
    assert isinstance(result.exception, ConfigError)
    assert "nowhere.yaml" in str(result.exception)
