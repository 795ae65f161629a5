"""What a training step minimises: the losses of all its batches, in one module for any number of
processes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spatial3d_ros.model.network import Reading, Scene, SpatialModel
from spatial3d_ros.model.objects import mean_words
from spatial3d_ros.model.reconstruction import build_guidance
from spatial3d_ros.tasks.prompt import Prompt
from spatial3d_ros.training.config import LossWeights
from spatial3d_ros.training.losses import grounding_loss, language_loss, naming_loss, role_loss
from spatial3d_ros.training.samples import Sample


class Objective(nn.Module):
    """forward(samples) -> the weighted sum of all losses, and each figure by name for the log."""

    def __init__(self, model: SpatialModel, prompt: Prompt, weights: LossWeights) -> None:
        super().__init__()
        self.model, self.prompt = model, prompt
        self.guidance = build_guidance(model.config)
        s2 = model.config.s2
        self.weights = weights.model_dump() | {"lang": s2.lang.weight, "guide": s2.sg.weight}

    def forward(self, samples: Sequence[Sample]) -> tuple[Tensor, dict[str, float]]:
        parts, figures = [], {}
        for sample in samples:
            projected = None
            if sample.scenes.has_views:
                projected = self.model.project_views(sample.scenes)
            scene, reading = self.read(sample, projected)
            losses = self.losses(sample, scene, reading)
            if self.guidance is not None and projected is not None:
                losses["guide"] = self.guidance(projected, sample.scenes)
            parts += [self.weights[name] * loss for name, loss in losses.items()]
            right = chosen_right(reading.scores, sample.targets).float().mean()
            figures |= {f"{sample.origin}/{name}": loss.item() for name, loss in losses.items()}
            figures[f"{sample.origin}/accuracy"] = right.item()
        return torch.stack(parts).sum(), figures

    def read(self, sample: Sample, projected: Tensor | None = None) -> tuple[Scene, Reading]:
        """The network's reading of all questions of a sample."""
        scene = self.model.encode_scene(sample.scenes, self.prompt.opening, projected)
        return scene, self.model(scene, sample.words, self.prompt.opening)

    def losses(self, sample: Sample, scene: Scene, reading: Reading) -> dict[str, Tensor]:
        """Each loss by its name in the weights."""
        model, valid = self.model, sample.scenes.object_valid
        labelled = sample.labels >= 0
        names = model.config.names
        losses = {
            "ground": grounding_loss(reading.scores, sample.targets),
            "lang": language_loss(
                model.decoder.logits(reading.states[labelled]), sample.labels[labelled]
            ),
        }
        if reading.roles is not None:
            losses["role"] = role_loss(reading.roles, sample.roles, valid[sample.words.scene])
            losses["name"] = naming_loss(
                self._named(model.name_class, scene, names.classes), sample.classes
            ) + naming_loss(self._named(model.name_color, scene, names.colors), sample.colors)
        return losses

    def _named(self, namer: nn.Module, scene: Scene, names: Sequence[str]) -> Tensor:
        words = mean_words(self.prompt.name_ids(names), self.model.decoder.embed)[1]
        return namer(scene.named, words)


def chosen_right(scores: Tensor, targets: Tensor) -> Tensor:
    """Whether the best candidate of each question is a target: (Q, N + 1) both -> bool (Q,)."""
    return targets.gather(1, scores.argmax(-1, keepdim=True))[:, 0]
