"""ScanNet scenes with views as training samples: boxes of the annotation, questions of the public
benchmarks (METHODS 5). Objects have no labels and no colours besides what their pixels show.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.names_config import NamesConfig
from spatial3d_ros.research.datasets.annotations import (
    Annotation,
    AnnotationFiles,
    read_annotations,
    require_objects,
)
from spatial3d_ros.research.datasets.boxes_only import BoxRoom
from spatial3d_ros.research.datasets.scan_frames import require_scenes
from spatial3d_ros.research.datasets.scan_views import ScanViews
from spatial3d_ros.research.datasets.scannet_objects import read_object_ids, read_scannet_objects
from spatial3d_ros.research.language.qa_generator import OpenQuestion
from spatial3d_ros.research.language.qa_templates import OBJECT_SLOT
from spatial3d_ros.research.training.answers import collate_answers
from spatial3d_ros.research.training.augmentation import disturb, turn_boxes, turn_views
from spatial3d_ros.research.training.config import ScansConfig
from spatial3d_ros.research.training.patch_truth import unknown_looks, unknown_names
from spatial3d_ros.tasks.prompt import Prompt

NOTHING = "nothing here fits"


@dataclass(frozen=True, eq=False)
class ScanSample:
    """A scene as the network gets it: boxes (n, 6) in slot order, the object id and label of each,
    view fields (1, V, ...) if it has views, and its questions.
    """

    boxes: np.ndarray
    ids: tuple[int, ...]
    labels: tuple[str, ...]
    views: dict[str, Tensor]
    questions: tuple[Annotation, ...]


class ScanSamples:
    """Draws from the scenes of some annotation files.

    Raises ConfigError when scenes or objects of the annotations are missing, and without
    annotations to ground.
    """

    def __init__(
        self, config: ScansConfig, model: ModelConfig, files: AnnotationFiles, noise: bool
    ) -> None:
        self.config, self.noise, self.limit = config, noise, model.objects.max_objects
        self.folder = Path(config.folder)
        cache = None if config.cache is None else Path(config.cache)
        self.views = ScanViews(self.folder, model, config.views, config.choice, cache)
        self.grounding: dict[str, list[Annotation]] = defaultdict(list)
        self.answers: dict[str, list[Annotation]] = defaultdict(list)
        for one in read_annotations(files):
            (self.grounding if one.grounds else self.answers)[one.scene_id].append(one)
        if not self.grounding:
            raise ConfigError("scans: no annotations to ground; give scanrefer, referit3d or multi")
        require_scenes(self.folder, {*self.grounding, *self.answers})
        self.scenes = sorted(self.grounding)
        for name in {*self.grounding, *self.answers}:
            asked = [*self.grounding[name], *self.answers[name]]
            require_objects(asked, name, read_object_ids(self.folder / name), str(self.folder))

    def draw(self, rng: np.random.Generator) -> ScanSample:
        """A scene with up to `questions` questions to ground, and as many to answer."""
        scene = self.scenes[int(rng.integers(len(self.scenes)))]
        questions = [
            some[k]
            for some in (self.grounding[scene], self.answers[scene])
            for k in rng.permutation(len(some))[: self.config.questions]
        ]
        # Another of the accepted answers is the target each time.
        questions = [replace(q, answers=_first_is_random(q.answers, rng)) for q in questions]
        return self._made(scene, questions, rng)

    def held_out(self, scenes: int, questions: int) -> list[ScanSample]:
        """The first scenes, each with its first questions."""
        rng = np.random.default_rng(0)
        return [
            self._made(
                name, [*self.grounding[name][:questions], *self.answers[name][:questions]], rng
            )
            for name in self.scenes[:scenes]
        ]

    def _made(
        self, scene: str, questions: Sequence[Annotation], rng: np.random.Generator
    ) -> ScanSample:
        room = _room(self.folder / scene)
        asked = dict.fromkeys(room.slots[i] for one in questions for i in one.targets)
        others = [k for k in rng.permutation(len(room.objects)).tolist() if k not in asked]
        slots = rng.permutation([*asked, *others][: max(self.limit, len(asked))])
        origin = room.origin
        boxes = room.boxes[slots]
        boxes[:, :3] -= origin
        views = self.views.read(scene, origin) if self.config.views else {}
        if self.noise:
            quarter, shift = int(rng.integers(4)), np.append(rng.uniform(-1.5, 1.5, 2), 0.0)
            boxes = turn_boxes(disturb(boxes, rng), quarter, shift)
            views = turn_views(views or None, quarter, shift) or {}
        ids = tuple(room.objects[k].id for k in slots)
        return ScanSample(boxes, ids, tuple(room.labels[k] for k in slots), views, tuple(questions))


@cache
def _room(path: Path) -> BoxRoom:
    return read_scannet_objects(path)


def _first_is_random(answers: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(answers[k] for k in rng.permutation(len(answers)))


def scan_fields(scenes: Sequence[ScanSample], prompt: Prompt, names: NamesConfig) -> dict[str, Any]:
    """The fields of a `Sample` of these scenes. Kinds are the benchmarks."""
    count = max(len(scene.boxes) for scene in scenes)
    shape = (len(scenes), count)
    boxes, valid = torch.zeros(*shape, 6), torch.zeros(*shape, dtype=torch.bool)
    known = unknown_names(names, *shape)
    sentences, index, targets, roles, kinds, asked = [], [], [], [], [], []
    for b, scene in enumerate(scenes):
        n = len(scene.boxes)
        boxes[b, :n], valid[b, :n] = torch.from_numpy(scene.boxes).float(), True
        for i, label in enumerate(scene.labels):
            if label in names.classes:
                known["class"][b, i] = names.classes.index(label)
        slot = {object_id: i for i, object_id in enumerate(scene.ids)}
        asked.append((slot, [_open(q) for q in scene.questions if not q.grounds]))
        for one in scene.questions:
            if not one.grounds:
                continue
            target = torch.zeros(count + 1, dtype=torch.bool)
            target[[slot[i] for i in one.targets] or [count]] = True
            sentences.append(
                prompt.grounding(one.text, f"the {one.category}" if one.targets else NOTHING)
            )
            index.append(b)
            targets.append(target)
            roles.append(F.pad(_roles(one, scene.labels), (0, 0, 0, count - n)))
            kinds.append(one.benchmark)
    words = prompt.batch(sentences, index)
    return {
        "scenes": SceneBatch(boxes, valid, **_padded([scene.views for scene in scenes])),
        "words": words,
        "targets": torch.stack(targets),
        "roles": torch.stack(roles),
        "labels": prompt.labels(words, sentences),
        "names": known,
        "asked": unknown_looks(names, len(kinds)),
        "kinds": tuple(kinds),
        "partly": (False,) * len(kinds),
        "answers": collate_answers(prompt, asked, count),
        "source": "scans",
    }


def _open(one: Annotation) -> OpenQuestion:
    if one.benchmark == "scan2cap":
        text = f"describe {OBJECT_SLOT}"
        return OpenQuestion("caption", one.benchmark, text, one.answers, one.targets)
    return OpenQuestion("ask", one.benchmark, one.text, one.answers, one.targets)


def _roles(one: Annotation, labels: Sequence[str]) -> Tensor:
    """Candidates, the objects of the targets' class, and anchors, those of other classes that the
    sentence names: (n, 2).
    """
    text = one.text.lower()
    found = torch.zeros(len(labels), 2)
    for i, label in enumerate(labels):
        if label == one.category:
            found[i, 0] = 1.0
        elif re.search(rf"\b{re.escape(label.lower())}s?\b", text):
            found[i, 1] = 1.0
    return found


def _padded(views: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """View fields of several scenes; those with fewer views are padded by invalid ones. Without
    views there are none.
    """
    if not views[0]:
        return {}
    most = max(one["points"].shape[1] for one in views)
    fields = {}
    for name in views[0]:
        parts = []
        for one in views:
            missing = most - one[name].shape[1]
            parts.append(F.pad(one[name], (0, 0) * (one[name].dim() - 2) + (0, missing)))
        fields[name] = torch.cat(parts)
    return fields
