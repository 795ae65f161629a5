"""Class-agnostic 3D object proposals from a few posed RGB-D frames.

Views are registered (`alignment`) and fused into voxels (`fusion`); floor, ceiling and walls are
removed (`planes`); the rest is split into segments (`voxel_segmentation`), which are merged into a
tree of regions (`region_merging`). The most probable regions (`ranking`) become proposals, with
boxes extended to their support (`box_fitting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from spatial3d_ros.geometry.box import Box3D, Vector, iou_matrix, vector
from spatial3d_ros.geometry.voxels import subsample
from spatial3d_ros.scene import ranking
from spatial3d_ros.scene.alignment import align
from spatial3d_ros.scene.box_fitting import snap_to_support, tight_box
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.fusion import VoxelCloud, fuse, sample
from spatial3d_ros.scene.planes import Structure, find_structure
from spatial3d_ros.scene.region_merging import Node, Regions, build_merge_tree
from spatial3d_ros.scene.visibility import FREE, UNOBSERVED, classify_points
from spatial3d_ros.scene.voxel_segmentation import (
    boundary_pairs,
    concavity,
    remove_outliers,
    segment,
    smooth_features,
)

_FALLBACK = 5  # regions proposed if none reaches the minimum score
_PROBES = 48  # points of a region that are tested in the newest views


@dataclass(frozen=True, eq=False)
class Proposal:
    """A box that may be an object.

    `box` world frame, axis-aligned; `points` (n, 3) float32 world metres, one per voxel; `rgb` mean
    colour 0 .. 255; `views` number of frames that show it; `score` 0 .. 1, probability that it is
    one whole object; `label` of a detector ("" without one) with its score `label_score` 0 .. 1.
    """

    box: Box3D
    points: np.ndarray
    rgb: Vector
    views: int
    score: float
    label: str = ""
    label_score: float = 0.0


@dataclass(frozen=True)
class ProposalConfig:
    """Limits of the proposals, in metres unless noted."""

    voxel_m: float = 0.025
    min_voxel_m: float = 0.01  # if all surfaces are within arm's reach
    image_width: int = 320  # columns sampled of each image
    max_depth_m: float = 6.0
    min_area_m2: float = 0.005  # visible surface
    min_size_m: float = 0.04  # second largest side
    min_score: float = 0.1
    nested: float = (
        0.7  # factor on the score of a part or whole of a proposal that was taken before
    )
    max_iou: float = 0.7  # of two proposals that overlap more the better stays
    max_proposals: int = 60


@dataclass(frozen=True, eq=False)
class SegmentedScene:
    """Frames, structure, the voxels that are no structure, and the segment label (N,) of each."""

    frames: Sequence[Frame]
    structure: Structure
    cloud: VoxelCloud
    label: np.ndarray


class Candidate(NamedTuple):
    """A region of the merge tree: its score, box, voxel indices, and segments as a bit set."""

    score: float
    box: Box3D
    voxels: np.ndarray
    segments: int


def propose(frames: Sequence[Frame], config: ProposalConfig = ProposalConfig()) -> list[Proposal]:
    """Proposals in the world frame, highest score first; at most `max_proposals`. Without depth:
    none.

    Args:
        frames: views of one scene in time order. Objects whose volume the newest views measure as
            free are left out.
    """
    scene, regions = segment_scene(frames, config)
    found = score_regions(scene, build_merge_tree(regions) if regions else [], config)
    found.sort(key=lambda c: -c.score)
    good = [c for c in found[: 3 * config.max_proposals] if c.score >= config.min_score]
    good = [c for c in good or found[:_FALLBACK] if not _disappeared(c, scene)]
    good = [
        c._replace(box=snap_to_support(c.box, c.voxels, scene.cloud, scene.structure)) for c in good
    ]
    return [_proposal(scene.cloud, c) for c in _suppress_duplicates(good, config)]


def segment_scene(
    frames: Sequence[Frame], config: ProposalConfig
) -> tuple[SegmentedScene, Regions | None]:
    """Segments of the scene, and their graph of borders (None without segments)."""
    views = align([sample(f, config.image_width, config.max_depth_m) for f in frames])
    cloud = fuse(views, _voxel_size(frames, config))
    structure = find_structure(cloud)
    cloud = remove_outliers(structure.remove(cloud))
    if not len(cloud):
        return SegmentedScene(frames, structure, cloud, np.empty(0, int)), None
    pairs = cloud.neighbours()
    color, normal = smooth_features(cloud, pairs)
    bend = concavity(cloud, normal, pairs)
    label = segment(pairs, color, bend)
    regions = Regions(cloud, label, color)
    regions.connect(cloud, label, color, normal, bend, pairs, boundary_pairs(cloud, label, pairs))
    return SegmentedScene(frames, structure, cloud, label), regions


def score_regions(
    scene: SegmentedScene, nodes: Sequence[Node], config: ProposalConfig
) -> list[Candidate]:
    """The regions that are large enough for an object, with tight boxes and scores."""
    order = np.argsort(scene.label, kind="stable")
    starts = np.append(0, np.cumsum(np.bincount(scene.label)))
    found, features = [], []
    for node in nodes:
        voxels = np.concatenate([order[starts[m] : starts[m + 1]] for m in node.segments])
        if len(voxels) * scene.cloud.size**2 < config.min_area_m2:
            continue
        box = tight_box(scene.cloud.point[voxels], scene.cloud.size)
        if sorted(box.size)[1] < config.min_size_m:
            continue
        features.append(
            ranking.features(node, box, voxels, scene.cloud, scene.structure, len(scene.frames))
        )
        found.append(Candidate(0.0, box, voxels, sum(1 << m for m in node.segments)))
    if not found:
        return []
    scores = ranking.score(np.array(features)).tolist()
    return [c._replace(score=s) for c, s in zip(found, scores, strict=True)]


def _voxel_size(frames: Sequence[Frame], config: ProposalConfig) -> float:
    """Edge of a voxel (m): about 1 cm at 1 m distance, within the limits of the configuration."""
    depth = np.concatenate([np.empty(0), *(f.depth[::16, ::16].ravel() for f in frames)])
    depth = depth[depth > 0]
    if not len(depth):
        return config.voxel_m
    return float(np.clip(0.01 * np.quantile(depth, 0.7), config.min_voxel_m, config.voxel_m))


def _disappeared(candidate: Candidate, scene: SegmentedScene) -> bool:
    """Whether the two newest views that cover the region both measure it as free."""
    points = scene.cloud.point[subsample(candidate.voxels, _PROBES)]
    free_views = 0
    for frame in reversed(scene.frames):
        state = classify_points(points, frame)
        if np.mean(state == UNOBSERVED) > 0.4:
            continue
        if np.mean(state == FREE) < 0.6:
            return False
        free_views += 1
        if free_views == 2:
            return True
    return False


def _suppress_duplicates(found: list[Candidate], config: ProposalConfig) -> list[Candidate]:
    """Greedy selection by score without near duplicates; the score of a part or a whole of a taken
    region is reduced once.
    """
    full = np.array([c.score for c in found])
    score = full.copy()
    boxes = np.array([c.box.array() for c in found]).reshape(-1, 6)
    duplicate = iou_matrix(boxes, boxes) > config.max_iou
    min_score = min(config.min_score, score.max(initial=0))
    kept: list[Candidate] = []
    while len(kept) < min(config.max_proposals, len(found)):
        best = int(score.argmax())
        if score[best] < min_score:
            break
        kept.append(found[best]._replace(score=float(score[best])))
        nested = np.array([bool(c.segments & found[best].segments) for c in found])
        score[nested] = np.minimum(score[nested], config.nested * full[nested])
        score[duplicate[best]] = -1
    return kept


def _proposal(cloud: VoxelCloud, candidate: Candidate) -> Proposal:
    lab = cloud.lab[candidate.voxels].mean(0)[None, None]
    rgb = vector(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)[0, 0] * 255)
    views = int(np.quantile(cloud.views[candidate.voxels], 0.9))
    points = cloud.point[candidate.voxels]
    return Proposal(candidate.box, points, rgb, views, candidate.score)
