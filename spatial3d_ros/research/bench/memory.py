"""A large memory: start, retrieval, answers, size, and the load of writing."""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from spatial3d_ros.categories import CATEGORIES, COLORS
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.memory.database import MemoryDatabase
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.opening import open_memory
from spatial3d_ros.memory.presence import box_points
from spatial3d_ros.memory.records import MemoryObject, Session
from spatial3d_ros.memory.store import MemoryStore
from spatial3d_ros.research.bench.timing import single_thread
from spatial3d_ros.research.evaluation.box_views import view_of_boxes
from spatial3d_ros.scene.buffer import View
from spatial3d_ros.scene.objects import NO_ID
from spatial3d_ros.tasks.query_network import load_reader
from spatial3d_ros.tasks.reading import read_question
from spatial3d_ros.tasks.retrieval import wanted_of
from spatial3d_ros.tasks.vocabulary import Vocabulary

ROOM_M, PER_ROOM = 5.0, 25
TARGETS = 25  # objects with a label and a colour that no other object has together
NEAR_M = 2.0
WEEK_NS = 7 * 86_400 * 10**9
NOW_NS = 10**18
RATE_HZ, WRITE_S, SEEN = 30.0, 10.0, 20

_FILL = """
WITH RECURSIVE look(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM look WHERE n + 1 < ?)
INSERT INTO observations
    (object, stamp_ns, session, x, y, z, sx, sy, sz, yaw, label, score, view)
SELECT o.id, ? - n * 300000000, 1, o.x, o.y, o.z, o.sx, o.sy, o.sz, o.yaw, o.label, 0.9, n
FROM look JOIN objects o ON o.id = n % ?
"""


def bench_memory(
    objects: int = 10_000, observations: int = 1_000_000, model: str = "tiny"
) -> dict[str, object]:
    """Figures of a map of `objects` in rooms of 25, last seen a week ago.

    recall_at_100: share [%] of questions whose object is among the hundred that the network reads.
    found, found_of_50: share [%] of questions that are answered with it, in this map and in one of
    50 objects. answer_ms: median, and answer_cpu_ms its processor time. start_s: opening, processor
    time. write_load: share [%] of a core while 20 objects are seen at 30 Hz. process_mib: growth of
    the process by the map.
    """
    things, texts = large_map(objects)
    with tempfile.TemporaryDirectory() as name, single_thread():
        folder = Path(name)
        _fill(folder / "large", things, observations)
        asked = {number for _, number in texts} | set(range(TARGETS))
        _fill(folder / "small", [thing for thing in things if thing.id in asked], 0)
        result = _opened(folder / "large") | {
            "recall_at_100": _recall(folder / "large", texts),
            **_answers(folder / "large", texts, model),
        }
        small = _answers(folder / "small", texts, model)
        load = _write_load(folder / "load", things)
        return {
            "objects": objects, "observations": observations, "questions": len(texts), **result,
            "found_of_50": small["found"], "answer_cpu_of_50_ms": small["answer_cpu_ms"],
            "write_load": load,
        }  # fmt: skip


