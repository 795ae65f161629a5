"""The objective of a training step: the losses of all its batches, in one module for any number of
processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from spatial3d_ros.model.crop_names import shares_by_head
from spatial3d_ros.model.generation import score_questions
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.sequence import EncodedScene, ModelOutput
from spatial3d_ros.research.training.answers import answer_losses, answered
from spatial3d_ros.research.training.config import LossWeights
from spatial3d_ros.research.training.feature_monitor import FeatureMonitor
from spatial3d_ros.research.training.head_names import HeadNames
from spatial3d_ros.research.training.losses import (
    asked_loss,
    grounding_loss,
    language_loss,
    naming_loss,
    objectness_loss,
    role_loss,
    vote_loss,
)
from spatial3d_ros.research.training.reconstruction import build_guidance
from spatial3d_ros.research.training.sample import Sample
from spatial3d_ros.tasks.prompt import Prompt

VIEWS = frozenset({"rendered", "scans"})
"""Origins of samples with views."""
REFERENT_IOU = 0.25
"""Overlap at which a referent is the object that is meant."""
REFERENT_LOSSES = {"vote": vote_loss, "objectness": objectness_loss}


class Objective(nn.Module):
    """forward(samples, totals) -> the weighted sum of all losses, and the metrics by name.

    totals: the number of items of each metric in the whole step (`count_items`), summed over all
    processes and micro-batches. Every loss is a sum over its items divided by that number, so that
    the parts of a step add up to the loss of a single process. Without `totals`, the samples are
    the whole step.
    """

    def __init__(self, model: SpatialModel, prompt: Prompt, weights: LossWeights) -> None:
        super().__init__()
        self.model, self.prompt = model, prompt
        self.guidance = build_guidance(model.config)
        self.head_names: HeadNames | None = None
        if weights.head_names:
            inner = model.config.head.width or model.config.text.width
            self.head_names = HeadNames(inner, model.config.names)
        self.only_guidance = False
        """Nothing of the network is trained: only the reconstruction branch is computed."""
        self.answers_as_text = False
        """Answers of free-form questions are plain text, without an answer head."""
        self.monitor: FeatureMonitor | None = None
        s2 = model.config.s2
        self.weights = {
            "ground": weights.ground,
            "lang": s2.lang.weight,
            "role": weights.role,
            "asked": weights.asked,
            "guide": s2.sg.weight,
            "answer": weights.answer,
            "about": weights.about,
            "head_names": weights.head_names,
        }
        self.named = tuple(model.names)
        self.weights |= dict.fromkeys(self.named, weights.name)
        psa = model.config.psa
        self.weights |= {"vote": weights.vote * psa.intra, "objectness": weights.objectness}
        self.referent_losses = [n for n in REFERENT_LOSSES if psa.enabled and self.weights[n]]

    def metric_names(self, origin: str) -> list[str]:
        """Names of the metrics that `forward` returns for batches of an origin."""
        names = ["ground", "lang"]
        names += self.named
        names += ["role"] if self.model.roles is not None else []
        names += ["head_names"] if self.head_names is not None else []
        names += ["asked"] if self.model.predicted is not None else []
        if origin in VIEWS:
            names += ["guide"] if self.guidance is not None else []
            names += self.referent_losses
        names += ["answer"] if self.model.config.answers or self.answers_as_text else []
        names += ["about"] if self.model.config.answers else []
        return [f"{origin}/{name}" for name in [*names, "accuracy"]]

    def forward(
        self, samples: Sequence[Sample], totals: Mapping[str, int] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        totals = count_items(samples) if totals is None else totals
        parts, metrics = [], {}
        for sample in samples:
            projected = None
            if sample.scenes.has_views:
                projected = self.model.project_views(sample.scenes)
            means = {} if self.only_guidance else self._means(sample, projected)
            if self.guidance is not None and projected is not None:
                means["guide"] = self.guidance(projected, sample.scenes)
            counts = sample.counts
            for name, mean in means.items():
                key = f"{sample.origin}/{name}"
                share = mean * (counts[name] / max(1, totals[key]))
                metrics[key] = share.detach()
                if name in self.weights:
                    parts.append(self.weights[name] * share)
        loss = torch.stack(parts).sum()
        return loss, metrics | {"loss": loss.detach()}

    def _means(self, sample: Sample, projected: Tensor | None) -> dict[str, Tensor]:
        """All losses but guidance, and the accuracy, by name."""
        scene, reading = self.read(sample, projected)
        if self.monitor is not None and projected is not None:
            self.monitor.observe(projected, sample.scenes, scene.referents)
        losses = self.losses(sample, scene, reading)
        if sample.answers is not None:
            prompt_tokens = self.prompt.tokens.to(sample.targets.device)
            losses |= answer_losses(self.model, scene, prompt_tokens, sample.answers)
        right = is_right(reading, chosen_targets(sample, scene, self.model, strict=True))
        return losses | {"accuracy": right.float().mean()}

    def read(
        self, sample: Sample, projected: Tensor | None = None
    ) -> tuple[EncodedScene, ModelOutput]:
        """The encoded scenes and the network's output for all questions of a sample."""
        prompt_tokens = self.prompt.tokens.to(sample.targets.device)
        scene = self.model.encode_scene(sample.scenes, prompt_tokens, projected)
        return scene, self.model(scene, sample.words, prompt_tokens)

    def hits(self, sample: Sample) -> Tensor:
        """Whether each question of a sample is answered right: bool (Q,).

        With `s2.category_mode: generate` the network generates the category itself (METHODS 1.12).
        """
        prompt_tokens = self.prompt.tokens.to(sample.targets.device)
        scene = self.model.encode_scene(sample.scenes, prompt_tokens)
        reading = score_questions(self.model, scene, sample.words, prompt_tokens)
        return is_right(reading, chosen_targets(sample, scene, self.model, strict=True))

    def answered(self, sample: Sample) -> list[bool]:
        """Whether each question with a free-form answer is answered right."""
        prompt_tokens = self.prompt.tokens.to(sample.targets.device)
        scene = self.model.encode_scene(sample.scenes, prompt_tokens)
        return answered(self.model, scene, self.prompt, prompt_tokens, sample.answers)

    def losses(
        self, sample: Sample, scene: EncodedScene, reading: ModelOutput
    ) -> dict[str, Tensor]:
        """Each loss by its name in the weights."""
        model, valid = self.model, sample.scenes.object_valid
        labelled = sample.labels >= 0
        losses = {
            "ground": grounding_loss(reading.scores, chosen_targets(sample, scene, model)),
            "lang": language_loss(
                model.decoder.logits(reading.states[labelled]), sample.labels[labelled]
            ),
        }
        if reading.roles is not None:
            losses["role"] = role_loss(reading.roles, sample.roles, valid[sample.words.scene])
            if model.predicted is not None:
                tokens = model.decoder.embed(sample.words.ids)
                found = model.predicted.asked_looks(tokens, sample.words.instruction)
                losses["asked"] = asked_loss(found, sample.asked)
        if self.head_names is not None:
            rows = torch.arange(len(sample.words.ground), device=valid.device)
            query = reading.states[rows, sample.words.ground]
            losses["head_names"] = self.head_names(model.head, query, scene.visual, sample)
        if scene.name_shares is not None:
            shares = shares_by_head(scene.name_shares, model.config.names)
            losses |= {head: naming_loss(shares[head], sample.names[head]) for head in self.named}
        if scene.referents is not None:
            of = scene.referents, sample.scenes.boxes, valid & sample.real
            losses |= {name: REFERENT_LOSSES[name](*of) for name in self.referent_losses}
        return losses


