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


class BoxesRunner:
    """Chooses the object of a sentence. In a room with more objects than identifiers, identifiers
    repeat: slots also differ by their boxes.
    """

    def __init__(self, runner: ModelRunner, *, fronts: bool = False) -> None:
        self._runner, self.fronts = runner, fronts
        self._last: tuple[BoxRoom, EncodedScene] | None = None
        names = runner.prompt_tokens.identifiers
        self.identifiers = len(names)
        again = -(-runner.model.config.text.max_positions // max(1, len(names)))
        runner.prompt_tokens = replace(runner.prompt_tokens, identifiers=names.repeat(again))

    @classmethod
    def load(cls, model: str, *, fronts: bool = False) -> BoxesRunner:
        """A shipped model or a folder with weights, in float32 for reproducible scores. `fronts`:
        give the network the fronts of objects, if the rooms have them.

        Raises CheckpointError.
        """
        return cls(ModelRunner.load(model, dtype="float32"), fronts=fronts)

    @property
    def settings(self) -> dict[str, str]:
        """What a report states about the inputs (METHODS 5.11)."""
        return {"fronts": "given" if self.fronts else "not given"}

    @property
    def where(self) -> str:
        """Device and number format as text."""
        return self._runner.runs_on

    @torch.inference_mode()
    def choose(
        self, room: BoxRoom, texts: Sequence[str], categories: Sequence[str] = ()
    ) -> list[int]:
        """The best slot for each sentence, in one forward pass; "no object" is not considered.

        categories: the true classes, read in category mode `given` only. Raises ConfigError if the
        room is too large for the network, QueryError if a sentence with the room is too long.
        """
        return self.scores(room, texts, categories)[:, :-1].argmax(dim=1).tolist()

    @torch.inference_mode()
    def choose_all(
        self, room: BoxRoom, texts: Sequence[str], categories: Sequence[str] = ()
    ) -> list[list[int]]:
        """All target slots of each sentence, none to several (METHODS 1.8). Raises as `choose`."""
        return [
            row[:-1].argsort(descending=True)[: count_targets(row)].tolist()
            for row in self.scores(room, texts, categories)
        ]

    @torch.inference_mode()
    def answers(self, room: BoxRoom, questions: Sequence[str]) -> list[str]:
        """The network's free-form answer to each question.

        Raises NotAvailableError if the weights were not trained for it, and as `choose`.
        """
        scene = self._scene(room)
        return [self._runner.generate_answer(scene, _spaced(text))[0] for text in questions]

    @torch.inference_mode()
    def captions(self, room: BoxRoom, slots: Sequence[int]) -> list[str]:
        """The network's caption of the object in each slot. Raises as `answers`."""
        scene = self._scene(room)
        return [self._runner.generate_caption(scene, slot) for slot in slots]

    def _scene(self, room: BoxRoom) -> EncodedScene:
        runner = self._runner
        batch = scene_batch(room, runner, fronts=self.fronts).to(runner.device)
        return runner.model.encode_scene(batch, runner.prompt_tokens)

    @torch.inference_mode()
    def scores(self, room: BoxRoom, texts: Sequence[str], categories: Sequence[str] = ()) -> Tensor:
        """Logits (Q, N + 1) of the slots for each sentence, "no object" last; as `choose`."""
        if not texts:
            return torch.zeros(0, len(room.objects) + 1)
        spaced, named = [_spaced(text) for text in texts], [f"the {one}" for one in categories]
        if self._last is None or self._last[0] is not room:
            self._last = room, self._scene(room)
        return self._runner.score_phrases(self._last[1], spaced, named)


def _spaced(text: str) -> str:
    return " ".join(text.split())


def scene_batch(room: BoxRoom, runner: ModelRunner, *, fronts: bool = False) -> SceneBatch:
    """A room with its origin at the center of its floor, as in training: boxes, labels, mean colors
    if the room has them, and with `fronts` the fronts of its objects.
    """
    boxes = room.boxes.copy()
    boxes[:, :3] -= room.origin
    colors = [item.avg_rgb or (np.nan,) * 3 for item in room.objects]
    return SceneBatch(
        boxes=torch.from_numpy(boxes).float()[None],
        object_valid=torch.ones(1, len(boxes), dtype=torch.bool),
        labels=runner.prompt.name_ids(room.labels)[None, :, None],
        colors=torch.tensor(colors, dtype=torch.float32)[None] / 255,
        fronts=torch.from_numpy(room.fronts).float()[None] if fronts else None,
    )
