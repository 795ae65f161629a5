"""The soak test: nodes under full camera rate, a changing room, and a question a second.

Every minute another recording plays: the room or the rearranged room, with current stamps or with
the recorded ones, which jump back at every loop.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spatial3d_ros.demo.processes import require_ros
from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.memory.database import MemoryDatabase
from spatial3d_ros.research.evaluation.metrics.judging import latency_scores
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.stress.faults.run import new_folder
from spatial3d_ros.research.stress.question_stream import QuestionStream, questions_about
from spatial3d_ros.research.stress.rooms import RECORDED_HZ, SEED, rearranged_room, recorded_room
from spatial3d_ros.research.stress.system_under_test import VIEWER, Setting, SystemUnderTest

RATE_HZ = 30.0
PHASE_S = 60  # seconds between two recordings
WARM_UP = 1 / 6  # share of the time before memory growth is measured
MAX_SLOPE = 1.0  # MB a minute
SETTLE_S = 3.0  # after the last message; diagnostics come once a second

Say = Callable[[str], None]


@dataclass
class Sample:
    """The node's memory at a moment: seconds since the start, resident MB, its highest so far."""

    seconds: float
    rss_mb: float
    peak_mb: float


@dataclass
class SoakRecord:
    """Memory samples of the node, and the processes that died."""

    samples: list[Sample] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)


