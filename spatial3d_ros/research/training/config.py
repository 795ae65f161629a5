"""What one training run is: `config/train/*.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.language.qa_generator import TASKS, Task
from spatial3d_ros.research.training.presets import load_preset
from spatial3d_ros.storage import read_yaml


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


class AnswersConfig(_Strict):
    """Questions answered in words: `questions` for each room, beside those that ask for a place; 0
    trains no part for them.
    """

    questions: int = Field(0, ge=0)
    tasks: tuple[Task, ...] = TASKS


class HomesConfig(_Strict):
    """Rooms like people's with statements like people's: boxes, labels and colours, made afresh at
    every step. The tokenizer learns their words from `sentences` of them. Rooms of few `objects`
    and statements of few `words` are read several times faster: to begin with.
    """

    first: int = 10_000_000
    batch: int = 0
    questions: int = 10
    sentences: int = 6000
    objects: int = Field(70, ge=10)
    words: int = Field(60, ge=5)


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
    """Factors of the losses (METHODS 1.11): grounding, names of objects, their roles in the
    question; words of answers, and which objects these are about; votes and objectness of referents
    (3.2), where `psa` is on: 0 leaves one out. Those of language (the sentence of a grounding) and
    guidance stand in the model's configuration (`s2`).
    """

    ground: float = 1.0
    name: float = 0.2
    role: float = 2.0
    vote: float = Field(0.5, ge=0.0)
    objectness: float = Field(0.2, ge=0.0)
    answer: float = 1.0
    about: float = 2.0


class TrainConfig(_Strict):
    """A run. `out` receives checkpoints, metrics and the trained model: the last one, and the best.

    Where lr, warmup (in steps) or weight_decay is missing, it is the preset's.
    """

    model: str
    out: str
    preset: str = "tiny"
    """What trains, and how fast: a name in config/train/presets/, or a YAML file."""
    init: str | None = None
    """Folder (or shipped name) of a model to start from: every tensor of it that fits is taken, all
    others start from random weights. The public weights of the large network are read too.
    """
    seed: int = 0
    steps: int = Field(2000, ge=1)
    lr: float = Field(gt=0.0)
    warmup: int = Field(ge=0)
    weight_decay: float = Field(ge=0.0)
    clip: float = 1.0
    precision: str = Field("auto", pattern="^(auto|no|bf16)$")
    accumulate: int = Field(1, ge=1)
    """Portions in which each process reads its rooms of a step: less memory, same result."""
    checkpointing: bool = False
    """Keep no activations inside the two towers, compute them again: less memory, same result."""
    save_every: int = Field(200, ge=1)
    evaluate_every: int = Field(200, ge=1)
    log_every: int = Field(20, ge=1)
    best: str | None = None
    """Validation score by which the best model is kept, such as rendered/relation; by default that
    of all questions on rendered rooms, or on boxes where there are none.
    """
    workers: int = 1
    tokenizer_sentences: int = 60_000
    rendered: RenderedConfig = RenderedConfig()
    boxes: BoxesConfig = BoxesConfig()
    answers: AnswersConfig = AnswersConfig()
    homes: HomesConfig = HomesConfig()
    noise: NoiseConfig = NoiseConfig()
    validation: ValidationConfig = ValidationConfig()
    weights: LossWeights = LossWeights()

    @model_validator(mode="before")
    @classmethod
    def _as_the_preset_says(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        optimizer = load_preset(values.get("preset", "tiny")).optimizer
        steps = values.get("steps", 2000)
        warmup = round(optimizer.warmup * steps) if isinstance(steps, int) else 0
        return {
            "lr": optimizer.lr,
            "warmup": warmup,
            "weight_decay": optimizer.weight_decay,
        } | values

    @property
    def origins(self) -> tuple[str, ...]:
        """Where rooms come from: "rendered", "boxes", "homes", or several."""
        sizes = {
            "rendered": self.rendered.batch, "boxes": self.boxes.batch, "homes": self.homes.batch
        }  # fmt: skip
        return tuple(name for name, batch in sizes.items() if batch)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the network is trained for, as its configuration will say."""
        return ("ground", *(self.answers.tasks if self.answers.questions else ()))

    @property
    def score(self) -> str:
        """Validation score by which the best model is kept."""
        return self.best or self.origins[0]


def load_train_config(path: str | Path) -> TrainConfig:
    """Read a run from YAML. Raises ConfigError naming file and key."""
    path = Path(path)
    values = read_yaml(path)
    try:
        return TrainConfig(**values)
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {lines}") from error
    except TypeError as error:
        raise ConfigError(
            f"{path}: cannot be read as a training configuration ({error})"
        ) from error
