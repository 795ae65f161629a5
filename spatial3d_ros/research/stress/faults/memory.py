"""Faults of the memory across sessions: killed writers, damaged files, full disks, other clocks."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import time
from pathlib import Path

from spatial3d_ros.memory.database import FILE, MemoryDatabase
from spatial3d_ros.memory.state import ESTABLISHED
from spatial3d_ros.memory.store import MemoryStore
from spatial3d_ros.research.stress.fault import Checks, fault
from spatial3d_ros.research.stress.faults.streams import SHORT_S, frames_continue
from spatial3d_ros.research.stress.system_under_test import (
    FAULTY_NODE,
    NODE,
    START_S,
    SystemUnderTest,
)

REPORT_S = 60.0
UNWRITTEN, IN_USE = "cannot be written", "another process uses this memory"
MIN_STORED = 0.9  # share of the stored objects that must outlive the process
DAMAGED = slice(1 / 3, 1 / 2)  # of the file
HOUR_S = 3600.0


def stored_ids(folder: Path) -> set[int]:
    """Ids of the objects in a memory folder, those of a single look left out."""
    with contextlib.closing(MemoryDatabase(folder, write=False)) as database:
        return {o.id for o in MemoryStore(database).objects() if o.hits >= ESTABLISHED}


def _settled_ids(system: SystemUnderTest) -> set[int]:
    """Ids of the objects that are stored, once there are some and the writer had its second."""
    system.wait_until(lambda: stored_ids(system.setting.memory), REPORT_S, "a stored object")
    return stored_ids(system.setting.memory)


def _restart(system: SystemUnderTest, check: Checks) -> None:
    system.start_node()
    system.wait_for_scene(START_S)
    frames_continue(system, check)


@fault(
    "memory: node killed (-9) while it writes, and restarted",
    "the new node knows the objects that were stored, by their ids",
    setting="memory",
    keeps_objects=False,
    node_down=True,
)
def killed(system: SystemUnderTest, check: Checks) -> None:
    """The writer commits every second, so the process is killed while it has work."""
    before = _settled_ids(system)
    system.kill(FAULTY_NODE)
    _restart(system, check)
    kept = len(before & stored_ids(system.setting.memory)) / len(before)
    check(kept >= MIN_STORED, f"{kept:.0%} of {len(before)} stored objects kept")
    known = int(system.status("memory")["lasting.objects"])
    check(known >= MIN_STORED * len(before), f"the node knows {known} objects")


@fault(
    "memory: disk full",
    "/diagnostics name the folder; frames and answers continue; it is written when there is space",
    setting="memory",
)
def disk_full(system: SystemUnderTest, check: Checks) -> None:
    """Every growing file fails."""
    _settled_ids(system)
    system.faulty_node.call("fill_disk", full=True)
    try:
        reported = lambda: UNWRITTEN in system.status("memory")["message"]  # noqa: E731
        check.within(REPORT_S, reported, "named in /diagnostics")
        frames_continue(system, check)
        check.objects_kept()
    finally:
        system.faulty_node.call("fill_disk", full=False)
    check.within(REPORT_S, lambda: not system.status("memory")["message"], "written again")


@fault(
    "memory: file damaged while the node is down",
    "what can be read is kept, and the damaged file beside it; frames continue",
    setting="memory",
    keeps_objects=False,
    node_down=True,
)
def damaged(system: SystemUnderTest, check: Checks) -> None:
    """A sixth of the file is overwritten by noise. What a young memory holds is in its log alone,
    so that is written to the file before.
    """
    _settled_ids(system)
    system.kill(FAULTY_NODE)
    file = system.setting.memory / FILE
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(file.read_bytes())
    start, end = (round(len(data) * share) for share in (DAMAGED.start, DAMAGED.stop))
    data[start:end] = random.Random(0).randbytes(end - start)
    file.write_bytes(data)
    _restart(system, check)
    aside = list(file.parent.glob(f"{file.stem}.damaged-*"))
    text = (system.logs / f"{FAULTY_NODE}.log").read_text(errors="replace")
    check(bool(aside) and "was damaged" in text, "named in the log, and the file is kept")
    check.within(REPORT_S, lambda: stored_ids(file.parent), "objects stored again")


@fault(
    "memory: a second node on its folder",
    "the second node names the folder and does not start; the first continues",
    setting="memory",
)
def second_node(system: SystemUnderTest, check: Checks) -> None:
    """Another grounding node with the same parameters and another name."""
    process = system.nodes.start(
        NODE, *system.node_arguments(), "-r", "__node:=second", log="second_node"
    )
    try:
        log = system.logs / "second_node.log"
        check.within(START_S, lambda: IN_USE in log.read_text(errors="replace"), "refused")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(REPORT_S)
        del system.nodes.processes["second_node"]
    frames_continue(system, check)
    check.objects_kept()


@fault(
    "memory: clock set back by an hour, and forward again",
    "objects stay and are stored; frames continue",
    setting="memory",
)
def clock_set_back(system: SystemUnderTest, check: Checks) -> None:
    """Stamps of all topics jump."""
    before = _settled_ids(system)
    system.corrupt("shift_stamps", seconds=-HOUR_S)
    frames_continue(system, check, "an hour back: frames continue")
    time.sleep(SHORT_S)
    check.objects_kept(when=" then")
    system.corrupt()
    frames_continue(system, check, "forward: frames continue")
    kept = len(before & stored_ids(system.setting.memory)) / len(before)
    check(kept >= MIN_STORED, f"{kept:.0%} of {len(before)} stored objects kept")
