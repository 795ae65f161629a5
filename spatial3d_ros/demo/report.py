"""What was asked and answered, as rows: a table on the terminal, JSON, and a page to look at."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import cv2
from rich.markup import escape
from rich.table import Table

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.storage import write_whole

BEFORE = " (before)"  # of stages that were over when the question came
COLORS = {"right": "green", "wrong": "red", "failed": "red"}


@dataclass(frozen=True)
class Row:
    """One question with its answer and, where it is known, the truth.

    `boxes` are the answered boxes (two for a distance, of a layout edit those that change),
    `after_boxes` where they would stand then, `truth_boxes` the true ones; `right` is None when the
    truth is not known; `metres` is an answered distance; `missed` tells what is wrong where neither
    overlap nor metres do. `failed` says that `answer` tells why there is none; `others` names what
    else was likely. `stages_ms` are parts of the latency, and those marked "(before)" what had been
    spent on the map it rests on.
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

    @property
    def score(self) -> str:
        """Overlap or error in words, or what is wrong."""
        if self.error_m is not None:
            return f"{self.error_m:+.2f} m"
        return self.missed if self.iou is None else f"IoU {self.iou:.2f}"

    def json(self) -> dict[str, object]:
        """As it stands in answers.json."""
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
    place: dict[str, object] = {
        "center": [round(v, 4) for v in box.center],
        "size": [round(v, 4) for v in box.size],
    }
    return place | ({"yaw": round(box.yaw, 4)} if box.yaw else {})


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
            mark = _mark(row)
            cells.append(f"[{COLORS[mark]}]{mark}[/]" if mark else "")
        table.add_row(*cells)
    return table


def _mark(row: Row) -> str:
    """What became of a question in a word; "" where nothing can be said."""
    if row.failed:
        return "failed"
    return {True: "right", False: "wrong", None: ""}[row.right]


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
    glance: bool = False,
) -> None:
    """One HTML file with every picture inside it, so that it can be moved and works offline.

    `pictures` belong to the rows, in order; `facts` stand in a line under the title, `notes` at the
    end. `glance` puts a table of all rows before the pictures.
    """
    judged = [row for row in rows if row.right is not None]
    answered = [row.latency_ms for row in rows if not row.failed]
    tiles = {"questions": str(len(rows))}
    if judged:
        tiles["right"] = f"{right_count(judged)} of {len(judged)}"
    if answered:
        tiles["median latency"] = f"{median(answered):.0f} ms"
    tiles |= facts
    cards = "\n".join(
        _card(number, row, picture)
        for number, (row, picture) in enumerate(zip(rows, pictures, strict=True), 1)
    )
    write_whole(
        path,
        _PAGE.format(
            title=html.escape(title),
            tiles="".join(
                f"<div class=tile><b>{html.escape(v)}</b><span>{html.escape(k)}</span></div>"
                for k, v in tiles.items()
            ),
            overview=_embedded(overview),
            glance=_glance(rows) if glance else "",
            cards=cards,
            notes=_notes(notes) if notes else "",
        ),
    )


