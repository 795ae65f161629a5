"""Accuracy on held-out generated rooms, with the sensor noise and pose noise of a robot.

Each room is recorded along the path of a robot or a hand. The frames go into the engine, or through
ROS into the node; then questions follow in the sentences of the test split.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from rich.table import Table

from spatial3d_ros.bags.reader import read_bag
from spatial3d_ros.demo.node_queries import ask_nodes, node_parameters
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import BagError, ConfigError, Spatial3DError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.model.checkpoint import CONFIG, model_folder
from spatial3d_ros.model.config import load_config
from spatial3d_ros.research.evaluation.answers import FREE_FORM_TASKS, AnswersReport, ask_room
from spatial3d_ros.research.evaluation.metrics.calibration import calibration
from spatial3d_ros.research.evaluation.metrics.judging import (
    Verdict,
    latency_scores,
    summarise,
)
from spatial3d_ros.research.evaluation.metrics.object_map import (
    IdentityCount,
    LabelledBox,
    MapScores,
    overlap_matrix,
)
from spatial3d_ros.research.evaluation.prompt_styles import apply_style, split_of_style
from spatial3d_ros.research.evaluation.room_tasks import TASKS, RoomQuestion, chosen_tasks
from spatial3d_ros.research.evaluation.settings import engine_settings
from spatial3d_ros.research.rooms.catalog import Catalog, catalog_of
from spatial3d_ros.research.rooms.recorded_rooms import (
    RecordedRoom,
    load_recorded_room,
    record_room,
)
from spatial3d_ros.research.spread import HERE, Places, spread
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.tasks.reply import Reply

SECONDS, RATE_HZ = 12.0, 5.0
SEEN_VIEWS = 2
REFRESH_EVERY = 8  # keyframes


@dataclass
class RoomsReport:
    """Verdicts over all rooms, and how the object maps agree with the observed objects."""

    verdicts: list[Verdict] = field(default_factory=list)
    confidences: list[tuple[float, bool]] = field(default_factory=list)
    object_map: MapScores = field(default_factory=MapScores)
    rooms: int = 0
    settings: dict[str, object] = field(default_factory=dict)
    answers: AnswersReport = field(default_factory=AnswersReport)
    failed: dict[str, str] = field(default_factory=dict)

    def __iadd__(self, other: RoomsReport) -> RoomsReport:
        self.verdicts += other.verdicts
        self.confidences += other.confidences
        self.object_map += other.object_map
        self.rooms += other.rooms
        self.settings |= other.settings
        self.answers += other.answers
        return self

    def summary(self) -> str:
        """How many questions are right, as text."""
        return f"{sum(v.right for v in self.verdicts)} of {len(self.verdicts)} right"

    def json(self) -> dict[str, object]:
        """Everything as plain data."""
        return {
            "settings": self.settings,
            "rooms": self.rooms,
            "questions": len(self.verdicts),
            "scores": summarise(self.verdicts),
            "object_map": self.object_map.json(),
            "latency": latency_scores(v.latency_ms for v in self.verdicts if v.latency_ms),
            "confidence": calibration(*zip(*self.confidences, strict=True))
            if self.confidences
            else None,
            **self.answers.json(),
            **({"failed": self.failed} if self.failed else {}),
        }

    def table(self) -> Table:
        """For the terminal, by kind of question."""
        report = self.json()
        table = Table(title=f"{self.rooms} held-out rooms, {len(self.verdicts)} questions")
        for name in ("questions", "n", "right", "Acc@0.25", "Acc@0.5", "median m", "mean m"):
            table.add_column(name, justify="left" if name == "questions" else "right")
        for name, scores in report["scores"].items():
            shares = [scores["right"], scores.get("acc@0.25"), scores.get("acc@0.5")]
            metres = [scores.get("median_m"), scores.get("mean_m")]
            table.add_row(
                f"  {name}" if "/" in name else f"[bold]{name}",
                str(scores["n"]),
                *("" if s is None else f"{s:.1%}" for s in shares),
                *("" if m is None else f"{m:.3f}" for m in metres),
            )
        table.caption = (
            "a distance is right within 0.25 m and between the right objects; "
            f"{self.object_map.text()}"
        )
        return table

    def edits_table(self) -> Table | None:
        """The scores of layout edits, for the terminal; None without layout edits."""
        scores = {k: v for k, v in summarise(self.verdicts).items() if k.startswith("layout")}
        if not scores:
            return None
        table = Table(caption="right: the right object, a valid pose, and the requested relation")
        keys = ("n", "right", "right_object", "valid", "relation")
        for name in ("layout edits", *keys):
            table.add_column(name, justify="left" if name == "layout edits" else "right")
        for name, row in scores.items():
            shares = ("" if row.get(key) is None else f"{row[key]:.1%}" for key in keys[1:])
            label = name.replace("layout/", "  ") if "/" in name else "[bold]all"
            table.add_row(label, str(row["n"]), *shares)
        return table


def evaluate_rooms(
    *,
    rooms: int = 15,
    seed: int = 900_000,
    true_boxes: bool = False,
    through_ros: bool = False,
    folder: Path = Path("runs/evaluation"),
    model: str = "tiny",
    tasks: str = "grounding,distance",
    style: str = "test",
    catalog: Catalog | None = None,
    places: Places = HERE,
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RoomsReport:
    """Evaluate `rooms` generated rooms from `seed` on; `folder` keeps their recordings.

    true_boxes: use the true boxes of the observed objects in place of the built-in proposals.
    tasks: "all", or names of TASKS and FREE_FORM_TASKS separated by commas. through_ros: play every
    recording into the nodes in place of calling the engine in this process; free-form tasks are
    then not possible. style: one of PROMPT_STYLES. catalog: of the rooms, by default that of the
    model's classes. places: the processes that share the rooms; the report is the same, and names
    rooms that failed. progress: called with (rooms done, rooms).
    Raises ConfigError for an unknown task or style.
    """
    wanted = chosen_tasks(tasks)
    split_of_style(style)
    if through_ros and not set(wanted).isdisjoint(FREE_FORM_TASKS):
        raise ConfigError("--tasks: free-form answers need the engine; leave out --through-ros")
    if through_ros and places != HERE:
        raise ConfigError("--through-ros plays one room at a time; leave out --workers and --ray")
    catalog = catalog or catalog_of(load_config(model_folder(model) / CONFIG).names.classes)
    report = RoomsReport(
        settings={
            "seed": seed,
            "catalog": catalog,
            "model": model,
            "tasks": list(wanted),
            "wording": style,
            "true_boxes": true_boxes,
            "through_ros": through_ros,
        }
    )
    work = _OneRoom(wanted, style, catalog, model, folder, true_boxes, through_ros)
    found = spread(
        work, range(seed, seed + rooms), places, say, progress, lambda one: one.summary()
    )
    for one in found.results.values():
        report += one
    report.failed = {f"room {number}": reason for number, reason in found.failed.items()}
    return report


@dataclass(frozen=True)
class _OneRoom:
    """Evaluates the room of a seed; arguments as `evaluate_rooms`."""

    tasks: tuple[str, ...]
    style: str
    catalog: Catalog
    model: str
    folder: Path
    true_boxes: bool
    through_ros: bool

    def __call__(self, seed: int) -> RoomsReport:
        split, report = split_of_style(self.style), RoomsReport(rooms=1)
        recorded = load_or_record(self.folder, seed, self.catalog)
        questions = [
            replace(q, text=apply_style(q.text, self.style, seed))
            for task in self.tasks
            if task in TASKS
            for q in TASKS[task](recorded, seed, split)
        ]
        if self.through_ros:
            replies, found, seen, kept = _ask_nodes(recorded, questions, self.folder, self.model)
            report.settings["node"] = node_parameters(self.folder / recorded.bag.stem)
        else:
            engine = _loaded_engine(self.model)
            report.settings["engine"] = engine_settings(engine)
            replies, found, seen, kept = _ask_engine(engine, recorded, questions, self.true_boxes)
            present = _present(recorded, found) if self.true_boxes else seen
            objects = [recorded.room.objects[i] for i in present]
            free_form = [name for name in self.tasks if name in FREE_FORM_TASKS]
            ask_room(engine, objects, seed, free_form, report.answers, style=self.style)
        report.verdicts = [q.judge(reply) for q, reply in zip(questions, replies, strict=True)]
        report.confidences = [
            (reply.confidence, verdict.right)
            for reply, verdict in zip(replies, report.verdicts, strict=True)
            if reply.kind == "ground" and not reply.no_target and not reply.question_back
        ]
        truth = [(item.box, item.category) for item in (recorded.room.objects[i] for i in seen)]
        report.object_map = replace(MapScores.of(found, truth), kept=kept[0], followed=kept[1])
        return report


def _silent(text: str) -> None:
    """Of rooms, only the summaries are said."""


@lru_cache(1)
def _loaded_engine(model: str) -> Spatial3D:
    """The engine of this process, which evaluates one room after the other."""
    engine = Spatial3D(EngineConfig(model=model))
    engine.load()
    return engine


def load_or_record(folder: Path, seed: int, catalog: Catalog = "basic") -> RecordedRoom:
    """Load or make the recording of a room: a robot's path for even seeds, a hand's for odd."""
    bag = folder / f"{'room' if catalog == 'basic' else catalog}_{seed}.mcap"
    try:
        return load_recorded_room(bag)
    except BagError:
        path = ("robot", "hand")[seed % 2]
        return record_room(
            bag, seed, seconds=SECONDS, rate_hz=RATE_HZ, path=path, compressed=True,
            overwrite=True, catalog=catalog,
        )  # fmt: skip


Replies = tuple[list[Reply], list[LabelledBox], list[int], tuple[int, int]]


def _ask_engine(
    engine: Spatial3D, recorded: RecordedRoom, questions: list[RoomQuestion], true_boxes: bool
) -> Replies:
    """Replies, the object map, ids of the observed objects, and `kept_ids` over all refreshes."""
    engine.clear()
    kept: list[int] = []
    ids = IdentityCount([item.box for item in recorded.room.objects])
    for k, frame in enumerate(read_bag(recorded.bag)):
        if engine.add_frame(frame).keyframe:
            kept.append(k)
            # As in the node, so that the object map covers more than the last views.
            if not true_boxes and len(kept) % REFRESH_EVERY == 0:
                engine.refresh()
                ids.add(engine.scene().objects)
    seen = recorded.seen_in(kept, SEEN_VIEWS)
    objects = recorded.room.objects
    proposals = None
    if true_boxes:
        proposals = [
            Proposal(o.box, np.empty((0, 3), np.float32), o.rgb, len(kept), 1.0)
            for o in (objects[i] for i in recorded.seen_in(kept, 1))
        ]
    engine.refresh(proposals=proposals)
    ids.add(engine.scene().objects)
    replies = []
    for question in questions:
        begin = time.perf_counter()
        try:
            result = engine.answer(question.text)
            replies.append(Reply.from_result(result, 1000 * (time.perf_counter() - begin)))
        except Spatial3DError as error:
            replies.append(Reply(str(error), success=False))
    found = [(known.box, known.label) for known in engine.scene().objects]
    return replies, found, seen, (ids.kept, ids.followed)


def _present(recorded: RecordedRoom, found: list[LabelledBox]) -> list[int]:
    """Ids of the objects whose true boxes are in the object map."""
    truth = [o.box for o in recorded.room.objects]
    same = overlap_matrix(truth, [box for box, _ in found]).max(1, initial=0.0) > 0.9
    return [o.id for o, there in zip(recorded.room.objects, same, strict=True) if there]


def _ask_nodes(
    recorded: RecordedRoom,
    questions: list[RoomQuestion],
    folder: Path,
    model: str,
) -> Replies:
    asked = [
        {"text": q.text, "kind": q.kind, "via": ("service", "action")[k % 2]}
        for k, q in enumerate(questions)
    ]
    data, scene = ask_nodes(recorded.bag, asked, folder / recorded.bag.stem, _silent, model)
    found = [
        (Box3D(tuple(o["center"]), tuple(o["size"]), o.get("yaw", 0.0)), o["label"])
        for o in scene["objects"]
    ]
    everything = list(range(len(recorded.stamps_ns)))
    seen = recorded.seen_in(everything, SEEN_VIEWS)
    return [Reply.from_data(d) for d in data], found, seen, (0, 0)
