"""Durations of the stages of an answer, and the monitor that follows them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Monitor(Protocol):
    """Follows a question."""

    def stage(self, name: str, progress: float) -> None:
        """A stage begins at `progress` 0 .. 1. May raise Cancelled to stop the question."""


@contextmanager
def timed(
    stages_ms: dict[str, float], name: str, monitor: Monitor | None = None, progress: float = 0.0
) -> Iterator[None]:
    """Notify the monitor of a stage, and store its duration in milliseconds in `stages_ms`."""
    if monitor:
        monitor.stage(name, progress)
    start = time.perf_counter()
    yield
    stages_ms[name] = (time.perf_counter() - start) * 1000
