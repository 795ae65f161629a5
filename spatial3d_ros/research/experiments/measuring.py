"""Asks a trained network of an experiment all held-out questions, once for each arm of its weights.

    python -m spatial3d_ros.research.experiments.measuring EXPERIMENT.yaml VARIANT SEED

runs in a process of its own. The answers go to the folder of the run (`answers_path`): whether
each question is answered right, so that arms can be compared question by question.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from tokenizers import Tokenizer
from torch import Tensor

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.channels import variation
from spatial3d_ros.model.checkpoint import load_model
from spatial3d_ros.model.generation import score_questions
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.research.experiments.ablations import TRAIN, Run, plan, results, slug
from spatial3d_ros.research.experiments.arms import asked_as, hurried, with_errors
from spatial3d_ros.research.experiments.correspondence_picture import draw_correspondence
from spatial3d_ros.research.experiments.experiment import (
    Experiment,
    TestArm,
    held_out,
    load_experiment,
    stores,
)
from spatial3d_ros.research.experiments.mediators import MEDIATORS
from spatial3d_ros.research.language.qa_generator import OpenQuestion
from spatial3d_ros.research.language.questions import Question
from spatial3d_ros.research.training.adapters import ADAPTER, load_adapter, merge_adapter
from spatial3d_ros.research.training.answers import answered, is_right_text
from spatial3d_ros.research.training.config import load_train_config
from spatial3d_ros.research.training.objective import Objective, chosen_targets, is_right
from spatial3d_ros.research.training.presets import load_preset
from spatial3d_ros.research.training.sample import QuestionedRoom, Sample
from spatial3d_ros.research.training.samples import Samples
from spatial3d_ros.research.training.setup import initial_network, with_cached_rooms
from spatial3d_ros.research.training.trainer import MEMORY
from spatial3d_ros.research.training.validation import VALIDATION_FIRST
from spatial3d_ros.storage import write_whole
from spatial3d_ros.tasks.prompt import Prompt

_BATCH = 4  # rooms
_PROBED = 32  # rooms that features are measured on
_CONSTANTS = 30
PICTURE = "attention.png"
"""Picture of the attention across views, in the folder of a run."""
TEXT = "text"
"""Set of the questions that are answered in words; their kinds are those of `qa_generator`."""


@dataclass(frozen=True)
class Asked:
    """The answers of a run. questions: hash of the texts; rooms, sets (questions,): room of each,
    and its set and subkind; those with an answer in words are last, of the set TEXT. chance
    (questions,): of guessing among the candidates, or of the best constant answer; arms: name ->
    right (questions,) and same_class (questions,) bool; measures: name -> number.
    """

    questions: str
    rooms: np.ndarray
    sets: list[str]
    chance: np.ndarray
    arms: dict[str, dict[str, np.ndarray]]
    measures: dict[str, float]

    def right(self, arm: str, column: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Right answers of an arm in a column, and their rooms; None without the arm."""
        if arm not in self.arms:
            return None
        kept = self.members(column)
        return self.arms[arm]["right"][kept], self.rooms[kept]

    def members(self, column: str) -> np.ndarray:
        """Which questions belong to a column; "all" are those that ask for an object."""
        """Which questions count for a column: "all", a set, or "set/subkind"."""
        if column == "all":
            return np.array([not s.startswith(f"{TEXT}/") for s in self.sets])
        marked = [column in s.split("/")[2:] for s in self.sets]
        return np.array(marked) | [f"{s}/".startswith(f"{column}/") for s in self.sets]


def asked_settings(experiment: Experiment, variant: str) -> dict[str, Any]:
    """What stored answers of a variant depend on besides its weights."""
    return {
        "rooms": experiment.rooms,
        "questions": experiment.questions,
        "held_out": experiment.held_out,
        "measures": list(experiment.measures),
        "arms": {n: a.model_dump(mode="json") for n, a in experiment.arms_of(variant).items()},
    }


def answers_path(folder: Path, experiment: Experiment, variant: str) -> Path:
    """Where the answers of a run are kept; several experiments may share a run."""
    return folder / f"answers_{experiment.name}_{slug(variant)}.json"


def stored_answers(folder: Path, experiment: Experiment, variant: str) -> Asked | None:
    """The answers in the folder of a run, if they are of the same settings."""
    path = answers_path(folder, experiment, variant)
    if not path.is_file():
        return None
    values = json.loads(path.read_text())
    if values["settings"] != asked_settings(experiment, variant):
        return None
    arms = {
        name: {key: _bits(text) for key, text in found.items()}
        for name, found in values["arms"].items()
    }
    rooms, chance = np.array(values["rooms"]), np.array(values["chance"])
    return Asked(values["digest"], rooms, values["sets"], chance, arms, values["measures"])


