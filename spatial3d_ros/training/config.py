"""What one training run is: `config/train/*.yaml`."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spatial3d_ros.errors import ConfigError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RenderedConfig(_Strict):
    """Rooms with pixels: rendered once, kept in `folder`. `batch` rooms a step over all
    processes.
    """

    folder: str = "runs/rooms"
    rooms: int = 3000
    views: int = 8
    first: int = 0
    batch: int = 3
    questions: int = 12


class BoxesConfig(_Strict):
    """Rooms without pixels: made afresh at every step, objects known by label and mean colour."""

    first: int = 1_000_000
    batch: int = 24
    questions: int = 8


class LossWeights(_Strict):
    """Factors of the losses (methods 1.11): grounding, next words, names of
    objects, their roles in the question."""

    ground: float = 1.0
    lang: float = 0.3
    name: float = 0.2
    role: float = 2.0


class TrainConfig(_Strict):
    """A run. `out` receives checkpoints, metrics.csv and, at the end, the model folder."""

    model: str
    out: str
    seed: int = 0
    steps: int = Field(2000, ge=1)
    lr: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    precision: str = Field("auto", pattern="^(auto|no|bf16)$")
    save_every: int = 200
    evaluate_every: int = 200
    workers: int = 1
    tokenizer_sentences: int = 60_000
    rendered: RenderedConfig = RenderedConfig()
    boxes: BoxesConfig = BoxesConfig()
    weights: LossWeights = LossWeights()


def load_train_config(path: str | Path) -> TrainConfig:
    """Read a run from YAML. Raises ConfigError naming file and key."""
    path = Path(path)
    try:
        return TrainConfig(**yaml.safe_load(path.read_text()))
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {lines}") from error
    except (OSError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path}: cannot be read as a training configuration ({error})"
        ) from error
