"""Which space was seen empty: kept across sessions, bounded, and what it says of things."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from helpers.box_world import SECOND, THINGS, render
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory import observed_space
from spatial3d_ros.memory.database import FILE, MemoryDatabase
from spatial3d_ros.memory.observed_space import ObservedSpace
from spatial3d_ros.memory.schema import MIGRATIONS

BOX = Box3D((1.5, 1.5, 0.25), (0.4, 0.4, 0.5))
MUG = Box3D((-2.5, 0.6, 0.78), (0.15, 0.15, 0.16))  # on the table
ROOM = [box for _, box in THINGS.values()]
PLACES = {"box": (1.5, 1.5, 0.5), "mug": (-2.5, 0.5, 0.8)}


def look(space, boxes, number):
    """Views of both places; the points (n, 3) that they show of each of the boxes."""
    shown = [[] for _ in boxes]
    for turn, target in enumerate(PLACES.values()):
        for step in range(2):
            eye = (0.2 * step, 0.1, 1.4)
            frame, owner = render(boxes, eye, target, (10 * number + 2 * turn + step + 1) * SECOND)
            space.look(frame)
            for index, points in enumerate(shown):
                points.append(frame.points_world()[owner == index])
    return [np.concatenate(points) for points in shown]


@pytest.fixture
def opened(tmp_path):
    """Opens the memory in a folder anew."""
    databases = []

    def reopen(keep=True):
        while databases:
            databases.pop().close()
        databases.append(MemoryDatabase(tmp_path))
        return ObservedSpace(databases[-1], keep)

    yield reopen
    databases.pop().close()


@pytest.mark.parametrize("session", ["the same", "the next"])
def test_what_comes_to_empty_space_has_arrived_until_the_session_ends(opened, session):
    space = opened()
    points = look(space, ROOM, 0)
    assert not any(space.arrived(part) or space.empty(part) for part in points)
    if session == "the next":
        space.save()
        space = opened()
    *before, box, mug = look(space, [*ROOM, BOX, MUG], 1)
    assert space.arrived(box) and space.arrived(mug)
    assert not any(space.arrived(part) for part in before)
    space.save()
    space = opened()
    *_, box, mug = look(space, [*ROOM, BOX, MUG], 2)
    assert not space.arrived(box) and not space.arrived(mug)
    look(space, ROOM, 3)
    assert space.empty(box) and not space.arrived(box)


def test_what_was_never_looked_at_says_nothing(opened):
    space = opened()
    points = BOX.corners()
    assert not space.arrived(points) and not space.empty(points)
    frame, _ = render(ROOM, (0, 0, 1.4), (1, 0, 1), SECOND)
    space.look(type(frame)(1, frame.rgb, np.zeros_like(frame.depth), frame.camera, np.eye(4)))
    space.save()
    assert not opened()._blocks


def test_space_of_a_frame_that_has_moved_is_forgotten(opened):
    space = opened()
    look(space, ROOM, 0)
    space.save()
    assert opened()._blocks
    assert not opened(keep=False)._blocks
    assert not opened()._blocks


def test_the_longest_unseen_blocks_are_dropped(opened, monkeypatch):
    monkeypatch.setattr(observed_space, "MAX_BLOCKS", 50)
    space = opened()
    look(space, ROOM, 0)
    space.save()
    newest = set(space._blocks)
    assert len(newest) == 50
    assert set(opened()._blocks) == newest


def test_a_memory_of_an_earlier_release_gets_the_table_and_a_damaged_block_is_left_out(tmp_path):
    connection = sqlite3.connect(tmp_path / FILE)
    for number, script in enumerate(MIGRATIONS[:2], start=1):
        connection.executescript(f"{script} PRAGMA user_version = {number};")
    connection.execute("INSERT INTO labels VALUES (1, 'mug', 0.0, 'network')")
    connection.commit()
    connection.close()
    database = MemoryDatabase(tmp_path)
    assert not database.problem and database.query("SELECT * FROM labels") == []
    database.write("INSERT INTO space VALUES (0, 0, 0, ?)", [(b"no cells",)])
    assert database.flush() and not ObservedSpace(database)._blocks
    database.close()
