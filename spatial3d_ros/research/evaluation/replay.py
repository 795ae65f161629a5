"""Replay of a bag through the engine, or into the running nodes, with questions at given times.

Offline, frames and questions follow in the order of the recording: a question at time t uses all
frames recorded until t, and nothing depends on the speed of the computer. The same bag, questions
and weights give identical answers.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from spatial3d_ros.bags.bag import Bag
from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.bags.reader import DEFAULTS, BagFrames
from spatial3d_ros.bags.topics import Topics
from spatial3d_ros.demo.node_queries import ask_nodes, node_parameters, require_playable
from spatial3d_ros.demo.offline import REFRESH_EVERY
from spatial3d_ros.demo.processes import require_ros
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import BagError, ConfigError, NotAvailableError, Spatial3DError
from spatial3d_ros.recognition.frame_labels import FrameLabels
from spatial3d_ros.research.evaluation.queries import (
    NamesFile,
    Query,
    QueryFile,
    read_names,
    read_queries,
)
from spatial3d_ros.research.evaluation.settings import engine_settings
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit

REPORT_FRAMES = 48

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class QueryResult:
    """A question and its reply as plain data.

    reply: success, message, answer, latency_ms, the fields of its kind, and objects (best first;
    the two ends of a distance; what a layout edit changes). stages_ms: parts of the latency.
    """

    query: Query
    reply: dict[str, Any]
    stages_ms: dict[str, float] = field(default_factory=dict)


@dataclass
class ReplayResult:
    """The results of one replay. Only `timing` and latencies depend on the clock.

    scene: the object map at the end as plain data. names: the true objects, if known. frames:
    REPORT_FRAMES frames or fewer from the whole recording, for pictures. state: the scene of the
    engine at the end, None of nodes.
    """

    bag: Path
    questions: QueryFile
    topics: Topics
    names: NamesFile | None = None
    results: list[QueryResult] = field(default_factory=list)
    scene: dict[str, Any] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    recording: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, Any] = field(default_factory=dict)
    state: object = field(default=None, repr=False)


def replay_bag(
    bag: Path,
    queries: Path | None = None,
    *,
    names: Path | None = None,
    options: RecordingOptions = DEFAULTS,
    model: str = "tiny",
    device: str = "auto",
    through_ros: Path | None = None,
    say: Say = lambda text: None,
    progress: Progress = lambda done, total: None,
) -> ReplayResult:
    """Replay a bag and ask the questions of a file.

    names: file of true objects, with which the object map at the end is compared. through_ros: play
    in real time into nodes, whose logs go to this folder.

    Raises ConfigError for an invalid file or a query after the end of the bag; BagError;
    CheckpointError; NotAvailableError without ROS. An error of one question is its reply.
    """
    true_objects = read_names(names) if names else None
    questions = _questions(queries, true_objects)
    found = options.topics(bag)
    with Bag(bag) as opened:
        seconds = opened.duration_s
        total = opened.topics[found.rgb][1]
    if queries:
        _check_times(queries, questions, seconds)
    replay = ReplayResult(bag, questions, found, true_objects)
    replay.settings = {
        "queries": str(queries) if queries else "",
        "model": model,
        "device": device,
        "through_ros": through_ros is not None,
        "topics": vars(found),
        "depth_unit": options.depth_unit,
        "rectified": options.rectified,
        "sync_slop_s": options.sync_slop_s,
        "max_pose_gap_s": options.max_pose_gap_s,
        "recogniser": [Path(folder).name for folder in options.recogniser],
        "detections": options.detections,
    }
    frames = BagFrames(bag, options, world_frame=questions.frame_id)
    begin = time.perf_counter()
    if through_ros is None:
        engine = Spatial3D(EngineConfig(model=model, device=device))
        _replay_in_engine(replay, frames, engine, total, progress)
    else:
        _replay_through_nodes(replay, frames, seconds, total, through_ros, say)
    replay.recording |= {"account": frames.account.as_dict()}
    replay.recording = {"seconds": seconds, **replay.recording}
    replay.timing["total_s"] = time.perf_counter() - begin
    return replay


def _questions(queries: Path | None, names: NamesFile | None) -> QueryFile:
    """The questions of a file; none without one. Raises ConfigError."""
    if queries is None:
        if names is None:
            raise ConfigError("nothing to evaluate: give --queries, --names or both")
        return QueryFile.model_construct(frame_id=names.frame_id, queries=[])
    questions = read_queries(queries)
    if names is not None and names.frame_id != questions.frame_id:
        raise ConfigError(
            f"--names: frame_id {names.frame_id}, but the questions are in {questions.frame_id}"
        )
    return questions


def _check_times(path: Path, questions: QueryFile, seconds: float) -> None:
    for query in questions.queries:
        if query.at != "end" and query.seconds > seconds:
            raise ConfigError(
                f"{path}: {query.id}: at: {query.at:g} is after the end of the bag, which has "
                f"{seconds:.3f} s; use a smaller value, or `end`"
            )


def _replay_in_engine(
    replay: ReplayResult, frames: BagFrames, engine: Spatial3D, total: int, progress: Progress
) -> None:
    """Frames in order through the engine of this process."""
    engine.load()
    replay.settings |= {
        "device": engine.stats()["device"],
        "refresh_every_keyframes": REFRESH_EVERY,
        "engine": engine_settings(engine),
    }
    pending = replay.questions.by_time()
    asked = [query.text for query in pending]
    labels = FrameLabels.of_recording(frames, asked, replay.settings["device"])
    refreshes: list[dict[str, float]] = []
    count = keyframes = 0
    begin, begin_cpu = time.perf_counter(), time.process_time()
    for seconds, frame in frames:
        while pending and pending[0].seconds < seconds:
            _refresh(engine, refreshes)
            replay.results.append(_ask(engine, pending.pop(0)))
        if count % max(1, total // REPORT_FRAMES) == 0:
            replay.frames.append(frame)
        count += 1
        progress(count, total)
        keyframe = engine.add_frame(frame).keyframe
        labels.add_to(engine, frame, keyframe=keyframe)
        if keyframe:
            keyframes += 1
            if keyframes % REFRESH_EVERY == 0:
                _refresh(engine, refreshes)
    if not keyframes:
        raise BagError(f"{replay.bag}: no frame of {count} has enough depth to locate objects")
    _refresh(engine, refreshes)
    replay.results += [_ask(engine, query) for query in pending]
    replay.timing = {
        "replay_s": time.perf_counter() - begin,
        "replay_cpu_s": time.process_time() - begin_cpu,
        "refresh_mean_ms": {
            stage: sum(parts.get(stage, 0.0) for parts in refreshes) / len(refreshes)
            for stage in dict.fromkeys(stage for parts in refreshes for stage in parts)
        },
    }
    scene = engine.scene()
    replay.state = scene
    replay.scene = {"views": scene.views, "objects": [_object(o) for o in scene.objects]}
    replay.recording = {
        "frames": count,
        "keyframes": keyframes,
        "refreshes": len(refreshes),
        "left_out": dict(frames.left_out),
        "problems": [
            *([f"only {frames.account}"] if frames.account.is_incomplete else []),
            *(finding.text for finding in frames.findings),
            *frames.problems,
            *frames.notes,
        ],
    }


def _refresh(engine: Spatial3D, refreshes: list[dict[str, float]]) -> None:
    before = engine.stats()["answered_version"]
    if engine.refresh() != before:
        stages = {k: float(v) for k, v in engine.stats().items() if k.startswith("refresh_")}
        refreshes.append(
            {k.removeprefix("refresh_").removesuffix("_ms"): stages[k] for k in stages}
        )


def _ask(engine: Spatial3D, query: Query) -> QueryResult:
    begin = time.perf_counter()
    result = None
    try:
        if query.kind == "ground":
            result = engine.ground(query.text)
        elif query.kind == "distance":
            result = engine.measure_distance(query.text, kind=_measure(query))
        elif query.kind == "layout":
            result = engine.edit_layout(query.text)
        else:
            result = engine.ask(query.text)
        reply = _reply(result)
    except Spatial3DError as error:
        reply = _failed(str(error))
    reply["latency_ms"] = 1e3 * (time.perf_counter() - begin)
    return QueryResult(query, reply, result.stages_ms if result else {})


def _node_stages(reply: dict[str, Any]) -> dict[str, float]:
    """Milliseconds of a reply inside the node, and of transport."""
    spent = reply.get("server_ms")
    return {"in the node": spent, "on the way": reply["latency_ms"] - spent} if spent else {}


def _measure(query: Query) -> str:
    """The measure of the truth, center or surface, so that the answer has the same one."""
    return query.expect.measure if query.kind == "distance" and query.expect else "auto"


def _reply(result: Grounding | Distance | Answer | LayoutEdit) -> dict[str, Any]:
    """A result in the format of the query client's replies."""
    reply = {
        "success": True,
        "message": "",
        "answer": result.text,
        "no_target": False,
        "views": result.views_used,
        "version": result.scene_version,
    }
    if isinstance(result, Distance):
        return reply | {
            "metres": result.metres,
            "uncertainty": result.uncertainty_m,
            "measure": result.kind,
            "objects": [_object(end.object, end.score) for end in (result.a, result.b)],
        }
    if isinstance(result, LayoutEdit):
        return reply | {
            "objects": [_object(item) for item in result.before],
            "after": [_object(item) for item in result.after],
            "action": result.action,
            "possible": result.possible,
            "satisfied": result.satisfied,
        }
    if isinstance(result, Grounding):
        reply["no_target"] = result.no_target
    return reply | {"objects": [_object(o.object, o.score) for o in result.objects]}


