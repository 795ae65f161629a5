"""Ablations: the same training with one part of the network changed, over several seeds.

`config/ablations/*.yaml` lists the changes; `spatial3d train` fills one folder for each run. Runs
with the same settings are trained once, even if several files list them.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from spatial3d_ros.errors import ConfigError, Spatial3DError
from spatial3d_ros.model.config import ModelConfig, load_config
from spatial3d_ros.research.training.config import TrainConfig, load_train_config
from spatial3d_ros.research.training.reconstruction import GUIDANCE
from spatial3d_ros.storage import read_yaml

MODEL, TRAIN, DONE, STRESS = "model.yaml", "train.yaml", "done.json", "stress.json"
FIRST = "first stage"
POINTMAPS = "pointmaps"
"""Value of `train.guidance` that stands for the decoder of `Ablation.pointmaps`."""
_IMMATERIAL = {
    **dict.fromkeys(
        ("model", "out", "init", "guidance", "workers", "save_every", "evaluate_every"), True
    ),
    "rendered": {"folder", "cache"},
}  # training settings that do not change the result
_Parsed = TypeVar("_Parsed", bound=BaseModel)
Report = dict[str, dict[str, dict[str, dict[str, float]]]]
"""Accuracy and n by kind of disturbance, level and kind of question."""


class Stress(BaseModel, extra="forbid", frozen=True):
    """Levels of robustness tests on the variants in `of`.

    views: numbers of views. jitter: largest shift of a box face as a share of the side length.
    missed, split: shares of the boxes. crowded: most objects in rooms without pixels. rooms: how
    many of the validation rooms are used.
    """

    of: tuple[str, ...] = Field(min_length=1)
    views: tuple[int, ...] = (3, 5, 8, 16, 24)
    jitter: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.3)
    missed: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3)
    split: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3)
    crowded: tuple[int, ...] = ()
    rooms: int = Field(32, ge=1)


class Variant(BaseModel, extra="forbid", frozen=True):
    """The differences from the base by dotted key: `model` as in config/models/, `train` as in
    config/train/. paper: the paper's result.
    """

    model: dict[str, Any] = {}
    train: dict[str, Any] = {}
    paper: str = ""


class Ablation(BaseModel, extra="forbid", frozen=True):
    """An ablation; all variants are compared with the first one.

    base: a training configuration. first: a training configuration of the unchanged network, run
    once for each seed; all variants start from its weights. pointmaps: one that trains a decoder of
    guidance, once for all seeds, for the variants with `guidance: pointmaps`. columns: heading ->
    name of the scores, the main one first. paper: heading of the column with the papers' results.
    """

    name: str = Field(pattern="^[a-z0-9_]+$")
    title: str
    base: Path
    first: Path | None = None
    pointmaps: Path | None = None
    out: Path
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    columns: dict[str, str] = Field(min_length=1)
    paper: str = ""
    variants: dict[str, Variant] = Field(min_length=1)
    stress: Stress | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Ablation:
        if len({slug(name) for name in self.variants}) < len(self.variants):
            raise ValueError("two variants have the same name apart from punctuation and case")
        if not self.pointmaps and any(
            v.train.get("guidance") == POINTMAPS for v in self.variants.values()
        ):
            raise ValueError("a variant needs a trained decoder: give pointmaps")
        unknown = sorted(set(self.stress.of) - set(self.variants)) if self.stress else []
        if unknown:
            raise ValueError(f"stress.of: no variant is called {', '.join(unknown)}")
        return self


@dataclass(frozen=True)
class Run:
    """One training: a variant with a seed. first: the run whose weights it starts from; decoder:
    the run that trains the decoder of its guidance.
    """

    variant: str
    seed: int
    folder: Path
    model: ModelConfig
    train: TrainConfig
    first: Run | None = None
    decoder: Run | None = None

    @property
    def settings(self) -> str:
        """All settings that determine the result; equal for identical runs."""
        origin = self.first.settings if self.first else _origin(self.train.init)
        decoder = self.decoder.settings if self.decoder else _origin(self.train.guidance)
        return _settings(self.model, self.train, origin + decoder)

    @property
    def before(self) -> list[Run]:
        """The runs that must end before it."""
        return [run for run in (self.first, self.decoder) if run is not None]


@dataclass(frozen=True)
class Result:
    """The result of a finished run. report: accuracy and n of the last validation by name; minutes:
    wall time since its last start.
    """

    folder: Path
    report: dict[str, dict[str, float]]
    minutes: float


def load_ablation(path: str | Path) -> Ablation:
    """Read an ablation from YAML. Raises ConfigError naming file and key."""
    return parsed(Ablation, read_yaml(Path(path)), str(path))


def plan(ablation: Ablation) -> list[Run]:
    """All runs, seed by seed, so that early results cover every variant.

    Raises ConfigError for an override with an unknown key or an invalid value.
    """
    base = load_train_config(ablation.base)
    network = load_config(base.model)
    before = load_train_config(ablation.first) if ablation.first else None
    decoder = None
    if ablation.pointmaps:
        points = load_train_config(ablation.pointmaps)
        shape = load_config(points.model)
        decoder = _run(ablation, POINTMAPS, Variant(), ablation.seeds[0], shape, points)
    runs = []
    for seed in ablation.seeds:
        first = _run(ablation, FIRST, Variant(), seed, network, before) if before else None
        for name, variant in ablation.variants.items():
            run = _run(ablation, name, variant, seed, network, base)
            taught = decoder if run.train.guidance == POINTMAPS else None
            runs.append(replace(run, first=first, decoder=taught))
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
    made = parsed(ModelConfig, model, source), parsed(TrainConfig, train, source)
    return Run(name, seed, folder, *made)


def override(values: dict[str, Any], changes: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A copy of nested settings, some replaced by dotted key. Raises ConfigError for a key that is
    not there.
    """
    made = copy.deepcopy(values)
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        node: Any = made
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            known = f"; there are {', '.join(node)}" if isinstance(node, dict) else ""
            raise ConfigError(f"{source}: {dotted}: no such setting{known}")
        node[last] = value
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
    """The stored robustness report of a run folder with the same levels, or None."""
    path = folder / STRESS
    kept = json.loads(path.read_text()) if path.is_file() else {}
    return kept["report"] if kept.get("settings") == levels(stress) else None


