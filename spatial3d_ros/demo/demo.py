"""The demo: a bag is played into running nodes, questions are asked, and a report is written.

ROS is used in separate processes only; this module starts them and reads the replies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.bags.reader import DEFAULTS, BagFrames
from spatial3d_ros.demo.figures import MAX_FRAMES, FigureWriter, named_boxes
from spatial3d_ros.demo.node_queries import ask_nodes
from spatial3d_ros.demo.processes import require_ros
from spatial3d_ros.demo.report import Row, explain_command, right_count, write_answers, write_page
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.tasks.reply import Reply

BY_ACTION = 3  # every third question goes through the action; the rest to services
MIN_RIGHT = 0.6
"""Share of right answers for exit code 0. About three of four questions of all kinds are answered
right; the number varies by one or two of seventeen, because the object map differs in every run.
"""


class KnownQuestion(Protocol):
    """A question with a known answer."""

    text: str
    kind: str

    def row(self, reply: Reply, via: str) -> Row:
        """The reply, compared with the known answer."""


@dataclass(frozen=True)
class PreparedRoom:
    """A bag with known objects: `questions` with known answers, `boxes` of the objects, and `notes`
    for the report.
    """

    bag: Path
    questions: Sequence[KnownQuestion]
    boxes: Sequence[Box3D]
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DemoResult:
    """Rows of the report, and whether the demo worked.

    With known answers MIN_RIGHT of them must be right, where a failed question counts as wrong;
    otherwise every question must be answered.
    """

    rows: tuple[Row, ...]
    worked: bool
    page: Path


def run_demo(
    out: Path,
    *,
    bag: Path | None = None,
    room: PreparedRoom | None = None,
    questions: Sequence[str] = (),
    model: str = "tiny",
    options: RecordingOptions = DEFAULTS,
    print_status: Callable[[str], None] = print,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> DemoResult:
    """Play a bag into the nodes, ask questions, and write the report into `out`.

    A prepared `room` brings questions with known answers; `questions` replace them. Raises
    NotAvailableError without ROS, BagError for an unreadable bag, and ConfigError for an unknown
    model or without a question.
    """
    require_ros()
    out.mkdir(parents=True, exist_ok=True)
    bag = room.bag if room else Path(bag or "")
    known = room.questions if room and not questions else []
    if not known and not questions:
        raise ConfigError(f"{bag}: no question to ask; add --question or --questions FILE")
    replies, scene = ask_nodes(
        bag, _requests(known, questions), out, print_status, model, options=options,
        progress=progress,
    )  # fmt: skip
    if known:
        rows = [
            q.row(Reply.from_data(data), data["via"])
            for q, data in zip(known, replies, strict=True)
        ]
    else:
        rows = [Row.unjudged(data["text"], Reply.from_data(data), data["via"]) for data in replies]
    print_status("drawing the figures")
    page = _write(out, bag, rows, scene, room, options)
    if known:
        worked = right_count(rows) >= MIN_RIGHT * len(rows)
    else:
        worked = all(data["success"] for data in replies)
    return DemoResult(tuple(rows), worked, page)


def _requests(known: Sequence[KnownQuestion], texts: Sequence[str]) -> list[dict[str, str]]:
    """Questions for the query client; questions without a known kind go through the action."""
    requests = [
        {"text": q.text, "kind": q.kind, "via": "service" if k % BY_ACTION else "action"}
        for k, q in enumerate(known, 1)
    ]
    return requests or [{"text": text, "kind": "unknown", "via": "action"} for text in texts]


def _write(
    out: Path,
    bag: Path,
    rows: list[Row],
    scene: dict[str, Any],
    room: PreparedRoom | None,
    options: RecordingOptions,
) -> Path:
    objects = named_boxes(scene["objects"])
    recording = BagFrames(bag, options)
    figures = FigureWriter(_sampled_frames(recording), objects, room.boxes if room else [])
    overview = figures.overview(out / "map.png")
    pictures = [figures.question(out / f"question_{k}.png", row) for k, row in enumerate(rows, 1)]
    write_answers(out / "answers.json", rows)
    page = out / "index.html"
    facts = {"objects in the map": str(len(objects)), "views in memory": str(scene["views"]),
             "frames": str(recording.account)}  # fmt: skip
    write_page(
        page, rows, pictures, overview, title=f"What the robot found in {bag.stem}", facts=facts,
        notes={**(room.notes if room else {}), "why an answer": explain_command(bag.name)},
    )  # fmt: skip
    return page


def _sampled_frames(recording: BagFrames) -> list[Frame]:
    """At most about MAX_FRAMES frames, spread over the bag."""
    step = max(1, recording.color_count // MAX_FRAMES)
    return [frame for _, frame in islice(recording, 0, None, step)]
