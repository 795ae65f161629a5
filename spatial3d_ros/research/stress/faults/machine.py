"""Faults of the machine: a process killed, memory that runs out, a disk that is full."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

from spatial3d_ros.research.stress.fault import TABLE, Findings, fault
from spatial3d_ros.research.stress.faults.streams import LONG_S, frames_go_on
from spatial3d_ros.research.stress.system_under_test import FAULTY_NODE, SystemUnderTest

HALF = 0.5  # of what was seen in minutes, seen again in seconds
START_S = 180.0
QUERIES = "frame_id: map\nqueries: [{id: q1, kind: ground, at: 1.0, text: where is the table}]\n"
SCRAP_BYTES = 64  # Python's own tries at a temporary file need four
NO_MEMORY = "out of memory"


@fault(
    "node killed (-9) and restarted",
    "questions end by the client's limit; the new node finds the same objects by itself",
    deaf=True,
)
def node_killed(world: SystemUnderTest, see: Findings) -> None:
    """What it knew is gone with it: it lives in memory, and the camera shows it again."""
    world.kill(FAULTY_NODE)
    try:
        world.ask(TABLE)
    finally:
        begin = time.monotonic()
        world.start_node()
    world.await_scene(START_S)
    see(True, f"sees again {time.monotonic() - begin:.0f} s after the restart")
    see.soon(lambda: world.still_known() >= HALF, START_S, "the same objects")


@fault("out of memory in a question", "it hears so, with the way out; what is known stays")
def memory_for_question(world: SystemUnderTest, see: Findings) -> None:
    """The allocator refuses, as torch and the system do."""
    world.stumble(short_of_memory=["question"])
    reply = world.until(lambda: _not_busy(world.ask(TABLE)), START_S)
    see(NO_MEMORY in reply["message"], f"told: {reply['message'][:70]}...")
    see.kept()
    world.stumble(short_of_memory=[])
    see.soon(lambda: world.ask(TABLE)["success"], START_S, "then answered")


def _not_busy(reply: dict[str, Any]) -> dict[str, Any]:
    return {} if "busy" in reply["message"] else reply


@fault("out of memory in an update", "the map stays as it was and says so; later updates go on")
def memory_for_update(world: SystemUnderTest, see: Findings) -> None:
    """While the memory of views grows, the map cannot be brought up to it."""
    world.stumble(short_of_memory=["update"])
    see.soon(
        lambda: NO_MEMORY in world.status("memory")["message"], START_S, "told in /diagnostics"
    )
    see.kept()
    world.stumble(short_of_memory=[])
    see.soon(lambda: not world.status("memory")["message"], START_S, "updated again")


@fault("disk full under the log", "the node goes on without its log")
def disk_full_log(world: SystemUnderTest, see: Findings) -> None:
    """Every line of the log, and every file that would grow, meets a full disk."""
    world.stumbler.tell("fill_disk", full=True)
    world.spoil("cover")  # something to complain of
    time.sleep(LONG_S)
    world.spoil()
    frames_go_on(world, see)
    see.kept()
    world.stumbler.tell("fill_disk", full=False)


@fault("disk full while reporting", "one sentence names the file; the report of before is whole")
def disk_full_report(world: SystemUnderTest, see: Findings) -> None:
    """`spatial3d evaluate` twice, the second time with no room for a file; the nodes live on."""
    folder = world.logs.parent / "report"
    queries = folder.with_name("queries.yaml")
    queries.write_text(QUERIES)
    command = (
        sys.executable, "-m", "spatial3d_ros", "evaluate", str(world.setting.bag),
        "--queries", str(queries), "--out", str(folder), "--no-pictures",
    )  # fmt: skip
    before = subprocess.run(command, capture_output=True, text=True)
    see(before.returncode == 0, "a report is written" if not before.returncode else before.stderr)
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=_fill_disk)
    words = " ".join(done.stderr.split())
    told = done.returncode == 1 and "report.json" in words and "Traceback" not in words
    see(told, f"told: {words[-120:]}")
    report = json.loads((folder / "report.json").read_text())
    see(bool(report), "the report of before is whole")


def _fill_disk() -> None:
    """No file of this process may grow large: the system refuses it as on a full disk."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (SCRAP_BYTES, hard))