def large_map(objects: int) -> tuple[list[MemoryObject], list[tuple[str, int]]]:
    """Objects in rooms along a building, the first `TARGETS` with a look of their own; and
    questions with the id of the object that each is about: by its look, or by what it stands at.
    """
    rng = np.random.default_rng(800_200)
    pairs = [(color, label) for color in COLORS for label in CATEGORIES]
    order = rng.permutation(len(pairs)).tolist()
    own = [pairs[k] for k in order[:TARGETS]]
    common = [pairs[k] for k in order[TARGETS:]]
    rooms = max(1, objects // PER_ROOM)
    places = [(room, cell) for cell in range(PER_ROOM) for room in rng.permutation(rooms).tolist()]
    things = []
    for number in range(objects):
        room, cell = places[number % len(places)]
        corner = np.array([room % 20, room // 20]) * ROOM_M
        x, y = corner + 0.5 + np.array([cell % 5, cell // 5]) + rng.uniform(-0.2, 0.2, 2)
        color, label = own[number] if number < TARGETS else common[rng.integers(len(common))]
        box = Box3D((float(x), float(y), 0.25), (0.4, 0.4, 0.5))
        stamp = NOW_NS - WEEK_NS
        things.append(
            MemoryObject(
                number, box, label, box_points(box), box.center, stamp, stamp, 1,
                state="remembered", color=color, rgb=vector(COLORS[color]), hits=20,
                label_score=0.9,
            )
        )  # fmt: skip
    texts = []
    for anchor in things[:TARGETS]:
        name = f"{anchor.color} {anchor.label}"
        texts.append((f"where is the {name}?", anchor.id))
        near = _neighbour(anchor, things)
        if near is not None:
            texts.append((f"where is the {near.label} next to the {name}?", near.id))
    return things, texts


def _neighbour(anchor: MemoryObject, things: list[MemoryObject]) -> MemoryObject | None:
    """The nearest object whose label nothing else has that stands near."""
    offset = np.array([thing.box.center for thing in things]) - anchor.box.center
    metres = np.linalg.norm(offset, axis=1)
    near = [things[k] for k in metres.argsort()[1:] if metres[k] < NEAR_M]
    labels = [anchor.label, *(thing.label for thing in near)]
    return next((thing for thing in near if labels.count(thing.label) == 1), None)


def _fill(folder: Path, things: list[MemoryObject], observations: int) -> None:
    database = MemoryDatabase(folder)
    store = MemoryStore(database)
    store.save(things)
    store.save_session(Session(1, NOW_NS - WEEK_NS, 1, NOW_NS - WEEK_NS))
    database.set_meta("frame_id", "map")
    if observations:
        database.write(_FILL, [(observations, NOW_NS - WEEK_NS, len(things))])
    database.flush(600.0)
    database.close()


def _opened(folder: Path) -> dict[str, object]:
    before, wall, cpu = _process_mib(), time.perf_counter(), time.process_time()
    memory = open_memory(folder, EngineConfig())
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    result: dict[str, object] = {
        "start_s": round(cpu, 2), "start_wall_s": round(wall, 2),
        "database_mib": round(memory.store.database.nbytes / 2**20, 1),
        "process_mib": round(_process_mib() - before, 1),
        "update_cpu_ms": _update_ms(memory),
    }  # fmt: skip
    memory.close()
    return result


def _update_ms(memory: ObjectMemory) -> float:
    """Least processor time of one update of the memory with a view of a room."""
    known = [o for o in memory.objects() if o.box.center[0] < ROOM_M and o.box.center[1] < ROOM_M]
    seen = [o.as_scene_object(NOW_NS) for o in known]
    room = Box3D((ROOM_M / 2, ROOM_M / 2, 1.3), (ROOM_M, ROOM_M, 2.6))
    times = []
    for k in range(5):
        stamp = NOW_NS + k * 10**9
        frame, _ = view_of_boxes(
            [o.box for o in known], room, (2.5, 2.5, 1.3), (4.0, 3.0, 0.5), stamp
        )
        cpu = time.process_time()
        shown = [replace(o, id=10**6 + i, stamp_ns=stamp) for i, o in enumerate(seen)]
        memory.record(memory.update(shown, [View(k, frame)], "map"))
        times.append(1e3 * (time.process_time() - cpu))
    return round(min(times[1:]), 1)


def _recall(folder: Path, texts: list[tuple[str, int]]) -> float:
    memory = open_memory(folder, EngineConfig())
    reader, vocabulary = load_reader(), Vocabulary(memory.index.labels)
    hits = 0
    for text, number in texts:
        query = read_question(text, reader, vocabulary).query
        wanted = list(wanted_of(query, vocabulary))
        hits += number in memory.index.retrieve(wanted, np.zeros(3), memory.settings.max_objects)
    memory.close()
    return 100.0 * hits / len(texts)


def _answers(folder: Path, texts: list[tuple[str, int]], model: str) -> dict[str, float]:
    """Shares of questions that the engine answers with the object, and their times."""
    engine = Spatial3D(EngineConfig(model=model, device="cpu", memory_folder=str(folder)))
    engine.load()
    room = Box3D((-5.0, -5.0, 1.3), (ROOM_M, ROOM_M, 2.6))
    eye = (-5.0, -5.0, 1.3)
    frame, _ = view_of_boxes([], room, eye, (-4.0, -5.0, 1.0), NOW_NS)
    engine.add_frame(frame)
    engine.refresh([])
    wall, cpu, hits = [], [], 0
    for text, number in texts:
        begin, used = time.perf_counter(), time.process_time()
        try:
            reply = engine.ground(text)
            best = reply.objects[0].object.id if not reply.no_target else NO_ID
        except Spatial3DError:
            best = NO_ID
        wall.append(1e3 * (time.perf_counter() - begin))
        cpu.append(1e3 * (time.process_time() - used))
        hits += best == number
    engine.close()
    return {
        "found": round(100.0 * hits / len(texts), 1),
        "answer_ms": round(statistics.median(wall), 1),
        "answer_cpu_ms": round(statistics.median(cpu), 1),
    }


def _write_load(folder: Path, things: list[MemoryObject]) -> float:
    """Per cent of a core for storing while `SEEN` objects are seen at `RATE_HZ`."""

    def run(store: bool) -> float:
        database = MemoryDatabase(folder)
        memory = ObjectMemory(MemoryStore(database))
        cpu, begin, tick = time.process_time(), time.perf_counter(), 0
        while time.perf_counter() - begin < WRITE_S:
            for thing in things[:SEEN]:
                stamp = NOW_NS + round(tick / RATE_HZ * 1e9)
                memory.put(
                    replace(thing, last_ns=stamp, session=memory.session.id, state="confirmed")
                )
            if store:
                memory.save()
            tick += 1
            time.sleep(max(0.0, begin + tick / RATE_HZ - time.perf_counter()))
        used = time.process_time() - cpu
        memory.close()
        return used

    return round(100.0 * (run(True) - run(False)) / WRITE_S, 1)


def _process_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