class Measurement:
    """A trained network with the held-out rooms of an experiment."""

    def __init__(self, experiment: Experiment, run: Run, folder: Path) -> None:
        self.experiment, self.run, self.folder = experiment, run, folder
        self.model, tokenizer = trained_network(run, folder)
        self.model.requires_grad_(False).eval()
        prompt = Prompt(tokenizer, self.model.config.s2.category_mode)
        train = held_out(experiment, run.train)
        self.store = stores(experiment, run.train)[-1]
        if train.rendered.cache is not None:
            train = with_cached_rooms(train, self.model, [self.store])
        rendered = train.rendered.model_copy(update={"questions": experiment.questions})
        self.config = train.model_copy(update={"rendered": rendered})
        self.samples = Samples(self.config, self.model.config, prompt, None, split="test")
        self.objective = Objective(self.model, prompt, train.weights).eval()

    @cached_property
    def rooms(self) -> list[QuestionedRoom]:
        """Held-out rooms with the features of their views; the questions are the same for all
        arms and seeds.
        """
        return [self._room(i) for i in range(len(self.store))]

    @torch.no_grad()
    def _room(self, index: int) -> QuestionedRoom:
        rendered = self.config.rendered
        rng = np.random.default_rng((VALIDATION_FIRST, index, 5))
        room = self.samples.rendered_room(self.store[index], rng, rendered.shown or rendered.views)
        if room.views is not None and "patches" not in room.views:
            patches = self.model.encode_views(room.views["pixels"])
            room = replace(room, views={**room.views, "patches": patches})
        return room

    def batches(self, arm: TestArm) -> Iterator[Sample]:
        """All rooms with questions, some at once, as an arm sees them."""
        rooms, _ = self.shown(arm)
        for first in range(0, len(rooms), _BATCH):
            yield self.samples.collate(rooms[first : first + _BATCH])

    def shown(self, arm: TestArm) -> tuple[list[QuestionedRoom], list[int]]:
        """The rooms with questions as an arm sees them, and the index of each of their questions
        among those of all rooms.
        """
        asked = [i for i, room in enumerate(self.rooms) if room.questions]
        rooms = [self.rooms[i] for i in asked]
        if arm.foreign:
            others = [rooms[(k + 1) % len(rooms)].views["patches"] for k in range(len(rooms))]
            rooms = [
                replace(room, views={**room.views, "patches": other})
                for room, other in zip(rooms, others, strict=True)
            ]
        if arm.views is not None:
            part = slice(arm.views) if arm.views > 0 else slice(arm.views, None)
            rooms = [
                replace(room, views={n: v[:, part] for n, v in room.views.items()})
                for room in rooms
            ]
        if arm.hurried:
            rooms = [hurried(room) for room in rooms]
        places = np.cumsum([0, *(len(room.questions) for room in rooms)]).tolist()
        parts, index = [], []
        for i, room, first in zip(asked, rooms, places, strict=False):
            for part, those in with_errors(room, arm, np.random.default_rng((i, 61))):
                parts.append(part)
                index += [first + k for k in those]
        return parts, index

    @torch.no_grad()
    def answers(self, arm: TestArm) -> dict[str, str]:
        """Whether each answer is right, and whether the chosen object is of the asked class (true
        for answers in words).
        """
        right: list[bool] = []
        same: list[bool] = []
        written: list[bool] = []
        with asked_as(self.model, arm):
            for sample in self.batches(arm):
                tokens = self.objective.prompt.tokens
                scene = self.model.encode_scene(sample.scenes, tokens)
                reading = score_questions(self.model, scene, sample.words, tokens)
                targets = chosen_targets(sample, scene, self.model, strict=True)
                right += is_right(reading, targets).tolist()
                same += _same_class(sample, reading.scores).tolist()
                if sample.answers is not None:
                    prompt = self.objective.prompt
                    written += answered(self.model, scene, prompt, tokens, sample.answers)
        order = np.argsort(self.shown(arm)[1])
        right, same = (np.array(bits)[order].tolist() for bits in (right, same))
        return {
            "right": _text(right + written), "same_class": _text(same + [True] * len(written)),
        }  # fmt: skip

    def measure(self) -> None:
        """Answer for all arms, measure the features, and write the answers."""
        asked = [(room, i) for i, room in enumerate(self.rooms) if room.questions]
        texts = [question.text for room, _ in asked for question in room.questions]
        written = [(q, i) for room, i in asked for q in room.open_questions]
        texts += [question.text for question, _ in written]
        arms = self.experiment.arms_of(self.run.variant)
        found = {
            "settings": asked_settings(self.experiment, self.run.variant),
            "digest": sha256("\n".join(texts).encode()).hexdigest()[:16],
            "rooms": [i for room, i in asked for _ in room.questions] + [i for _, i in written],
            "sets": [f"{q.kind}/{q.subkind}{_marks(q, r)}" for r, _ in asked for q in r.questions]
            + [f"{TEXT}/{q.kind}" for q, _ in written],
            "chance": [round(1 / n, 4) for room, _ in asked for n in room.candidates]
            + constant_chance([q for q, _ in written]),
            "arms": {name: self.answers(arm) for name, arm in arms.items()},
            "measures": self.measures(),
        }
        path = answers_path(self.folder, self.experiment, self.run.variant)
        write_whole(path, json.dumps(found) + "\n")

    @torch.no_grad()
    def measures(self) -> dict[str, float]:
        """Variation of the projected features, and what the experiment measures besides."""
        probed = self.rooms[:_PROBED]
        samples = [self.samples.collate([room]) for room in probed if room.questions]
        projected = [self.model.project_views(sample.scenes) for sample in samples]
        found = {"variation": float(variation(torch.cat([p.flatten(0, 1) for p in projected])))}
        if "correspondence" in self.experiment.measures and samples:
            draw_correspondence(self.objective, samples[0], self.folder / PICTURE)
        for name in self.experiment.measures:
            if name == "memory":
                found |= json.loads((self.folder / MEMORY).read_text())
            else:
                found |= MEDIATORS[name](self.objective, samples, projected)
        return {name: round(value, 4) for name, value in found.items()}