def _embedded(picture: Path) -> str:
    jpeg = cv2.imencode(".jpg", cv2.imread(str(picture)), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()


def _list(items: Mapping[str, str]) -> str:
    lines = (
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd></div>"
        for name, text in items.items()
    )
    return f"<dl>{''.join(lines)}</dl>"


def _notes(notes: Mapping[str, str]) -> str:
    return f"<section class=notes><h2>Notes</h2>{_list(notes)}</section>"


def _badge(row: Row) -> str:
    mark = _mark(row)
    return f"<i class={mark}>{mark}</i>" if mark else ""


def _glance(rows: Sequence[Row]) -> str:
    """All rows as a table that leads to their pictures."""
    lines = "".join(
        f'<tr><td><a href="#q{number}">{html.escape(row.name or str(number))}</a>'
        f"<td>{html.escape(row.question)}<td>{html.escape(row.answer)}<td>{row.score}"
        f"<td>{row.latency_ms:.0f} ms<td>{_badge(row)}"
        for number, row in enumerate(rows, 1)
    )
    return f"<section><table>{lines}</table></section>"


def _score_name(row: Row) -> str:
    if row.error_m is not None:
        return "error"
    return "wrong" if row.iou is None else "overlap"


def _card(number: int, row: Row, picture: Path) -> str:
    lines = {"no answer" if row.failed else "answer": row.answer}
    if row.truth:
        lines["truth"] = row.truth
    if row.score:
        lines[_score_name(row)] = row.score
    if row.others:
        lines["next"] = row.others
    via = f" through the {row.via}" if row.via else ""
    own, before = _stages(row.stages_ms, before=False), _stages(row.stages_ms, before=True)
    lines["latency"] = f"{row.latency_ms:.0f} ms{via}{f' ({own})' if own else ''}"
    if before:
        lines["map before it"] = f"{before} ms"
    kind = " · ".join(filter(None, (row.name or str(number), row.kind, row.asked_at)))
    return (
        f"<section id=q{number}><header><span class=kind>{html.escape(kind)}</span>{_badge(row)}"
        f"</header><h2>{html.escape(row.question)}</h2>{_list(lines)}"
        f'<img alt="{html.escape(row.question)}" src="{_embedded(picture)}"></section>'
    )


def _stages(stages_ms: Mapping[str, float], *, before: bool) -> str:
    """The milliseconds of the stages of a question, or of the map it rests on."""
    return ", ".join(
        f"{stage.removesuffix(BEFORE)} {spent:.1f}"
        for stage, spent in stages_ms.items()
        if stage.endswith(BEFORE) is before
    )


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ --ink: #1f2430; --soft: #5b6472; --line: #e3e6eb; --green: #0a9d58; --red: #d93025; }}
  * {{ box-sizing: border-box; }}
  body {{ margin: 0 auto; max-width: 1180px; padding: 40px 24px 64px; color: var(--ink);
         background: #f6f7f9; font: 16px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }}
  h1 {{ font-size: 30px; line-height: 1.2; margin: 0 0 20px; letter-spacing: -.02em; }}
  h2 {{ font-size: 21px; line-height: 1.3; margin: 6px 0 10px; letter-spacing: -.01em; }}
  img {{ width: 100%; display: block; }}
  section {{ background: #fff; border: 1px solid var(--line); border-radius: 14px;
            padding: 20px 24px 14px; margin-top: 22px; }}
  header {{ display: flex; justify-content: space-between; align-items: center; }}
  .tiles {{ display: flex; flex-wrap: wrap; gap: 12px; }}
  .tile {{ background: #fff; border: 1px solid var(--line); border-radius: 12px;
          padding: 10px 18px; }}
  .tile b {{ display: block; font-size: 21px; font-variant-numeric: tabular-nums; }}
  .tile span, .kind, dt {{ color: var(--soft); font-size: 13px; }}
  i {{ font-style: normal; font-weight: 600; font-size: 13px; color: #fff; border-radius: 999px;
      padding: 3px 12px; }}
  .right {{ background: var(--green); }}
  .wrong, .failed {{ background: var(--red); }}
  dl {{ display: flex; flex-wrap: wrap; gap: 4px 32px; margin: 0 0 12px; }}
  dt, dd {{ margin: 0; }}
  dl div {{ display: flex; gap: 8px; }}
  dl dt {{ padding-top: 2px; white-space: nowrap; }}
  .notes dl {{ display: block; }}
  .notes dt {{ min-width: 140px; }}
  table {{ border-collapse: collapse; width: 100%; font-size: 14px; }}
  td {{ padding: 7px 12px 7px 0; border-top: 1px solid var(--line); vertical-align: top; }}
  tr:first-child td {{ border-top: 0; }}
  td:nth-child(n + 4) {{ white-space: nowrap; text-align: right; }}
  a {{ color: inherit; }}
  dd {{ font-weight: 500; font-variant-numeric: tabular-nums; }}
</style>
<h1>{title}</h1>
<div class="tiles">{tiles}</div>
<section><img alt="map of the scene" src="{overview}"></section>
{glance}
{cards}
{notes}
</html>
"""
