"""What each part of the network is worth: the same training with one part changed, over seeds.

`config/ablations/*.yaml` says what is changed; a run is a folder that `spatial3d train` fills. Runs
with the same settings are trained once, whichever file asks for them.
"""

from __future__ import annotations

import copy
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from spatial3d_ros.errors import ConfigError, Spatial3DError
from spatial3d_ros.model.config import ModelConfig, load_config
from spatial3d_ros.research.training.config import TrainConfig, load_train_config
from spatial3d_ros.storage import read_yaml

MODEL, TRAIN, DONE, STRESS = "model.yaml", "train.yaml", "done.json", "stress.json"
FIRST = "first stage"
_IMMATERIAL = {
    **dict.fromkeys(("model", "out", "init", "workers", "save_every", "evaluate_every"), True),
    "rendered": {"folder"},
}  # settings of a training that leave its result as it is
_Parsed = TypeVar("_Parsed", bound=BaseModel)
Report = dict[str, dict[str, dict[str, dict[str, float]]]]
"""Accuracy and n by kind of stress, level and kind of question."""


class Stress(BaseModel, extra="forbid", frozen=True):
    """Levels to try on the variants named in `of`: numbers of views; the largest shift of a face as
    a share of the box's side; the share of boxes that are missed; the share that is split; most
    objects in rooms without pixels. Asked about are the first `rooms` of the validation.
    """

    of: tuple[str, ...] = Field(min_length=1)
    views: tuple[int, ...] = (3, 5, 8, 16, 24)
    jitter: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.3)
    missed: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3)
    split: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3)
    crowded: tuple[int, ...] = ()
    rooms: int = Field(32, ge=1)


class Variant(BaseModel, extra="forbid", frozen=True):
    """What differs from the base, by dotted key: `model` as in config/models/, `train` as in
    config/train/. `paper` is what the paper reports for it.
    """

    model: dict[str, Any] = {}
    train: dict[str, Any] = {}
    paper: str = ""


class Ablation(BaseModel, extra="forbid", frozen=True):
    """An ablation. The first variant is the one that the others are compared with.

    `base` is a training configuration; so is `first`, by which the unchanged network is trained
    before, once for each seed, for all variants to start from. `columns` gives heading and name of
    the scores to show, the main one first; `paper` is the heading over the papers' figures.
    """

    name: str = Field(pattern="^[a-z0-9_]+$")
    title: str
    base: Path
    first: Path | None = None
    out: Path
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    columns: dict[str, str] = Field(min_length=1)
    paper: str = ""
    variants: dict[str, Variant] = Field(min_length=1)
    stress: Stress | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Ablation:
        if len({slug(name) for name in self.variants}) < len(self.variants):
            raise ValueError("two variants have names that differ in signs or capitals only")
        unknown = sorted(set(self.stress.of) - set(self.variants)) if self.stress else []
        if unknown:
            raise ValueError(f"stress.of: no variant is called {', '.join(unknown)}")
        return self


@dataclass(frozen=True)
class Run:
    """One training: a variant with a seed, after the run whose weights it starts from."""

    variant: str
    seed: int
    folder: Path
    model: ModelConfig
    train: TrainConfig
    first: Run | None = None

    @property
    def settings(self) -> str:
        """Everything that decides the result; equal for runs that would repeat each other."""
        origin = self.first.settings if self.first else _origin(self.train)
        return _settings(self.model, self.train, origin)


@dataclass(frozen=True)
class Result:
    """What a finished run has found: `report` is its last validation, accuracy and n by name;
    `minutes` of wall clock since it was last started.
    """

    folder: Path
    report: dict[str, dict[str, float]]
    minutes: float


def load_ablation(path: str | Path) -> Ablation:
    """Read an ablation from YAML. Raises ConfigError naming file and key."""
    return _parsed(Ablation, read_yaml(Path(path)), str(path))


def plan(ablation: Ablation) -> list[Run]:
    """All runs, seed by seed, so that early results cover every variant.

    Raises ConfigError for an override that is no setting, or whose value is not allowed.
    """
    base = load_train_config(ablation.base)
    network = load_config(base.model)
    before = load_train_config(ablation.first) if ablation.first else None
    runs = []
    for seed in ablation.seeds:
        first = _run(ablation, FIRST, Variant(), seed, network, before) if before else None
        for name, variant in ablation.variants.items():
            run = _run(ablation, name, variant, seed, network, base)
            runs.append(replace(run, first=first))
    return runs


def _run(
    ablation: Ablation,
    name: str,
    variant: Variant,
    seed: int,
    network: ModelConfig,
    base: TrainConfig,
) -> Run:
    source = f"ablation {ablation.name}, variant {name}"
    folder = ablation.out / slug(name) / f"seed{seed}"
    model = override(network.model_dump(mode="json"), variant.model, f"{source}, model")
    train = override(base.model_dump(mode="json"), variant.train, f"{source}, train")
    train |= {"model": str(folder / MODEL), "out": str(folder), "seed": seed}
    made = _parsed(ModelConfig, model, source), _parsed(TrainConfig, train, source)
    return Run(name, seed, folder, *made)


