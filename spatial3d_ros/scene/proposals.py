"""Class-agnostic 3D object proposals from a few posed RGB-D frames.

Frames are fused into voxels (`fusion`), floor, ceiling and walls are taken away (`planes`), the rest falls
into patches (`segmentation`), and patches into things (`merging`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from spatial3d_ros.geometry.box import Box3D, iou_matrix
from spatial3d_ros.geometry.camera import project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.scene import merging
from spatial3d_ros.scene.alignment import align
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.fusion import VoxelCloud, fuse, sample
from spatial3d_ros.scene.planes import Plane, find_ceiling, find_floor, find_walls
from spatial3d_ros.scene.segmentation import fold, patches, smooth

_FALLBACK = 5  # hypotheses given when none is good


@dataclass(frozen=True, eq=False)
class Proposal:
    """Something that may be an object.

    `points` (n, 3) float32 world metres, one per voxel; `rgb` mean colour, 0 .. 255; `views` frames that
    saw it; `score` 0 .. 1, how sure we are that it is one whole thing.
    """

    box: Box3D
    points: np.ndarray
    rgb: tuple[float, float, float]
    views: int
    score: float


@dataclass(frozen=True)
class ProposalConfig:
    """Metres unless said otherwise."""

    voxel_m: float = 0.025
    min_voxel_m: float = 0.01  # for scenes within arm's reach
    image_width: int = 320  # pixels read across each image
    max_depth_m: float = 6.0
    min_size_m: float = 0.04  # smallest extent of a thing on its two longer sides
    min_area_m2: float = 0.005  # least surface seen
    min_score: float = 0.1
    nested: float = 0.7  # what the score of a part is worth beside the whole, and the other way round
    max_proposals: int = 60
    max_iou: float = 0.7  # of two proposals more alike than this the better stays


def propose(frames: Sequence[Frame], config: ProposalConfig = ProposalConfig()) -> list[Proposal]:
    """Proposals in the world frame, best first; at most `max_proposals`. Nothing measured: none."""
    scene = segment(frames, config)
    if not len(scene.cloud):
        return []
    return _hypotheses(scene, merging.grow(scene.regions), config)


@dataclass(frozen=True, eq=False)
class Segmented:
    """The voxels that are no structure, the patch of each (N,), and the patches with their borders."""

    cloud: VoxelCloud
    floor: Plane | None
    walls: list[Plane]
    label: np.ndarray
    regions: merging.Regions | None
    frames: int


def segment(frames: Sequence[Frame], config: ProposalConfig) -> Segmented:
    """All that comes before merging."""
    views = align([sample(f, config.image_width, config.max_depth_m) for f in frames])
    cloud = fuse(views, _voxel_size(frames, config))
    cloud, floor, walls = _without_structure(cloud)
    cloud = _sharpened(cloud)
    if not len(cloud):
        return Segmented(cloud, floor, walls, np.empty(0, int), None, len(frames))
    pairs = cloud.neighbours()
    color, normal = smooth(cloud, pairs)
    bend = fold(cloud, normal, pairs)
    label = patches(pairs, color, bend)
    regions = merging.Regions(cloud, label, color, normal)
    regions.connect(cloud, label, color, normal, bend, pairs, _near(cloud, label, pairs))
    return Segmented(cloud, floor, walls, label, regions, len(frames))


def _voxel_size(frames: Sequence[Frame], config: ProposalConfig) -> float:
    """Finer when everything is near: about 1 cm at 1 m."""
    depth = [f.depth[::16, ::16] for f in frames]
    depth = np.concatenate([d[d > 0] for d in depth]) if frames else np.empty(0)
    if not len(depth):
        return config.voxel_m
    return float(np.clip(0.01 * np.quantile(depth, 0.7), config.min_voxel_m, config.voxel_m))


def _sharpened(cloud: VoxelCloud, share: float = 0.1) -> VoxelCloud:
    """Without the fuzz of far and few measurements around what others saw well, and without specks."""
    first, second = cloud.neighbours()
    best = cloud.mass.copy()
    np.maximum.at(best, first, cloud.mass[second])
    np.maximum.at(best, second, cloud.mass[first])
    cloud = cloud.take(cloud.mass >= share * best)
    first, second = cloud.neighbours()
    degree = np.bincount(first, minlength=len(cloud)) + np.bincount(second, minlength=len(cloud))
    return cloud.take(degree > 1)


def _without_structure(cloud: VoxelCloud) -> tuple[VoxelCloud, Plane | None, list[Plane]]:
    """The voxels off floor and ceiling and off the walls, or on a wall but not of its colour."""
    if not len(cloud):
        return cloud, None, []
    floor = find_floor(cloud)
    ceiling = find_ceiling(cloud, floor)
    walls = find_walls(cloud, floor)
    keep = np.ones(len(cloud), bool)
    if floor is not None:
        keep &= floor.height(cloud.point) > 1.5 * cloud.size
    if ceiling is not None:
        keep &= ceiling.height(cloud.point) > 2 * cloud.size
    for wall in walls:
        height = wall.height(cloud.point)
        keep &= ~((np.abs(height) < 0.12) & _painted_like(cloud, wall, height < 2 * cloud.size))
    return cloud.take(keep), floor, walls


def _painted_like(cloud: VoxelCloud, wall: Plane, close: np.ndarray) -> np.ndarray:
    color = cloud.lab * np.array([0.4, 1, 1], np.float32)
    cell = np.round(color[wall.mask] / 3).astype(int)
    kinds, count = np.unique(cell, axis=0, return_counts=True)
    top = kinds[np.argmax(count)] * 3
    base = color[wall.mask]
    base = base[np.linalg.norm(base - top, axis=1) < 6].mean(0)
    return close & (np.linalg.norm(color - base, axis=1) < 7)


def _near(cloud: VoxelCloud, label: np.ndarray, pairs: merging.Pairs, reach: int = 3) -> merging.Pairs:
    """Pairs of voxels on the rims of patches, up to `reach` cells apart."""
    first, second = pairs
    same = label[first] == label[second]
    inside = np.bincount(first[same], minlength=len(cloud)) + np.bincount(
        second[same], minlength=len(cloud)
    )
    rim = np.flatnonzero(inside < 8)
    i, j = cloud.take(rim).neighbours(reach)
    return rim[i], rim[j]


def _hypotheses(
    scene: Segmented, nodes: list[merging.Node], config: ProposalConfig
) -> list[Proposal]:
    """The best nodes of the tree, no two of them nearly alike, with boxes that stand on something."""
    order = np.argsort(scene.label, kind="stable")
    starts = np.append(0, np.cumsum(np.bincount(scene.label)))
    found: list[_Candidate] = []
    for node in nodes:
        index = np.concatenate([order[starts[m] : starts[m + 1]] for m in node.members])
        if len(index) * scene.cloud.size**2 < config.min_area_m2:
            continue
        box = tight_box(scene.cloud.point[index], scene.cloud.size)
        if sorted(box.size)[1] < config.min_size_m:
            continue
        score = rank(node, box, scene, index)
        found.append(_Candidate(score, box, index, sum(1 << m for m in node.members)))
    found.sort(key=lambda c: -c.score)
    surplus = 3 * config.max_proposals
    found = [c for c in found[:surplus] if c.score >= config.min_score] or found[:_FALLBACK]
    found = [c._replace(box=settle(c.box, c.index, scene)) for c in found]
    return [_proposal(scene.cloud, c) for c in _distinct(found, config)]


class _Candidate(NamedTuple):
    score: float
    box: Box3D
    index: np.ndarray
    patches: int  # bit set; two nodes of a tree share a patch only when one is part of the other


def _distinct(found: list[_Candidate], config: ProposalConfig) -> list[_Candidate]:
    """Best first, without near duplicates; a part or a whole of something taken counts less."""
    score = np.array([c.score for c in found])
    boxes = np.array([c.box.array() for c in found]).reshape(-1, 6)
    alike = iou_matrix(boxes, boxes) > config.max_iou
    kept: list[_Candidate] = []
    while len(kept) < config.max_proposals and len(found):
        best = int(score.argmax())
        if score[best] < min(config.min_score, found[0].score):
            break
        kept.append(found[best]._replace(score=float(score[best])))
        nested = [bool(c.patches & found[best].patches) for c in found]
        score[nested] *= config.nested
        score[alike[best]] = -1
        score[best] = -1
    return kept


def node_measures(node: merging.Node, box: Box3D, scene: Segmented, index: np.ndarray) -> np.ndarray:
    """Measures of a node for `rank`."""
    area = len(index) * scene.cloud.size**2
    small, middle, large = np.sort(box.size)
    low = box.bounds()[0][2] - (scene.floor.offset if scene.floor else 0)
    contacts = node.border[0]
    step, concave, on = (node.border[[1, 3, 4]] / max(contacts, 1)).tolist()
    paint = np.minimum(scene.cloud.lab[index, 1:].std(0).sum() / 20, 1.5)
    views = min(scene.cloud.views[index].mean() / min(scene.frames, 8), 1)
    shell = 2 * (small * middle + middle * large + small * large)
    wall = min((abs(w.height(scene.cloud.point[index]).mean()) for w in scene.walls), default=1.0)
    return np.array(
        [
            1,
            node.inner,
            node.outer,
            node.inner * node.outer,
            np.log(area / 0.05),
            np.log(area / 0.05) ** 2 / 4,
            np.log(small / 0.1),
            np.log(middle / 0.2),
            np.log(large / 0.4),
            np.minimum(area / shell, 1),
            min(low, 1.5),
            low < 0.12,
            wall < 0.08,
            views,
            min(scene.frames, 8) / 8,
            len(node.members) == 1,
            min(contacts / len(index), 3),
            min(contacts / np.sqrt(len(index)) / 10, 3),
            step / (step + 8),
            concave,
            on,
            on * np.log(area / 0.05),
            node.inner * (step / (step + 8)),
            paint,
        ],
        float,
    )


RANK = np.array(
    [
        -4.96, 2.36, -0.11, -1.43, 1.92, -0.25, 0.71, 0.24, -1.86, -0.65, 0.31, 0.28,
        -0.25, 1.15, -0.22, -0.64, 0.63, -0.34, 0.77,
    ]
)


def rank(node: merging.Node, box: Box3D, scene: Segmented, index: np.ndarray) -> float:
    """Probability that the node is one whole object."""
    return float(1 / (1 + np.exp(-node_measures(node, box, scene, index) @ RANK)))


def tight_box(point: np.ndarray, voxel: float) -> Box3D:
    """Box of voxel means; a thin tail of stray voxels on each side is left out."""
    share = 0.01 if len(point) > 100 else 0.0
    low, high = np.quantile(point, (share, 1 - share), axis=0)
    return Box3D.from_bounds(low - voxel / 4, high + voxel / 4)


def settle(box: Box3D, index: np.ndarray, scene: Segmented) -> Box3D:
    """Puts a box on what carries it: a flat one on its wall, any other on what is below or the floor."""
    low, high = box.bounds()
    point = scene.cloud.point[index]
    floor = scene.floor.offset if scene.floor else -np.inf
    on_wall = False
    for wall in scene.walls:
        axis = int(np.abs(wall.normal).argmax())
        height = wall.height(point)
        front = float(np.quantile(height, 0.7))
        if abs(wall.normal[axis]) > 0.98 and np.quantile(height, 0.95) < 0.14:
            on_wall = True
            middle = (low + high) / 2
            middle[axis] = 0
            back = (wall.offset - middle @ wall.normal) / wall.normal[axis]
            edges = sorted((back, back + np.sign(wall.normal[axis]) * max(front, 0.02)))
            low[axis], high[axis] = edges
    gap = low[2] - floor
    if gap < 0.12:
        low[2] = floor
    elif not on_wall:
        low[2] = _support(low, high, index, scene, floor)
    return Box3D.from_bounds(low, high) if high[2] > low[2] else box


def _support(
    low: np.ndarray, high: np.ndarray, index: np.ndarray, scene: Segmented, floor: float
) -> float:
    """Height of what carries a box: a surface around its foot, else one further below, else the floor.

    Nothing is drawn down by more than its own extent: a mug whose table was not recognised stays a mug.
    """
    point, voxel = scene.cloud.point, scene.cloud.size
    size = high - low
    level = (scene.cloud.normal[:, 2] > 0.5) & (point[:, 2] < low[2] + 1.5 * voxel)
    level[index] = False
    level = np.flatnonzero(level)
    around = max(3, 0.1 * (size[0] + size[1]) / voxel)
    for reach, drop, least in ((3 * voxel, 3 * voxel, around), (0.0, np.inf, 3)):
        near = (point[level, :2] > low[:2] - reach).all(1) & (point[level, :2] < high[:2] + reach).all(1)
        carrier = point[level[near], 2]
        carrier = carrier[carrier > low[2] - drop]
        if len(carrier) >= least:
            base = float(np.quantile(carrier, 0.7))
            break
    else:
        base = floor
    return min(base, low[2]) if low[2] - base < max(1.2 * size[2], size[:2].max()) else low[2]


def _proposal(cloud: VoxelCloud, candidate: _Candidate) -> Proposal:
    index = candidate.index
    lab = cloud.lab[index].mean(0, keepdims=True)[None]
    rgb = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB)[0, 0] * 255
    views = int(np.quantile(cloud.views[index], 0.9))
    return Proposal(
        candidate.box, cloud.point[index], tuple(map(float, rgb)), views, candidate.score
    )