def count_items(samples: Sequence[Sample]) -> Counter[str]:
    """Items of each metric in some batches, by its name."""
    total: Counter[str] = Counter()
    for sample in samples:
        total.update({f"{sample.origin}/{name}": n for name, n in sample.counts.items()})
    return total


def is_right(reading: ModelOutput, targets: Tensor) -> Tensor:
    """Whether the best candidate of each question is a target (Q, N + 1): bool (Q,)."""
    return targets.gather(1, reading.scores.argmax(-1, keepdim=True))[:, 0]


def chosen_targets(
    sample: Sample, scene: EncodedScene, model: SpatialModel, strict: bool = False
) -> Tensor:
    """The candidates (Q, N + 1) that answer each question: the sample's, or where referents are the
    candidates (Q, R + 1) those whose box overlaps the target's by REFERENT_IOU. Where none does,
    the one that overlaps most is a target of training, but not `strict`.
    """
    if model.config.head.object_source != "referents" or scene.referents is None:
        return sample.targets
    rows = sample.words.scene
    boxes = sample.scenes.boxes[rows, sample.targets[:, :-1].int().argmax(-1)]
    overlap = overlaps(scene.referents.boxes[rows].detach(), boxes[:, None])
    overlap = overlap * scene.referents.valid[rows]
    hit = overlap >= REFERENT_IOU
    if not strict:
        best = overlap.amax(-1, keepdim=True)
        hit |= (overlap == best) & (best > 0)
    nothing = sample.targets[:, -1:] if strict else ~hit.any(-1, keepdim=True)
    return torch.cat([hit, nothing], -1)


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of upright boxes (..., 6), centre and size."""
    low = torch.maximum(boxes[..., :3] - boxes[..., 3:] / 2, others[..., :3] - others[..., 3:] / 2)
    high = torch.minimum(boxes[..., :3] + boxes[..., 3:] / 2, others[..., :3] + others[..., 3:] / 2)
    shared = (high - low).clamp(min=0).prod(-1)
    whole = boxes[..., 3:].prod(-1) + others[..., 3:].prod(-1) - shared
    return shared / whole.clamp(min=1e-9)
