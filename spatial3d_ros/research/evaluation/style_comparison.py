"""Accuracy on the same rooms and tasks in every prompt style. `spatial3d evaluate wordings`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

from spatial3d_ros.research.evaluation.prompt_styles import PROMPT_STYLES
from spatial3d_ros.research.evaluation.rooms import evaluate_rooms

_SCORES = {
    "grounding": ("scores", "grounding", "right"),
    "distance": ("scores", "distance", "right"),
    "layout": ("scores", "layout", "right"),
    "ask": ("ask", "overall", "exact_match"),
    "caption": ("caption", "class_and_color"),
}


def compare_styles(
    *,
    rooms: int,
    seed: int,
    model: str,
    tasks: str,
    folder: Path,
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, Any]]:
    """The report of `evaluate_rooms` with true boxes for each of PROMPT_STYLES."""
    reports, count = {}, len(PROMPT_STYLES) * rooms
    for k, style in enumerate(PROMPT_STYLES):
        say(f"prompt style: {style}")
        report = evaluate_rooms(
            rooms=rooms, seed=seed, true_boxes=True, model=model, tasks=tasks, folder=folder,
            style=style, say=say,
            progress=lambda done, _, k=k: progress(k * rooms + done, count),
        )  # fmt: skip
        reports[style] = report.json()
    return reports


def styles_table(reports: dict[str, dict[str, Any]]) -> Table:
    """Share of right answers by task, one row for each prompt style."""
    table = Table(title="right answers by prompt style")
    found = {
        name: [_nested(report, path) for report in reports.values()]
        for name, path in _SCORES.items()
    }
    found = {name: column for name, column in found.items() if any(s is not None for s in column)}
    table.add_column("prompt style")
    for name in found:
        table.add_column(name, justify="right")
    for row, style in enumerate(reports):
        shares = [column[row] for column in found.values()]
        table.add_row(style, *("" if share is None else f"{share:.1%}" for share in shares))
    return table


def _nested(report: Any, path: tuple[str, ...]) -> float | None:
    for key in path:
        report = report.get(key) if isinstance(report, dict) else None
    return report
