"""How long each stage of an answer takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def timed(stages: dict[str, float], name: str) -> Iterator[None]:
    """Write the milliseconds that the block takes into `stages`."""
    began = time.perf_counter()
    yield
    stages[name] = (time.perf_counter() - began) * 1000
