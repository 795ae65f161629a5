"""Names that the two sides of the grounding head are trained to tell, so that they meet early.

The head compares the `<ground>` state with the candidates by their cosine. From random weights the
cosine alone teaches both sides slowly, because each is a moving target of the other. Here both are
also classified with the same vectors of names: the state by what the question asks, a candidate by
what its object is. The branch exists in training only.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spatial3d_ros.model.heads import GroundingHead
from spatial3d_ros.model.names_config import NamesConfig
from spatial3d_ros.research.training.losses import naming_loss
from spatial3d_ros.research.training.sample import Sample

SHARPNESS = 10.0
"""Factor of the cosines."""


class HeadNames(nn.Module):
    """query (Q, D) `<ground>` states, candidates (B, N, D), a sample -> the sum over all heads of
    the mean cross-entropies, a scalar.

    "None" is a name of a look that the question does not ask for. Samples do not say which color is
    asked, so that candidates alone tell it.
    """

    def __init__(self, width: int, names: NamesConfig) -> None:
        super().__init__()
        asked = {head for head, of in names.looks if of}
        self.names = nn.ParameterDict(
            {
                head: nn.Parameter(torch.randn(len(of) + (head in asked), width))
                for head, of in names.heads.items()
            }
        )

    def forward(
        self, head: GroundingHead, query: Tensor, candidates: Tensor, sample: Sample
    ) -> Tensor:
        asking, shown = head.query(query)[:, None], head.object(candidates)
        parts = []
        for name, asked in self._asked(sample).items():
            parts.append(naming_loss(self._shares(name, asking), asked[:, None]))
        for name, names in sample.names.items():
            parts.append(naming_loss(self._shares(name, shown), names))
        return torch.stack(parts).sum()

    def _shares(self, name: str, vectors: Tensor) -> Tensor:
        names = F.normalize(self.names[name].float(), dim=-1)
        return (SHARPNESS * F.normalize(vectors.float(), dim=-1) @ names.T).softmax(-1)

    def _asked(self, sample: Sample) -> Mapping[str, Tensor]:
        """By head the name (Q,) that each question asks of its target, -100 where it has none."""
        asked = dict(sample.asked)
        if "class" in sample.names:
            target = sample.targets.int().argmax(-1, keepdim=True)
            classes = F.pad(sample.names["class"], (0, 1), value=-100)
            asked["class"] = classes[sample.words.scene].gather(1, target)[:, 0]
        return asked