def run_soak(
    folder: Path,
    *,
    minutes: float = 30.0,
    model: str = "tiny",
    remember: bool = False,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Run the soak test; its results for JSON. A process that dies ends the run.

    With `remember` the node stores objects in an empty memory folder.

    Raises NotAvailableError if the nodes do not start.
    """
    require_ros()
    room, after = recorded_room(folder), rearranged_room(generate_room(SEED))
    say(f"the rearranged room: moved {', '.join(after.moved)}; removed {', '.join(after.removed)}")
    bags = (room.bag, recorded_room(folder, after.room, "rearranged").bag)
    memory = new_folder(folder / "memory") if remember else None
    setting = Setting(room.bag, rate=RATE_HZ / RECORDED_HZ, model=model, memory=memory)
    record = SoakRecord()
    with SystemUnderTest(setting, folder / "logs") as system:
        system.nodes.start(VIEWER)
        say(f"playing and asking for {minutes:g} minutes")
        with QuestionStream(system, questions_about(room.seen(), SEED)) as asked:
            _monitor(system, bags, 60.0 * minutes, record)
        sent, sensors = ({}, {}) if record.crashes else _final_counts(system)
        written = written_bytes(system.node.pid)
    stored = {} if memory is None else stored_figures(memory, written, minutes)
    return _results(asked, record, sensors, sent, minutes) | stored


def _monitor(
    system: SystemUnderTest, bags: tuple[Path, Path], seconds: float, record: SoakRecord
) -> None:
    """Change the recording every PHASE_S and sample the node's memory every second."""
    phases = itertools.cycle([(bag, keep) for keep in (False, True) for bag in bags])
    start = time.monotonic()
    for second in range(int(seconds)):
        time.sleep(max(0.0, start + second - time.monotonic()))
        try:
            system.nodes.check()
            if second % PHASE_S == 0:
                bag, keep = next(phases)
                system.camera.call("play", bag=str(bag), keep_stamps=keep)
        except NotAvailableError as error:
            record.crashes.append(str(error))
            return
        record.samples.append(Sample(second, *resident_mb(system.node.pid)))


def _final_counts(system: SystemUnderTest) -> tuple[dict[str, int], dict[str, str]]:
    """Messages sent by topic, and the node's counts after the last of them had time to arrive."""
    system.corrupt("drop")
    time.sleep(SETTLE_S)
    return system.camera.call("count"), system.status("sensors")


def _results(
    asked: QuestionStream,
    record: SoakRecord,
    sensors: dict[str, str],
    sent: dict[str, int],
    minutes: float,
) -> dict[str, Any]:
    latency = [reply["latency_ms"] for reply in asked.answered]
    received = counts_of(sensors, "received")
    memory = memory_figures(record.samples, 60.0 * minutes * WARM_UP)
    no_failure = not (record.crashes or asked.without_reply)
    return {
        "ok": no_failure and memory["slope_mb_per_min"] < MAX_SLOPE,
        "minutes": minutes,
        "questions": len(asked.replies),
        "answered": len(asked.answered),
        "refused": dict(Counter(_pattern(message) for message in asked.refused).most_common()),
        "stuck": asked.without_reply,
        "latency": {**latency_scores(latency), "p99_ms": float(np.percentile(latency, 99))},
        "memory": memory,
        "sent": sent,
        "received": received,
        "lost": {topic: count - received.get(topic, 0) for topic, count in sent.items()},
        "frames": counts_of(sensors, "frames"),
        "sync": counts_of(sensors, "sync"),
        "crashes": record.crashes,
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
    }


def table_of(result: dict[str, Any]) -> dict[str, str]:
    """Rows of the table of a result of `run_soak`."""
    latency, memory, frames = result["latency"], result["memory"], result["frames"]
    sent, lost = sum(result["sent"].values()), sum(result["lost"].values())
    lost_of = "".join(f"; {n} of {topic}" for topic, n in result["lost"].items() if n)
    refused = "".join(f"; {n} x {reason}" for reason, n in result["refused"].items())
    return {
        "questions": f"{result['questions']}, {result['answered']} answered{refused}",
        "without reply": str(result["stuck"]),
        "latency": f"p50 {latency['median_ms']:.0f} ms, p99 {latency['p99_ms']:.0f} ms, "
        f"longest {latency['max_ms']:.0f} ms",
        "memory of the node": f"{memory['slope_mb_per_min']:+.2f} MB/min after warm-up, "
        f"{memory['warm_mb']:.0f} MB then, {memory['end_mb']:.0f} MB at the end, "
        f"peak {memory['peak_mb']:.0f} MB",
        "messages": f"{sent} sent, {lost} lost{lost_of}",
        "pairs": f"{result['sync'].get('matched', 0)} matched, {frames.get('decoded', 0)} decoded, "
        f"{frames.get('keyframes', 0)} kept as views, {frames.get('refused', 0)} refused",
        **({"stored objects": _stored_text(result["stored"])} if "stored" in result else {}),
        "crashes": "; ".join(result["crashes"]) or "0",
        "load": f"{result['load'][0]:.1f} on {result['cores']} cores at the end",
    }


def stored_figures(folder: Path, written: int, minutes: float) -> dict[str, Any]:
    """What the memory across sessions holds after a run, and how much the node wrote."""
    with contextlib.closing(MemoryDatabase(folder, write=False)) as database:
        tables = ("objects", "observations", "events")
        rows = {name: database.query(f"SELECT count(*) FROM {name}")[0][0] for name in tables}
        return {"stored": rows | {"bytes": database.nbytes, "written_per_min": written / minutes}}


def _stored_text(stored: dict[str, Any]) -> str:
    return (
        f"{stored['objects']}, {stored['observations']} looks, {stored['events']} events; "
        f"file {stored['bytes'] / 1e6:.2f} MB, {stored['written_per_min'] / 1e6:.2f} MB/min written"
    )


def counts_of(status: Mapping[str, str], group: str) -> dict[str, int]:
    """The counts of one group of a diagnostics status, "received./rgb/image" under "/rgb/image"."""
    start = f"{group}."
    return {k.removeprefix(start): int(v) for k, v in status.items() if k.startswith(start)}


def memory_figures(samples: list[Sample], warm_up_s: float) -> dict[str, Any]:
    """Memory of the node, sampled once a second: growth in MB a minute after the warm-up, start,
    end and peak, and the least of each minute.

    Growth is fitted (least squares) to the least of each minute, what the node keeps: a refresh
    takes and gives back 150 MB, and a fit to all samples follows the refreshes at its ends.
    """
    warm = [s for s in samples if s.seconds >= warm_up_s]
    least = _least_of_each_minute(warm)
    minutes = np.arange(len(least)) * PHASE_S / 60
    return {
        "slope_mb_per_min": float(np.polyfit(minutes, least, 1)[0]) if len(least) > 1 else 0.0,
        "warm_mb": warm[0].rss_mb,
        "end_mb": warm[-1].rss_mb,
        "peak_mb": samples[-1].peak_mb,
        "least_mb": [round(mb) for mb in _least_of_each_minute(samples)],
    }


def _least_of_each_minute(samples: list[Sample]) -> list[float]:
    starts = range(0, len(samples), PHASE_S)
    return [min(sample.rss_mb for sample in samples[k : k + PHASE_S]) for k in starts]


def resident_mb(pid: int) -> tuple[float, float]:
    """Resident memory of a process and its peak, MB (Linux); 0 for one that has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        text = ""
    found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", text))
    return int(found.get("VmRSS", 0)) / 1024, int(found.get("VmHWM", 0)) / 1024


def written_bytes(pid: int) -> int:
    """Bytes that a process has had written to disks (Linux); 0 for one that has ended."""
    try:
        text = Path(f"/proc/{pid}/io").read_text()
    except OSError:
        return 0
    return int(re.findall(r"^write_bytes: (\d+)$", text, re.MULTILINE)[0])


def _pattern(message: str) -> str:
    """The first clause of a message without quoted words and numbers, to count equal ones."""
    return re.sub(r"'[^']*'|[\d.]*\d", "*", re.split("[:;] ", message)[0])
