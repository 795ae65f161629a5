"""Questions and their answers as rows: a terminal table, answers.json and an HTML page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import cv2
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from rich.markup import escape
from rich.table import Table

from spatial3d_ros.errors import StorageError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.storage import write_whole
from spatial3d_ros.tasks.reply import Reply

BEFORE = " (before)"  # suffix of stages that had ended when the question arrived
COLORS = {"right": "green", "wrong": "red", "failed": "red"}


@dataclass(frozen=True)
class Row:
    """One question with its answer and, if known, the truth.

    right: None if the truth is not known. failed: there is no answer, and `answer` is the reason.
    metres: the answered distance. missed: what is wrong, if neither IoU nor metres shows it.
    others: the next candidates. boxes: the answered boxes (two for a distance; for a layout edit
    those that change). after_boxes: the boxes after the edit. truth_boxes: the true boxes.
    explanation: a page of `spatial3d explain`, relative to the report.
    stages_ms: milliseconds by stage; with the suffix BEFORE, of the object map the answer uses.
    """

    question: str
    kind: str
    answer: str
    truth: str = ""
    right: bool | None = None
    iou: float | None = None
    error_m: float | None = None
    metres: float | None = None
    latency_ms: float = 0.0
    via: str = ""
    boxes: tuple[Box3D, ...] = field(default=(), repr=False)
    after_boxes: tuple[Box3D, ...] = field(default=(), repr=False)
    truth_boxes: tuple[Box3D, ...] = field(default=(), repr=False)
    missed: str = ""
    name: str = ""
    asked_at: str = ""
    failed: bool = False
    stages_ms: dict[str, float] = field(default_factory=dict, repr=False)
    others: str = ""
    explanation: str = ""

    @classmethod
    def unjudged(cls, question: str, reply: Reply, via: str = "") -> Row:
        """A reply whose truth is not known, with the boxes that it points at."""
        count = {"ground": 1, "distance": 2}.get(reply.kind, len(reply.boxes))
        return cls(
            question=question,
            kind=reply.kind or "none",
            answer=reply.text,
            metres=reply.metres,
            latency_ms=reply.latency_ms,
            via=via,
            boxes=() if reply.no_target else reply.boxes[:count],
            after_boxes=reply.after,
            failed=not reply.success,
        )

    @property
    def score(self) -> str:
        """IoU, signed error in metres, or what is wrong."""
        if self.error_m is not None:
            return f"{self.error_m:+.2f} m"
        return self.missed if self.iou is None else f"IoU {self.iou:.2f}"

    @property
    def mark(self) -> str:
        """right, wrong or failed; "" if the truth is not known."""
        return "failed" if self.failed else {True: "right", False: "wrong", None: ""}[self.right]

    def json(self) -> dict[str, object]:
        """The entry in answers.json."""
        row: dict[str, object] = {
            "question": self.question,
            "kind": self.kind,
            "answer": self.answer,
            "truth": self.truth,
        }
        if self.kind == "distance":
            row["error"] = None if self.error_m is None else round(self.error_m, 4)
        else:
            row["iou"] = None if self.iou is None else round(self.iou, 4)
        row |= {"latency_ms": round(self.latency_ms, 1), "right": self.right, "via": self.via}
        row["boxes"] = [_rounded(box) for box in self.boxes]
        if self.after_boxes:
            row["after"] = [_rounded(box) for box in self.after_boxes]
        return row


def _rounded(box: Box3D) -> dict[str, object]:
    rounded: dict[str, object] = {
        "center": [round(v, 4) for v in box.center],
        "size": [round(v, 4) for v in box.size],
    }
    return rounded | ({"yaw": round(box.yaw, 4)} if box.yaw else {})


def right_count(rows: Sequence[Row]) -> int:
    """How many answers are right."""
    return sum(bool(row.right) for row in rows)


def answers_table(rows: Sequence[Row], title: str = "") -> Table:
    """The rows as a table for the terminal."""
    judged = any(row.right is not None for row in rows)
    named = any(row.name for row in rows)
    marked = judged or any(row.failed for row in rows)
    table = Table(title=title, title_justify="left", show_lines=False, pad_edge=False)
    if named:
        table.add_column("id", no_wrap=True)
    table.add_column("question", overflow="fold", ratio=4)
    table.add_column("answer", overflow="fold", ratio=3)
    if judged:
        table.add_column("truth", overflow="fold", ratio=3)
        table.add_column("IoU / error", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    if marked:
        table.add_column("", no_wrap=True)
    for row in rows:
        cells = [escape(row.name)] if named else []
        cells += [escape(row.question), escape(row.answer)]
        cells += [escape(row.truth), row.score] if judged else []
        cells.append(f"{row.latency_ms:.0f}")
        if marked:
            cells.append(f"[{COLORS[row.mark]}]{row.mark}[/]" if row.mark else "")
        table.add_row(*cells)
    return table


def write_answers(path: Path, rows: Sequence[Row]) -> None:
    """answers.json: a list, one entry a question."""
    write_whole(path, json.dumps([row.json() for row in rows], indent=2) + "\n")


def write_page(
    path: Path,
    rows: Sequence[Row],
    pictures: Sequence[Path],
    overview: Path,
    *,
    title: str,
    facts: dict[str, str],
    notes: Mapping[str, str] | None = None,
    summary_table: bool = False,
) -> None:
    """Write one HTML file with all pictures embedded: it can be moved and opens offline.

    `pictures`: one for each row, in order. `facts`: shown below the title. `notes`: shown at the
    end. `summary_table`: list all rows before the pictures.
    """
    judged = [row for row in rows if row.right is not None]
    answered = [row.latency_ms for row in rows if not row.failed]
    tiles = {"questions": str(len(rows))}
    if judged:
        tiles["right"] = f"{right_count(judged)} of {len(judged)}"
    if answered:
        tiles["median latency"] = f"{median(answered):.0f} ms"
    pairs = zip(rows, pictures, strict=True)
    page = _template().render(
        title=title,
        tiles=tiles | facts,
        overview=_data_url(overview),
        summary_table=summary_table,
        cards=[(row, _facts(row), _data_url(picture)) for row, picture in pairs],
        notes=notes,
    )
    write_whole(path, page)


def explain_command(bag: str) -> str:
    """The command that shows what the network attends to for a question about a recording."""
    return f'spatial3d explain {bag} "the question" --out why'


def _template() -> Template:
    loader = PackageLoader("spatial3d_ros.demo")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template("report.html.jinja")


def _data_url(picture: Path) -> str:
    image = cv2.imread(str(picture))
    if image is None:
        raise StorageError(f"{picture}: cannot be read as an image")
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()


def _facts(row: Row) -> dict[str, str]:
    """The lines of a question's card: name -> text."""
    lines = {"no answer" if row.failed else "answer": row.answer}
    if row.truth:
        lines["truth"] = row.truth
    if row.score:
        overlap = "wrong" if row.iou is None else "overlap"
        lines["error" if row.error_m is not None else overlap] = row.score
    if row.others:
        lines["next"] = row.others
    via = f" through the {row.via}" if row.via else ""
    own, before = _stages(row.stages_ms, before=False), _stages(row.stages_ms, before=True)
    lines["latency"] = f"{row.latency_ms:.0f} ms{via}{f' ({own})' if own else ''}"
    if before:
        lines["map before it"] = f"{before} ms"
    return lines


def _stages(stages_ms: Mapping[str, float], *, before: bool) -> str:
    """Milliseconds of the stages of a question, or (`before`) of the object map it used."""
    return ", ".join(
        f"{stage.removesuffix(BEFORE)} {spent:.1f}"
        for stage, spent in stages_ms.items()
        if stage.endswith(BEFORE) is before
    )
