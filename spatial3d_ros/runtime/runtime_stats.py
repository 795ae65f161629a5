"""Durations and rates for diagnostics; limits of how often to log and to accept questions."""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np


class Durations:
    """The last `size` durations in milliseconds."""

    def __init__(self, size: int = 2000) -> None:
        self._values: deque[float] = deque(maxlen=size)

    def add(self, milliseconds: float) -> None:
        """Record one duration in milliseconds."""
        self._values.append(milliseconds)

    def summary(self) -> str:
        """Median, 99th percentile and maximum as text; empty before the first duration."""
        values = list(self._values)
        if not values:
            return ""
        median, high = np.percentile(values, (50, 99))
        return f"{median:.2f} / {high:.2f} / {max(values):.2f} ms (p50 / p99 / max)"


class Rate:
    """Counts events and computes their rate over the last `window` ticks."""

    def __init__(self, window: int = 5) -> None:
        self.count = 0
        self._last_event = time.monotonic()
        self._ticks: deque[tuple[float, int]] = deque([(self._last_event, 0)], maxlen=window + 1)

    def add(self) -> None:
        """Count one event."""
        self.count += 1
        self._last_event = time.monotonic()

    def tick(self) -> None:
        """Move the window; call it at regular intervals."""
        self._ticks.append((time.monotonic(), self.count))

    @property
    def hz(self) -> float:
        """Events per second over the window."""
        (start, first), (end, last) = self._ticks[0], self._ticks[-1]
        return (last - first) / (end - start) if end > start else 0.0

    @property
    def idle_s(self) -> float:
        """Seconds since the last event, or since construction."""
        return time.monotonic() - self._last_event


class Throttle:
    """Limits how often a message with the same key is logged: once in `period_s` seconds."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._logged: dict[str, float] = {}

    def __call__(self, key: str) -> bool:
        """Whether to log the message of this key now."""
        now = time.monotonic()
        if now - self._logged.get(key, -self._period_s) < self._period_s:
            return False
        self._logged[key] = now
        return True


class RateLimit:
    """Admits at most `per_second` events in any second; thread-safe."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._lock = threading.Lock()

    def __call__(self, per_second: float) -> bool:
        """Whether one more event is admitted now."""
        now = time.monotonic()
        with self._lock:
            while self._times and now - self._times[0] >= 1.0:
                self._times.popleft()
            if len(self._times) >= per_second:
                return False
            self._times.append(now)
            return True
