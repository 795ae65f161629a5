"""An experiment on a claim of a paper: an ablation with a gate, arms at test time, and verdicts.

`config/experiments/*.yaml`, docs/experiments/README.md. `spatial3d ablate` runs it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.research.experiments.ablations import (
    Ablation,
    Run,
    load_ablation,
    override,
    parsed,
)
from spatial3d_ros.research.rooms.view_store import ViewStore
from spatial3d_ros.research.training.config import TrainConfig
from spatial3d_ros.research.training.setup import room_stores
from spatial3d_ros.storage import read_yaml, write_whole

FOREIGN = "patches of another room"
"""The arm of the gate: everything but the tower's features is of the room itself."""
SWITCHED = ("s2.mpe.", "s2.se.enabled", "slim.", "psa.")
"""Beginnings of the switches that an arm at test time can change."""
STORE = "store.json"


class TestArm(BaseModel, extra="forbid", frozen=True):
    """Weights of the variant `of`, asked with other switches (`model`), with the features of
    another room (`foreign`), with the first `views`, or with a negative number the last ones, with
    errors of the proposals (jitter: largest shift of a face as a share of the side length; missed,
    split: shares of the boxes, never that of the target missed, and the larger part of a split one
    is right), or in `hurried` typing.
    """

    of: str
    model: dict[str, Any] = {}
    foreign: bool = False
    views: int | None = None
    jitter: float = Field(0.0, ge=0.0, lt=0.5)
    missed: float = Field(0.0, ge=0.0, lt=1.0)
    split: float = Field(0.0, ge=0.0, le=1.0)
    hurried: bool = False


class Claim(BaseModel, extra="forbid", frozen=True):
    """`arm` minus `against` on a column is `below` or `above` a number of percentage points."""

    text: str
    arm: str
    against: str
    column: str = "all"
    below: float | None = None
    above: float | None = None
    paper: str = ""

    @property
    def bound(self) -> tuple[float, Literal["below", "above"]]:
        """The number of points and its side."""
        return (self.below, "below") if self.below is not None else (self.above or 0.0, "above")


class Gate(BaseModel, extra="forbid", frozen=True):
    """What the variant `of` must reach before a table is read: accuracy on all questions, loss
    of accuracy on `column` with the features of another room, variation of projected features.
    """

    of: str
    accuracy: float = 0.65
    foreign: float = 0.20
    column: str = "appearance"
    variation: float = 0.05


class Experiment(Ablation, extra="forbid", frozen=True):
    """columns: heading -> sets of questions (`view_questions.SETS`), "all", a kind of a set
    ("metric/hop"), a kind of question with an answer in words ("text/count"), or a mark of the
    target ("occluded", "not occluded", "moved", "not moved").

    question: what it asks; page: where its results go; rooms, questions: held-out ones; held_out:
    training settings by dotted key that differ for them, such as other rooms or sets of questions;
    measures: what else is measured (measuring.MEASURES).
    """

    question: str
    page: Path
    gate: Gate
    rooms: int = Field(256, ge=2)
    questions: int = Field(16, ge=1)
    held_out: dict[str, Any] = Field(default_factory=dict)
    at_test: dict[str, TestArm] = Field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    measures: tuple[
        Literal["depth", "correspondence", "votes", "box_text", "confidence", "memory"], ...
    ] = ()

    @model_validator(mode="after")
    def _known_arms(self) -> Experiment:
        arms = set(self.variants) | set(self.at_test)
        asked = {
            "gate.of": [self.gate.of],
            "at_test.of": [arm.of for arm in self.at_test.values()],
            "claims": [name for claim in self.claims for name in (claim.arm, claim.against)],
        }
        for key, names in asked.items():
            known = arms if key == "claims" else set(self.variants)
            unknown = [name for name in names if name not in known]
            if unknown:
                raise ValueError(f"{key}: no arm is called {unknown[0]}")
        if set(self.variants) & set(self.at_test) or FOREIGN in arms:
            raise ValueError("an arm at test time has the name of another arm")
        unknown = [c.column for c in self.claims if c.column not in self.columns.values()]
        if unknown or self.gate.column not in self.columns.values():
            raise ValueError(f"no column is of {(unknown or [self.gate.column])[0]}")
        for name, arm in self.at_test.items():
            for key in arm.model:
                if not key.startswith(SWITCHED):
                    raise ValueError(
                        f"at_test: {name}: {key} cannot be changed without training; these can: "
                        f"{', '.join(SWITCHED)}"
                    )
        return self

    def arms_of(self, variant: str) -> dict[str, TestArm]:
        """The arms that the weights of a variant answer for, itself first."""
        arms = {variant: TestArm(of=variant)}
        if variant == self.gate.of:
            arms[FOREIGN] = TestArm(of=variant, foreign=True)
        return arms | {name: arm for name, arm in self.at_test.items() if arm.of == variant}


def load_experiment(path: str | Path) -> Ablation:
    """An experiment, or an ablation where the file has no gate. Raises ConfigError."""
    values = read_yaml(Path(path))
    if not isinstance(values, dict) or "gate" not in values:
        return load_ablation(path)
    return parsed(Experiment, values, str(path))


def switched(model: ModelConfig, arm: TestArm, source: str) -> ModelConfig:
    """The configuration of an arm at test time. Raises ConfigError for an unknown switch."""
    return parsed(ModelConfig, override(model.model_dump(mode="json"), arm.model, source), source)


def check_arms(experiment: Experiment, runs: list[Run]) -> None:
    """Raise ConfigError for an arm at test time that cannot be built, before anything is
    trained.
    """
    for name, arm in experiment.at_test.items():
        of = next((run for run in runs if run.variant == arm.of), None)
        if of is None:  # a part of the arms was chosen, without that one
            continue
        switched(of.model, arm, f"experiment {experiment.name}, at_test {name}")
        for switch in ("s2.mpe.ray", "s2.se.enabled", "psa.enabled"):
            if arm.model.get(switch):
                raise ConfigError(
                    f"experiment {experiment.name}, at_test {name}: {switch} was not trained in "
                    f"'{arm.of}', so it cannot be switched on"
                )


def stores(experiment: Experiment, train: TrainConfig) -> list[ViewStore]:
    """The rooms of a run for training, and the held-out ones that are asked about. Raises
    ConfigError if the folder holds rooms of other settings.
    """
    held = held_out(experiment, train)
    asked = train.validation.model_copy(
        update={"rooms": experiment.rooms, "views": held.rendered.views}
    )
    own, _ = room_stores(train)
    _, other = room_stores(held.model_copy(update={"validation": asked}))
    made = [store for store in (own, other) if store is not None]
    if not made:
        raise ConfigError(f"experiment {experiment.name}: rendered.batch is 0; it needs views")
    for store in made:
        _check_store(store)
    return made


def held_out(experiment: Experiment, train: TrainConfig) -> TrainConfig:
    """The settings of the rooms and questions that a run is asked. Raises ConfigError."""
    source = f"experiment {experiment.name}, held_out"
    values = override(train.model_dump(mode="json"), experiment.held_out, source)
    return parsed(TrainConfig, values, source)


def _check_store(store: ViewStore) -> None:
    """Remember the settings of the rooms of a folder; refuse others."""
    path = store.folder / STORE
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps({"rooms": store.name}) + "\n")
        return
    found = json.loads(path.read_text()).get("rooms")
    if found != store.name:
        raise ConfigError(
            f"{store.folder}: its rooms were rendered as {found}, but {store.name} is asked for; "
            "give another rendered.folder, or delete this one"
        )