def levels(stress: Stress) -> dict[str, object]:
    """The settings that a stored report is valid for: all but the names of variants."""
    return stress.model_dump(mode="json", exclude={"of"})


def train_all(runs: Sequence[Run], root: Path, jobs: int, say: Callable[[str], None]) -> list[str]:
    """Train the unfinished runs, `jobs` at once, and log after each how many are left.

    A stopped run resumes. A failed run does not stop the others; returns the error messages.
    """
    firsts = [before for run in runs for before in run.before]
    failed = train_all(firsts, root, jobs, say) if firsts else []
    finished = results([*runs, *firsts], root)
    waiting: dict[str, Run] = {}
    for run in runs:
        if run.settings in finished or any(b.settings not in finished for b in run.before):
            continue
        found = {}
        if run.first is not None:
            found["init"] = str(finished[run.first.settings].folder / "model")
        if run.decoder is not None:
            found["guidance"] = str(finished[run.decoder.settings].folder / "model" / GUIDANCE)
        run = replace(run, train=run.train.model_copy(update=found))
        waiting.setdefault(run.settings, run)
    say(f"{len(runs)} runs: {len(waiting)} to train")
    return failed + _train_waiting(list(waiting.values()), jobs, say)


def _train_waiting(runs: Sequence[Run], jobs: int, say: Callable[[str], None]) -> list[str]:
    processes: list[subprocess.Popen] = []
    failed, spent = [], []
    with run_pool(jobs, processes) as pool:
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
    return failed


@contextmanager
def run_pool(jobs: int, processes: Sequence[subprocess.Popen]) -> Iterator[ThreadPoolExecutor]:
    """Threads that each wait for a process; an error or Ctrl+C in the block ends the processes."""
    pool = ThreadPoolExecutor(jobs)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    pool.shutdown()


def train_run(run: Run, processes: list[subprocess.Popen]) -> Result:
    """Train one run in a process with one thread, and store its last validation.

    The process is added to `processes`, so that the caller can end it. Raises Spatial3DError if it
    fails, or if another process trains into the folder.
    """
    folder, log_file = run.folder, run.folder.with_suffix(".log")
    folder.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log_file.open("a") as log:
        try:  # the process inherits the lock and holds it until it ends
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Spatial3DError(
                f"{folder}: another process is training into it; wait until it ends"
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
    scores = folder / f"validation_{run.train.steps:06d}.json"
    alone = (folder / "model" / GUIDANCE).is_file()  # nothing but a decoder of guidance
    report = {} if alone else json.loads(scores.read_text())
    result = Result(folder, report, (time.monotonic() - began) / 60)
    done = {"minutes": round(result.minutes, 2), "report": report}
    (folder / DONE).write_text(json.dumps(done, indent=2) + "\n")
    return result


def slug(name: str) -> str:
    """The name of a variant as the name of its folder."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def _settings(model: ModelConfig, train: TrainConfig, origin: str) -> str:
    return model.model_dump_json() + train.model_dump_json(exclude=_IMMATERIAL) + origin


def _origin(path: str | None) -> str:
    """The settings of the run that made the weights of a path, or the path itself."""
    if not path:
        return ""
    folder = Path(path).parent.parent if path.endswith(GUIDANCE) else Path(path).parent
    return _stored(folder) or path


def _stored(folder: Path) -> str | None:
    """Settings of the run in a folder; settings newer than the run have their defaults."""
    try:
        train = load_train_config(folder / TRAIN)
        origin = _origin(train.init) + _origin(train.guidance)
        return _settings(load_config(folder / MODEL), train, origin)
    except ConfigError:
        return None


def parsed(kind: type[_Parsed], values: Any, source: str) -> _Parsed:
    """Settings of a kind from a mapping. Raises ConfigError naming the source and the keys."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = "; ".join(
            ": ".join(filter(None, (".".join(map(str, e["loc"])), _message(e["msg"]))))
            for e in error.errors()
        )
        raise ConfigError(f"{source}: {lines}") from error


def _message(text: str) -> str:
    """A message without pydantic's own beginning."""
    return text.removeprefix("Value error, ")
