"""Several simulated robots that ask one loaded network at the same time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.research.language.questions import make_questions
from spatial3d_ros.research.rooms.catalog import catalog_of
from spatial3d_ros.research.rooms.view_store import render_room
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.tasks.shared_network import SharedNetworks

FIRST_ROOM = 850_200
KINDS = ("attribute", "relation", "size")
Robot = tuple[Spatial3D, list[str]]
Answers = list[list[int]]
"""Ids of the best object for each question of each robot; -1 without one."""


def bench_fleet(
    robots: int = 4, questions: int = 25, views: int = 8, model: str = "tiny"
) -> dict[str, Any]:
    """Each robot has a room of its own and asks `questions` questions, one after the other.

    one_by_one: the robots in turn; together: at the same time; with questions a second and seconds
    of processor time. gain: of throughput; cpu_gain: of processor time, which a busy machine does
    not change. network: the same for the network alone, the phrases of all robots in one pass.
    same: share of equal answers.
    """
    networks = SharedNetworks()
    fleet = [_robot(networks, FIRST_ROOM + k, questions, views, model) for k in range(robots)]
    for one in fleet:
        _ask((one[0], one[1][:2]))
    alone, first = _timed(lambda: [_ask(one) for one in fleet])
    together, second = _timed(lambda: _at_once(fleet))
    return {
        "robots": robots, "questions": sum(len(texts) for _, texts in fleet), "views": views,
        "cores": len(os.sched_getaffinity(0)), "threads": torch.get_num_threads(),
        **_gains(alone, together),
        "network": _network(fleet),
        "same": float(np.mean([a == b for x, y in zip(first, second, strict=True)
                               for a, b in zip(x, y, strict=True)])),
    }  # fmt: skip


def _robot(networks: SharedNetworks, seed: int, questions: int, views: int, model: str) -> Robot:
    """An engine on a rendered room with its true boxes, and questions about it."""
    engine = Spatial3D(EngineConfig(model=model, device="cpu"))
    engine.load_network = networks.load
    engine.load()
    catalog = catalog_of(engine.network.config.names.classes)
    room = render_room(seed, views=views, catalog=catalog)
    for k, (rgb, depth, pose) in enumerate(zip(room.rgb, room.depth, room.pose, strict=True)):
        engine.add_frame(Frame((k + 1) * 10**9, rgb, depth, room.camera, pose))
    objects = room.room.objects
    engine.refresh(
        [Proposal(o.box, np.empty((0, 3), np.float32), o.rgb, views, 1.0) for o in objects]
    )
    rng = np.random.default_rng(seed)
    asked = make_questions(objects, rng, questions, split="test", kinds=KINDS)
    return engine, [one.text for one in asked]


def _ask(robot: Robot) -> list[int]:
    engine, texts = robot
    found = []
    for text in texts:
        try:
            objects = engine.ground(text).objects
            found.append(objects[0].object.id if objects else -1)
        except Spatial3DError:
            found.append(-1)
    return found


def _at_once(fleet: Sequence[Robot]) -> Answers:
    with ThreadPoolExecutor(len(fleet)) as pool:
        return list(pool.map(_ask, fleet))


def _timed(work: Callable[[], Answers]) -> tuple[dict[str, float], Answers]:
    wall, cpu = time.perf_counter(), time.process_time()
    answers = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    count = sum(map(len, answers))
    return {"per_s": round(count / wall, 2), "cpu_ms": round(1e3 * cpu / count, 2)}, answers


def _gains(alone: dict[str, float], together: dict[str, float]) -> dict[str, Any]:
    return {
        "one_by_one": alone, "together": together,
        "gain": round(together["per_s"] / alone["per_s"], 2),
        "cpu_gain": round(alone["cpu_ms"] / together["cpu_ms"], 2),
    }  # fmt: skip


def _network(fleet: Sequence[Robot], repeats: int = 20) -> dict[str, Any]:
    """One phrase of each robot: pass by pass, and in one pass."""
    runner = fleet[0][0]._runner
    scenes = [engine.scene().encoded for engine, _ in fleet]
    phrases = [texts[0] for _, texts in fleet]

    def one_by_one() -> Answers:
        for _ in range(repeats):
            for scene, phrase in zip(scenes, phrases, strict=True):
                runner.score_phrases(scene, [phrase])
        return [[0] * repeats for _ in fleet]

    def together() -> Answers:
        for _ in range(repeats):
            runner.score_together(list(zip(scenes, phrases, strict=True)))
        return [[0] * repeats for _ in fleet]

    together()
    return _gains(_timed(one_by_one)[0], _timed(together)[0])
