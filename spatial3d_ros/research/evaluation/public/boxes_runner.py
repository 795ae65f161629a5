"""The network on rooms of labelled boxes without pixels (METHODS 4: any channel may be absent)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.research.datasets.boxes_only import BoxRoom
from spatial3d_ros.tasks.grounding import count_targets
from spatial3d_ros.tasks.model_runner import ModelRunner


class BoxesReader:
    """Chooses the object that a sentence means. A room with more objects than the network has
    identifiers is read whole, with identifiers used again: slots differ by their boxes as well.
    """

    def __init__(self, reader: ModelRunner, *, fronts: bool = False) -> None:
        self._reader, self.fronts = reader, fronts
        names = reader.prompt_tokens.identifiers
        self.identifiers = len(names)
        again = -(-reader.model.config.text.max_positions // len(names))
        reader.prompt_tokens = replace(reader.prompt_tokens, identifiers=names.repeat(again))

    @classmethod
    def load(cls, model: str, *, fronts: bool = False) -> BoxesReader:
        """A shipped model by its name, or a folder with weights; float32, so that figures repeat.
        `fronts`: tell it where things face, as far as the rooms say.

        Raises CheckpointError.
        """
        return cls(ModelRunner.load(model, dtype="float32"), fronts=fronts)

    @property
    def where(self) -> str:
        """Device and number format in words."""
        return self._reader.runs_on

    @torch.inference_mode()
    def choose(self, room: BoxRoom, texts: Sequence[str]) -> list[int]:
        """The likeliest slot for each sentence, all in one pass; "nothing" is not considered.

        Raises ConfigError when the room, QueryError when a sentence with it, is more than the
        network can read.
        """
        return self._scores(room, texts)[:, :-1].argmax(dim=1).tolist()

    @torch.inference_mode()
    def choose_all(self, room: BoxRoom, texts: Sequence[str]) -> list[list[int]]:
        """All slots that each sentence means, none to several (METHODS 1.8). Raises as `choose`."""
        return [
            row[:-1].argsort(descending=True)[: count_targets(row)].tolist()
            for row in self._scores(room, texts)
        ]

    @torch.inference_mode()
    def answers(self, room: BoxRoom, questions: Sequence[str]) -> list[str]:
        """What the network says to each question, in its own words.

        Raises NotAvailableError where the weights were not trained for it, and as `choose`.
        """
        scene = self._scene(room)
        return [self._reader.generate_answer(scene, _spaced(text))[0] for text in questions]

    @torch.inference_mode()
    def captions(self, room: BoxRoom, slots: Sequence[int]) -> list[str]:
        """What the network says of the object in each slot. Raises as `answers`."""
        scene = self._scene(room)
        return [self._reader.generate_caption(scene, slot) for slot in slots]

    def _scene(self, room: BoxRoom) -> EncodedScene:
        reader = self._reader
        batch = scene_batch(room, reader, fronts=self.fronts).to(reader.device)
        return reader.model.encode_scene(batch, reader.prompt_tokens)

    def _scores(self, room: BoxRoom, texts: Sequence[str]) -> Tensor:
        return self._reader.score_phrases(self._scene(room), [_spaced(text) for text in texts])


def _spaced(text: str) -> str:
    return " ".join(text.split())


def scene_batch(room: BoxRoom, reader: ModelRunner, *, fronts: bool = False) -> SceneBatch:
    """A room with its origin at the middle of its floor, as the network knows rooms: boxes, labels,
    and colours where the room has them; with `fronts` also where its things face.
    """
    boxes = room.boxes.copy()
    low = (boxes[:, :3] - boxes[:, 3:] / 2).min(axis=0)
    high = (boxes[:, :3] + boxes[:, 3:] / 2).max(axis=0)
    boxes[:, :3] -= [*((low + high) / 2)[:2], low[2]]
    colors = [thing.avg_rgb or (np.nan,) * 3 for thing in room.objects]
    return SceneBatch(
        boxes=torch.from_numpy(boxes).float()[None],
        object_valid=torch.ones(1, len(boxes), dtype=torch.bool),
        labels=reader.prompt.name_ids(room.labels)[None],
        colors=torch.tensor(colors, dtype=torch.float32)[None] / 255,
        fronts=torch.from_numpy(room.fronts).float()[None] if fronts else None,
    )
