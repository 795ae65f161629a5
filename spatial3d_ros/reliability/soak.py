"""The soak: nodes, a camera at full rate, a room that changes, a question a second. For how long?

Every minute the recording becomes another: the room or the room tidied up, with stamps of now or
with those of the recording, which go back at every loop.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spatial3d_ros.data.rooms import generate_room
from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.evaluation.asking import ask_about
from spatial3d_ros.evaluation.metrics import latency_scores
from spatial3d_ros.evaluation.processes import require_ros
from spatial3d_ros.reliability.rooms import FILMED_HZ, SEED, filmed, tidied
from spatial3d_ros.reliability.world import VIEWER, Setting, World

RATE_HZ = 30.0
PERIOD_S = 1.0  # between two questions
PHASE_S = 60.0  # between two recordings
WARM_UP = 1 / 6  # of the time, before memory counts
ASKERS = 8  # more questions open than these wait for their turn on our side
KINDS = ("attribute", "relation", "size", "distance", "none")
EDITS = ("move {} 0.5 m towards {}", "remove {}")

Say = Callable[[str], None]


@dataclass
class Sample:
    """The node's memory at a moment: seconds since the start, resident MB, its highest so far."""

    seconds: float
    rss_mb: float
    peak_mb: float


@dataclass
class Tally:
    """What the questions and the process came to."""

    replies: list[dict[str, Any]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)


def run_soak(
    folder: Path, *, minutes: float = 30.0, model: str = "tiny", say: Say = lambda text: None
) -> dict[str, Any]:
    """Run it; the figures as plain data. Raises NotAvailableError where the nodes do not come up.

    A process that dies is written down, and ends the run.
    """
    require_ros()
    room, after = filmed(folder), tidied(generate_room(SEED))
    say(f"the tidied room: moved {', '.join(after.moved)}; gone {', '.join(after.removed)}")
    bags = (room.bag, filmed(folder, after.room, "tidied").bag)
    setting = Setting(room.bag, rate=RATE_HZ / FILMED_HZ, model=model)
    tally = Tally()
    with World(setting, folder / "logs") as world:
        world.nodes.start(VIEWER)
        say(f"playing and asking for {minutes:g} minutes")
        _ask_and_watch(world, _questions(room.seen()), bags, 60.0 * minutes, tally)
        sensors = {} if tally.crashes else world.status("sensors")
        sent = {} if tally.crashes else world.camera.tell("count")
    return _figures(tally, sensors, sent, minutes)


def _questions(objects: Any) -> Iterator[dict[str, str]]:
    """Questions of every kind in turn, for ever."""
    asked: list[dict[str, str]] = [
        {"text": q.text, "kind": q.kind, "via": "action" if k % 3 == 2 else "service"}
        for k, q in enumerate(ask_about(objects, SEED, KINDS * 2))
    ]
    names = [f"the {o.color} {o.category}" for o in objects]
    layout = [{"text": text.format(*names), "kind": "layout", "via": "service"} for text in EDITS]
    return itertools.cycle([*asked, {"text": "", "kind": "scene"}, *layout])


def _ask_and_watch(
    world: World,
    questions: Iterator[dict[str, str]],
    bags: tuple[Path, Path],
    seconds: float,
    tally: Tally,
) -> None:
    """A question each second, whether or not the one before it was answered, until the end."""
    phases = itertools.cycle([(bag, keep) for keep in (False, True) for bag in bags])
    begin = time.monotonic()
    with ThreadPoolExecutor(ASKERS) as pool:
        for k in itertools.count():
            due = k * PERIOD_S
            if due >= seconds:
                return
            time.sleep(max(0.0, begin + due - time.monotonic()))
            try:
                world.nodes.check()
                if due % PHASE_S < PERIOD_S:
                    bag, keep = next(phases)
                    world.camera.tell("play", bag=str(bag), keep_stamps=keep)
            except NotAvailableError as error:
                tally.crashes.append(str(error))
                return
            tally.samples.append(Sample(due, *resident_mb(world.node.pid)))
            pool.submit(lambda q: tally.replies.append(_ask(world, q)), next(questions))


def _ask(world: World, question: dict[str, str]) -> dict[str, Any]:
    if question["kind"] != "scene":
        return world.ask(**question)
    begin = time.monotonic()
    try:
        world.objects()
    except NotAvailableError as error:
        return {**question, "success": False, "message": str(error), "replied": False}
    seconds = time.monotonic() - begin
    return {**question, "success": True, "replied": True, "latency_ms": 1e3 * seconds}


def _figures(
    tally: Tally, sensors: dict[str, str], sent: dict[str, int], minutes: float
) -> dict[str, Any]:
    answered = [r for r in tally.replies if r["success"]]
    refused = [r["message"] for r in tally.replies if r["replied"] and not r["success"]]
    received = {k.removeprefix("received."): int(v) for k, v in sensors.items() if "received." in k}
    return {
        "minutes": minutes,
        "questions": len(tally.replies),
        "answered": len(answered),
        "refused": dict(Counter(_shape(message) for message in refused).most_common()),
        "stuck": sum(not r["replied"] for r in tally.replies),
        "latency": latency_scores(r["latency_ms"] for r in answered),
        "latency_p99_ms": float(np.percentile([r["latency_ms"] for r in answered], 99)),
        "memory": memory_figures(tally.samples, 60.0 * minutes * WARM_UP),
        "messages_sent": sum(sent.values()),
        "messages_received": sum(received.values()),
        "sent": sent,
        "received": received,
        "frames": {k.removeprefix("frames."): int(v) for k, v in sensors.items() if "frames." in k},
        "sync": {k.removeprefix("sync."): int(v) for k, v in sensors.items() if "sync." in k},
        "crashes": tally.crashes,
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
    }


def memory_figures(samples: list[Sample], warm_up_s: float) -> dict[str, float]:
    """Growth in MB a minute after the warm-up (a line through all samples), start, end, peak."""
    warm = [s for s in samples if s.seconds >= warm_up_s]
    minutes, mb = np.array([(s.seconds / 60, s.rss_mb) for s in warm]).T
    return {
        "slope_mb_per_min": float(np.polyfit(minutes, mb, 1)[0]),
        "warm_mb": float(mb[0]),
        "end_mb": float(mb[-1]),
        "peak_mb": samples[-1].peak_mb,
    }


def resident_mb(pid: int) -> tuple[float, float]:
    """Resident memory of a process now and at its highest, MB (Linux); 0 of one that has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        text = ""
    found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", text))
    return int(found.get("VmRSS", 0)) / 1024, int(found.get("VmHWM", 0)) / 1024


def _shape(message: str) -> str:
    """A message without its quoted words and numbers, so that equal ones count together."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|[\d.]+", "*", message)[:120]