def override(values: dict[str, Any], changes: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A copy of nested settings, some replaced by dotted key. Raises ConfigError for a key that is
    not there.
    """
    made = copy.deepcopy(values)
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        place: Any = made
        for key in path:
            place = place.get(key) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            known = f"; there are {', '.join(place)}" if isinstance(place, dict) else ""
            raise ConfigError(f"{source}: {dotted}: no such setting{known}")
        place[last] = value
    return made


def results(runs: Sequence[Run], root: Path) -> dict[str, Result]:
    """The finished ones among `runs`, by settings; `root` holds the folders of all ablations."""
    wanted = {run.settings for run in runs}
    found = {}
    for path in sorted(root.glob(f"*/*/seed*/{DONE}")):
        settings = _stored(path.parent)
        if settings in wanted:
            done = json.loads(path.read_text())
            found[settings] = Result(path.parent, done["report"], done["minutes"])
    return found


def kept_report(folder: Path, stress: Stress) -> Report | None:
    """What was found in a run folder with the same levels, or None."""
    path = folder / STRESS
    kept = json.loads(path.read_text()) if path.is_file() else {}
    return kept["report"] if kept.get("settings") == levels(stress) else None


def levels(stress: Stress) -> dict[str, object]:
    """What a kept report is good for: everything but the names of variants."""
    return stress.model_dump(mode="json", exclude={"of"})


def train_all(runs: Sequence[Run], root: Path, jobs: int, say: Callable[[str], None]) -> list[str]:
    """Train what is not finished yet, `jobs` at once, and say after each what is left.

    A run that was stopped goes on where it was. One that fails does not hold up the others; what
    failed is returned in words.
    """
    firsts = [run.first for run in runs if run.first is not None]
    failed = train_all(firsts, root, jobs, say) if firsts else []
    finished = results([*runs, *firsts], root)
    waiting: dict[str, Run] = {}
    for run in runs:
        origin = finished.get(run.first.settings) if run.first else None
        if run.settings in finished or (run.first and origin is None):
            continue
        if origin is not None:
            init = {"init": str(origin.folder / "model")}
            run = replace(run, train=run.train.model_copy(update=init))
        waiting.setdefault(run.settings, run)
    say(f"{len(runs)} runs: {len(waiting)} to train")
    return failed + _train_waiting(list(waiting.values()), jobs, say)


def _train_waiting(runs: Sequence[Run], jobs: int, say: Callable[[str], None]) -> list[str]:
    processes: list[subprocess.Popen] = []
    failed, spent = [], []
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(train_run, run, processes): run for run in runs}
        for done, future in enumerate(as_completed(futures), start=1):
            run = futures[future]
            try:
                spent.append(future.result().minutes)
            except Spatial3DError as error:
                failed.append(str(error))
            how = "failed" if future.exception() else f"{spent[-1]:.1f} min"
            left = len(futures) - done
            about = sum(spent) / max(len(spent), 1) * left / jobs
            say(f"{run.variant}, seed {run.seed}: {how}; {left} left, about {about:.0f} min")
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    pool.shutdown()
    return failed


def train_run(run: Run, processes: list[subprocess.Popen]) -> Result:
    """Train one run in a process of its own, one thread wide, and keep its last validation.

    The process joins `processes`, for the caller to end. Raises Spatial3DError when it fails, or
    when the folder is being trained into already.
    """
    folder, log_file = run.folder, run.folder.with_suffix(".log")
    folder.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log_file.open("a") as log:
        try:  # the process inherits the lock, and holds it for as long as it lives
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Spatial3DError(
                f"{folder}: another process is training it; wait for it"
            ) from error
        if _stored(folder) != run.settings:  # a checkpoint of other settings must not be resumed
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        for name, config in ((MODEL, run.model), (TRAIN, run.train)):
            text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
            (folder / name).write_text(text)
        process = subprocess.Popen(
            [sys.executable, "-m", "spatial3d_ros", "train", str(folder / TRAIN)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        processes.append(process)
        code = process.wait()
        processes.remove(process)
    if code:
        raise Spatial3DError(f"{folder}: training ended with code {code}, see {log_file}")
    report = json.loads((folder / f"validation_{run.train.steps:06d}.json").read_text())
    result = Result(folder, report, (time.monotonic() - began) / 60)
    done = {"minutes": round(result.minutes, 2), "report": report}
    (folder / DONE).write_text(json.dumps(done, indent=2) + "\n")
    return result


def slug(name: str) -> str:
    """The name of a variant as the name of its folder."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def _settings(model: ModelConfig, train: TrainConfig, origin: str) -> str:
    return model.model_dump_json() + train.model_dump_json(exclude=_IMMATERIAL) + origin


def _origin(train: TrainConfig) -> str:
    """What the weights that a training starts from came from, wherever they lie."""
    return (_stored(Path(train.init).parent) or train.init) if train.init else ""


def _stored(folder: Path) -> str | None:
    """Settings of the run in a folder; those it did not know yet have their defaults."""
    try:
        train = load_train_config(folder / TRAIN)
        return _settings(load_config(folder / MODEL), train, _origin(train))
    except ConfigError:
        return None


def _parsed(kind: type[_Parsed], values: Any, source: str) -> _Parsed:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{source}: {lines}") from error
