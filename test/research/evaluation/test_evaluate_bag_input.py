"""`spatial3d evaluate BAG` on every kind of bag and of bad input, as a user meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rosbags.convert import convert
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from typer.testing import CliRunner

from helpers.bag_files import STORE, odometry, rewritten, shifted, transforms, unchanged
from helpers.small_model import small_model
from spatial3d_ros.__main__ import app
from spatial3d_ros.bags.reader import read_bag
from spatial3d_ros.bags.topics import TF_TYPE
from spatial3d_ros.bags.writer import OPTICAL_FRAME, write_bag
from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.research.rooms.recorded_rooms import record_room
from spatial3d_ros.scene.frame import Frame

QUESTIONS = """
frame_id: map
queries:
  - {id: early, kind: ground, at: 0.6, text: "the chair"}
  - {id: late, kind: ground, at: end, text: "the red chair"}
  - {id: far, kind: distance, at: end, text: "how far is the chair from the table"}
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """A folder with a bag of a room, a model of random weights, and questions."""
    path = tmp_path_factory.mktemp("input")
    camera = Camera(160, 120, 131.0, 131.0, 79.5, 59.5)
    record_room(path / "room.mcap", 900_003, seconds=1.5, rate_hz=4, camera=camera, processes=1)
    model, prompt = small_model()
    save_model(path / "model", model, prompt.tokenizer, torch.float32)
    (path / "q.yaml").write_text(QUESTIONS)
    return path


@pytest.fixture(scope="module")
def frames(here: Path) -> list[Frame]:
    return list(read_bag(here / "room.mcap"))


def command(here: Path, bag: Path, *options: object):
    return CliRunner().invoke(
        app,
        ["evaluate", str(bag), "--queries", str(here / "q.yaml"), "--model", str(here / "model"),
         "--device", "cpu", "--no-pictures", "--json", *map(str, options)],
    )  # fmt: skip


def report(here: Path, bag: Path, out: Path) -> dict:
    result = command(here, bag, "--out", out)
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def expected(here: Path, tmp_path_factory) -> dict:
    return report(here, here / "room.mcap", tmp_path_factory.mktemp("expected"))


def as_ros1(source: Path, target: Path) -> Path:
    """The same messages in a bag of ROS 1."""
    old = get_typestore(Stores.ROS1_NOETIC)
    old.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", TF_TYPE))
    convert(
        [source], target, dst_storage="", dst_version=0, compress=None, compress_mode="none",
        default_typestore=STORE, typestore=old, exclude_topics=(), include_topics=(),
        exclude_msgtypes=(), include_msgtypes=(),
    )  # fmt: skip
    return target


def written(frames: list[Frame], path: Path, **options: object) -> Path:
    write_bag(path, frames, **options)
    return path


KINDS: dict[str, Callable[[list[Frame], Path], Path]] = {
    "db3": lambda frames, folder: written(frames, folder / "one.db3"),
    "sqlite3 folder": lambda frames, folder: written(frames, folder / "bag", storage="sqlite3"),
    "odometry": lambda frames, folder: rewritten(frames, folder, odometry(OPTICAL_FRAME)),
    "tf": lambda frames, folder: rewritten(frames, folder, transforms()),
    "ros 1": lambda frames, folder: as_ros1(
        rewritten(frames, folder, unchanged), folder / "old.bag"
    ),
    "ros 1, tf": lambda frames, folder: as_ros1(
        rewritten(frames, folder, transforms()), folder / "old.bag"
    ),
}


def numbers(data: object) -> list[float]:
    if isinstance(data, dict):
        return [v for key, part in data.items() if key != "latency_ms" for v in numbers(part)]
    if isinstance(data, list):
        return [v for part in data for v in numbers(part)]
    return [float(data)] if isinstance(data, (int, float)) else []


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_recording_in_another_bag_gives_the_same_answers(
    here: Path, frames: list[Frame], expected: dict, tmp_path: Path, kind: str
) -> None:
    data = report(here, KINDS[kind](frames, tmp_path), tmp_path / "out")
    exact = "tf" not in kind  # a chain of transforms rounds
    for part in ("answers", "scene"):
        assert numbers(data[part]) == pytest.approx(
            numbers(expected[part]), abs=0 if exact else 1e-3, rel=0
        )
    got, wanted = (
        one["recording"] | {"account": dict(one["recording"]["account"])}
        for one in (data, expected)
    )
    received = [one["account"].pop("received") for one in (got, wanted)]
    assert got == wanted and all(received)
    assert data["scene"]["objects"]


