"""Class-agnostic 3D object proposals from a few posed RGB-D frames.

Views are registered (`alignment`) and fused into voxels (`fusion`); floor, ceiling and walls are
removed (`planes`); the rest is split into segments (`voxel_segmentation`), which are merged into a
tree of regions (`region_merging`). The most probable set of regions (`ranking`) of which none is a
part of another (`region_choice`) becomes the proposals, with boxes extended to their support
(`box_fitting`).
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
from spatial3d_ros.scene.box_fitting import snap_to_support, tight_box
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.fusion import VoxelCloud
from spatial3d_ros.scene.label_distribution import Labels
from spatial3d_ros.scene.planes import Structure, find_structure
from spatial3d_ros.scene.region_choice import IMPOSSIBLE, best_cut, distribution
from spatial3d_ros.scene.region_merging import Node, Regions, build_merge_tree
from spatial3d_ros.scene.surface_color import Light
from spatial3d_ros.scene.view_fusion import ViewFusion
from spatial3d_ros.scene.visibility import FREE, UNOBSERVED, classify_points
from spatial3d_ros.scene.voxel_segmentation import (
    boundary_pairs,
    concavity,
    remove_outliers,
    segment,
    smooth_features,
)

_PER_METRE = 0.01  # edge of a voxel over the distance of the surfaces
DETECTED = 4.0  # logit of a region whose box is that of a sure detection
MIN_OVERLAP = 0.3  # IoU with a detection from which it supports a region
_COLORED = 400  # voxels of a region whose colors are named
_PROBES = 48  # points of a region that are tested in the newest views


@dataclass(frozen=True, eq=False)
class Proposal:
    """A box that may be an object.

    `box` world frame, axis-aligned; `points` (n, 3) float32 world metres, one per voxel; `rgb` mean
    colour 0 .. 255; `views` number of frames that show it; `score` 0 .. 1, probability that it is
    one whole object; `label` of a detector ("" without one) with its score `label_score` 0 .. 1;
    `labels` the distribution that recognisers give, which may be too vague for a label; `colors`
    the names of the colors of its surface.
    """

    box: Box3D
    points: np.ndarray
    rgb: Vector
    views: int
    score: float
    label: str = ""
    label_score: float = 0.0
    labels: Labels = ()
    colors: Labels = ()


@dataclass(frozen=True)
class ProposalConfig:
    """Limits of the proposals, in metres unless noted."""

    voxel_m: float = 0.025
    min_voxel_m: float = 0.005  # if all surfaces are within arm's reach
    close_m: float = 0.8  # scenes nearer than this are treated as if they were larger
    image_width: int = 320  # columns sampled of each image
    max_depth_m: float = 6.0
    min_area_m2: float = 0.005  # visible surface
    min_support: float = 20.0  # voxels times the views that show them, on average
    min_size_m: float = 0.04  # second largest side
    max_volume_m3: float = 10.0  # of the box: a larger region is the room
    extra_logit: float = 1.5  # of every region in the choice: more objects found, and more parts
    max_iou: float = 0.7  # of two proposals that overlap more the better stays
    max_proposals: int = 60


@dataclass(frozen=True, eq=False)
class SegmentedScene:
    """Structure, the voxels that are no structure, the segment label (N,) of each, and the number
    of views.
    """

    structure: Structure
    cloud: VoxelCloud
    label: np.ndarray
    views: int


class Candidate(NamedTuple):
    """A region of the merge tree that is large enough for an object: its place in the tree, score
    (0 until it is known), tight box and voxel indices.
    """

    node: int
    score: float
    box: Box3D
    voxels: np.ndarray


@dataclass(frozen=True, eq=False)
class RegionTree:
    """All regions of some views that may be objects: `found`, with their logits (M,). The scene is
    `scale` times as large as the world.
    """

    frames: tuple[Frame, ...]
    config: ProposalConfig
    scene: SegmentedScene
    nodes: Sequence[Node]
    found: Sequence[Candidate]
    logits: np.ndarray
    scale: float

    def proposals(self, detected: Sequence[Proposal] = ()) -> list[Proposal]:
        """The most probable proposals, as of `propose`.

        Args:
            detected: what detectors and class images show, in the world frame of the views; a
                region that agrees with one is more probable.
        """
        scene, scale, config = self.scene, self.scale, self.config
        logits = self.logits + DETECTED * self._support(detected)
        good = choose_regions(self.nodes, self.found, logits, config.extra_logit)
        gone = _disappeared([scene.cloud.point[c.voxels] / scale for c in good], self.frames)
        good = [c for c, absent in zip(good, gone, strict=True) if not absent]
        good = [
            c._replace(box=snap_to_support(c.box, c.voxels, scene.cloud, scene.structure))
            for c in good
        ]
        light = Light.of([frame.rgb for frame in self.frames])
        return [
            _proposal(scene.cloud, c, scale, light)
            for c in _without_duplicates(good, config.max_iou)[: config.max_proposals]
        ]

    def _support(self, detected: Sequence[Proposal]) -> np.ndarray:
        """How well each region agrees with the detection that fits it best, (M,) 0 .. 1: by the
        overlap of the boxes above `MIN_OVERLAP`, times the score of the detection.
        """
        if not detected or not self.found:
            return np.zeros(len(self.found))
        boxes = np.array([c.box.array() for c in self.found]) / self.scale
        overlap = iou_matrix(boxes, np.array([p.box.array() for p in detected]))
        agreement = np.maximum(overlap - MIN_OVERLAP, 0) / (1 - MIN_OVERLAP)
        return np.asarray((agreement * [p.score for p in detected]).max(1))


def propose(
    frames: Sequence[Frame],
    config: ProposalConfig = ProposalConfig(),
    fusion: ViewFusion | None = None,
    ids: Sequence[int] | None = None,
) -> list[Proposal]:
    """Proposals in the world frame, highest score first; at most `max_proposals`. Without depth:
    none.

    Args:
        frames: views of one scene in time order. Objects whose volume the newest views measure as
            free are left out.
        fusion: what is known of these views from an earlier call, by their `ids`.
    """
    return region_tree(frames, config, fusion, ids).proposals()


def region_tree(
    frames: Sequence[Frame],
    config: ProposalConfig = ProposalConfig(),
    fusion: ViewFusion | None = None,
    ids: Sequence[int] | None = None,
) -> RegionTree:
    """The regions of some views, of which proposals are chosen; arguments as of `propose`."""
    cloud = fuse_views(frames, config, fusion, ids)
    scale = config.voxel_m / cloud.size if cloud.size <= _PER_METRE * config.close_m else 1.0
    scene, regions = segment_scene(cloud.scaled(scale), len(frames))
    nodes = build_merge_tree(regions) if regions else []
    found, features = describe_regions(scene, nodes, config)
    return RegionTree(tuple(frames), config, scene, nodes, found, ranking.logits(features), scale)


def fuse_views(
    frames: Sequence[Frame],
    config: ProposalConfig,
    fusion: ViewFusion | None = None,
    ids: Sequence[int] | None = None,
) -> VoxelCloud:
    """The cloud of registered views; arguments as of `propose`."""
    return (fusion or ViewFusion()).cloud(
        frames,
        range(len(frames)) if ids is None else ids,
        _voxel_size(frames, config),
        config.image_width,
        config.max_depth_m,
    )


def segment_scene(
    cloud: VoxelCloud, views: int, graph: type[Regions] = Regions
) -> tuple[SegmentedScene, Regions | None]:
    """Segments of a cloud of some views, and their graph of borders (None without segments)."""
    structure = find_structure(cloud)
    cloud, pairs = remove_outliers(structure.remove(cloud))
    if not len(cloud):
        return SegmentedScene(structure, cloud, np.empty(0, int), views), None
    color, normal = smooth_features(cloud, pairs)
    bend = concavity(cloud, normal, pairs)
    label = segment(pairs, color, bend)
    regions = graph(cloud, label, color)
    regions.connect(cloud, label, color, normal, bend, pairs, boundary_pairs(cloud, label, pairs))
    return SegmentedScene(structure, cloud, label, views), regions


def describe_regions(
    scene: SegmentedScene, nodes: Sequence[Node], config: ProposalConfig
) -> tuple[list[Candidate], np.ndarray]:
    """The regions that are large enough for an object, without scores, and their features (M, F)
    for `ranking.logits`.
    """
    if not nodes:
        return [], np.empty((0, len(ranking.FEATURES)))
    sums = ranking.RegionSums.of(nodes, scene.label, scene.cloud)
    voxels = _VoxelsOfNodes(nodes, scene.label)
    point = scene.cloud.point[voxels.order]
    found = []
    large = sums.count * scene.cloud.size**2 >= config.min_area_m2
    large &= sums.count * sums.views >= config.min_support
    for index in np.flatnonzero(large).tolist():
        inside = voxels.of(index)
        box = tight_box(point[inside], scene.cloud.size)
        if sorted(box.size)[1] >= config.min_size_m and box.volume <= config.max_volume_m3:
            found.append(Candidate(index, 0.0, box, voxels.order[inside]))
    if not found:
        return [], np.empty((0, len(ranking.FEATURES)))
    chosen = [nodes[c.node] for c in found]
    rows = ranking.features(
        chosen,
        [c.box for c in found],
        sums.take(np.array([c.node for c in found], int)),
        scene.cloud.size,
        scene.structure,
        scene.views,
    )
    return found, rows


class _VoxelsOfNodes:
    """The voxels in an `order` (N,) in which those of each node follow each other."""

    def __init__(self, nodes: Sequence[Node], label: np.ndarray) -> None:
        self._nodes = nodes
        inner = {part for node in nodes for part in node.parts}
        roots = [node for k, node in enumerate(nodes) if k not in inner]
        leaves = np.array([segment for node in roots for segment in node.segments])
        self._place = np.empty(len(leaves), int)
        self._place[leaves] = np.arange(len(leaves))
        self.order = np.argsort(self._place[label], kind="stable")
        self._ends = np.append(0, np.cumsum(np.bincount(self._place[label])))

    def of(self, index: int) -> slice:
        """Where the voxels of a node are in the order."""
        segments = self._nodes[index].segments
        first = self._place[segments[0]]
        return slice(self._ends[first], self._ends[first + len(segments)])


def choose_regions(
    nodes: Sequence[Node], found: Sequence[Candidate], logits: np.ndarray, extra: float
) -> list[Candidate]:
    """The candidates that share no segment and together are most probable, with their scores, best
    first; `logits` (M,) of the candidates, to which the choice adds `extra`. One at least.
    """
    if not found:
        return []
    parts = [node.parts for node in nodes]
    index = np.array([c.node for c in found])
    full = np.full(len(nodes), IMPOSSIBLE)
    full[index] = logits
    score = distribution(parts, full).probability
    full[index] += extra
    chosen = set(best_cut(parts, full)) or {int(index[score[index].argmax()])}
    good = [c._replace(score=float(score[c.node])) for c in found if c.node in chosen]
    return sorted(good, key=lambda c: -c.score)


def _voxel_size(frames: Sequence[Frame], config: ProposalConfig) -> float:
    """Edge of a voxel (m): about 1 cm at 1 m distance, within the limits of the configuration, in
    steps, so that it seldom changes.
    """
    depth = np.concatenate([np.empty(0), *(f.depth[::16, ::16].ravel() for f in frames)])
    depth = depth[depth > 0]
    if not len(depth):
        return config.voxel_m
    steps = round(2 * np.log2(config.voxel_m / (_PER_METRE * np.quantile(depth, 0.7))))
    return float(np.clip(config.voxel_m * 0.5 ** (steps / 2), config.min_voxel_m, config.voxel_m))


def _disappeared(regions: Sequence[np.ndarray], frames: Sequence[Frame]) -> np.ndarray:
    """Of which regions, points (n, 3), the two newest views that cover them both measure them as
    free, (M,) bool.
    """
    points = [subsample(region, _PROBES) for region in regions]
    if not points:
        return np.zeros(0, bool)
    owner = np.repeat(np.arange(len(points)), [len(p) for p in points])
    total = np.bincount(owner)
    free_views, decided = np.zeros(len(points), int), np.zeros(len(points), bool)
    for frame in reversed(frames):
        if decided.all():
            break
        state = classify_points(np.concatenate(points), frame)
        covers = np.bincount(owner, state == UNOBSERVED) <= 0.4 * total
        free = np.bincount(owner, state == FREE) >= 0.6 * total
        free_views += covers & free & ~decided
        decided |= covers & (~free | (free_views == 2))
    return free_views == 2


def _without_duplicates(found: list[Candidate], max_iou: float) -> list[Candidate]:
    """The candidates, best first, without those whose box nearly is that of a better one."""
    boxes = np.array([c.box.array() for c in found]).reshape(-1, 6)
    duplicate = np.triu(iou_matrix(boxes, boxes) > max_iou, 1)
    kept: list[int] = []
    for k in range(len(found)):
        if not duplicate[kept, k].any():
            kept.append(k)
    return [found[k] for k in kept]


def _proposal(cloud: VoxelCloud, candidate: Candidate, scale: float, light: Light) -> Proposal:
    lab = cloud.lab[candidate.voxels]
    lab = np.concatenate([lab.mean(0)[None], subsample(lab, _COLORED)])[None]
    rgb, *patches = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)[0] * 255
    views = int(np.quantile(cloud.views[candidate.voxels], 0.9))
    points = cloud.point[candidate.voxels] / np.float32(scale)
    low, high = candidate.box.bounds()
    box = Box3D.from_bounds(low / scale, high / scale)
    colors = light.color_names(np.array(patches))
    return Proposal(box, points, vector(rgb), views, candidate.score, colors=colors)
