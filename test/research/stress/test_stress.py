"""The tools that break things on purpose: what they do to messages, rooms and figures."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import threading

import numpy as np
import pytest

from helpers import messages
from spatial3d_ros.errors import ConfigError, NotAvailableError, StorageError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.stress.fault import FAULTS
from spatial3d_ros.research.stress.faults.run import choose
from spatial3d_ros.research.stress.json_rpc_client import JsonRpcClient
from spatial3d_ros.research.stress.message_corruption import spoiler
from spatial3d_ros.research.stress.nodes import json_rpc as orders
from spatial3d_ros.research.stress.rooms import SEED, tidied
from spatial3d_ros.research.stress.soak import Sample, memory_figures
from spatial3d_ros.sensors.image_decoding import decode_color, decode_depth
from spatial3d_ros.storage import read_yaml, write_whole

DEPTH = np.arange(12, dtype=np.uint16).reshape(3, 4) + 1000


def depth():
    return messages.image(DEPTH, "16UC1")


def test_shares_are_lost_held_back_and_repeated():
    lose = spoiler("lose", share=0.5, roles=["depth"])
    kept = sum(len(lose("depth", k)) for k in range(1000))
    assert 400 < kept < 600 and lose("color", 1) == [1]
    shuffle = spoiler("shuffle", share=0.2)
    out = [message for k in range(1000) for message in shuffle("pose", k)]
    assert out != sorted(out) and 1100 < len(out) < 1300 and set(range(998)) <= set(out)


def test_units_sizes_and_stamps_change_and_the_image_stays_the_same():
    (metres,) = spoiler("to_metres")("depth", depth())
    np.testing.assert_allclose(decode_depth(metres, "/d"), DEPTH / 1000.0)
    (small,) = spoiler("shrink", step=2)("depth", depth())
    np.testing.assert_allclose(decode_depth(small, "/d"), DEPTH[::2, ::2] / 1000.0)
    info = messages.camera_info(8, 6, 10.0)
    info.k, info.p = np.array(info.k), np.array(info.p)
    (info,) = spoiler("shrink", step=2)("camera_info", info)
    camera = Camera.from_calibration(info.width, info.height, info.k)
    assert (camera.width, camera.height, camera.fx, camera.cx) == (4, 3, 5.0, 1.75)
    (later,) = spoiler("shift", seconds=-1.5)("pose", messages.pose_stamped(3 * messages.SECOND))
    assert (later.header.stamp.sec, later.header.stamp.nanosec) == (1, 500_000_000)


def test_nothing_is_left_of_a_covered_or_broken_sensor():
    (dark,) = spoiler("cover")("color", messages.image(np.full((3, 4, 3), 9, np.uint8), "rgb8"))
    assert not decode_color(dark, "/c").any()
    (broken,) = spoiler("not_a_number")("depth", depth())
    assert np.isnan(decode_depth(broken, "/d")).all()
    damaged = [spoiler("corrupt", share=1.0, seed=k)("color", depth())[0].data for k in range(9)]
    assert {len(data) for data in damaged} == {12, 76} and bytes(DEPTH.tobytes()) not in damaged


def test_the_tidied_room_has_moved_and_lost_its_things():
    room = generate_room(SEED)
    after = tidied(room)
    assert len(after.moved) == 3 and len(after.removed) == 2
    assert len(after.room.objects) == len(room.objects) - 2
    assert [item.id for item in after.room.objects] == list(range(len(after.room.objects)))
    before = {item.box for item in room.objects}
    assert sum(item.box not in before for item in after.room.objects) == 3


def test_growth_is_a_line_through_what_comes_after_the_warm_up():
    samples = [Sample(s, 500.0 if s < 60 else 800.0 + 2.0 * s / 60, 900.0) for s in range(600)]
    figures = memory_figures(samples, 60.0)
    assert figures["slope_mb_per_min"] == pytest.approx(2.0)
    assert (figures["warm_mb"], figures["peak_mb"]) == (802.0, 900.0)


def test_faults_are_chosen_by_parts_of_their_names():
    assert len({one.name for one in FAULTS}) == len(FAULTS) >= 20
    assert {one.name for one in choose(["NaN"])} == {
        "NaN everywhere in depth", "NaN everywhere in camera info", "NaN everywhere in pose"
    }  # fmt: skip
    assert choose([]) == FAULTS
    with pytest.raises(ConfigError, match="no fault is called earthquake"):
        choose(["earthquake"])


def test_orders_are_carried_out_and_failures_told(monkeypatch):
    ours, theirs, replies, back = os.pipe(), None, os.pipe(), None
    theirs, back = os.fdopen(ours[0]), os.fdopen(replies[1], "w")
    monkeypatch.setattr(orders.sys, "stdin", theirs)
    monkeypatch.setattr(orders.sys, "stdout", back)

    def serve():
        orders.serve({"add": lambda a, b: a + b, "fail": lambda: 1 / 0})
        back.close()

    thread = threading.Thread(target=serve)
    thread.start()
    pipe = os.fdopen(ours[1], "wb")
    puppet = JsonRpcClient("adder", pipe, os.fdopen(replies[0], "rb"))
    assert puppet.tell("add", a=2, b=3) == 5
    with pytest.raises(NotAvailableError, match="adder: ZeroDivisionError"):
        puppet.tell("fail")
    pipe.close()
    thread.join()


def test_a_puppet_that_has_ended_says_so():
    puppet = JsonRpcClient("gone", io.BytesIO(), iter(()))
    puppet._orders.close()
    with pytest.raises((NotAvailableError, ValueError), match=r"gone: has ended|closed file"):
        puppet.tell("anything", within_s=5.0)


WRITE = """
import sys
from pathlib import Path
from spatial3d_ros.errors import StorageError
from spatial3d_ros.storage import write_whole
try:
    write_whole(Path(sys.argv[1]), "new" * 1000)
except StorageError as error:
    sys.exit(str(error))
"""


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "report.json"
    write_whole(path, json.dumps("old"))
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(path)], capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)),
    )  # fmt: skip
    assert done.returncode == 1 and f"{path}: cannot be written" in done.stderr
    assert json.loads(path.read_text()) == "old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(StorageError, match="cannot be written"):
        write_whole(tmp_path / "missing" / "report.json", "")


@pytest.mark.parametrize("text", ["- 2001-99-99", "[" * 500, "1" * 5000, "a: [", "\x00"])
def test_settings_that_are_no_yaml_are_named(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"settings\.yaml: cannot be read as YAML"):
        read_yaml(path)
