"""Learning curves of training runs: loss, accuracy while training, accuracy on held-out rooms.

Read from what a run writes into its folder: `metrics.csv`, and `validation_NNNNNN.json` after each
validation.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.evaluation.drawing import OTHER, TRUTH
from spatial3d_ros.evaluation.pictures import DPI, PALETTE

METRICS = "metrics.csv"
ACCURACY = "/accuracy"
_VALIDATION = re.compile(r"validation_(\d+)\.json")
_DASHES = ("-", "--", ":", "-.")

Points = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Run:
    """A training run: figures by name as (steps, values); `held_out` accuracies in [0, 1] by source
    of rooms ("boxes") and by kind of question ("boxes/relation").
    """

    name: str
    figures: dict[str, Points]
    held_out: dict[str, Points]


def read_run(folder: Path) -> Run:
    """What a run has written until now.

    Raises ConfigError where there is no metrics.csv, it holds no row, or a file cannot be read.
    """
    path = folder / METRICS
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; give a folder that a training writes to (out)")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ConfigError(f"{path}: no row yet; the first comes after `log_every` steps")
    try:
        names = [name for name in rows[0] if name not in ("step", "seconds")]
        figures = {
            name: _points([(row["step"], row[name]) for row in rows if row[name]]) for name in names
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not the figures of a training ({error})") from error
    return Run(folder.name, figures, _held_out(folder))


def draw_curves(runs: Sequence[Run], out: Path, title: str = "Learning curves") -> Path:
    """A picture with loss, training accuracy and held-out accuracy of some runs, by step."""
    figure = Figure(figsize=(13.0, 4.4), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=14, fontweight="bold", color=TRUTH, x=0.01, ha="left")
    loss, train, held_out = figure.subplots(1, 3)
    sources = list(dict.fromkeys(
        name.removesuffix(ACCURACY) for run in runs for name in (*run.figures, *run.held_out)
        if name.endswith(ACCURACY) or (name in run.held_out and "/" not in name)
    ))  # fmt: skip
    several = len(runs) > 1
    for k, run in enumerate(runs):
        dash = _DASHES[k % len(_DASHES)]
        told = f"{run.name}, " if several else ""
        if "loss" in run.figures:
            steps, values = run.figures["loss"]
            loss.plot(steps, values, color=TRUTH, alpha=0.25, linewidth=1, linestyle=dash)
            loss.plot(steps, _smooth(values), color=TRUTH, linestyle=dash, label=run.name)
        for name, (steps, values) in run.figures.items():
            if name.endswith(ACCURACY) and len(steps):
                source = name.removesuffix(ACCURACY)
                color = PALETTE[sources.index(source) % len(PALETTE)]
                train.plot(
                    steps, 100 * _smooth(values), color=color, linestyle=dash, label=told + source
                )
        for source, (steps, values) in run.held_out.items():
            if "/" in source:
                continue
            color = PALETTE[sources.index(source) % len(PALETTE)]
            held_out.plot(
                steps, 100 * values, "o", color=color, linestyle=dash, markersize=4,
                label=told + source,
            )  # fmt: skip
    if any("loss" in run.figures for run in runs):
        loss.set_yscale("log")
    _axes(loss, "training loss", several)
    _axes(train, "right object first in training, %", True)
    _axes(held_out, "right object first in held-out rooms, %", True)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    return out


def curves_table(runs: Sequence[Run]) -> str:
    """The held-out accuracies as a table in Markdown: a row for each run and kind of question, a
    column for each validated step.
    """
    steps = sorted({int(s) for run in runs for at, _ in run.held_out.values() for s in at})
    if not steps:
        return "No validation yet."
    lines = ["| run | questions | " + " | ".join(f"step {s}" for s in steps) + " |"]
    lines.append("|---|---|" + "---:|" * len(steps))
    for run in runs:
        for source, (at, values) in run.held_out.items():
            known = dict(zip(at.astype(int).tolist(), values.tolist(), strict=True))
            cells = (f"{known[s]:.1%}" if s in known else "" for s in steps)
            lines.append(f"| {run.name} | {source} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _held_out(folder: Path) -> dict[str, Points]:
    found: dict[str, list[tuple[str, float]]] = {}
    for path in sorted(folder.glob("validation_*.json")):
        match = _VALIDATION.fullmatch(path.name)
        if match is None:
            continue
        try:
            scores = json.loads(path.read_text())
            for name, score in scores.items():
                if name.count("/") <= 1:
                    found.setdefault(name, []).append((match[1], score["accuracy"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path}: not the scores of a validation ({error!r})") from error
    return {source: _points(pairs) for source, pairs in found.items()}


def _points(pairs: Sequence[tuple[str, str | float]]) -> Points:
    return np.array([float(x) for x, _ in pairs]), np.array([float(y) for _, y in pairs])


def _smooth(values: np.ndarray) -> np.ndarray:
    """A running mean of up to nine neighbours, shorter at both ends."""
    reach = min(4, len(values) // 4)
    return np.array([values[max(0, k - reach) : k + reach + 1].mean() for k in range(len(values))])


def _axes(axes: Axes, title: str, legend: bool) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=TRUTH)
    axes.set_xlabel("step", fontsize=9, color=OTHER)
    axes.tick_params(colors=OTHER, labelsize=8, length=3)
    axes.grid(color="#000000", alpha=0.08, linewidth=0.6)
    if legend and axes.lines:
        axes.legend(fontsize=8, frameon=False, labelcolor=TRUTH)
    if not axes.lines:
        axes.text(0.5, 0.5, "none yet", transform=axes.transAxes, ha="center", color=OTHER)
    for spine in axes.spines.values():
        spine.set_color("#c9ced6")
