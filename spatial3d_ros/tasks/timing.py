"""The stages of an answer: how long each takes, and who watches them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Monitor(Protocol):
    """Watches a question; `stage` may raise Cancelled to stop it. progress 0 .. 1."""

    def stage(self, name: str, progress: float) -> None: ...


@contextmanager
def timed(
    stages: dict[str, float], name: str, monitor: Monitor | None = None, progress: float = 0.0
) -> Iterator[None]:
    """Tell the monitor of a stage, and write the milliseconds that it takes into `stages`."""
    if monitor:
        monitor.stage(name, progress)
    began = time.perf_counter()
    yield
    stages[name] = (time.perf_counter() - began) * 1000
