"""One loaded network for several robots: the weights are there once, each robot has its own views,
and questions that wait at the same time take one pass.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from spatial3d_ros.model.generation import score_questions
from spatial3d_ros.model.quantize import Weights
from spatial3d_ros.model.scene_batch import merge_scenes
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.object_crops import ObjectCrops


class SharedNetworks:
    """The networks of a process. `load` takes the place of `ModelRunner.load`: engines that name
    the same weights, device and number format get one network, which is freed with the last of
    them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._networks: WeakValueDictionary[tuple[str, ...], _Network] = WeakValueDictionary()

    def load(
        self,
        model: str,
        device: str = "auto",
        dtype: str = "auto",
        weights: Weights = "auto",
        max_views: int = 16,
    ) -> ModelRunner:
        """See `ModelRunner.load`."""
        key = (model, device, dtype, weights)
        with self._lock:
            network = self._networks.get(key)
            if network is None:
                network = _Network(ModelRunner.load(model, device, dtype, weights, max_views))
                self._networks[key] = network
            return _RobotRunner(network)


@dataclass(eq=False)
class _Request:
    """The phrases of one question; `scores` (Q, N + 1) or `error` once it is answered."""

    scene: EncodedScene
    phrases: Sequence[str]
    scores: Tensor | None = None
    error: Exception | None = None


class _Network:
    """The thread that comes first answers what waits by then; the others find it done."""

    def __init__(self, runner: ModelRunner) -> None:
        self.runner = runner
        self.passes = 0
        self._lock, self._running = threading.Lock(), threading.Lock()
        self._waiting: list[_Request] = []
        self._merged: tuple[list[EncodedScene], EncodedScene] | None = None

    def score(self, scene: EncodedScene, phrases: Sequence[str]) -> Tensor:
        request = _Request(scene, phrases)
        with self._lock:
            self._waiting.append(request)
        with self._running:
            if request.scores is None and request.error is None:
                with self._lock:
                    batch, self._waiting = self._waiting, []
                self._answer(batch)
        if request.error is not None:
            raise request.error
        assert request.scores is not None
        return request.scores

    def score_all(self, batch: Sequence[_Request]) -> list[Tensor]:
        """The scores of requests that are answered in one pass."""
        with self._running:
            self._score(list(batch))
        return [one.scores for one in batch if one.scores is not None]

    def _answer(self, batch: list[_Request]) -> None:
        try:
            self._score(batch)
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for request in batch:  # one of them is at fault, such as a sentence that is too long
                self._answer([request])

    @torch.inference_mode()
    def _score(self, batch: list[_Request]) -> None:
        scenes = list({id(request.scene): request.scene for request in batch}.values())
        scenes.sort(key=id)  # the same order as the last time
        number = {id(scene): k for k, scene in enumerate(scenes)}
        batch.sort(key=lambda request: number[id(request.scene)])
        index = [number[id(one.scene)] for one in batch for _ in one.phrases]
        runner = self.runner
        sentences = [runner.prompt.grounding(text) for one in batch for text in one.phrases]
        questions = runner.prompt.batch(sentences, index).to(runner.device)
        with runner.autocast():
            found = score_questions(
                runner.model, self._together(scenes), questions, runner.prompt_tokens
            ).scores
        self.passes += 1
        rows = found.float().cpu().split([len(one.phrases) for one in batch])
        for request, some in zip(batch, rows, strict=True):
            count = request.scene.valid.shape[1]
            request.scores = torch.cat([some[:, :count], some[:, -1:]], 1)

    def _together(self, scenes: list[EncodedScene]) -> EncodedScene:
        """The scenes as one batch, kept until another set of scenes is asked about."""
        if len(scenes) == 1:
            return scenes[0]
        known = self._merged
        if known is None or [*map(id, known[0])] != [*map(id, scenes)]:
            self._merged = known = scenes, merge_scenes(scenes)
        return known[1]


class _RobotRunner(ModelRunner):
    """The network with the views of one robot."""

    def __init__(self, network: _Network) -> None:
        vars(self).update(vars(network.runner))
        self._network = network
        self._views = {}
        self._crops = ObjectCrops(self.model.config, self._encode_crops)

    def score_phrases(
        self, scene: EncodedScene, phrases: Sequence[str], names: Sequence[str] = ()
    ) -> Tensor:
        """See `ModelRunner.score_phrases`; the true categories are never given."""
        return self._network.score(scene, phrases)

    def score_together(self, asked: Sequence[tuple[EncodedScene, str]]) -> list[Tensor]:
        """Logits (1, N + 1) of one phrase about each of several scenes, in one pass."""
        return self._network.score_all([_Request(scene, [text]) for scene, text in asked])
