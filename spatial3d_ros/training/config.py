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
    start: int = 0
    """First step with pixels: words are learnt faster from boxes alone, before."""


class BoxesConfig(_Strict):
    """Rooms without pixels: made afresh at every step, objects known by label and mean colour."""

    first: int = 1_000_000
    batch: int = 24
    questions: int = 8


class NoiseConfig(_Strict):
    """How far boxes in training are from true ones. `false_boxes`: at most so many boxes that are
    no object for each true one, as many as built-in proposals bring.
    """

    boxes: bool = True
    false_boxes: float = Field(1.2, ge=0.0)


class ValidationConfig(_Strict):
    """Held-out rooms with undisturbed boxes and held-out wordings, rendered and boxes-only alike.
    `views` are stored; the network sees as many as in training.
    """

    rooms: int = Field(24, ge=1)
    views: int = 8
    questions: int = 12


class LossWeights(_Strict):
    """Factors of the losses (methods 1.11): grounding, names of objects, their roles in the
    question. Those of language and guidance stand in the model's configuration (`s2`).
    """

    ground: float = 1.0
    name: float = 0.2
    role: float = 2.0


class TrainConfig(_Strict):
    """A run. `out` receives checkpoints, metrics.csv and, at the end, the model folder."""

    model: str
    out: str
    init: str | None = None
    """Model folder (or shipped name) to start from instead of random weights."""
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
    noise: NoiseConfig = NoiseConfig()
    validation: ValidationConfig = ValidationConfig()
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
