"""Monitors in training whether the network uses its images: variation of the projected features,
live units of the projector, contribution of each part of the object tokens.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from spatial3d_ros.errors import FeatureCollapseError
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.channels import LIVE_UNIT, MIN_VARIATION, variation
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.referents import Referents

COLLAPSE_STEPS = 100
PARTS = ("visual", "extent", "color", "label")
"""Parts of an object token that are compared, by their names in `ObjectTokens`; a network with
`objects.channels` has these in their place.
"""


class FeatureMonitor:
    """Statistics of a network's features over the batches with views of a step.

    variation: relative variation of the projected features between images (`channels.variation`).
    vote_spread: standard deviation of the seeds' votes relative to the seeds (m); 0: all alike.
    live_units: fraction of the projector's hidden units that any patch raises above LIVE_UNIT.
    Each part of an object token: its share of the standard deviation of all, over objects.
    """

    def __init__(self, model: SpatialModel) -> None:
        parts = _parts(model)
        votes = ["vote_spread"] if model.config.psa.enabled and model.config.psa.intra else []
        self.names = [f"features/{n}" for n in ("variation", "live_units", *votes, *parts)]
        self._hidden: Tensor | None = None
        self._parts: dict[str, Tensor] = {}
        self._totals: dict[str, tuple[float, int]] = {}
        self._low_steps = 0
        model.projector[1].register_forward_pre_hook(self._keep_hidden)
        for name, part in parts.items():
            part.register_forward_hook(partial(self._keep_part, name))

    def _keep_hidden(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._hidden = inputs[0].detach()

    def _keep_part(self, name: str, _: nn.Module, inputs: object, output: Tensor) -> None:
        self._parts[name] = output.detach()

    @torch.no_grad()
    def observe(
        self, projected: Tensor, batch: SceneBatch, referents: Referents | None = None
    ) -> None:
        """Add the batch that the network has just encoded; projected (B, V, P, D)."""
        if referents is not None and "features/vote_spread" in self.names:
            moved = (referents.votes - referents.seeds.points)[referents.seeds.valid]
            self._add("vote_spread", moved.std(0).norm() if len(moved) > 1 else moved.sum() * 0)
        view_valid = batch.views.view_valid
        self._add("variation", variation(projected.detach()[view_valid]))
        if self._hidden is not None:
            live = (self._hidden[view_valid] > LIVE_UNIT).flatten(0, -2).any(0)
            self._add("live_units", live.float().mean())
        spread = {
            name: part[batch.object_valid].float().std(0).square().mean().sqrt()
            for name, part in self._parts.items()
            if batch.object_valid.sum() > 1
        }
        total = sum(spread.values(), torch.tensor(1e-12))
        for name, value in spread.items():
            self._add(name, value / total)
        self._hidden, self._parts = None, {}

    def _add(self, name: str, value: Tensor) -> None:
        total, count = self._totals.get(name, (0.0, 0))
        self._totals[name] = total + float(value), count + 1

    def step_sums(self) -> Tensor:
        """Sum and count of each statistic since the last call (2, names), for a sum over
        processes.
        """
        names = [name.removeprefix("features/") for name in self.names]
        sums = torch.tensor([self._totals.get(name, (0.0, 0)) for name in names]).T
        self._totals = {}
        return sums

    def end_step(self, step: int, sums: Tensor) -> dict[str, float]:
        """Means of a step from `step_sums` of all processes. Raises FeatureCollapseError if the
        variation was below MIN_VARIATION for COLLAPSE_STEPS steps with views.
        """
        means = {
            name: float(total / count)
            for name, total, count in zip(self.names, *sums, strict=True)
            if count
        }
        if "features/variation" in means:
            low = means["features/variation"] < MIN_VARIATION
            self._low_steps = self._low_steps + 1 if low else 0
        if self._low_steps >= COLLAPSE_STEPS:
            raise FeatureCollapseError(
                f"step {step}: the projected features of different images are almost equal "
                f"(variation {means['features/variation']:.4f}, below {MIN_VARIATION} for "
                f"{COLLAPSE_STEPS} steps), so that pixels have no effect; set "
                "vision.feature_norm: layer for a tower trained from random weights, lower lr, or "
                "start from other weights (init)"
            )
        return means


def _parts(model: SpatialModel) -> dict[str, nn.Module]:
    """Modules whose outputs are added to an object token, by name."""
    if model.roles is None:
        return {}
    if model.config.objects.channels:
        return dict(model.objects.parts.items())
    return {name: getattr(model.objects, name) for name in PARTS}