def trained_network(run: Run, folder: Path) -> tuple[SpatialModel, Tokenizer]:
    """The network of a finished run and its tokenizer; adapters are merged into the weights that
    the run started from.
    """
    if not (folder / "model" / ADAPTER).is_file():
        return load_model(folder / "model")
    started = load_train_config(folder / TRAIN)  # names the first stage, which `run` does not
    set_seed(started.seed)
    model, tokenizer = initial_network(started, load_preset(started.preset), folder)
    load_adapter(folder / "model", model)
    merge_adapter(model)
    return model, tokenizer


def _marks(question: Question, room: QuestionedRoom) -> str:
    """What is special of the target of a question, or "not" so."""
    marked = {name: not ids.isdisjoint(question.targets) for name, ids in room.marks.items()}
    return "".join(f"/{name}" if there else f"/not {name}" for name, there in marked.items())


def constant_chance(questions: Sequence[OpenQuestion]) -> list[float]:
    """Of each question, the share of questions of its kind that one and the same answer is right
    for, at best (of the most frequent ones).
    """
    best = {}
    for kind in {question.kind for question in questions}:
        right = [question.answers for question in questions if question.kind == kind]
        tried = Counter(answers[0] for answers in right).most_common(_CONSTANTS)
        best[kind] = max(fmean(is_right_text(text, r) for r in right) for text, _ in tried)
    return [round(best[question.kind], 4) for question in questions]


def _same_class(sample: Sample, scores: Tensor) -> Tensor:
    """Whether the best object of each question has the class of its target: bool (Q,)."""
    classes = sample.names.get("class")
    if classes is None or scores.shape[1] != sample.targets.shape[1]:
        return torch.zeros(len(scores), dtype=torch.bool)
    of = torch.nn.functional.pad(classes[sample.words.scene], (0, 1), value=-1)
    target = sample.targets.int().argmax(-1, keepdim=True)
    return (of.gather(1, scores.argmax(-1, keepdim=True)) == of.gather(1, target))[:, 0]


def _text(values: list[bool]) -> str:
    return "".join("1" if value else "0" for value in values)


def _bits(text: str) -> np.ndarray:
    return np.array([letter == "1" for letter in text])


def main(path: str, variant: str, seed: str) -> None:
    """Measure one run. Raises ConfigError if it is not finished."""
    experiment = load_experiment(path)
    assert isinstance(experiment, Experiment)
    runs = plan(experiment)
    run = next(r for r in runs if r.variant == variant and r.seed == int(seed))
    done = results([run], experiment.out.parent).get(run.settings)
    if done is None:
        raise ConfigError(f"{run.folder}: not trained yet")
    torch.set_num_threads(1)
    Measurement(experiment, run, done.folder).measure()


if __name__ == "__main__":
    main(*sys.argv[1:])
