"""Labels of proposals from class images: every pixel on the surface of a proposal votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.camera import backproject, project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.geometry.voxels import subsample
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.label_distribution import Labels, fuse, ranked
from spatial3d_ros.scene.proposals import Proposal

MIN_SHARE = 0.5  # of the votes for a label to become that of a proposal
MAX_STRUCTURE = 0.9  # share of the votes for wall, floor, ... from which a proposal is removed
ONE_SURFACE = 0.75  # share of one of these: wall and floor at once is doubt, no surface
THICK_M, CERTAIN = 0.2, 0.3  # smallest side, and score, of what is an object whatever it is called
# Classes of surfaces without an outline: they bound a room and are no objects of a map.
STRUCTURE = frozenset(
    ("wall", "floor", "flooring", "ceiling", "sky", "building", "house", "road", "grass", "earth",
     "field", "sidewalk", "mountain", "sea", "water", "tree", "railing", "column", "stairs", "step",
     "stairway")
)  # fmt: skip
_POINTS = 300  # of a proposal that vote in each view
_MARGIN_M, _MARGIN = 0.05, 0.02  # of depth for a point to be visible: metres, and share of depth
_STEP = 4  # pixels between those whose normal is known
_GRAZING = 0.1  # least weight of a surface that is seen at an angle
_BORDER, _AT_BORDER = 0.03, 0.5  # width of the border, share of the height; weight of a vote in it
VOTES_WEIGHT = 0.5  # of the votes of pixels against the label of a detector


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
    """The proposals with the labels that their visible points have in the class images.

    A proposal keeps the label of a detector unless the votes are much surer. Votes that are too
    divided for a label stay as its `labels`. Unlabelled proposals that consist of structure are
    removed.

    Args:
        proposals: in the world frame of the frames.
        images: class images; other views do not vote.
    """
    if not images:
        return list(proposals)
    structure = frozenset().union(*(image.structure for image in images))
    facing = [_facing(image.frame) for image in images]
    labelled = []
    for proposal in proposals:
        shares = label_shares(subsample(proposal.points, _POINTS), images, facing)
        surfaces = [shares.get(label, 0.0) for label in structure]
        bounding = sum(surfaces)
        is_structure = bounding >= MAX_STRUCTURE and max(surfaces) >= ONE_SURFACE
        if is_structure and not proposal.label and not _stands_free(proposal):
            continue
        # Masks of walls run over the edges of what stands before them.
        votes = ranked(
            (k, v * (1 + bounding)) for k, v in shares.items() if k and k not in structure
        )
        if votes:
            proposal = _with_votes(proposal, votes)
        labelled.append(proposal)
    return labelled


def _stands_free(proposal: Proposal) -> bool:
    """Whether a proposal has the depth and the score of an object: segmenters take dark chairs and
    bins for floor and wall.
    """
    return min(proposal.box.size) >= THICK_M and proposal.score >= CERTAIN


def _with_votes(proposal: Proposal, votes: Labels) -> Proposal:
    given = proposal.labels
    if proposal.label and not given:
        given = ((proposal.label, proposal.label_score),)
    labels = fuse([(given, 1.0), (votes, VOTES_WEIGHT)])
    label, share = labels[0]
    if proposal.label:
        score = proposal.label_score if label == proposal.label else share
        return replace(proposal, label=label, label_score=score, labels=labels)
    if share >= MIN_SHARE:
        return replace(proposal, label=label, label_score=share, labels=labels)
    return replace(proposal, labels=labels)


def label_shares(
    points: np.ndarray,
    images: Sequence[ClassImage],
    facing: Sequence[np.ndarray] | None = None,
) -> dict[str, float]:
    """Share of the votes of world points (n, 3) for each label; empty if no view shows them.

    A vote weighs the inverse square of the distance, times the cosine between surface and line of
    sight (`facing` (h, w) of each image, every `_STEP`-th pixel), and half at the border of the
    image.
    """
    votes: dict[str, float] = {}
    for k, image in enumerate(images):
        frame = image.frame
        uv, z = project(transform(invert(frame.world_T_camera), points), frame.camera)
        height, width = frame.depth.shape
        columns, rows = np.nan_to_num(uv, nan=-1.0, posinf=-1.0, neginf=-1.0).round().T
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        rows, columns, z = (v[inside] for v in (rows.astype(int), columns.astype(int), z))
        depth = frame.depth[rows, columns]
        visible = (depth > 0) & (np.abs(depth - z) < _MARGIN_M + _MARGIN * z)
        rows, columns, z = rows[visible], columns[visible], z[visible]
        weights = 1 / np.maximum(z, 0.5) ** 2
        if facing is not None:
            weights = weights * facing[k][rows // _STEP, columns // _STEP]
        edge = np.minimum.reduce([rows, height - 1 - rows, columns, width - 1 - columns])
        weights = np.where(edge < _BORDER * height, _AT_BORDER, 1.0) * weights
        classes = image.classes[rows, columns]
        for index in np.unique(classes).tolist():
            label = image.labels[index] if 0 <= index < len(image.labels) else ""
            votes[label] = votes.get(label, 0.0) + float(weights[classes == index].sum())
    total = sum(votes.values())
    return {label: value / total for label, value in votes.items()} if total else {}


def _facing(frame: Frame) -> np.ndarray:
    """Cosine (h, w) between surface and line of sight, of every `_STEP`-th pixel; 1 where unknown,
    `_GRAZING` at least.
    """
    points = backproject(frame.depth, frame.camera, _STEP)
    right, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normal = np.cross(right, down)
    length = np.linalg.norm(normal, axis=2) * np.linalg.norm(points, axis=2)
    cosine = np.abs(np.einsum("hwc,hwc->hw", normal, points)) / np.maximum(length, 1e-12)
    return np.where(length > 0, np.maximum(cosine, _GRAZING), 1.0)
