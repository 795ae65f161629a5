"""Running figures for diagnostics: durations, rates, and how often to repeat a complaint."""

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
        """Note one duration."""
        self._values.append(milliseconds)

    def summary(self) -> str:
        """Median, 99th percentile and maximum in words; empty before the first."""
        values = list(self._values)
        if not values:
            return ""
        median, high = np.percentile(values, (50, 99))
        return f"{median:.2f} / {high:.2f} / {max(values):.2f} ms (p50 / p99 / max)"


class Rate:
    """Counts events, and tells how many a second came over the last `window` ticks."""

    def __init__(self, window: int = 5) -> None:
        self.count = 0
        self._heard_at = time.monotonic()
        self._ticks: deque[tuple[float, int]] = deque([(self._heard_at, 0)], maxlen=window + 1)

    def add(self) -> None:
        """Note one event."""
        self.count += 1
        self._heard_at = time.monotonic()

    def tick(self) -> None:
        """Move the window on; call it regularly."""
        self._ticks.append((time.monotonic(), self.count))

    @property
    def hz(self) -> float:
        """Events a second over the window."""
        (start, first), (end, last) = self._ticks[0], self._ticks[-1]
        return (last - first) / (end - start) if end > start else 0.0

    @property
    def silence_s(self) -> float:
        """Seconds since the last event, or since the start."""
        return time.monotonic() - self._heard_at


class Throttle:
    """Says yes to a key once in `period_s` seconds."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._said: dict[str, float] = {}

    def __call__(self, key: str) -> bool:
        """Whether it is time to say it (again)."""
        now = time.monotonic()
        if now - self._said.get(key, -self._period_s) < self._period_s:
            return False
        self._said[key] = now
        return True


class RateLimit:
    """Says yes at most `per_second` times in any second; may be called from any thread."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._lock = threading.Lock()

    def __call__(self, per_second: float) -> bool:
        """Whether one more is allowed now."""
        now = time.monotonic()
        with self._lock:
            while self._times and now - self._times[0] >= 1.0:
                self._times.popleft()
            if len(self._times) >= per_second:
                return False
            self._times.append(now)
            return True
