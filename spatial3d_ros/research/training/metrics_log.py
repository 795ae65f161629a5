"""What a run writes down and shows while it goes on: `metrics.csv`, TensorBoard, progress."""

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
    """Rows of figures in `folder`/metrics.csv; and for TensorBoard, where that is installed.

    The header is fixed: a figure that a row lacks leaves its cell empty. Rows after step `start`,
    left by a run that was stopped, are removed.
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

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Write down the figures of a step."""
        rounded = {name: round(value, 5) for name, value in figures.items()}
        seconds = round(time.monotonic() - self.began, 1)
        self._write("a", [{"step": step, "seconds": seconds} | rounded])
        self.show(step, figures)

    def show(self, step: int, figures: Mapping[str, float], prefix: str = "") -> None:
        """Pass figures to TensorBoard alone."""
        if self.board is not None:
            for name, value in figures.items():
                self.board.add_scalar(prefix + name, value, step)
            self.board.flush()

    def _write(self, mode: str, rows: list[dict], *, header: bool = False) -> None:
        with self.path.open(mode, newline="") as file:
            writer = csv.DictWriter(file, self.names, extrasaction="ignore")
            if header:
                writer.writeheader()
            writer.writerows(rows)


class StepProgress:
    """A bar with the time left on a terminal; a log line for each row of figures otherwise."""

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

    def step(self, step: int) -> None:
        """Another step is done."""
        self.bar.update(self.task, completed=step)

    def row(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of the last steps."""
        if not self.bar.disable:
            self.bar.update(self.task, description=f"loss {figures['loss']:.3f}")
        elif self.shown:
            pace = (time.monotonic() - self.began) / (step - self.start)
            left = pace * (self.total - step) / 60
            told = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
            log.info(
                "step %d of %d, %.2f s a step, %.0f min left: %s",
                step, self.total, pace, left, told,
            )  # fmt: skip
