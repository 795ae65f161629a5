"""The memory database: what survives a kill, a full disk, damage, and a second process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from helpers.box_world import SECOND
from spatial3d_ros.errors import MemoryFileError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.database import FILE, MemoryDatabase
from spatial3d_ros.memory.records import Event, Observation
from spatial3d_ros.memory.regions import Region
from spatial3d_ros.memory.store import MemoryStore

BOX = Box3D((1.0, 2.0, 0.5), (0.5, 0.5, 1.0), 0.3)

WRITER = """
import sys, time
from pathlib import Path
from spatial3d_ros.memory.database import MemoryDatabase
database = MemoryDatabase(Path(sys.argv[1]))
number = 0
while True:
    database.write("INSERT INTO sessions VALUES (?, ?, 0, 0)", [(number, time.time_ns())])
    number += 1
    print(number, flush=True)
    time.sleep(0.02)
"""


def fill(folder, count=2000):
    database = MemoryDatabase(folder)
    store = MemoryStore(database)
    store.add_observations(
        Observation(n % 50, n * SECOND, 1, BOX, "chair", 0.9, n) for n in range(count)
    )
    store.add_events([Event("moved", 5, 3, "mug", 0.9, BOX, BOX, 1, {"why": "test"})])
    store.set_regions([Region("Kitchen", ((0, 0), (1, 0), (1, 1)))])
    database.set_meta("frame_id", "map")
    assert database.flush()
    return database


def test_what_is_written_is_read_again(tmp_path):
    database = fill(tmp_path)
    database.close()
    database.close()
    database = MemoryDatabase(tmp_path)
    store = MemoryStore(database)
    assert len(store.observations(7)) == 40
    assert store.observations(7)[-1].box == BOX
    (event,) = store.events()
    assert (event.kind, event.before, event.detail) == ("moved", BOX, {"why": "test"})
    assert store.events(object_id=4) == [] and store.events(start_ns=6) == []
    assert store.regions()[0].name == "kitchen" and database.meta("frame_id") == "map"
    store.prune(1000 * SECOND)
    database.flush()
    assert database.query("SELECT count(*) FROM observations") == [(1000,)]
    store.prune(0, max_bytes=1)
    database.flush()
    assert database.query("SELECT count(*) FROM observations") == [(500,)]
    database.close()


def test_kill_loses_at_most_two_seconds_and_never_the_file(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    begin = time.monotonic()
    while time.monotonic() - begin < 3.0:
        process.stdout.readline()
    killed = time.time_ns()
    process.send_signal(signal.SIGKILL)
    process.wait()
    database = MemoryDatabase(tmp_path)
    assert database.notes == []
    newest = database.query("SELECT max(started_ns) FROM sessions")[0][0]
    assert killed - newest < 2 * SECOND
    database.close()


def test_a_second_process_is_refused_and_a_reader_is_not(tmp_path):
    database = fill(tmp_path)
    with pytest.raises(MemoryFileError, match="another process uses"):
        MemoryDatabase(tmp_path)
    reader = MemoryDatabase(tmp_path, write=False)
    assert reader.query("SELECT count(*) FROM observations") == [(2000,)]
    reader.close()
    database.close()
    with pytest.raises(MemoryFileError, match="no such memory"):
        MemoryDatabase(tmp_path / "nowhere", write=False)


def test_a_newer_schema_is_refused_untouched(tmp_path):
    fill(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for write in (True, False):
        with pytest.raises(MemoryFileError, match="schema version 99"):
            MemoryDatabase(tmp_path, write=write)
    assert [p.name for p in tmp_path.glob("*.damaged*")] == []


@pytest.mark.parametrize("start, length", [(0, 200), (8192, 20_000), (60_000, 4096)])
def test_of_a_damaged_file_the_good_part_is_saved_and_told(tmp_path, start, length):
    fill(tmp_path).close()
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    data[start : start + length] = os.urandom(length)
    path.write_bytes(bytes(data))
    database = MemoryDatabase(tmp_path)
    (note,) = database.notes
    assert "damaged" in note and len(list(tmp_path.glob("*.damaged-*"))) == 1
    rows = database.query("SELECT count(*) FROM observations")[0][0]
    if start == 0:
        assert rows == 0 and "nothing" in note
    elif start == 60_000:
        assert 1000 < rows <= 2000 and f"{rows} observations" in note
    database.set_meta("frame_id", "map")  # it works again
    assert database.flush()
    database.close()


def test_a_file_that_is_no_database_is_kept_aside(tmp_path):
    (tmp_path / FILE).write_text("this is not SQLite\n" * 100)
    database = MemoryDatabase(tmp_path)
    assert "nothing" in database.notes[0]
    database.close()


def test_a_folder_that_cannot_be_written_is_told_and_read(tmp_path):
    fill(tmp_path).close()
    (tmp_path / FILE).chmod(0o444)
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").mkdir()  # as a read-only folder does: no lock can be made, even for root
    database = MemoryDatabase(tmp_path)
    assert "cannot be written" in database.problem and not database.writable
    assert database.query("SELECT count(*) FROM observations") == [(2000,)]
    database.write("DELETE FROM observations")
    assert database.query("SELECT count(*) FROM observations") == [(2000,)]
    database.close()
    (tmp_path / "file").write_text("")
    database = MemoryDatabase(tmp_path / "file" / "memory")
    assert "cannot be written" in database.problem and MemoryStore(database).objects() == []
    database.close()


def test_a_full_disk_is_told_and_written_later(tmp_path):
    database = fill(tmp_path, 10)
    blocker = sqlite3.connect(tmp_path / FILE, timeout=0.1, isolation_level=None)
    database.write("CREATE TEMP TABLE IF NOT EXISTS probe (x)")
    database.flush()
    blocker.execute("PRAGMA busy_timeout = 100")
    blocker.execute("BEGIN IMMEDIATE")  # like a full disk, it makes every commit fail
    database.write("DELETE FROM observations")
    deadline = time.monotonic() + 12
    while not database.problem and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "cannot be written" in database.problem
    blocker.execute("ROLLBACK")
    assert database.flush() or database.flush(5.0)
    assert database.problem == ""
    assert database.query("SELECT count(*) FROM observations") == [(0,)]
    blocker.close()
    database.close()


def test_bad_statements_do_not_stop_the_writer(tmp_path):
    database = MemoryDatabase(tmp_path)
    database.write("INSERT INTO sessions VALUES (?, ?, ?, ?)", [(1, 0, 0, 0), (1, 0, 0, 0)])
    database.flush()
    assert "UNIQUE" in database.problem
    database.set_meta("frame_id", "odom")
    assert database.flush() and database.meta("frame_id") == "odom"
    database.close()
