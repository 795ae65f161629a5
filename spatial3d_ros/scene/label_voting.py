"""Labels of proposals from class images: every pixel on the surface of a proposal votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.camera import project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.geometry.voxels import subsample
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.proposals import Proposal

MIN_SHARE = 0.5  # of the votes for a label to become that of a proposal
MAX_STRUCTURE = 0.9  # share of the votes for wall, floor, ... from which a proposal is removed
# Classes of surfaces without an outline: they bound a room and are no objects of a map.
STRUCTURE = frozenset(
    ("wall", "floor", "flooring", "ceiling", "sky", "building", "house", "road", "grass", "earth",
     "field", "sidewalk", "mountain", "sea", "water", "tree", "railing", "column", "stairs", "step",
     "stairway")
)  # fmt: skip
_POINTS = 300  # of a proposal that vote in each view
_MARGIN_M, _MARGIN = 0.05, 0.02  # of depth for a point to be visible: metres, and share of depth


@dataclass(frozen=True, eq=False)
class ClassImage:
    """Classes (H, W) int of the pixels of a frame: indices into `labels`; "" is unknown.

    `structure` are the labels of surfaces that bound a room and are no objects. Raises FrameError
    for another size than the frame's.
    """

    frame: Frame
    classes: np.ndarray
    labels: tuple[str, ...]
    structure: frozenset[str] = STRUCTURE

    def __post_init__(self) -> None:
        if self.classes.shape != self.frame.depth.shape:
            height, width = self.frame.depth.shape
            raise FrameError(
                f"class image: {self.classes.shape[1]} x {self.classes.shape[0]} differs from the "
                f"color image of its stamp, {width} x {height}"
            )


def label_by_votes(proposals: Sequence[Proposal], images: Sequence[ClassImage]) -> list[Proposal]:
    """The proposals with the labels that most of their visible points have in the class images.

    Near views weigh more, as the inverse square of the distance. A proposal keeps the label of a
    detector. Proposals that consist of structure are removed.

    Args:
        proposals: in the world frame of the frames.
        images: class images; other views do not vote.
    """
    if not images:
        return list(proposals)
    structure = frozenset().union(*(image.structure for image in images))
    labelled = []
    for proposal in proposals:
        shares = label_shares(subsample(proposal.points, _POINTS), images)
        if sum(shares.get(label, 0.0) for label in structure) >= MAX_STRUCTURE:
            continue
        known = {k: v for k, v in shares.items() if k and k not in structure}
        label = max(known, key=known.__getitem__, default="")
        if label and known[label] >= MIN_SHARE and not proposal.label:
            proposal = replace(proposal, label=label, label_score=known[label])
        labelled.append(proposal)
    return labelled


def label_shares(points: np.ndarray, images: Sequence[ClassImage]) -> dict[str, float]:
    """Share of the votes of world points (n, 3) for each label; empty if no view shows them."""
    votes: dict[str, float] = {}
    for image in images:
        frame = image.frame
        uv, z = project(transform(invert(frame.world_T_camera), points), frame.camera)
        height, width = frame.depth.shape
        columns, rows = np.nan_to_num(uv, nan=-1.0, posinf=-1.0, neginf=-1.0).round().T
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        rows, columns, z = (v[inside] for v in (rows.astype(int), columns.astype(int), z))
        depth = frame.depth[rows, columns]
        visible = (depth > 0) & (np.abs(depth - z) < _MARGIN_M + _MARGIN * z)
        classes = image.classes[rows[visible], columns[visible]]
        weights = 1 / np.maximum(z[visible], 0.5) ** 2
        for index in np.unique(classes).tolist():
            label = image.labels[index] if 0 <= index < len(image.labels) else ""
            votes[label] = votes.get(label, 0.0) + float(weights[classes == index].sum())
    total = sum(votes.values())
    return {label: value / total for label, value in votes.items()} if total else {}
