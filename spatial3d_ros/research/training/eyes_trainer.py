"""The loop of the first stage: `spatial3d train config/train/eyes.yaml`. It resumes from the last
checkpoint, `OUT/last.safetensors`, to the same losses.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.checkpoint import WEIGHTS, save_config
from spatial3d_ros.model.config import ModelConfig, load_config
from spatial3d_ros.research.rooms.generator import Catalog
from spatial3d_ros.research.rooms.view_store import VIEW_SIZE, ViewStore
from spatial3d_ros.research.training.eyes import EyesObjective, EyesSample, eyes_sample
from spatial3d_ros.research.training.metrics_log import MetricsLog, StepProgress
from spatial3d_ros.research.training.validation import VALIDATION_FIRST
from spatial3d_ros.storage import read_yaml

log = logging.getLogger(__name__)
LAST, SMALL = "last.safetensors", "small.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq")
_Config = TypeVar("_Config", bound=BaseModel)


class EyesRooms(BaseModel, extra="forbid", frozen=True):
    """Rendered rooms in `folder`: `rooms` from seed `first` on, `views` stored of each."""

    folder: str
    rooms: int = Field(ge=1)
    views: int = 8
    first: int = 0
    size: tuple[int, int] = VIEW_SIZE
    catalog: Catalog = "full"


class EyesConfig(BaseModel):
    """A run of the stage. batch: rooms of a step; shown: views of each. averaging: decay of the
    moving average of the weights, which is what is validated and saved as the model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["eyes"]
    model: str
    out: str
    init: str | None = None
    """Checkpoint of another run to start from, if there is none in `out`."""
    seed: int = 0
    steps: int = Field(ge=1)
    lr: float = Field(1e-3, gt=0.0)
    warmup: int = 100
    decay: float = Field(0.2, ge=0.0, le=1.0)
    """Share of the steps, at the end, in which the rate falls to zero."""
    weight_decay: float = 0.01
    clip: float = 1.0
    averaging: float = Field(0.99, ge=0.0, lt=1.0)
    batch: int = Field(2, ge=1)
    shown: int = Field(4, ge=1)
    rendered: EyesRooms
    validation_rooms: int = Field(32, ge=1)
    workers: int = Field(0, ge=0)
    """Processes that render rooms and make samples; 0: the process that trains."""
    save_every: int = 200
    evaluate_every: int = 500
    log_every: int = 20


def train_eyes(config: EyesConfig) -> Path:
    """Run to `config.steps`; returns the folder of the trained tower: `config.yaml` and weights
    with the names of a `SpatialModel`.
    """
    torch.manual_seed(config.seed)
    model = load_config(config.model)
    run, rooms = _Run(config, model), config.rendered
    store = ViewStore(
        Path(rooms.folder), rooms.rooms, rooms.views, rooms.first, rooms.size, rooms.catalog
    )
    held_out = replace(store, rooms=config.validation_rooms, first=VALIDATION_FIRST)
    sums: Counter[str] = Counter()
    metrics: MetricsLog | None = None
    with StepProgress(run.step, config.steps, shown=True) as progress:
        samples = DataLoader(
            EyesSamples(config, model, store, run.step),
            batch_size=None,
            num_workers=config.workers,
            prefetch_factor=4 if config.workers else None,
        )
        for step, sample in enumerate(samples, start=run.step + 1):
            found = run.train_step(step, sample.to(run.device))
            sums.update(found)
            metrics = metrics or MetricsLog(run.out, found, step - 1)
            progress.step(step)
            last = step == config.steps
            if step % config.log_every == 0 or last:
                metrics.add(step, {name: value / config.log_every for name, value in sums.items()})
                sums.clear()
            if step % config.evaluate_every == 0 or last:
                scores = run.validate(held_out)
                (run.out / f"validation_{step:06d}.json").write_text(json.dumps(scores, indent=2))
                log.info("step %d: %s", step, scores)
            if step % config.save_every == 0 or last:
                run.save()
    return run.out / "model"


def read_stage(path: str | Path) -> str:
    """The key `stage` of a training configuration, "" without one."""
    values = read_yaml(Path(path))
    return str(values.get("stage", "")) if isinstance(values, dict) else ""


def load_stage(kind: type[_Config], path: str | Path) -> _Config:
    """Read a run of a stage from YAML. Raises ConfigError naming file and key."""
    try:
        return kind.model_validate(read_yaml(Path(path)))
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {lines}") from error


