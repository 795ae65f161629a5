"""The configuration of a training run: `config/train/*.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.datasets.annotations import AnnotationFiles
from spatial3d_ros.research.datasets.scan_frames import FrameChoice
from spatial3d_ros.research.language.qa_generator import EDIT, KINDS, TASKS, Task
from spatial3d_ros.research.language.view_questions import SETS, SPECIAL
from spatial3d_ros.research.rooms.catalog import Catalog, Catalogs
from spatial3d_ros.research.rooms.view_store import OBJECTS, VIEW_SIZE
from spatial3d_ros.research.training.presets import load_preset
from spatial3d_ros.storage import read_yaml


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RenderedConfig(_Strict):
    """Rendered rooms, stored in `folder`, views of `size` (width, height). `batch`: rooms per step
    over all processes.
    """

    folder: str = "runs/rooms"
    rooms: int = 3000
    views: int = 8
    size: tuple[int, int] = VIEW_SIZE
    catalog: Catalogs = "basic"
    first: int = 0
    batch: int = 3
    questions: int = 12
    start: int = 0
    """First step with rendered rooms: words are learnt faster from boxes alone before it."""
    favour: dict[str, float] = {}
    """Factors on the proportions of kinds of questions (`questions.KINDS`), by kind."""
    objects: tuple[int, int] = OBJECTS
    """Fewest and most objects of a room."""
    shown: int | None = Field(None, ge=1)
    """How many of the views a step shows; by default a number of its own from half of them up."""
    sets: dict[str, float] | None = None
    """Questions of `view_questions.SETS` and SPECIAL in these proportions; by default all kinds."""
    flat: bool = False
    """Depth is unknown: the picture is a plane, and the boxes are those of objects in it."""
    answer: Literal["name", "box"] = "name"
    """The text after `<ground>`: the name of the target, or its box (METHODS 3.3)."""
    cache: str | None = None
    """Folder for the features of a tower of which nothing is trained. Images keep their colors
    then: without the cache each room is drawn in another light.
    """

    @model_validator(mode="after")
    def _known_sets(self) -> RenderedConfig:
        known = (*SETS, *SPECIAL)
        unknown = sorted(set(self.sets or {}) - set(known))
        if unknown:
            raise ValueError(f"sets: {unknown[0]}: unknown; there are {', '.join(known)}")
        if self.flat and self.shown != 1:
            raise ValueError("flat: needs shown: 1; the depth of a single picture is unknown")
        if self.shown is not None and self.shown > self.views:
            raise ValueError(f"shown: {self.shown} of {self.views} views")
        return self


class BoxesConfig(_Strict):
    """Rooms without images, generated at every step; objects have a label and a mean colour."""

    first: int = 1_000_000
    catalog: Catalog = "basic"
    batch: int = 24
    questions: int = 8


class AnswersConfig(_Strict):
    """Free-form questions in addition to grounding: `questions` per room; 0 disables them.

    kinds: those of `qa_generator.KINDS`, and "edit" (instructions whose outcome is a box), by
    default all of `tasks`. as_text: the answer is plain text after the question, as in the papers,
    for networks without an answer head. wording: all sentences of the training split, or the first
    of each family.
    """

    questions: int = Field(0, ge=0)
    tasks: tuple[Task, ...] = TASKS
    kinds: tuple[str, ...] | None = None
    as_text: bool = False
    wording: Literal["all", "template"] = "all"

    @model_validator(mode="after")
    def _known_kinds(self) -> AnswersConfig:
        known = [EDIT, *(kind for kinds in KINDS.values() for kind in kinds)]
        unknown = [kind for kind in self.kinds or () if kind not in known]
        if unknown:
            raise ValueError(f"kinds: {unknown[0]}: unknown; there are {', '.join(known)}")
        if EDIT in (self.kinds or ()) and not self.as_text:
            raise ValueError("kinds: edit needs as_text: its answer is a box")
        return self


class HomesConfig(_Strict):
    """Home rooms with referring expressions: boxes, labels and colours, generated at every step.

    The tokenizer is trained on `sentences` expressions. Rooms of at most `objects` objects and
    expressions of at most `words` words are much faster, for a first stage.
    """

    first: int = 10_000_000
    batch: int = 0
    questions: int = 10
    sentences: int = 6000
    objects: int = Field(70, ge=10)
    words: int = Field(60, ge=5)


class ScansConfig(_Strict):
    """ScanNet scenes below `folder` with `views` views each, and the questions of public files
    about them: `train` and, for validation, `held_out`. `batch`: scenes per step. Without `views`
    (0) the network gets the boxes alone, to compare with.

    cache: folder for the features of a tower of which nothing is trained; without it they are
    computed in every step.
    """

    folder: str = ""
    batch: int = 0
    views: int = Field(16, ge=0)
    choice: FrameChoice = "uniform"
    questions: int = Field(8, ge=1)
    train: AnnotationFiles = AnnotationFiles()
    held_out: AnnotationFiles = AnnotationFiles()
    cache: str | None = None

    @model_validator(mode="after")
    def _validates_what_is_trained(self) -> ScansConfig:
        untrained = set(self.held_out.tasks) - set(self.train.tasks)
        if untrained:
            raise ValueError(
                f"held_out has questions of tasks that train has not: {', '.join(untrained)}"
            )
        if not self.views and self.cache is not None:
            raise ValueError("cache: there are no views whose features could be kept")
        return self


class NoiseConfig(_Strict):
    """Errors of the boxes in training. `false_boxes`: largest number of boxes without an object for
    each true one, as with built-in proposals; `missed`, `split`: shares of the boxes without a box
    (no question asks for their object then), and in two parts.
    """

    boxes: bool = True
    false_boxes: float = Field(1.2, ge=0.0)
    missed: float = Field(0.0, ge=0.0, lt=1.0)
    split: float = Field(0.0, ge=0.0, le=1.0)


class ValidationConfig(_Strict):
    """Held-out rooms, rendered and boxes-only, with exact boxes and held-out sentence templates.
    `views` are stored per room; the network gets as many as in training.
    """

    rooms: int = Field(24, ge=1)
    views: int = 8
    questions: int = 12


class LossWeights(_Strict):
    """Factors of the losses (METHODS 1.11); 0 disables one.

    Grounding; names of objects; their roles in the question; looks that it asks for; tokens of
    answers, and the objects that a question is about; votes and objectness of referents (METHODS
    3.2), with `psa`; names that both sides of the grounding head tell (`head_names.HeadNames`).
    The factors of the grounding sentence and of guidance are in the model's configuration (`s2`).
    """

    ground: float = 1.0
    name: float = 0.2
    role: float = 2.0
    asked: float = 1.0
    vote: float = Field(0.5, ge=0.0)
    objectness: float = Field(0.2, ge=0.0)
    answer: float = 1.0
    about: float = 2.0
    head_names: float = Field(0.0, ge=0.0)


class TrainConfig(_Strict):
    """A run. `out` receives checkpoints, metrics and the trained model: the last one, and the best.

    Defaults of lr, warmup (in steps) and weight_decay are those of the preset.
    """

    model: str
    out: str
    preset: str = "tiny"
    """Trained parameters and optimiser: a name in config/train/presets/, or a YAML file."""
    init: str | None = None
    """Folder (or shipped name) of a model to start from. Tensors with a matching shape are loaded,
    others start from random weights. The public weights of the large network are accepted too.
    """
    init_parts: tuple[str, ...] = ("",)
    """Beginnings of the names of the tensors that `init` gives; by default all of them."""
    tower: str | None = None
    """Folder of a model whose vision tower takes the place of that of `init`: the first stage's.
    The projector starts from random weights then.
    """
    guidance: str | None = None
    """File with the trained branch of reconstruction guidance (preset `guidance`), which presets
    that freeze its decoder need.
    """
    seed: int = 0
    steps: int = Field(2000, ge=1)
    lr: float = Field(gt=0.0)
    warmup: int = Field(ge=0)
    weight_decay: float = Field(ge=0.0)
    clip: float = 1.0
    optimizer_bits: Literal[8, 32] = 32
    """Bits of the optimiser's states; 8 needs the extra `quantize`."""
    precision: str = Field("auto", pattern="^(auto|no|bf16)$")
    accumulate: int = Field(1, ge=1)
    """Micro-batches per step and process: less memory, same result."""
    checkpointing: bool = False
    """Recompute the activations of both towers in the backward pass: less memory, same result."""
    save_every: int = Field(200, ge=1)
    evaluate_every: int = Field(200, ge=1)
    log_every: int = Field(20, ge=1)
    best: str | None = None
    """Validation score of the best model, such as rendered/relation; by default that of all
    questions on rendered rooms, or on boxes-only rooms if none are rendered.
    """
    workers: int = 1
    tokenizer_sentences: int = 60_000
    rendered: RenderedConfig = RenderedConfig()
    boxes: BoxesConfig = BoxesConfig()
    answers: AnswersConfig = AnswersConfig()
    homes: HomesConfig = HomesConfig()
    scans: ScansConfig = ScansConfig()
    noise: NoiseConfig = NoiseConfig()
    validation: ValidationConfig = ValidationConfig()
    weights: LossWeights = LossWeights()

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, values: Any) -> Any:
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
        """Sources of the rooms: "rendered", "boxes", "homes", "scans", or several."""
        sizes = {
            "rendered": self.rendered.batch, "boxes": self.boxes.batch, "homes": self.homes.batch,
            "scans": self.scans.batch,
        }  # fmt: skip
        return tuple(name for name, batch in sizes.items() if batch)

    @property
    def sees(self) -> bool:
        """Whether some rooms have views."""
        return bool(self.rendered.batch or (self.scans.batch and self.scans.views))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that the network is trained for, as stored in its configuration."""
        conditioned = self.answers.questions and not self.answers.as_text
        generated = self.answers.tasks if conditioned else ()
        public = self.scans.train.tasks if self.scans.batch else ()
        return ("ground", *dict.fromkeys((*generated, *public)))

    @property
    def score(self) -> str:
        """Validation score that selects the best model."""
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
