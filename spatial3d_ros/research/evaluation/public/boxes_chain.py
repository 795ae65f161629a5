"""The query chain as it ships, on rooms of labelled boxes: a sentence is read, and the network's
scores of it are combined with labels, colours and exact geometry (`tasks/resolution.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch

from spatial3d_ros.categories import COLORS
from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.model.color_names import color_shares
from spatial3d_ros.research.datasets.boxes_only import BoxRoom
from spatial3d_ros.research.evaluation.public.boxes_runner import BoxesRunner
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.grounding import TIE_RATIO
from spatial3d_ros.tasks.query import Description
from spatial3d_ros.tasks.query_network import MAX_WORDS, load_reader
from spatial3d_ros.tasks.query_reader import parse_query
from spatial3d_ros.tasks.resolution import Resolution, Resolver
from spatial3d_ros.tasks.resolution_weights import shipped_weights
from spatial3d_ros.tasks.vocabulary import Vocabulary

_NO_POINTS = np.empty((0, 3), np.float32)


class BoxesChain:
    """Chooses the object of a sentence. Labels are true, as those of a detector that never errs.

    A sentence that names no known noun, or is too long for the reader, is left to the network
    alone, as is one that refers to a conversation.
    """

    def __init__(self, runner: BoxesRunner) -> None:
        self._runner, self._reader, self._weights = runner, load_reader(), shipped_weights()

    def choose(self, room: BoxRoom, texts: Sequence[str]) -> list[int]:
        """The best slot for each sentence; "no object" is not considered. Raises as
        `BoxesRunner.choose`.
        """
        vocabulary = Vocabulary(room.labels)
        read = [self._description(text, vocabulary) for text in texts]
        whole = self._runner.scores(room, texts).numpy().astype(float)
        given = {d.text: scores for d, scores in zip(read, whole, strict=True) if d is not None}

        def phrase_scores(phrases: Sequence[str]) -> np.ndarray:
            anchors = [phrase for phrase in phrases if phrase not in given]
            rows = self._runner.scores(room, anchors).numpy().astype(float)
            found = dict(zip(anchors, rows, strict=True))
            return np.stack([given[p] if p in given else found[p] for p in phrases])

        objects = scene_objects(room)
        fronts = room.fronts if self._runner.fronts else None
        chosen = []
        for description, scores in zip(read, whole, strict=True):
            best = int(scores[:-1].argmax())
            if description is not None:
                resolver = Resolver(
                    objects, room.boxes, None, phrase_scores, vocabulary,
                    weights=self._weights, fronts=fronts,
                )  # fmt: skip
                with suppress(QueryError):  # "it" of a conversation
                    best = _clearest(resolver.resolve([description])[0])
            chosen.append(best)
        return chosen

    def _description(self, text: str, vocabulary: Vocabulary) -> Description | None:
        """What a sentence describes, with the whole sentence as the words that the network scores;
        None where it names nothing known.
        """
        words = text.split()
        try:
            query = parse_query(" ".join(words[:MAX_WORDS]), self._reader)
        except QueryError:
            return None
        named = [d for d in query.targets if vocabulary.labels_of(d.head) is not None]
        if not named:
            return None
        return Description(**{**vars(named[0]), "text": f"the {' '.join(words)}"})


def _clearest(resolution: Resolution) -> int:
    """The object that fits, exact geometry deciding between those that score about equally."""
    scores = resolution.scores[:-1]
    order = np.argsort(-scores)
    ties = order[scores[order] >= scores.max() + np.log(TIE_RATIO)].tolist()
    return resolution.clearest(ties)[0]


def scene_objects(room: BoxRoom, label_score: float = 1.0) -> list[SceneObject]:
    """The objects as those of an object map, with the names of their mean colours. label_score: 0
    for labels of the network, above for those of a detector.
    """
    made = []
    for item in room.objects:
        colors: tuple[tuple[str, float], ...] = ()
        if item.avg_rgb is not None:
            names = tuple(COLORS)
            rgb = torch.tensor(item.avg_rgb, dtype=torch.float32) / 255
            shares = color_shares(rgb[None], names)[0].tolist()
            colors = tuple(zip(names, shares[: len(names)], strict=True))
        known = SceneObject(
            item.id, Box3D(item.center, item.size), item.avg_rgb or (0.0, 0.0, 0.0), item.score, 1,
            0, _NO_POINTS, item.label, max(colors, key=lambda c: c[1])[0] if colors else "",
            label_score, ((item.label, 1.0),), colors,
        )  # fmt: skip
        made.append(known)
    return made
