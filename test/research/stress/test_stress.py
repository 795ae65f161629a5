"""Fault injection: corrupted messages, the rearranged room, memory growth, JSON-RPC calls."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers import messages
from helpers.engine_scene import proposals_in_a_row, wall_frame
from helpers.small_model import small_model
from spatial3d_ros.engine import EngineConfig
from spatial3d_ros.errors import ConfigError, NotAvailableError, NotFoundError, StorageError
from spatial3d_ros.geometry.box import shared_volume
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.memory.database import MemoryDatabase
from spatial3d_ros.memory.presence import box_points
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.stress import soak, system_under_test, two_day_home, two_days
from spatial3d_ros.research.stress.fault import FAULTS
from spatial3d_ros.research.stress.faults.memory import stored_ids
from spatial3d_ros.research.stress.faults.run import choose
from spatial3d_ros.research.stress.faulty_engine import FaultyEngine
from spatial3d_ros.research.stress.json_rpc_client import JsonRpcClient
from spatial3d_ros.research.stress.message_corruption import corruption
from spatial3d_ros.research.stress.nodes import json_rpc
from spatial3d_ros.research.stress.rooms import SEED, rearranged_room
from spatial3d_ros.research.stress.soak import Sample, SoakRecord, memory_figures
from spatial3d_ros.research.stress.system_under_test import Setting, SystemUnderTest
from spatial3d_ros.sensors.image_decoding import decode_color, decode_depth
from spatial3d_ros.storage import read_yaml, write_whole

DEPTH = np.arange(12, dtype=np.uint16).reshape(3, 4) + 1000


def depth():
    return messages.image(DEPTH, "16UC1")


def test_messages_are_dropped_delayed_and_repeated():
    drop = corruption("drop", share=0.5, roles=["depth"])
    kept = sum(len(drop("depth", k)) for k in range(1000))
    assert 400 < kept < 600 and drop("color", 1) == [1]
    reorder = corruption("reorder", share=0.2)
    out = [message for k in range(1000) for message in reorder("pose", k)]
    assert out != sorted(out) and 1100 < len(out) < 1300 and set(range(998)) <= set(out)


def test_unit_size_and_stamp_corruptions_keep_the_image_content():
    (metres,) = corruption("depth_in_metres")("depth", depth())
    np.testing.assert_allclose(decode_depth(metres, "/d"), DEPTH / 1000.0)
    (small,) = corruption("downsample", step=2)("depth", depth())
    np.testing.assert_allclose(decode_depth(small, "/d"), DEPTH[::2, ::2] / 1000.0)
    info = messages.camera_info(8, 6, 10.0)
    info.k, info.p = np.array(info.k), np.array(info.p)
    (info,) = corruption("downsample", step=2)("camera_info", info)
    camera = Camera.from_calibration(info.width, info.height, info.k)
    assert (camera.width, camera.height, camera.fx, camera.cx) == (4, 3, 5.0, 1.75)
    pose = messages.pose_stamped(3 * messages.SECOND)
    (later,) = corruption("shift_stamps", seconds=-1.5)("pose", pose)
    assert (later.header.stamp.sec, later.header.stamp.nanosec) == (1, 500_000_000)


def test_covered_nan_and_damaged_sensor_data():
    color = messages.image(np.full((3, 4, 3), 9, np.uint8), "rgb8")
    (dark,) = corruption("cover_lens")("color", color)
    assert not decode_color(dark, "/c").any()
    (broken,) = corruption("nan_values")("depth", depth())
    assert np.isnan(decode_depth(broken, "/d")).all()
    damaged = [
        corruption("damage_bytes", share=1.0, seed=k)("color", depth())[0].data for k in range(9)
    ]
    assert {len(data) for data in damaged} == {12, 76} and bytes(DEPTH.tobytes()) not in damaged


def test_rearranged_room_has_three_moved_and_two_removed_objects():
    room = generate_room(SEED)
    after = rearranged_room(room)
    assert len(after.moved) == 3 and len(after.removed) == 2
    assert len(after.room.objects) == len(room.objects) - 2
    assert [item.id for item in after.room.objects] == list(range(len(after.room.objects)))
    before = {item.box for item in room.objects}
    assert sum(item.box not in before for item in after.room.objects) == 3


def test_memory_growth_is_fitted_after_the_warm_up():
    samples = [Sample(s, 500.0 if s < 60 else 800.0 + 2.0 * s / 60, 900.0) for s in range(600)]
    figures = memory_figures(samples, 60.0)
    assert figures["slope_mb_per_min"] == pytest.approx(2.0)
    assert (figures["warm_mb"], figures["peak_mb"]) == (802.0, 900.0)
    assert figures["least_mb"] == [500, *range(802, 820, 2)]


def test_memory_that_refreshes_take_and_give_back_is_no_growth():
    taken = [Sample(s, 800.0 + 150.0 * (s % 20 > 10) * (s > 300), 950.0) for s in range(600)]
    assert memory_figures(taken, 60.0)["slope_mb_per_min"] == pytest.approx(0.0)


def test_soak_counts_the_messages_of_each_topic_once(monkeypatch):
    sent = {"/rgb": 100, "/depth": 100, "/pose": 200}
    sensors = {
        "received./rgb": "97", "received./depth": "100", "received./pose": "200",
        "account.received.color": "97", "account.received.depth": "100", "frames.decoded": "96",
        "account.lost.no partner": "3", "sync.matched": "96",
    }  # fmt: skip
    calls = []
    system = SimpleNamespace(
        corrupt=calls.append,
        status=lambda part: calls.append(part) or sensors,
        camera=SimpleNamespace(call=lambda name: calls.append(name) or sent),
    )
    monkeypatch.setattr(soak, "SETTLE_S", 0.0)
    assert soak._final_counts(system) == (sent, sensors)
    assert calls == ["drop", "count", "sensors"]  # nothing is on its way while it counts
    replies = [{"success": True, "latency_ms": 80.0}]
    asked = SimpleNamespace(replies=replies, answered=replies, refused=[], without_reply=0)
    record = SoakRecord([Sample(s, 500.0, 500.0) for s in range(60)])
    result = soak._results(asked, record, sensors, sent, 1.0)
    assert result["lost"] == {"/rgb": 3, "/depth": 0, "/pose": 0}
    assert (result["frames"], result["sync"]) == ({"decoded": 96}, {"matched": 96})
    assert soak.table_of(result)["messages"] == "400 sent, 3 lost; 3 of /rgb"


def test_soak_tells_what_was_stored_across_sessions(tmp_path):
    database = MemoryDatabase(tmp_path)
    database.write("INSERT INTO regions VALUES (?, 0, 1, '[]')", [("hall",)])
    database.close()
    stored = soak.stored_figures(tmp_path, 3_000_000, 2.0)["stored"]
    assert (stored["objects"], stored["events"], stored["written_per_min"]) == (0, 0, 1.5e6)
    assert stored["bytes"] > 0 and "1.50 MB/min" in soak._stored_text(stored)
    assert stored_ids(tmp_path) == set()
    before = soak.written_bytes(os.getpid())
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    assert soak.written_bytes(os.getpid()) >= before and soak.written_bytes(2**30) == 0


def test_faults_are_selected_by_parts_of_their_names():
    assert len({one.name for one in FAULTS}) == len(FAULTS) >= 20
    assert {one.name for one in choose(["NaN"])} == {
        "NaN everywhere in depth", "NaN everywhere in camera info", "NaN everywhere in pose"
    }  # fmt: skip
    assert choose([]) == FAULTS
    with pytest.raises(ConfigError, match="no fault is called earthquake"):
        choose(["earthquake"])


def test_a_fault_is_judged_by_the_objects_of_the_room_and_not_by_fragments(monkeypatch, tmp_path):
    monkeypatch.setattr(system_under_test, "STEADY_S", 0.0)
    maps = [
        [(0, 0, 0.1), (1, 0, 0), (2, 0, 0), (0.4, 0, 0), (0.6, 0, 0)],  # the last two are fragments
        [(0, 0, 0.1), (1, 0, 0.1), (2, 0, 0), (0.5, 0, 0)],
        [(0, 0.1, 0), (1, 0.2, 0), (2, 0, 0)],
        [],
    ]
    monkeypatch.setattr(
        SystemUnderTest, "objects", lambda _: [{"center": center} for center in maps.pop(0)]
    )
    places = np.array([(0.0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)])
    system = SystemUnderTest(Setting(tmp_path), tmp_path, places)
    assert system.kept_share() == 0.0, "no snapshot: nothing to judge"
    system.take_snapshot()
    assert len(system.snapshot) == 3
    assert system.kept_share() == pytest.approx(2 / 3)
    assert system.kept_share() == 0.0


def test_json_rpc_returns_results_and_errors(monkeypatch):
    ours, theirs, replies, back = os.pipe(), None, os.pipe(), None
    theirs, back = os.fdopen(ours[0]), os.fdopen(replies[1], "w")
    monkeypatch.setattr(json_rpc.sys, "stdin", theirs)
    monkeypatch.setattr(json_rpc.sys, "stdout", back)

    def serve():
        json_rpc.serve({"add": lambda a, b: a + b, "fail": lambda: 1 / 0})
        back.close()

    thread = threading.Thread(target=serve)
    thread.start()
    pipe = os.fdopen(ours[1], "wb")
    client = JsonRpcClient("adder", pipe, os.fdopen(replies[0], "rb"))
    assert client.call("add", a=2, b=3) == 5
    with pytest.raises(NotAvailableError, match="adder: ZeroDivisionError"):
        client.call("fail")
    pipe.close()
    thread.join()


def test_json_rpc_call_to_an_ended_process_fails():
    client = JsonRpcClient("gone", io.BytesIO(), iter(()))
    client._requests.close()
    with pytest.raises((NotAvailableError, ValueError), match=r"gone: has ended|closed file"):
        client.call("anything", within_s=5.0)


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


def test_full_disk_is_reported_and_keeps_the_old_file(tmp_path):
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
def test_invalid_yaml_is_named(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"settings\.yaml: cannot be read as YAML"):
        read_yaml(path)


def test_faulty_engine_fails_in_the_chosen_step_only(tmp_path, monkeypatch):
    model, prompt = small_model()
    save_model(tmp_path, model, prompt.tokenizer, torch.float32)
    engine = FaultyEngine(EngineConfig(model=str(tmp_path), device="cpu", max_views=4))
    engine.load()
    for number in (1, 2):
        engine.add_frame(wall_frame(number))
    monkeypatch.setattr(FaultyEngine, "out_of_memory_in", ["update"])
    with pytest.raises(RuntimeError, match="alloc"):
        engine.refresh(proposals_in_a_row())
    monkeypatch.setattr(FaultyEngine, "out_of_memory_in", ["question"])
    engine.refresh(proposals_in_a_row())
    with pytest.raises(RuntimeError, match="alloc"):
        engine.ground("the red chair")
    monkeypatch.setattr(FaultyEngine, "out_of_memory_in", [])
    assert engine.ground("the red chair").text


def test_a_home_changes_between_two_days():
    home = two_day_home.generate_home(850_035, "full")
    views = [np.full(len(place.room.objects), 9) for place in home]
    known = [
        MemoryObject(k, item.box, item.category, box_points(item.box), item.box.center, 1, 2, 1)
        for k, item in enumerate(item for place in home for item in place.objects)
    ]
    taken, moved = two_day_home.choose_changes(home, views, known)
    changed = two_day_home.next_day(home, taken, moved)
    before, after = (
        [o.category for o in day[taken.place].objects].count(taken.item.category)
        for day in (home, changed)
    )
    assert after == before - 1
    target = changed[(moved.place + 1) % 2]
    objects = target.objects
    assert [o.id for o in objects] == list(range(len(objects)))
    (box,) = [o.box for o in objects if o.box.size == moved.item.box.size]
    assert target.region.contains(box.center)
    assert max(shared_volume(box, o.box) for o in objects if o.box is not box) == 0.0
    with pytest.raises(NotFoundError, match="another seed"):
        two_day_home.choose_changes(home, [0 * count for count in views], known)


def test_story_of_two_days_counts_right_answers_by_channel():
    right = {"DDS": True, "agent": False}
    asked = tuple(two_days.Asked("moved", "?", {}, right | {"agent": k > 0}) for k in range(3))
    story = two_days.Story(9, 9, "bin", "box", asked)
    assert story.right == {"DDS": 3, "agent": 2} == story.to_dict()["right"]
