"""Referring expressions in photographs, asked of a network: boxes in the image plane, no depth.

`render_refcoco` makes such a set of generated rooms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.model.batch import prepare_view, stack_views
from spatial3d_ros.model.checkpoint import load_model
from spatial3d_ros.research.datasets.annotations import Annotation
from spatial3d_ros.research.datasets.refcoco import Photograph, Reference
from spatial3d_ros.research.language.view_questions import AskedViews, make_view_questions
from spatial3d_ros.research.rooms.view_store import TRUTH_STRIDE, ViewStore
from spatial3d_ros.research.training.config import LossWeights
from spatial3d_ros.research.training.objective import Objective
from spatial3d_ros.research.training.planar import DEPTH, mask_corners, planar_boxes
from spatial3d_ros.research.training.sample import Sample
from spatial3d_ros.research.training.scan_samples import ScanSample, scan_fields
from spatial3d_ros.tasks.prompt import Prompt

LEAST_PIXELS = 6
_SETS = {"appearance": 0.5, "picture": 0.5}


@dataclass(frozen=True)
class PlanarScore:
    """Sentences, how many are right, and how many guessing among the boxes of each picture has."""

    sentences: int
    right: int
    chance: float

    @property
    def report(self) -> dict[str, float]:
        """Shares in percent and the number of sentences."""
        count = max(1, self.sentences)
        return {
            "sentences": self.sentences, "right": round(100 * self.right / count, 1),
            "chance": round(100 * self.chance / count, 1),
        }  # fmt: skip


@torch.no_grad()
def evaluate_refcoco(
    photographs: Sequence[Photograph], images: Path, model: str | Path
) -> PlanarScore:
    """Ask every sentence among the annotated boxes of its picture, as a network of
    `rendered.flat: true` is trained. Raises ConfigError for a picture that cannot be read.
    """
    network, tokenizer = load_model(model)
    prompt = Prompt(tokenizer, network.config.s2.category_mode)
    objective = Objective(network, prompt, LossWeights()).eval()
    right = asked = 0
    chance = 0.0
    for one in photographs:
        image = cv2.imread(str(images / one.file))
        if image is None:
            raise ConfigError(f"{images / one.file}: no such picture; give the folder of pictures")
        height, width = image.shape[:2]
        # The focal length is unknown too: any does for a plane.
        camera = Camera(width, height, width, width, width / 2, height / 2)
        view = prepare_view(
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.full((height, width), DEPTH, np.float32),
            camera, np.eye(4), network.config.vision, network.config.pooled_grid,
        )  # fmt: skip
        questions = [
            Annotation("refcoco", one.file, text, (reference.target,))
            for reference in one.references
            for text in reference.sentences
        ]
        boxes = planar_boxes(np.array(one.boxes, float), camera)
        views = stack_views([view], np.zeros(3))
        scene = ScanSample(boxes, tuple(range(len(boxes))), one.labels, views, tuple(questions))
        sample = Sample(**scan_fields([scene], prompt, network.config.names))
        right += int(objective.hits(sample).sum())
        asked += len(questions)
        chance += len(questions) / len(boxes)
    return PlanarScore(asked, right, chance)


def render_refcoco(folder: Path, rooms: ViewStore, questions: int = 6) -> list[Photograph]:
    """The first view of each room as a PNG in the folder, with boxes and expressions."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for stored in rooms:
        rng = np.random.default_rng((stored.room.seed, 41))
        seen = AskedViews.of(stored, [0])
        objects = [o for o in stored.room.objects if seen.pixels[0, o.id] >= LEAST_PIXELS]
        drawn = make_view_questions(objects, seen, rng, questions, split="test", sets=_SETS)
        if not drawn:
            continue
        ids = [o.id for o in objects]
        file = f"{stored.room.seed:08d}.png"
        cv2.imwrite(str(folder / file), cv2.cvtColor(stored.rgb[0], cv2.COLOR_RGB2BGR))
        corners = mask_corners(stored.instance[0], ids, TRUTH_STRIDE)
        boxes = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in corners)
        references = tuple(
            Reference(ids.index(question.targets[0]), (question.text,)) for question, _ in drawn
        )
        size = stored.camera.width, stored.camera.height
        labels = tuple(o.category for o in objects)
        made.append(Photograph(file, size, boxes, labels, references))
    return made
