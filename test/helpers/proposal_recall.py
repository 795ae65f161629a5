"""How many of the objects that were seen have a proposal: recall at an overlap, by category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.geometry.box import Box3D, iou_matrix
from spatial3d_ros.scene.proposals import Proposal

SEEN_PIXELS = 150  # of a 640 x 480 image
SEEN_VIEWS = 2


@dataclass(frozen=True)
class ProposalRecall:
    """Best overlap of every seen object with any proposal; records of several rooms add up with
    +.
    """

    categories: tuple[str, ...] = ()
    ious: tuple[float, ...] = ()
    proposals: int = 0
    objects: int = 0  # seen at all, in one view or more

    def __add__(self, other: ProposalRecall) -> ProposalRecall:
        return ProposalRecall(
            self.categories + other.categories,
            self.ious + other.ious,
            self.proposals + other.proposals,
            self.objects + other.objects,
        )

    def recall(self, iou: float) -> float:
        """Share of the seen objects with a proposal of at least this overlap; NaN without any."""
        return float(np.mean(np.array(self.ious) >= iou)) if self.ious else float("nan")

    def by_category(self) -> dict[str, ProposalRecall]:
        """The same, category by category, most frequent first."""
        groups: dict[str, list[float]] = defaultdict(list)
        for category, iou in zip(self.categories, self.ious, strict=True):
            groups[category].append(iou)
        ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
        return {c: ProposalRecall((c,) * len(v), tuple(v)) for c, v in ordered}

    def table(self) -> str:
        """Rows of category, number, recall@0.25, recall@0.5 and mean overlap."""
        rows = [f"{'category':<12}{'n':>5}{'R@0.25':>8}{'R@0.5':>8}{'mean IoU':>10}"]
        for name, part in [*self.by_category().items(), ("all", self)]:
            mean = float(np.mean(part.ious)) if part.ious else float("nan")
            rows.append(
                f"{name:<12}{len(part.ious):>5}{part.recall(0.25):>8.2f}{part.recall(0.5):>8.2f}{mean:>10.2f}"
            )
        return "\n".join(rows)


def proposal_recall(
    proposals: Sequence[Proposal],
    truth: Sequence[Box3D],
    pixels: np.ndarray,
    categories: Sequence[str] = (),
    image_size: tuple[int, int] = (640, 480),
) -> ProposalRecall:
    """Compares proposals with the true boxes of the objects that were seen well.

    Args:
        truth: true boxes, axis-aligned.
        pixels: (F, N) pixels of every true object in every frame. An object counts when it has
            SEEN_PIXELS or more (of 640 x 480; scaled to `image_size`) in SEEN_VIEWS frames.
        categories: a name per true object; "" when empty.
    """
    names = tuple(categories) or ("",) * len(truth)
    pixels = np.asarray(pixels).reshape(-1, len(truth))
    least = SEEN_PIXELS * image_size[0] * image_size[1] / (640 * 480)
    views = (pixels >= least).sum(0)
    seen = np.flatnonzero(views >= SEEN_VIEWS)
    best = np.zeros(len(truth))
    if len(proposals) and len(truth):
        boxes = (
            np.array([b.array() for b in some]) for some in (truth, [p.box for p in proposals])
        )
        best = iou_matrix(*boxes).max(1)
    return ProposalRecall(
        tuple(names[k] for k in seen),
        tuple(float(best[k]) for k in seen),
        len(proposals),
        int((views >= 1).sum()),
    )
