"""Fusion of built-in proposals and tracked detections into the objects of a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from spatial3d_ros.categories import CATEGORIES
from spatial3d_ros.geometry.box import Box3D, iou_matrix, vector
from spatial3d_ros.geometry.voxels import subsample
from spatial3d_ros.scene.association import assign
from spatial3d_ros.scene.detection_tracking import MIN_POINTS
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.label_distribution import kinds_of, same_kind
from spatial3d_ros.scene.proposals import Proposal

MIN_AGREEMENT = 0.35  # of a track and a built-in proposal for both to be one object
TIGHTER = 0.8  # ratio of footprints from which a detection replaces the built-in geometry
PART_SHARE = 0.7  # share of the points of a proposal on a labelled surface to be a part of it
MAX_PART_RATIO = 10.0  # of volumes: a larger object of one label has objects of that label in it
ON_TOP, STANDING_M = 0.35, 0.06  # upper share of furniture for what stands on it, and its height
PART_REACH_M = (0.04, 0.08)  # limits of the distance to a labelled surface
FILL = 5  # grid points along each side of a box without measured points
_STRIDE = 4  # pixels between the points that are measured in a detector's box


def fuse_detections(built_in: Sequence[Proposal], tracked: Sequence[Proposal]) -> list[Proposal]:
    """Built-in proposals with the labels of tracked ones; unmatched tracked proposals are appended.

    All boxes are axis-aligned in one world frame. A matched pair has the geometry of the built-in
    proposal, which is fitted to all views at once and extended to its support. The detector's box,
    points and colour replace it if their footprint is clearly smaller; so does a 3D box of the
    detector (a proposal without points).
    """
    fused = list(built_in)
    agreement = np.array([[_agreement(a, b) for b in tracked] for a in built_in])
    pairs = dict(assign(agreement.reshape(len(built_in), len(tracked)), MIN_AGREEMENT))
    for row, column in pairs.items():
        proposal, detected = built_in[row], tracked[column]
        geometry = proposal
        tighter = _footprint(detected) < TIGHTER * _footprint(proposal)
        if len(detected.points) >= MIN_POINTS and tighter and detected.score > proposal.score:
            geometry = detected
        fused[row] = replace(
            geometry,
            box=geometry.box if len(detected.points) else detected.box,
            label=detected.label or proposal.label,
            label_score=detected.label_score or proposal.label_score,
            labels=detected.labels or proposal.labels,
            score=max(proposal.score, detected.score),
            views=max(proposal.views, detected.views),
        )
    unmatched = set(range(len(tracked))) - set(pairs.values())
    return _without_parts(fused + [tracked[column] for column in sorted(unmatched)])


def _without_parts(proposals: Sequence[Proposal]) -> list[Proposal]:
    """The proposals without those whose surface belongs to a labelled one, unless they have another
    label or stand on furniture; of two with one noun the larger stays.
    """
    labelled = [p for p in proposals if p.label and len(p.points) >= MIN_POINTS]
    trees = [cKDTree(p.points) for p in labelled]
    reach = [_spacing(tree) for tree in trees]

    def is_part(proposal: Proposal) -> bool:
        for owner, tree, distance in zip(labelled, trees, reach, strict=True):
            if not proposal.label and (
                proposal.score > owner.score  # whole as it is more surely than the owner is there
                or _stands_on(proposal.box, owner)
            ):
                continue
            if proposal.label and (
                not same_kind(proposal.label, owner.label)
                or not 1 < owner.box.volume / max(proposal.box.volume, 1e-9) < MAX_PART_RATIO
            ):
                continue
            near = owner.box.contains(proposal.points, distance)
            if near.mean() < PART_SHARE:
                continue
            gap, _ = tree.query(proposal.points[near], distance_upper_bound=distance)
            if np.isfinite(gap).sum() >= PART_SHARE * len(proposal.points):
                return True
        return False

    return [p for p in proposals if not len(p.points) or not is_part(p)]


def _stands_on(box: Box3D, owner: Proposal) -> bool:
    """Whether a box rises from the upper part of a piece of furniture that carries things: a box of
    tissues in the box that a detector drew around a table and all on it.
    """
    kinds = [CATEGORIES[kind] for kind in kinds_of(owner.label) if kind in CATEGORIES]
    if box.size[2] < STANDING_M or not any(kind.surface == 1 for kind in kinds):
        return False
    low, top = box.bounds()[0][2], owner.box.bounds()[1][2]
    return bool(low >= top - max(ON_TOP * owner.box.size[2], box.size[2] + STANDING_M))


def _spacing(tree: cKDTree) -> float:
    """Distance within which a point belongs to a sampled surface, metres."""
    nearest = tree.query(tree.data, 2)[0][:, 1]
    return float(np.clip(2 * np.median(nearest), *PART_REACH_M))


def with_measured_points(proposal: Proposal, frames: Sequence[Frame]) -> Proposal:
    """The proposal with points: its own, else those that frames measure in its box, else a grid.

    Box and frames are in one world frame.
    """
    if len(proposal.points) >= MIN_POINTS:
        return proposal
    inside, colors = [], []
    for frame in frames:
        points = frame.points_world(_STRIDE)
        mask = proposal.box.contains(points)
        inside.append(points[mask])
        colors.append(frame.rgb[::_STRIDE, ::_STRIDE][mask])
    points, rgb = np.concatenate(inside), np.concatenate(colors)
    if len(points) >= MIN_POINTS:
        return replace(proposal, points=subsample(points, 400), rgb=vector(rgb.mean(0)))
    low, high = proposal.box.bounds()
    steps = (np.arange(FILL) + 0.5) / FILL
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    return replace(proposal, points=(low + grid * (high - low)).astype(np.float32))


def _footprint(proposal: Proposal) -> float:
    """Area in the xy plane, square metres."""
    return proposal.box.size[0] * proposal.box.size[1]


def _agreement(a: Proposal, b: Proposal) -> float:
    """Agreement 0 .. 1 of two proposals: the larger of the IoU of their boxes and the product of
    the shares of points that lie in the other box.
    """
    iou = float(iou_matrix(a.box.array(), b.box.array())[0, 0])
    if not len(a.points) or not len(b.points):
        return iou
    margin = 0.03
    b_in_a = a.box.contains(b.points, margin).mean()
    a_in_b = b.box.contains(a.points, margin).mean()
    return max(iou, float(b_in_a * a_in_b))
