"""Saved maps: summary, export and import, merging of two robots' maps, and forgetting."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.box_world import THINGS, Robot, move
from spatial3d_ros.__main__ import app
from spatial3d_ros.errors import ConfigError, MemoryFileError
from spatial3d_ros.memory.maps import (
    change_map,
    export_map,
    forget_objects,
    import_map,
    merge_maps,
    read_map,
    summary,
)
from spatial3d_ros.memory.regions import Region
from spatial3d_ros.memory.shown import moved_by


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    robot = Robot(folder, THINGS)
    robot.memory.set_regions([Region.from_box("hall", (-4, -4, 0), (4, 4, 2))])
    robot.tour(3)
    robot.stop()
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "map")


def command(*arguments):
    return CliRunner().invoke(app, ["map", *map(str, arguments)], catch_exceptions=False)


def test_info_counts_what_is_there(folder):
    found = json.loads(command("info", folder, "--json").stdout)
    assert found["objects"] == 5 and found["labels"] == dict.fromkeys(THINGS, 1)
    assert found["frame_id"] == "map" and found["regions"] == ["hall"] and found["sessions"] == 1
    assert len(found["list"]) == 5
    assert "5 objects in frame 'map'" in command("info", folder).stdout


def test_a_map_goes_out_and_in_again(folder, tmp_path):
    exported = tmp_path / "home.json"
    assert command("export", folder, exported).exit_code == 0
    assert command("import", tmp_path / "new", exported).exit_code == 0
    one, two = read_map(folder), read_map(tmp_path / "new")
    assert [(o.id, o.label, o.box) for o in one.objects()] == [
        (o.id, o.label, o.box) for o in two.objects()
    ]
    assert summary(two)["regions"] == ["hall"]
    export_map(one, tmp_path / "rooms.geojson")
    memory = change_map(tmp_path / "new")
    assert import_map(memory, tmp_path / "rooms.geojson") == 1
    assert import_map(memory, exported) == 5 and len(memory.objects()) == 10  # ids were taken
    for name, text in (("a.json", "{"), ("b.json", '{"format": 9}'), ("c.json", "[]")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match=name):
            import_map(memory, tmp_path / name)
    data = json.loads(exported.read_text()) | {"frame_id": "odom"}
    exported.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="frame 'odom'"):
        import_map(memory, exported)
    memory.close()


def test_ply_holds_points_and_box_edges(folder, tmp_path):
    memory = read_map(folder)
    export_map(memory, tmp_path / "map.ply")
    lines = (tmp_path / "map.ply").read_text().splitlines()
    start = lines.index("end_header") + 1
    points = sum(len(o.points) for o in memory.objects())
    assert f"element vertex {points + 40}" in lines and "element edge 60" in lines
    assert len(lines) - start == points + 40 + 60
    with pytest.raises(ConfigError, match="ending"):
        export_map(memory, tmp_path / "map.obj")


def test_two_robots_maps_become_one(folder, tmp_path):
    things = THINGS | {"sofa": move(THINGS["sofa"], 0.0, 0.1)}
    del things["lamp"]
    things["plant"] = ("plant", THINGS["lamp"][1])
    robot = Robot(tmp_path / "second", things, start_s=50_000)
    robot.tour(3)
    turn = np.eye(4)
    turn[:2, :2], turn[:2, 3] = [[0, -1], [1, 0]], (2.0, 1.0)
    for known in robot.memory.objects():  # another origin
        robot.memory.put(moved_by(known, turn))
    robot.memory.frame_id = "robot2/map"
    (sofa,) = robot.named("sofa")
    x, y, _ = sofa.box.center
    robot.memory.set_regions([Region.from_box("den", (x - 1, y - 1, -1), (x + 1, y + 1, 3))])
    robot.stop()
    memory = change_map(folder)
    other = read_map(tmp_path / "second")
    with pytest.raises(MemoryFileError, match="--align"):
        merge_maps(memory, other)
    result = merge_maps(memory, other, aligned=True)
    assert result["same"] >= 4 and result["residual_m"] < 0.1
    labels = sorted(o.label for o in memory.objects())
    assert "plant" in labels and labels.count("sofa") == 1
    (sofa,) = [o for o in memory.objects() if o.label == "sofa"]
    assert "den" in [r.name for r in memory.regions if r.contains(sofa.box.center)]
    for look in memory.store.observations(sofa.id):
        assert math.dist(look.box.center, sofa.box.center) < 0.2
    memory.close()


def test_forgetting_leaves_no_trace(folder):
    memory = change_map(folder)
    (sofa,) = [o.id for o in memory.objects() if o.label == "sofa"]
    assert memory.store.observations(sofa)
    with pytest.raises(ConfigError, match="no object"):
        forget_objects(memory, label="unicorn")
    memory.close()
    assert "forgot 1" in command("forget", folder, "--label", "sofa").stdout
    memory = read_map(folder)
    assert sofa not in memory.known and not memory.store.observations(sofa)
    assert command("prune", folder, "--days", 0).exit_code == 0
    assert summary(read_map(folder))["observations"] <= 5
    assert "forgot 4" in command("forget", folder, "--all").stdout