def test_compressed_images(here: Path, frames: list[Frame], tmp_path: Path) -> None:
    data = report(here, written(frames, tmp_path / "b.mcap", compressed=True), tmp_path / "out")
    assert data["settings"]["topics"]["rgb"].endswith("/compressed")
    assert data["settings"]["topics"]["depth"].endswith("/compressedDepth")
    assert data["scene"]["objects"]
    assert data["recording"]["frames"] == len(frames)


def test_stamps_in_disorder_are_counted(here: Path, frames: list[Frame], tmp_path: Path) -> None:
    bag = rewritten(frames, tmp_path, shifted({2: -0.4}, "images"))
    data = report(here, bag, tmp_path / "out")
    assert data["recording"]["left_out"] == {"late": 2}
    assert data["recording"]["frames"] == len(frames) - 1


def cut(keep: float) -> Callable[[list[Frame], Path], Path]:
    def build(frames: list[Frame], folder: Path) -> Path:
        path = written(frames, folder / "cut.mcap")
        data = path.read_bytes()
        path.write_bytes(data[: round(keep * len(data))])
        return path

    return build


def empty(_: list[Frame], folder: Path) -> Path:
    with Writer(folder / "empty", version=9, storage_plugin=StoragePlugin.MCAP):
        return folder / "empty"


def without(word: str) -> Callable[[list[Frame], Path], Path]:
    return lambda frames, folder: rewritten(
        frames, folder, lambda topic, m: [] if word in topic else unchanged(topic, m)
    )


def twice(frames: list[Frame], folder: Path) -> Path:
    """With two cameras on one pose."""

    def change(topic: str, message: object) -> list:
        sent = unchanged(topic, message)
        if topic.endswith("pose"):
            return sent
        sides = ("/left/", "/right/")
        return [(topic.replace("/camera/", side), *one[1:]) for one in sent for side in sides]

    return rewritten(frames, folder, change)


def odd(frames: list[Frame], folder: Path) -> Path:
    """With a topic of a type that nobody knows."""
    with (
        Reader(written(frames, folder / "b.mcap")) as reader,
        Writer(folder / "odd", version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        made = {
            c.id: writer.add_connection(c.topic, c.msgtype, typestore=STORE)
            for c in reader.connections
        }
        strange = writer.add_connection(
            "/odd_depth", "my_msgs/msg/Odd", msgdef="no/Such[ message", rihs01="RIHS01_0"
        )
        for connection, stamp, raw in reader.messages():
            writer.write(made[connection.id], stamp, raw)
            writer.write(strange, stamp, b"??")
    return folder / "odd"


def plain(frames: list[Frame], folder: Path) -> Path:
    return written(frames, folder / "b.mcap")


BAD = {
    "cut to nothing": (cut(0), (), r"cut\.mcap"),
    "cut in half": (cut(0.5), (), r"cut\.mcap"),
    "empty": (empty, (), "empty: the bag holds no messages"),
    "no depth": (without("depth"), (), "found no depth topic"),
    "no pose": (without("pose"), (), "found no pose topic"),
    "no colour": (without("rgb/image"), (), "found no rgb topic"),
    "two cameras": (twice, (), r"several cameras \(left, right\); .*--camera left"),
    "unknown type": (odd, ("--depth", "/odd_depth"), "/odd_depth is my_msgs/msg/Odd, but depth n"),
    "no such topic": (plain, ("--depth", "/nope"), r"/nope \(depth\).*/camera/depth/image"),
    "topic of another type": (plain, ("--pose", "/camera/rgb/camera_info"), "but pose needs"),
    "clock starts again": (
        lambda frames, folder: rewritten(frames, folder, shifted({2: 60.0}, "images")),
        (),
        "go back by",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bags_are_told(here: Path, frames: list[Frame], tmp_path: Path, name: str) -> None:
    build, options, words = BAD[name]
    result = command(here, build(frames, tmp_path), "--out", tmp_path / "out", *options)
    assert isinstance(result.exception, Spatial3DError), result.output
    with pytest.raises(Spatial3DError, match=words):
        raise result.exception
    assert not (tmp_path / "out" / "report.json").exists()


def test_bad_questions_are_told(here: Path, tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text(QUESTIONS.replace("at: 0.6", "at: 600 ms, colour: red"))
    result = CliRunner().invoke(
        app, ["evaluate", str(here / "room.mcap"), "--queries", str(tmp_path / "q.yaml")]
    )
    with pytest.raises(
        Spatial3DError, match=r"early: at: '600 ms' is neither.*colour: unknown key"
    ):
        raise result.exception