class EyesSamples(Dataset[EyesSample]):
    """Item i: the sample of step `start` + 1 + i, drawn from seed and step alone."""

    def __init__(
        self, config: EyesConfig, model: ModelConfig, store: ViewStore, start: int
    ) -> None:
        self.config, self.model, self.store, self.start = config, model, store, start

    def __len__(self) -> int:
        return self.config.steps - self.start

    def __getitem__(self, index: int) -> EyesSample:
        if index >= len(self):
            raise IndexError(index)
        rng = np.random.default_rng((self.config.seed, self.start + 1 + index, 41))
        drawn = rng.integers(len(self.store), size=self.config.batch)
        rooms = [self.store[int(i)] for i in drawn]
        return eyes_sample(rooms, self.model, self.config.shown, rng)


class _Run:
    """Weights, their moving average and the optimiser, at the step where a run starts."""

    def __init__(self, config: EyesConfig, model: ModelConfig) -> None:
        self.config, self.model, self.out = config, model, Path(config.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.objective = EyesObjective(model).to(self.device)
        self.averaged = EyesObjective(model).to(self.device)
        self.averaged.load_state_dict(self.objective.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.objective.parameters(), config.lr, (0.9, 0.98), weight_decay=config.weight_decay
        )
        self.step = 0
        for path in (self.out / LAST, *([Path(config.init)] if config.init else [])):
            if path.is_file():
                self._load(load_file(path))
                log.info("%s: resumed from step %d", path, self.step)
                break

    def train_step(self, step: int, sample: EyesSample) -> dict[str, float]:
        """One step of the optimiser; returns the losses."""
        config = self.config
        loss, metrics = self.objective(sample)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.objective.parameters(), config.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * _factor(step, config)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        kept = min(config.averaging, step / (step + 9))
        with torch.no_grad():
            for mean, now in zip(
                self.averaged.parameters(), self.objective.parameters(), strict=True
            ):
                mean.lerp_(now, 1 - kept)
        self.step = step
        return metrics | {"loss": float(loss.detach())}

    def validate(self, rooms: ViewStore) -> dict[str, float]:
        """Accuracy by head on held-out rooms."""
        right, asked = Counter[str](), Counter[str]()
        self.averaged.eval()
        for room in rooms:
            sample = eyes_sample([room], self.model, self.config.shown, None).to(self.device)
            found = self.averaged.count(sample)
            right, asked = right + found[0], asked + found[1]
        return {name: round(right[name] / asked[name], 4) for name in sorted(asked)}

    def save(self) -> None:
        """Write the checkpoint and the model."""
        state = {f"weights.{n}": t for n, t in self.objective.state_dict().items()}
        state |= {f"averaged.{n}": t for n, t in self.averaged.state_dict().items()}
        for (name, _), moments in zip(
            self.objective.named_parameters(), self._moments(), strict=True
        ):
            state |= {f"{part}.{name}": moments[part] for part in _MOMENTS}
        _write(self.out / LAST, state | {"step": torch.tensor([self.step])})
        _write(self.out / SMALL, self._small(state))
        folder = self.out / "model"
        folder.mkdir(exist_ok=True)
        save_config(folder, self.model)
        _write(folder / WEIGHTS, self._network_tensors())

    def _small(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A third of the checkpoint, to keep or to send: averaged weights and optimiser, halved."""
        kinds = {"averaged": torch.float16} | dict.fromkeys(_MOMENTS, torch.bfloat16)
        small = {
            n: t.to(kinds[n.split(".")[0]]) for n, t in state.items() if n.split(".")[0] in kinds
        }
        return small | {"step": torch.tensor([self.step])}

    def _moments(self) -> list[dict[str, Tensor]]:
        return [self.optimizer.state[p] for p in self.objective.parameters()]

    def _network_tensors(self) -> dict[str, Tensor]:
        """Weights by their names in SpatialModel; the dense heads are kept beside them."""
        state = self.averaged.state_dict()
        renamed = {n.replace("appearance.", "objects.appearance."): t for n, t in state.items()}
        return {n: t.half() for n, t in renamed.items()}

    def _load(self, state: Mapping[str, Tensor]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {
                name.removeprefix(f"{prefix}."): tensor.float()
                for name, tensor in state.items()
                if name.startswith(f"{prefix}.")
            }

        self.step = int(state["step"])
        self.averaged.load_state_dict(part("averaged"))
        self.objective.load_state_dict(part("weights") or part("averaged"))
        moments = {name: part(name) for name in _MOMENTS}
        for name, parameter in self.objective.named_parameters():
            self.optimizer.state[parameter] = {
                "step": torch.tensor(float(self.step)),
                **{key: moments[key][name].to(self.device) for key in _MOMENTS},
            }


def _factor(step: int, config: EyesConfig) -> float:
    """Linear warm-up, a constant rate, and a linear fall over the last share of the steps."""
    falling = max(1.0, config.decay * config.steps)
    return min(1.0, step / max(1, config.warmup), (config.steps - step + 1) / falling)


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    part = path.with_name(f"{path.name}.part")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part)
    part.replace(path)
