"""Independent pieces of work over processes: those of torchrun, local ones, or a Ray cluster.

A piece that fails, or whose process dies, is tried once more; one that fails again is named with
its reason, and the others are kept.
"""

from __future__ import annotations

import datetime
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Generic, TypeVar

from spatial3d_ros.errors import ConfigError, NotAvailableError, Spatial3DError

Item = TypeVar("Item")
Result = TypeVar("Result")
Outcome = tuple[Any, str]
"""A result, and the reason why there is none ("" if there is one)."""
Say = Callable[[str], None]
WAIT = datetime.timedelta(hours=12)
"""So long a process waits for the results of the others; one that ends is noticed at once."""
LOCAL = "local"


class PieceError(Spatial3DError):
    """Pieces of work that failed, each with its reason."""


@dataclass(frozen=True)
class Places:
    """Where pieces run: `workers` processes of this machine, or the Ray cluster at the address
    `ray`: auto (the one that runs), local (a new one on this machine) or ray://HOST:10001.
    """

    workers: int = 1
    ray: str | None = None


HERE = Places()


@dataclass(frozen=True)
class Spread(Generic[Item, Result]):
    """The results in the order of the pieces, and the reason of each piece that failed twice."""

    results: dict[Item, Result]
    failed: dict[Item, str]


def rank() -> tuple[int, int]:
    """Number of this process of torchrun and how many there are; (0, 1) without torchrun."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def join() -> None:
    """Meet the other processes of torchrun, and take the GPU of this one."""
    import torch
    from torch import distributed

    if rank()[1] > 1 and not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        distributed.init_process_group("gloo", timeout=WAIT)


def over_ranks(items: Sequence[Item], work: Callable[[Item], Result]) -> list[Result]:
    """`work` of each item, every n-th in this process of n; each process returns all results.

    Raises what `work` raises, in every process; PieceError names the process that failed.
    """
    number, count = rank()
    if count == 1:
        return [work(item) for item in items]
    from torch import distributed

    join()
    mine: dict[int, Result] = {}
    reason = ""
    try:
        for k in range(number, len(items), count):
            mine[k] = work(items[k])
    except Exception as error:
        reason = f"process {number} of {count}: {_reason(error)}"
    told: list[Any] = [None] * count
    distributed.all_gather_object(told, (mine, reason))
    if problems := [text for _, text in told if text]:
        raise PieceError("; ".join(problems))
    results = {k: result for part, _ in told for k, result in part.items()}
    return [results[k] for k in range(len(items))]


def spread(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    places: Places = HERE,
    say: Say = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    tell: Callable[[Result], str] = lambda result: "done",
) -> Spread[Item, Result]:
    """`work` (importable, its arguments too) of all items: in this process, or over `places`.

    In one process an error ends the work; over several, see above. `say` hears what `tell` makes of
    each result. Raises PieceError if every piece fails, ConfigError or NotAvailableError without
    the cluster.
    """
    if rank()[1] > 1:
        return Spread(dict(zip(items, over_ranks(items, work), strict=True)), {})
    several = _here if places.workers == 1 else _local
    several = several if places.ray is None else _on_ray
    outcomes: dict[Item, Outcome] = {}
    progress(0, len(items))
    for item, outcome in several(work, items, places):
        outcomes[item] = outcome
        say(f"{item}: {outcome[1] or tell(outcome[0])}")
        progress(len(outcomes), len(items))
    for item in [item for item, (_, reason) in outcomes.items() if reason]:
        say(f"{item}: once more")
        outcomes |= several(work, [item], places)
    failed = {item: outcomes[item][1] for item in items if outcomes[item][1]}
    if failed and len(failed) == len(items):
        raise PieceError("; ".join(f"{item}: {reason}" for item, reason in failed.items()))
    return Spread({item: outcomes[item][0] for item in items if item not in failed}, failed)


def _here(
    work: Callable[[Item], Result], items: Sequence[Item], places: Places
) -> Iterator[tuple[Item, Outcome]]:
    for item in items:
        yield item, (work(item), "")


def _local(
    work: Callable[[Item], Result], items: Sequence[Item], places: Places
) -> Iterator[tuple[Item, Outcome]]:
    """Outcomes as they come, of new processes: a piece that ends its process ends no other."""
    count = min(places.workers, len(items))
    threads = max(1, (os.cpu_count() or 1) // count)
    # Spawned, not forked: the caller may have threads.
    pool: Executor = ProcessPoolExecutor(count, get_context("spawn"), _limit_threads, (threads,))
    with pool:
        pending = {pool.submit(_attempt, work, item): item for item in items}
        for future in as_completed(pending):
            try:
                yield pending[future], future.result()
            except BrokenProcessPool:
                yield pending[future], (None, "a process ended, of this piece or another")


def _on_ray(
    work: Callable[[Item], Result], items: Sequence[Item], places: Places
) -> Iterator[tuple[Item, Outcome]]:
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise NotAvailableError(
            "Ray is not installed: pip install 'spatial3d_ros[ray]', or use processes of this "
            "machine (--workers N)"
        ) from error
    try:
        if not ray.is_initialized():
            ray.init(log_to_driver=False, **_cluster(places))
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"ray: no cluster at '{places.ray}' ({error}); start one with `ray start --head`, or "
            "use processes of this machine (--workers N)"
        ) from error
    gpus = min(1, ray.cluster_resources().get("GPU", 0))
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_attempt)
    pending = {remote.remote(work, item): item for item in items}
    while pending:
        (done, *_), _ = ray.wait(list(pending))
        item = pending.pop(done)
        try:
            yield item, ray.get(done)
        except ray.exceptions.RayError as error:  # the worker or its machine ended
            yield item, (None, _reason(error))


def _cluster(places: Places) -> dict[str, Any]:
    """Arguments of ray.init; processes of a new cluster here import what this process can."""
    if places.ray != LOCAL:
        return {"address": places.ray}
    path = os.pathsep.join(filter(None, sys.path))
    return {"num_cpus": places.workers, "runtime_env": {"env_vars": {"PYTHONPATH": path}}}


def _attempt(work: Callable[[Item], Result], item: Item) -> Outcome:
    """The outcome of one piece; an error travels as text, because not all can be pickled."""
    try:
        return work(item), ""
    except Exception as error:
        return None, _reason(error)


def _reason(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return first if isinstance(error, Spatial3DError) else f"{type(error).__name__}: {first}"


def _limit_threads(count: int) -> None:
    """Before a piece imports torch: the processes share the cores."""
    os.environ["OMP_NUM_THREADS"] = str(count)
