"""Pictures of objects: of their best views, only when asked for, bounded in number and bytes."""

from __future__ import annotations

import json
import sqlite3

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.box_world import PALETTE, THINGS, Robot, move
from spatial3d_ros.__main__ import app
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.memory.database import FILE, MemoryDatabase
from spatial3d_ros.memory.maps import change_map, import_map, read_map
from spatial3d_ros.memory.pictures import SIDE
from spatial3d_ros.memory.schema import MIGRATIONS
from spatial3d_ros.memory.store import MemoryStore


def pictures(robot):
    robot.memory.save(now=True)
    robot.database.flush()
    return {o.label: robot.memory.store.pictures(o.id) for o in robot.memory.objects()}


def decoded(picture):
    return cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_a_picture_shows_its_object(tmp_path):
    robot = Robot(tmp_path, THINGS, pictures=2)
    robot.tour(2)
    found = pictures(robot)
    assert set(found) == set(THINGS)
    for index, name in enumerate(THINGS):
        assert 1 <= len(found[name]) <= 2
        for picture in found[name]:
            image = decoded(picture)
            assert max(image.shape[:2]) <= SIDE and picture.nbytes == len(picture.jpeg)
            color = PALETTE[index].astype(float)
            near = np.abs(image - color).mean(2) < 25
            assert near.mean() > 0.15, name
        scores = [picture.score for picture in found[name]]
        assert scores == sorted(scores, reverse=True)
    robot.stop()


def test_nothing_is_stored_unless_asked_for(tmp_path):
    robot = Robot(tmp_path, THINGS)
    robot.tour(1)
    assert not any(pictures(robot).values())
    robot.stop()


def test_bytes_are_bounded_and_the_oldest_go(tmp_path):
    robot = Robot(tmp_path, THINGS, pictures=5, picture_bytes=4000)
    robot.tour(1)
    found = [p for part in pictures(robot).values() for p in part]
    assert 0 < sum(p.nbytes for p in found) <= 4000
    robot.stop()


def test_pictures_go_with_a_moved_object_and_with_a_forgotten_one(tmp_path):
    robot = Robot(tmp_path, THINGS, pictures=2)
    robot.tour(2)
    (chair,) = robot.named("chair")
    before = pictures(robot)["chair"]
    robot.stop()
    robot = Robot(tmp_path, THINGS | {"chair": move(THINGS["chair"], 1.4, -0.3)}, 9e4, pictures=2)
    robot.tour(4)
    assert "moved" in [kind for kind, _ in robot.kinds()]
    (moved,) = robot.named("chair")
    after = pictures(robot)["chair"]
    assert moved.id == chair.id and 1 <= len(after) <= 2
    assert {p.stamp_ns for p in after} != {p.stamp_ns for p in before}
    robot.memory.forget([chair.id])
    robot.database.flush()
    assert robot.memory.store.pictures(chair.id) == []
    robot.stop()


def test_pictures_are_exported_imported_and_removed(tmp_path):
    robot = Robot(tmp_path / "a", THINGS, pictures=1)
    robot.tour(2)  # the mug was in too few views to be remembered
    (sofa,) = robot.named("sofa")
    (picture,) = pictures(robot)["sofa"]
    robot.stop()

    def command(*arguments):
        return CliRunner().invoke(app, ["map", *map(str, arguments)], catch_exceptions=False)

    file = tmp_path / "home.json"
    assert command("export", tmp_path / "a", file).exit_code == 0
    assert command("import", tmp_path / "b", file).exit_code == 0
    assert read_map(tmp_path / "b").store.pictures(sofa.id) == [picture]
    assert "4 pictures" in command("info", tmp_path / "b").stdout
    assert command("forget", tmp_path / "b", "--pictures").exit_code == 0
    assert "0 pictures" in command("info", tmp_path / "b").stdout
    content = json.loads(file.read_text())
    content["pictures"][0]["jpeg"] = "AAAA"
    file.write_text(json.dumps(content))
    memory = change_map(tmp_path / "b")
    with pytest.raises(ConfigError, match="no JPEG"):
        import_map(memory, file)
    memory.close()


def test_a_database_of_the_first_schema_is_brought_to_this_one(tmp_path):
    connection = sqlite3.connect(tmp_path / FILE)
    connection.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
    connection.execute("INSERT INTO crops VALUES (1, 7, 5, x'ffd8')")
    connection.commit()
    connection.close()
    database = MemoryDatabase(tmp_path)
    (picture,) = MemoryStore(database).pictures(7)
    assert (picture.stamp_ns, picture.score, picture.jpeg) == (5, 0.0, b"\xff\xd8")
    database.close()
