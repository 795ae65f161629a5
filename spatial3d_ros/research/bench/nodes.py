"""Speed and memory of the running nodes, measured from other processes: `spatial3d bench`.

A recorded room is played at camera rate into the node.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spatial3d_ros.bags.reader import find_topics
from spatial3d_ros.demo.node_queries import START_S, node_arguments
from spatial3d_ros.demo.processes import DEMO, NodeGroup, require_ros
from spatial3d_ros.errors import BagError
from spatial3d_ros.research.evaluation.metrics.judging import latency_scores
from spatial3d_ros.research.evaluation.room_queries import draw_questions
from spatial3d_ros.research.rooms.recorded_rooms import (
    RecordedRoom,
    load_recorded_room,
    record_room,
)

SEED = 900_002
RECORDED_HZ, RECORDED_S = 10.0, 10.0
KINDS = ("attribute", "relation", "size", "distance", "none", "relation", "attribute", "relation")
DRAIN_S = 2.5  # the node publishes its counts once a second

Say = Callable[[str], None]


def bench_ingest(
    folder: Path,
    *,
    seconds: float = 60.0,
    rate_hz: float = 30.0,
    model: str = "tiny",
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Play 640x480 colour, depth, calibration and poses; messages received, matched and lost.

    Callback times are measured by the node around each sensor callback.
    """
    run = _Run(folder, rate_hz, model, say)
    result = run.play(seconds, [], 0, "--linger", f"{seconds + DRAIN_S:.1f}")
    sensors = result["diagnostics"]["grounding_node: sensors"]
    topics = find_topics(run.room.bag)
    sent = json.loads((folder / "sent.json").read_text())
    received = {t: int(sensors[f"received.{t}"]) for t in sent}
    images = (topics.rgb, topics.depth)
    return {
        "seconds": seconds,
        "rate_hz": rate_hz,
        "sent": sent,
        "received": received,
        "lost_images": sum(sent[t] - received[t] for t in images),
        "pairs_matched": int(sensors.get("sync.matched", 0)),
        "sync": _group(sensors, "sync."),
        "frames": _group(sensors, "frames."),
        "callback_ms": _durations(sensors["callback"]),
        "memory": result["diagnostics"]["grounding_node: memory"],
        "node_rss_mb": result["rss_mb"],
        "cores": os.cpu_count(),
    }


def bench_query(
    folder: Path,
    *,
    questions: int = 48,
    rate_hz: float = 30.0,
    model: str = "tiny",
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Time from service call to reply on a cached scene, while frames arrive at `rate_hz`, and the
    stages of the last question from the node's diagnostics.
    """
    run = _Run(folder, rate_hz, model, say)
    made = draw_questions(run.room.seen(), SEED, KINDS)
    asked = [{"text": q.text, "kind": q.kind, "via": "service"} for q in made]
    repeat = 1 + -(-questions // len(asked))
    warm_up = 2 * RECORDED_S
    seconds = warm_up + 3.0 * len(asked) * repeat
    result = run.play(seconds, asked, repeat, "--settle", f"{warm_up:.1f}", "--pause", "0.1")
    answers = result["answers"][len(asked) :]  # the first round warms up
    sensors = result["diagnostics"]["grounding_node: sensors"]
    return {
        "questions": len(answers),
        "failed": sum(not a["success"] for a in answers),
        "views": sorted({a["views"] for a in answers}),
        "client": latency_scores(a["latency_ms"] for a in answers),
        "node": latency_scores(a["server_ms"] for a in answers),
        "by_kind": {
            kind: latency_scores(a["latency_ms"] for a in answers if a["kind"] == kind)
            for kind in sorted({a["kind"] for a in answers})
        },
        "last_stages_ms": _group(result["diagnostics"]["grounding_node: questions"], "stages_ms."),
        "rate_hz_meanwhile": _group(sensors, "hz."),
        "callback_ms": _durations(sensors["callback"]),
        "cores": os.cpu_count(),
    }


class _Run:
    """One recorded room, played at camera rate into a node."""

    def __init__(self, folder: Path, rate_hz: float, model: str, say: Say) -> None:
        require_ros()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.model, self.say = folder, model, say
        self.speed = rate_hz / RECORDED_HZ
        self.room = self._load_or_record(folder / f"room_{SEED}.mcap")

    def _load_or_record(self, bag: Path) -> RecordedRoom:
        try:
            return load_recorded_room(bag)
        except BagError:
            self.say("recording a room")
            return record_room(bag, SEED, seconds=RECORDED_S, rate_hz=RECORDED_HZ, overwrite=True)

    def play(
        self, seconds: float, asked: list[dict[str, str]], repeat: int, *client: str
    ) -> dict[str, Any]:
        questions, answers = self.folder / "questions.json", self.folder / "replies.json"
        questions.write_text(json.dumps(asked))
        bag = self.room.bag
        with NodeGroup(self.folder / "logs") as nodes:
            node = nodes.start("grounding_node", *node_arguments(bag, find_topics(bag), self.model))
            self.say(f"playing for {seconds:.0f} s at {self.speed * RECORDED_HZ:.0f} Hz")
            nodes.start(
                "bag_player", str(bag), "--loop", "--wait", str(START_S),
                "--rate", str(self.speed), "--seconds", str(seconds),
                "--summary", str(self.folder / "sent.json"), package=DEMO,
            )  # fmt: skip
            nodes.start(
                "query_client",
                str(questions),
                str(answers),
                "--repeat",
                str(repeat),
                *client,
                package=DEMO,
            )
            nodes.wait("query_client", START_S + 2 * seconds)
            rss = _rss_mb(node.pid)
        return {**json.loads(answers.read_text()), "rss_mb": rss}


def _rss_mb(pid: int) -> dict[str, float]:
    """Resident memory of a process and its peak, in MB (Linux)."""
    status = Path(f"/proc/{pid}/status")
    text = status.read_text() if status.exists() else ""
    found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", text))
    names = {"VmRSS": "now", "VmHWM": "peak"}
    return {names[key]: int(value) / 1024 for key, value in found.items()}


def _group(values: dict[str, str], prefix: str) -> dict[str, float]:
    return {k.removeprefix(prefix): float(v) for k, v in values.items() if k.startswith(prefix)}


def _durations(text: str) -> dict[str, float]:
    numbers = [float(n) for n in re.findall(r"[\d.]+(?= [/m])", text)]
    return dict(zip(("p50", "p99", "max"), numbers, strict=False))