def _failed(message: str) -> dict[str, Any]:
    return {"success": False, "message": message, "answer": "", "no_target": False, "objects": [],
            "latency_ms": 0.0}  # fmt: skip


def _object(item: SceneObject, score: float | None = None) -> dict[str, Any]:
    return {
        "id": item.id,
        "label": item.label,
        "color": item.color,
        "score": item.score if score is None else score,
        "center": list(item.box.center),
        "size": list(item.box.size),
        "yaw": item.box.yaw,
    }


def _replay_through_nodes(
    replay: ReplayResult, frames: BagFrames, seconds: float, total: int, logs: Path, say: Say
) -> None:
    """Start the nodes anew for every time of a question, and play the bag up to it."""
    require_ros()
    require_playable(replay.bag, replay.topics)
    replay.frames = [f for _, f in islice(frames, 0, None, max(1, total // REPORT_FRAMES))]
    by_time: dict[float, list[Query]] = defaultdict(list)
    for query in replay.questions.by_time():
        by_time[min(query.seconds, seconds)].append(query)
    if not by_time:
        by_time[seconds] = []  # the object map alone
    for number, (until, queries) in enumerate(by_time.items()):
        asked = [
            {"text": query.text, "kind": query.kind, "via": "service", "measure": _measure(query)}
            for query in queries
        ]
        try:
            replies, replay.scene = ask_nodes(
                replay.bag, asked, logs / f"nodes_{number}", say, replay.settings["model"],
                options=frames.options, seconds=until,
            )  # fmt: skip
        except NotAvailableError as error:
            replies = [_failed(str(error)) for _ in queries]
        else:
            replay.settings["node"] = node_parameters(logs / f"nodes_{number}")
        replay.results += [
            QueryResult(query, reply, _node_stages(reply))
            for query, reply in zip(queries, replies, strict=True)
        ]
    replay.scene.setdefault("objects", [])
    replay.scene.setdefault("views", 0)
