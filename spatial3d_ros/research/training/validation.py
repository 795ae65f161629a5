"""Validation on held-out rooms and sentences, during and after training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.research.rooms.view_store import ViewStore
from spatial3d_ros.research.training.config import HomesConfig, TrainConfig
from spatial3d_ros.research.training.home_samples import home_fields, make_home_sample
from spatial3d_ros.research.training.objective import Objective
from spatial3d_ros.research.training.sample import Sample
from spatial3d_ros.research.training.samples import Samples
from spatial3d_ros.research.training.scan_samples import ScanSamples, scan_fields
from spatial3d_ros.tasks.prompt import Prompt

VALIDATION_FIRST = 850_000
_ROOMS_PER_BATCH = 4
Scores = dict[str, dict[str, float]]
"""Accuracy and n, by source and kind of question."""


def validation_samples(
    config: TrainConfig, model: ModelConfig, prompt: Prompt, store: ViewStore | None
) -> list[Sample]:
    """Held-out rooms with undisturbed boxes and held-out sentences."""
    asked = config.validation
    boxes = config.boxes.model_copy(update={"questions": asked.questions})
    rendered = config.rendered.model_copy(update={"questions": asked.questions})
    config = config.model_copy(update={"boxes": boxes, "rendered": rendered})
    samples = Samples(config, model, prompt, None, split="test")
    rngs = [np.random.default_rng((config.seed, VALIDATION_FIRST, i)) for i in range(asked.rooms)]
    rooms = []
    if config.origins != ("scans",) and config.rendered.sets is None:  # the sets need views
        rooms = [samples.boxes_room(VALIDATION_FIRST + i, rng) for i, rng in enumerate(rngs)]
    seen = []
    if store is not None:
        shown = rendered.shown or rendered.views
        seen = [samples.rendered_room(store[i], rngs[i], shown) for i in range(len(store))]
        seen = [room for room in seen if room.questions]
    batches = [
        samples.collate(same[first : first + _ROOMS_PER_BATCH])
        for same in (rooms, seen)
        for first in range(0, len(same), _ROOMS_PER_BATCH)
    ]
    if config.homes.batch:
        homes = HomesConfig(questions=asked.questions)
        rngs = [
            np.random.default_rng((config.seed, VALIDATION_FIRST, 1, i)) for i in range(asked.rooms)
        ]
        home_rooms = [
            make_home_sample(VALIDATION_FIRST + i, rng, homes, split="test")
            for i, rng in enumerate(rngs)
        ]
        batches += [
            Sample(**home_fields(home_rooms[first : first + _ROOMS_PER_BATCH], prompt, model.names))
            for first in range(0, len(home_rooms), _ROOMS_PER_BATCH)
        ]
    if config.scans.batch:
        scans = ScanSamples(config.scans, model, config.scans.held_out, noise=False)
        batches += [
            Sample(**scan_fields([scene], prompt, model.names))
            for scene in scans.held_out(asked.rooms, asked.questions)
        ]
    return batches


@torch.no_grad()
def evaluate(
    objective: Objective, samples: Sequence[Sample], accelerator: Accelerator | None = None
) -> Scores:
    """Top-1 accuracy by source and kind of question.

    With an `accelerator` each process evaluates its share of the batches; all get the same scores.
    """
    rank, world = (0, 1)
    if accelerator is not None:
        rank, world = accelerator.process_index, accelerator.num_processes
    device = next(objective.parameters()).device
    right, asked = Counter[str](), Counter[str]()
    objective.eval()
    for origin in sorted({sample.origin for sample in samples}):
        same = [sample for sample in samples if sample.origin == origin]
        # With sharded weights all processes must run equally many batches; extra ones do not count.
        for index in range(rank, -(-len(same) // world) * world, world):
            sample = same[min(index, len(same) - 1)].to(device)
            hits = objective.hits(sample).tolist()
            hits += objective.answered(sample) if sample.answers is not None else []
            if index >= len(same):
                continue
            for names, hit in zip(score_names(sample), hits, strict=True):
                asked.update(names)
                right.update(dict.fromkeys(names, hit))
    if accelerator is not None:
        tables = gather_object([(right, asked)])
        right, asked = (sum(column, Counter[str]()) for column in zip(*tables, strict=True))
    return {
        name: {"accuracy": round(right[name] / asked[name], 4), "n": asked[name]}
        for name in sorted(asked)
    }


def score_names(sample: Sample) -> list[list[str]]:
    """The scores that each question of a batch counts for, free-form answers last."""
    names = []
    for kind, partly in zip(sample.kinds, sample.partly, strict=True):
        of = dict.fromkeys((kind.split("/")[0], kind))  # a kind without subkind counts once
        of |= dict.fromkeys(["partly"] * partly)
        names.append([sample.origin, *(f"{sample.origin}/{name}" for name in of)])
    kinds = () if sample.answers is None else sample.answers.kinds
    parts = ((f"answers/{sample.origin}", kind.split("/")[0], kind) for kind in kinds)
    return names + [[first, *(f"{first}/{name}" for name in others)] for first, *others in parts]
