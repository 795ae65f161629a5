"""The same tasks in other words: from one template each to what people type in a hurry.

Spatial 3D-LLM was trained and measured on templates; how far answers depend on them was left open.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.homes.object_names import misspell
from spatial3d_ros.research.language.templates import TEMPLATE

WORDINGS = {TEMPLATE: TEMPLATE, "train": "train", "test": "test", "hurried": "test"}
"""Each with the split its sentences are from: the first sentence of each family alone; all that
training knows; those kept for tests; and these without articles, marks and capitals, with slips.
"""
_DROPPED = 0.7  # share of articles
_SLIPS = 0.5  # share of sentences with one slip of the fingers
_SCORES = {
    "grounding": ("scores", "grounding", "right"),
    "distance": ("scores", "distance", "right"),
    "layout": ("scores", "layout", "right"),
    "ask": ("ask", "overall", "exact_match"),
    "caption": ("caption", "class_and_color"),
}


def split_of(wording: str) -> str:
    """Where the sentences of a wording are from. Raises ConfigError for an unknown one."""
    if wording not in WORDINGS:
        raise ConfigError(f"wording: '{wording}' is unknown; use {', '.join(WORDINGS)}")
    return WORDINGS[wording]


def worded(text: str, wording: str, seed: int) -> str:
    """A question in its wording; the same seed slips at the same places."""
    return hurried(text, random.Random(f"{seed} {text}")) if wording == "hurried" else text


def hurried(text: str, rng: random.Random) -> str:
    """As people type who have no time."""
    text = re.sub(r"[?!.]+(?=\s|$)", "", text.lower())
    text = re.sub(r"\b(?:the|an?) ", lambda m: "" if rng.random() < _DROPPED else m[0], text)
    return misspell(text, rng) if rng.random() < _SLIPS else text


def evaluate_wordings(
    *,
    rooms: int,
    seed: int,
    model: str,
    tasks: str,
    folder: Path,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, dict[str, Any]]:
    """The report of `evaluate_rooms` with true boxes for each of WORDINGS."""
    from spatial3d_ros.research.evaluation.rooms import evaluate_rooms  # uses the wordings above

    reports = {}
    for wording in WORDINGS:
        say(f"wording: {wording}")
        report = evaluate_rooms(
            rooms=rooms, seed=seed, true_boxes=True, model=model, tasks=tasks, folder=folder,
            wording=wording, say=say,
        )  # fmt: skip
        reports[wording] = report.json()
    return reports


def wordings_table(reports: dict[str, dict[str, Any]]) -> Table:
    """Share of right answers by task, a wording a row."""
    table = Table(title="right answers by wording")
    found = {
        name: [_at(report, path) for report in reports.values()] for name, path in _SCORES.items()
    }
    found = {name: column for name, column in found.items() if any(s is not None for s in column)}
    table.add_column("wording")
    for name in found:
        table.add_column(name, justify="right")
    for row, wording in enumerate(reports):
        shares = [column[row] for column in found.values()]
        table.add_row(wording, *("" if share is None else f"{share:.1%}" for share in shares))
    return table


def _at(report: Any, path: tuple[str, ...]) -> float | None:
    for key in path:
        report = report.get(key) if isinstance(report, dict) else None
    return report
