"""Class-agnostic 3D object proposals from a few posed RGB-D frames.

Views are aligned (`alignment`) and fused into voxels (`fusion`); floor, ceiling and walls are taken
away (`planes`); the rest falls into patches (`segmentation`), patches grow together into a tree of
hypotheses (`merging`), and the likeliest of these (`ranking`) are given with boxes that stand on
something (`settling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from spatial3d_ros.geometry.box import Box3D, iou_matrix
from spatial3d_ros.scene import ranking
from spatial3d_ros.scene.alignment import align
from spatial3d_ros.scene.box_fitting import settle, tight_box
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.fusion import VoxelCloud, fuse, sample
from spatial3d_ros.scene.planes import Structure, find_structure
from spatial3d_ros.scene.region_merging import Node, Regions, grow
from spatial3d_ros.scene.segmentation import fold, patches, rims, sharpen, smooth
from spatial3d_ros.scene.visibility import EMPTY, UNSEEN, observe

_FALLBACK = 5  # hypotheses given when none is good
_PROBES = 48  # points of a hypothesis that are looked for in the newest views


@dataclass(frozen=True, eq=False)
class Proposal:
    """Something that may be an object.

    `box` world frame, axis-aligned; `points` (n, 3) float32 world metres, one per voxel; `rgb` mean
    colour, 0 .. 255; `views` frames that saw it; `score` 0 .. 1, how likely it is one whole object.
    `label` is what a detector calls it ("" without one), and `label_score` 0 .. 1 how sure of it.
    """

    box: Box3D
    points: np.ndarray
    rgb: tuple[float, float, float]
    views: int
    score: float
    label: str = ""
    label_score: float = 0.0


@dataclass(frozen=True)
class ProposalConfig:
    """Metres unless said otherwise."""

    voxel_m: float = 0.025
    min_voxel_m: float = 0.01  # when everything is within arm's reach
    image_width: int = 320  # pixels read across each image
    max_depth_m: float = 6.0
    min_area_m2: float = 0.005  # least surface seen of an object
    min_size_m: float = 0.04  # least extent along its two longer sides
    min_score: float = 0.1
    nested: float = 0.7  # what a part is worth once the whole is given, and the other way round
    max_iou: float = 0.7  # of two proposals more alike than this the better stays
    max_proposals: int = 60


@dataclass(frozen=True, eq=False)
class Scene:
    """Frames taken apart: the voxels that are no structure, and the patch (N,) of each."""

    frames: Sequence[Frame]
    structure: Structure
    cloud: VoxelCloud
    label: np.ndarray


class Candidate(NamedTuple):
    """A node of the tree: the voxels `index` in it, and its patches as a bit set."""

    score: float
    box: Box3D
    index: np.ndarray
    patches: int


def propose(frames: Sequence[Frame], config: ProposalConfig = ProposalConfig()) -> list[Proposal]:
    """Proposals in the world frame, best first; at most `max_proposals`. Nothing measured: none.

    Args:
        frames: views of one scene in time order. What the newest of them see through is left out.
    """
    scene, regions = take_apart(frames, config)
    found = candidates(scene, grow(regions) if regions else [], config)
    found.sort(key=lambda c: -c.score)
    good = [c for c in found[: 3 * config.max_proposals] if c.score >= config.min_score]
    good = [c for c in good or found[:_FALLBACK] if not _gone(c, scene)]
    good = [c._replace(box=settle(c.box, c.index, scene.cloud, scene.structure)) for c in good]
    return [_proposal(scene.cloud, c) for c in _distinct(good, config)]


def take_apart(frames: Sequence[Frame], config: ProposalConfig) -> tuple[Scene, Regions | None]:
    """The scene in patches, and these with their borders (None without any)."""
    views = align([sample(f, config.image_width, config.max_depth_m) for f in frames])
    cloud = fuse(views, _voxel_size(frames, config))
    structure = find_structure(cloud)
    cloud = sharpen(structure.remove(cloud))
    if not len(cloud):
        return Scene(frames, structure, cloud, np.empty(0, int)), None
    pairs = cloud.neighbours()
    color, normal = smooth(cloud, pairs)
    bend = fold(cloud, normal, pairs)
    label = patches(pairs, color, bend)
    regions = Regions(cloud, label, color)
    regions.connect(cloud, label, color, normal, bend, pairs, rims(cloud, label, pairs))
    return Scene(frames, structure, cloud, label), regions


def candidates(scene: Scene, nodes: Sequence[Node], config: ProposalConfig) -> list[Candidate]:
    """The nodes large enough for an object, with their tight boxes and scores."""
    order = np.argsort(scene.label, kind="stable")
    starts = np.append(0, np.cumsum(np.bincount(scene.label)))
    found, measures = [], []
    for node in nodes:
        index = np.concatenate([order[starts[m] : starts[m + 1]] for m in node.members])
        if len(index) * scene.cloud.size**2 < config.min_area_m2:
            continue
        box = tight_box(scene.cloud.point[index], scene.cloud.size)
        if sorted(box.size)[1] < config.min_size_m:
            continue
        measures.append(
            ranking.measure(node, box, index, scene.cloud, scene.structure, len(scene.frames))
        )
        found.append(Candidate(0.0, box, index, sum(1 << m for m in node.members)))
    if not found:
        return []
    scores = ranking.score(np.array(measures)).tolist()
    return [c._replace(score=s) for c, s in zip(found, scores, strict=True)]


def _voxel_size(frames: Sequence[Frame], config: ProposalConfig) -> float:
    """Finer when everything is near: about 1 cm at 1 m."""
    depth = np.concatenate([np.empty(0), *(f.depth[::16, ::16].ravel() for f in frames)])
    depth = depth[depth > 0]
    if not len(depth):
        return config.voxel_m
    return float(np.clip(0.01 * np.quantile(depth, 0.7), config.min_voxel_m, config.voxel_m))


def _gone(candidate: Candidate, scene: Scene) -> bool:
    """Whether each of the two newest of the views that cover it sees through to what is behind."""
    probes = np.linspace(0, len(candidate.index) - 1, min(len(candidate.index), _PROBES)).astype(
        int
    )
    points = scene.cloud.point[candidate.index[probes]]
    through = 0
    for frame in reversed(scene.frames):
        state = observe(points, frame)
        if np.mean(state == UNSEEN) > 0.4:
            continue
        if np.mean(state == EMPTY) < 0.6:
            return False
        through += 1
        if through == 2:
            return True
    return False


def _distinct(found: list[Candidate], config: ProposalConfig) -> list[Candidate]:
    """Best first, no near duplicates; a part or a whole of something given counts less, once."""
    full = np.array([c.score for c in found])
    score = full.copy()
    boxes = np.array([c.box.array() for c in found]).reshape(-1, 6)
    alike = iou_matrix(boxes, boxes) > config.max_iou
    least = min(config.min_score, score.max(initial=0))
    kept: list[Candidate] = []
    while len(kept) < min(config.max_proposals, len(found)):
        best = int(score.argmax())
        if score[best] < least:
            break
        kept.append(found[best]._replace(score=float(score[best])))
        nested = np.array([bool(c.patches & found[best].patches) for c in found])
        score[nested] = np.minimum(score[nested], config.nested * full[nested])
        score[alike[best]] = -1
    return kept


def _proposal(cloud: VoxelCloud, candidate: Candidate) -> Proposal:
    lab = cloud.lab[candidate.index].mean(0)[None, None]
    rgb = tuple((cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)[0, 0] * 255).tolist())
    views = int(np.quantile(cloud.views[candidate.index], 0.9))
    points = cloud.point[candidate.index]
    return Proposal(candidate.box, points, rgb, views, candidate.score)
