"""Faults of the machine: killed processes, exhausted memory, full disks."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

from spatial3d_ros.research.stress.fault import MIN_KEPT, QUESTION, Checks, fault
from spatial3d_ros.research.stress.faults.streams import LONG_S, frames_continue
from spatial3d_ros.research.stress.system_under_test import FAULTY_NODE, SystemUnderTest

START_S = 180.0
QUERIES = "frame_id: map\nqueries: [{id: q1, kind: ground, at: 1.0, text: where is the table}]\n"
MAX_FILE_BYTES = 64  # the test for a writable temporary folder needs four
NO_MEMORY = "out of memory"


@fault(
    "node killed (-9) and restarted",
    "questions end by the client's limit; the new node finds the same objects again",
    keeps_objects=False,
    node_down=True,
)
def node_killed(system: SystemUnderTest, check: Checks) -> None:
    """The map is in memory only, so the new node builds it from new frames."""
    system.kill(FAULTY_NODE)
    try:
        system.ask(QUESTION)
    finally:
        start = time.monotonic()
        system.start_node()
    system.wait_for_scene(START_S)
    check(True, f"scene again {time.monotonic() - start:.0f} s after the restart")
    check.within(START_S, lambda: system.kept_share() >= MIN_KEPT, "the same objects")


@fault("out of memory in a question", "it fails with a message that names a remedy; the map stays")
def memory_for_question(system: SystemUnderTest, check: Checks) -> None:
    """An allocation fails as in torch or the operating system."""
    system.set_faults(out_of_memory_in=["question"])
    reply = system.wait_until(lambda: _not_busy(system.ask(QUESTION)), START_S)
    check(NO_MEMORY in reply["message"], f"message: {reply['message'][:70]}...")
    check.objects_kept()
    system.set_faults(out_of_memory_in=[])
    check.within(START_S, lambda: system.ask(QUESTION)["success"], "then answered")


def _not_busy(reply: dict[str, Any]) -> dict[str, Any]:
    return {} if "busy" in reply["message"] else reply


@fault(
    "out of memory in an update",
    "the map stays unchanged, diagnostics report it; later updates succeed",
)
def memory_for_update(system: SystemUnderTest, check: Checks) -> None:
    """Views are added, but the object map cannot be updated."""
    system.set_faults(out_of_memory_in=["update"])
    check.within(
        START_S, lambda: NO_MEMORY in system.status("memory")["message"], "reported in /diagnostics"
    )
    check.objects_kept()
    system.set_faults(out_of_memory_in=[])
    check.within(START_S, lambda: not system.status("memory")["message"], "updated again")


@fault("disk full under the log", "the node continues without its log")
def disk_full_log(system: SystemUnderTest, check: Checks) -> None:
    """Every line of the log and every growing file fails."""
    system.faulty_node.call("fill_disk", full=True)
    system.corrupt("cover_lens")  # causes log lines
    time.sleep(LONG_S)
    system.corrupt()
    frames_continue(system, check)
    check.objects_kept()
    system.faulty_node.call("fill_disk", full=False)


@fault("disk full while reporting", "one message names the file; the earlier report stays complete")
def disk_full_report(system: SystemUnderTest, check: Checks) -> None:
    """`spatial3d evaluate` runs twice, the second time without space for a file."""
    folder = system.logs.parent / "report"
    queries = folder.with_name("queries.yaml")
    queries.write_text(QUERIES)
    command = (
        sys.executable, "-m", "spatial3d_ros", "evaluate", str(system.setting.bag),
        "--queries", str(queries), "--out", str(folder), "--no-pictures",
    )  # fmt: skip
    before = subprocess.run(command, capture_output=True, text=True)
    check(before.returncode == 0, "a report is written" if not before.returncode else before.stderr)
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=_fill_disk)
    words = " ".join(done.stderr.split())
    reported = done.returncode == 1 and "report.json" in words and "Traceback" not in words
    check(reported, f"message: {words[-120:]}")
    report = json.loads((folder / "report.json").read_text())
    check(bool(report), "the earlier report is complete")


def _fill_disk() -> None:
    """Writes of this process beyond MAX_FILE_BYTES fail as on a full disk."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, hard))
