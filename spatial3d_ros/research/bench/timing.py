"""Timing of a piece of work with the clock of `torch.utils.benchmark`, which waits for the GPU."""

from __future__ import annotations

import statistics
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.utils import benchmark


def run_times_ms(work: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds of each of `repeats` runs, after one warm-up run."""
    times = timeit.repeat(work, timer=benchmark.timer, repeat=repeats + 1, number=1)
    return [1e3 * seconds for seconds in times[1:]]


def median_ms(work: Callable[[], object], repeats: int) -> float:
    """Median milliseconds of a run."""
    return statistics.median(run_times_ms(work, repeats))


def least_ms(work: Callable[[], object], repeats: int) -> float:
    """Least milliseconds of a run, the measure that other load on the machine changes least."""
    return min(run_times_ms(work, repeats))


def summary_ms(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Least and median milliseconds of a run, and its least processor time."""
    wall = run_times_ms(work, repeats)
    processor = timeit.repeat(work, timer=time.process_time, repeat=repeats, number=1)
    return {
        "least": min(wall),
        "median": statistics.median(wall),
        "processor": 1e3 * min(processor),
    }


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread and no gradients, as on a robot whose other cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
