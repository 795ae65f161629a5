"""Home rooms as training samples: labels from an open vocabulary, and referring expressions.

Labels, colours and single words are dropped at random, so that the network does not depend on one
input. In rooms with invented nouns (research/homes/object_names.py) the target can be found only by
matching words with labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.names_config import NamesConfig
from spatial3d_ros.object_catalog import OBJECT_KINDS
from spatial3d_ros.research.homes.referring_expressions import (
    ExpressionSampler,
    ReferringExpression,
)
from spatial3d_ros.research.homes.rooms import Home, generate_home
from spatial3d_ros.research.training.augmentation import turn_boxes, turn_fronts
from spatial3d_ros.research.training.config import HomesConfig
from spatial3d_ros.research.training.patch_truth import unknown_looks, unknown_names
from spatial3d_ros.tasks.prompt import Prompt

_COLORLESS, _COLORLESS_ROOM = 0.03, 0.06
_FRONTLESS = (0.0, 0.1, 1.0, 1.0)  # share of objects without a known front, drawn per room
_LABEL_TOKENS = 10
_CLASS_NAMES = {"bookshelf": "shelf", "kitchen cabinet": "cabinet", "office chair": "chair"}
"""Objects with another name in the fixed classes of the networks."""


@dataclass(frozen=True, eq=False)
class HomeSample:
    """A room as the network gets it, and referring expressions.

    Attributes:
        boxes: (n, 6), rotated and shifted for training.
        rgb: mean colours (n, 3) in [0, 1], NaN where unknown.
        fronts: directions (n, 2), NaN where unknown.
        labels: "" for an object without a label.
        invented: the nouns of the labels are invented.
    """

    home: Home
    boxes: np.ndarray
    rgb: np.ndarray
    fronts: np.ndarray
    labels: list[str]
    invented: bool
    expressions: list[ReferringExpression]


def make_home_sample(
    seed: int, rng: np.random.Generator, config: HomesConfig, *, split: str = "train"
) -> HomeSample:
    """The room of a seed with referring expressions; not augmented in the split "test"."""
    home = generate_home(seed, config.objects)
    sampler = ExpressionSampler(home, rng, split)
    expressions = sampler.sample(config.questions, config.words)
    rgb, boxes, fronts = home.rgb.copy(), home.boxes, home.front
    if split == "train":
        rgb[rng.random(len(rgb)) < _COLORLESS] = np.nan
        if rng.random() < _COLORLESS_ROOM:
            rgb[:] = np.nan
        shift = np.append(rng.uniform(-0.5, 0.5, 2), rng.normal(0, 0.03))
        quarter = int(rng.integers(4))
        boxes = turn_boxes(boxes, quarter, shift)
        unknown = rng.random(len(rgb)) < rng.choice(_FRONTLESS)
        fronts = np.where(unknown[:, None], np.nan, turn_fronts(fronts, quarter))
    return HomeSample(
        home, boxes, rgb, fronts, sampler.names.labels, sampler.names.invented, expressions
    )


def home_fields(rooms: Sequence[HomeSample], prompt: Prompt, names: NamesConfig) -> dict[str, Any]:
    """The fields of a `Sample` of these rooms. Kinds are "real/..." or "made_up/..."."""
    count = max(len(room.boxes) for room in rooms)
    shape = (len(rooms), count)
    boxes, valid = torch.zeros(*shape, 6), torch.zeros(*shape, dtype=torch.bool)
    known = unknown_names(names, *shape)
    rgb, fronts = torch.full((*shape, 3), torch.nan), torch.full((*shape, 2), torch.nan)
    labels = torch.full((*shape, _LABEL_TOKENS), -1)
    sentences, scene, targets, roles, kinds = [], [], [], [], []
    for b, room in enumerate(rooms):
        n = len(room.boxes)
        boxes[b, :n], valid[b, :n] = torch.from_numpy(room.boxes).float(), True
        rgb[b, :n] = torch.from_numpy(room.rgb).float()
        fronts[b, :n] = torch.from_numpy(room.fronts).float()
        for i, label in enumerate(room.labels):
            key, color = room.home.keys[i], room.home.colors[i]
            name = _CLASS_NAMES.get(key, key)
            if name in names.classes and label in OBJECT_KINDS[key].nouns:
                known["class"][b, i] = names.classes.index(name)
            if color in names.colors:
                known["color"][b, i] = names.colors.index(color)
            ids = prompt.ids(f" {label}")[:_LABEL_TOKENS] if label else []
            labels[b, i, : len(ids)] = torch.tensor(ids, dtype=torch.long)
        for one in room.expressions:
            target = torch.zeros(count + 1, dtype=torch.bool)
            target[one.target] = True
            role = torch.zeros(count, 2)
            role[:n, 0] = torch.from_numpy(one.candidates).float()
            role[:n, 1] = torch.from_numpy(one.anchors).float()
            sentences.append(prompt.grounding(one.text, f"the {one.noun}"))
            scene.append(b)
            targets.append(target)
            roles.append(role)
            kinds.append(f"{'made_up' if room.invented else 'real'}/{one.kind.replace(' ', '_')}")
    words = prompt.batch(sentences, scene)
    return {
        "scenes": SceneBatch(boxes, valid, labels=labels[:, :, None], colors=rgb, fronts=fronts),
        "words": words,
        "targets": torch.stack(targets),
        "roles": torch.stack(roles),
        "labels": prompt.labels(words, sentences),
        "names": known,
        "asked": unknown_looks(names, len(kinds)),
        "kinds": tuple(kinds),
        "partly": (False,) * len(kinds),
        "source": "homes",
    }
