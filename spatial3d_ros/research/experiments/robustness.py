"""Robustness of a trained network: fewer views, shifted, missed or split boxes, and rooms with more
objects than in training.

All networks and levels use the same held-out rooms, questions, views and random draws, so that two
scores differ only by what they compare. Questions are generated once, about the objects that any of
the views shows; boxes are the true ones until they are disturbed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spatial3d_ros.model.checkpoint import load_model
from spatial3d_ros.research.experiments.ablations import (
    STRESS,
    Ablation,
    Report,
    Run,
    Stress,
    kept_report,
    levels,
    results,
)
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.rooms.view_store import RoomViews, ViewStore
from spatial3d_ros.research.training.augmentation import shift_faces, split_boxes
from spatial3d_ros.research.training.config import TrainConfig
from spatial3d_ros.research.training.objective import Objective
from spatial3d_ros.research.training.sample import QuestionedRoom, Sample
from spatial3d_ros.research.training.samples import Samples
from spatial3d_ros.research.training.validation import VALIDATION_FIRST, evaluate
from spatial3d_ros.tasks.prompt import Prompt

_BATCH = 4  # rooms, or questions of a room, in one batch


def measure_all(
    ablation: Ablation, runs: Sequence[Run], root: Path, say: Callable[[str], None]
) -> None:
    """Measure the finished runs of the variants in `stress.of` that have no report yet."""
    stress, found = ablation.stress, results(runs, root)
    for run in runs:
        done = found.get(run.settings)
        if stress is None or done is None or run.variant not in stress.of:
            continue
        if kept_report(done.folder, stress) is None:
            say(f"{run.variant}, seed {run.seed}: measuring robustness")
            measure_run(done.folder, run.train, stress)


def measure_run(folder: Path, train: TrainConfig, stress: Stress) -> None:
    """Measure the network that was trained into `folder` and write the report there.

    Only the kind `views` varies the number of views; the others use the most views of training.
    Raises CheckpointError when the folder has no weights.
    """
    report = RobustnessTest(folder, train, stress).report()
    kept = {"settings": levels(stress), "report": report}
    (folder / STRESS).write_text(json.dumps(kept, indent=2) + "\n")


class RobustnessTest:
    """A trained network and its test rooms."""

    def __init__(self, folder: Path, train: TrainConfig, stress: Stress) -> None:
        network, tokenizer = load_model(folder / "model")
        prompt = Prompt(tokenizer, network.config.s2.category_mode)
        self.stress, self.shown = stress, train.rendered.views
        self.objective = Objective(network, prompt, train.weights).eval()
        rendered = train.rendered.model_copy(update={"questions": train.validation.questions})
        config = train.model_copy(update={"rendered": rendered})
        self.samples = Samples(config, network.config, prompt, None, split="test")
        self.train = train

    @cached_property
    def rooms(self) -> list[QuestionedRoom]:
        """The stored rooms; the kind `crowded` needs none."""
        store = _store(self.train, self.stress)
        return [self._room(store, i) for i in range(min(self.stress.rooms, len(store)))]

    @torch.no_grad()
    def _room(self, store: ViewStore, index: int) -> QuestionedRoom:
        """Room `index` with features of all its views, in `order_by_new_objects`."""
        stored = store[index]
        room = self.samples.rendered_room(stored, _draw(index, 0), len(stored.rgb))
        views = {name: value[:, order_by_new_objects(stored)] for name, value in room.views.items()}
        views["patches"] = self.objective.model.encode_views(views["pixels"])
        return replace(room, views=views)

    def report(self) -> Report:
        """Every kind of disturbance at every level."""
        stress = self.stress
        half_right = {str(p): self._split(p, either=True) for p in stress.split}
        return {
            "crowded": {str(n): self._crowded(n) for n in stress.crowded},
            "views": {str(n): self._ask(lambda room, rng: [room], n) for n in stress.views},
            "jitter": {str(p): self._ask(_jittered(p)) for p in stress.jitter},
            "missed": {str(p): self._ask(_missed(p)) for p in stress.missed},
            "split": {str(p): self._split(p, either=False) for p in stress.split},
            "split, either part": half_right,
        }

    def _ask(
        self,
        change: Callable[[QuestionedRoom, np.random.Generator], list[QuestionedRoom]],
        views: int | None = None,
    ) -> dict[str, dict[str, float]]:
        samples = []
        rooms = [
            changed
            for i, room in enumerate(self.rooms)
            for changed in change(_seen(room, views or self.shown), _draw(i, 1))
        ]
        for first in range(0, len(rooms), _BATCH):
            samples.append(self.samples.collate(rooms[first : first + _BATCH]))
        return evaluate(self.objective, samples)

    def _crowded(self, most: int) -> dict[str, dict[str, float]]:
        """Rooms of boxes without pixels, with up to `most` objects."""
        rooms = []
        for i in range(min(self.stress.rooms, self.train.validation.rooms)):
            seed, rng = VALIDATION_FIRST + i, _draw(i, 2)
            objects = generate_room(seed, min_objects=3 * most // 4, max_objects=most).objects
            count = self.train.validation.questions
            rooms.append(self.samples.questioned(list(objects), rng, count, None))
        batches = range(0, len(rooms), _BATCH)
        return evaluate(
            self.objective, [self.samples.collate(rooms[b : b + _BATCH]) for b in batches]
        )

    def _split(self, share: float, *, either: bool) -> dict[str, dict[str, float]]:
        """The larger part of a split target is right, with `either` any of its two parts."""
        samples = []
        for first in range(0, len(self.rooms), _BATCH):
            pairs = [
                split(_seen(room, self.shown), share, _draw(first + i, 1))
                for i, room in enumerate(self.rooms[first : first + _BATCH])
            ]
            sample = self.samples.collate([room for room, _ in pairs])
            if either:
                sample = with_both_parts(sample, [whole for _, whole in pairs])
            samples.append(sample)
        return evaluate(self.objective, samples)


def order_by_new_objects(stored: RoomViews) -> np.ndarray:
    """An order of the views (V,): each adds the most objects that the views before it lack."""
    seen = stored.seen > 0
    order: list[int] = []
    while len(order) < len(seen):
        new = (seen & ~seen[order].any(0)).sum(1)
        new[order] = -1
        order.append(int(new.argmax()))
    return np.array(order)


def split(
    room: QuestionedRoom, share: float, rng: np.random.Generator
) -> tuple[QuestionedRoom, np.ndarray]:
    """Cut that share of the boxes in two across their longest side, at 30 to 70 % of it.

    The larger part keeps the object; the smaller is a box of its own in a random slot. Also returns
    for every slot (n,) the slot of the larger part of its object.
    """
    count = len(room.boxes)
    boxes, small, cut = split_boxes(room.boxes, share, rng)
    boxes = np.concatenate([boxes, small])
    whole = np.concatenate([np.arange(count), cut])
    order = np.argsort(np.concatenate([np.arange(count), rng.uniform(-1, count, len(cut))]))
    owners = [*room.owners, *[None] * len(cut)]
    slot = np.argsort(order)
    moved = replace(room, boxes=boxes[order], owners=[owners[i] for i in order])
    return moved, slot[whole[order]]


def with_both_parts(sample: Sample, whole: Sequence[np.ndarray]) -> Sample:
    """Count both parts of a split target as right; `whole`: from `split`, for each room."""
    columns = torch.arange(sample.targets.shape[1]).repeat(len(whole), 1)
    for scene, slots in enumerate(whole):
        columns[scene, : len(slots)] = torch.from_numpy(slots)
    return replace(sample, targets=sample.targets.gather(1, columns[sample.words.scene]))


def _jittered(most: float) -> Callable[[QuestionedRoom, np.random.Generator], list[QuestionedRoom]]:
    return lambda room, rng: [replace(room, boxes=shift_faces(room.boxes, most, rng))]


def _missed(share: float) -> Callable[[QuestionedRoom, np.random.Generator], list[QuestionedRoom]]:
    """Each question in a room of its own without some of the boxes that are not its target."""

    def change(room: QuestionedRoom, rng: np.random.Generator) -> list[QuestionedRoom]:
        rooms = []
        for question in room.questions:
            wanted = {*question.targets, *question.second}
            draw = rng.random(len(room.boxes))
            keep = [
                i
                for i, owner in enumerate(room.owners)
                if draw[i] >= share or (owner is not None and owner.id in wanted)
            ]
            rooms.append(
                replace(
                    room,
                    boxes=room.boxes[keep],
                    owners=[room.owners[i] for i in keep],
                    questions=[question],
                )
            )
        return rooms

    return change


def _seen(room: QuestionedRoom, views: int) -> QuestionedRoom:
    shown: dict[str, Tensor] = {name: value[:, :views] for name, value in room.views.items()}
    return replace(room, views=shown)


def _store(train: TrainConfig, stress: Stress) -> ViewStore:
    rooms, views = train.validation.rooms, max((*stress.views, train.rendered.views))
    folder, size = Path(train.rendered.folder), train.rendered.size
    return ViewStore(folder, rooms, views, VALIDATION_FIRST, size)


def _draw(room: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng((VALIDATION_FIRST, room, purpose))
