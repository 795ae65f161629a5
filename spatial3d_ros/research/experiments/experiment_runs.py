"""Runs an experiment: rooms first, then seed by seed training and questions; nothing twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.research.experiments.ablations import Run, results, run_pool, train_all
from spatial3d_ros.research.experiments.experiment import Experiment, check_arms, stores
from spatial3d_ros.research.experiments.measuring import stored_answers
from spatial3d_ros.research.spread import Places, spread


def run_experiment(
    experiment: Experiment,
    path: Path,
    runs: Sequence[Run],
    jobs: int,
    say: Callable[[str], None],
    told: Callable[[], None] = lambda: None,
) -> list[str]:
    """Train and ask the given runs of the experiment in the file `path`; `told` is called after
    each seed. Returns error messages. Raises ConfigError before any work for arms that cannot be
    built, and for rooms that were rendered with other settings.
    """
    check_arms(experiment, list(runs))
    rooms = {
        (str(store.folder), store.name, store.first): store
        for run in runs
        for store in stores(experiment, run.train)
    }
    failed: list[str] = []
    for store in rooms.values():
        missing = store.missing
        if missing:
            say(f"{store.folder / store.name}: {len(missing)} rooms to render")
            made = spread(store.render, missing, Places(workers=jobs))
            failed += [f"room {seed}: {reason}" for seed, reason in made.failed.items()]
    for seed in dict.fromkeys(run.seed for run in runs):
        some = [run for run in runs if run.seed == seed]
        failed += train_all(some, experiment.out.parent, jobs, say)
        failed += _ask_all(experiment, path, some, jobs, say)
        told()
    return failed


def _ask_all(
    experiment: Experiment, path: Path, runs: Sequence[Run], jobs: int, say: Callable[[str], None]
) -> list[str]:
    """Ask the finished runs that have no answers of these settings yet."""
    found = results(runs, experiment.out.parent)
    waiting: dict[Path, Run] = {}
    for run in runs:
        done = found.get(run.settings)
        if done is not None and stored_answers(done.folder, experiment, run.variant) is None:
            waiting.setdefault(done.folder, run)
    if not waiting:
        return []
    say(f"{len(waiting)} runs to ask")
    processes: list[subprocess.Popen] = []

    def ask(folder: Path, run: Run) -> None:
        log = folder.with_suffix(".log")
        with log.open("a") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "spatial3d_ros.research.experiments.measuring",
                 str(path), run.variant, str(run.seed)],
                env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
            processes.append(process)
            if process.wait():
                raise Spatial3DError(f"{folder}: asking its questions failed, see {log}")

    failed = []
    with run_pool(jobs, processes) as pool:
        for future in [pool.submit(ask, folder, run) for folder, run in waiting.items()]:
            try:
                future.result()
            except Spatial3DError as error:
                failed.append(str(error))
    return failed
