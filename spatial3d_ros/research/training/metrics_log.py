"""Metrics of a run: `metrics.csv`, TensorBoard, progress bar."""

from __future__ import annotations

import csv
import importlib.util
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)
console = Console(stderr=True)


class MetricsLog:
    """Metrics in `folder`/metrics.csv, and in TensorBoard if it is installed.

    The header is fixed: the cell of a missing metric is empty. Rows after step `start`, which a
    stopped run may have left, are removed.
    """

    def __init__(self, folder: Path, names: Iterable[str], start: int) -> None:
        self.path = folder / "metrics.csv"
        self.names = ["step", "seconds", *names]
        kept = []
        if self.path.is_file():
            with self.path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if int(row["step"]) <= start]
        self._write("w", kept, header=True)
        self.began = time.monotonic() - (float(kept[-1]["seconds"]) if kept else 0.0)
        self.board = None
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of a step."""
        rounded = {name: round(value, 5) for name, value in metrics.items()}
        seconds = round(time.monotonic() - self.began, 1)
        self._write("a", [{"step": step, "seconds": seconds} | rounded])
        self.show(step, metrics)

    def show(self, step: int, metrics: Mapping[str, float], prefix: str = "") -> None:
        """Log metrics to TensorBoard only."""
        if self.board is not None:
            for name, value in metrics.items():
                self.board.add_scalar(prefix + name, value, step)
            self.board.flush()

    def _write(self, mode: str, rows: list[dict], *, header: bool = False) -> None:
        with self.path.open(mode, newline="") as file:
            writer = csv.DictWriter(file, self.names, extrasaction="ignore")
            if header:
                writer.writeheader()
            writer.writerows(rows)


class StepProgress:
    """A progress bar on a terminal, otherwise a log line for each row of metrics; and the time that
    the run took.
    """

    def __init__(self, start: int, total: int, *, shown: bool) -> None:
        self.start, self.total, self.shown = start, total, shown
        self.began = time.monotonic()
        columns = (
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self.bar = Progress(
            *columns,
            console=console,
            disable=not shown or not console.is_terminal,
            speed_estimate_period=300,
        )
        self.task = self.bar.add_task("", completed=start, total=total)

    def __enter__(self) -> StepProgress:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        done = int(self.bar.tasks[self.task].completed) - self.start
        if self.shown:
            log.info("%d steps took %.1f min", done, (time.monotonic() - self.began) / 60)

    def step(self, step: int) -> None:
        """Show that `step` is done."""
        self.bar.update(self.task, completed=step)

    def row(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of the last steps."""
        if not self.bar.disable:
            self.bar.update(self.task, description=f"loss {metrics['loss']:.3f}")
        elif self.shown:
            pace = (time.monotonic() - self.began) / (step - self.start)
            left = pace * (self.total - step) / 60
            values = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            log.info(
                "step %d of %d, %.2f s a step, %.0f min left: %s",
                step, self.total, pace, left, values,
            )  # fmt: skip
