"""Class-agnostic 3D object proposals from a few posed RGB-D frames.

Frames are fused into voxels (`fusion`), floor, ceiling and walls are taken away (`planes`), the rest falls
into patches (`segmentation`), and patches into things (`merging`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    min_voxels: int = 8
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


def segment(frames: Sequence[Frame], config: ProposalConfig) -> Segmented:
    """All that comes before merging."""
    views = align([sample(f, config.image_width, config.max_depth_m) for f in frames])
    cloud = fuse(views, _voxel_size(frames, config))
    cloud, floor, walls = _without_structure(cloud)
    cloud = _sharpened(cloud)
    if not len(cloud):
        return Segmented(cloud, floor, walls, np.empty(0, int), None)
    pairs = cloud.neighbours()
    color, normal = smooth(cloud, pairs)
    bend = fold(cloud, normal, pairs)
    label = patches(pairs, color, bend)
    regions = merging.Regions(cloud, label, color, normal)
    regions.connect(cloud, label, color, normal, bend, pairs, _near(cloud, label, pairs))
    return Segmented(cloud, floor, walls, label, regions)


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
    cloud, label = scene.cloud, scene.label
    order = np.argsort(label, kind="stable")
    bounds = np.append(0, np.cumsum(np.bincount(label)))
    size = np.bincount(label)
    found: list[tuple[float, Box3D, np.ndarray]] = []
    for node in nodes:
        if sum(size[m] for m in node.members) < config.min_voxels:
            continue
        index = np.concatenate([order[bounds[m] : bounds[m + 1]] for m in node.members])
        box = _box(cloud.point[index], cloud.size)
        if sorted(box.size)[1] < config.min_size_m:
            continue
        found.append((node.inner * (1 - node.outer), box, index))
    found.sort(key=lambda f: -f[0])
    if not found:
        return []
    boxes = np.array([box.array() for _, box, _ in found])
    overlap = iou_matrix(boxes, boxes)
    kept: list[int] = []
    for k in range(len(found)):
        if len(kept) < config.max_proposals and (overlap[k, kept] <= config.max_iou).all():
            kept.append(k)
    return [_proposal(cloud, *found[k]) for k in kept]


def _box(point: np.ndarray, voxel: float) -> Box3D:
    """Tight box: a thin tail of stray voxels on each side is left out."""
    share = 0.01 if len(point) > 100 else 0.0
    low, high = np.quantile(point, (share, 1 - share), axis=0)
    return Box3D.from_bounds(low - voxel / 4, high + voxel / 4)


def _proposal(cloud: VoxelCloud, score: float, box: Box3D, index: np.ndarray) -> Proposal:
    lab = cloud.lab[index].mean(0, keepdims=True)[None]
    rgb = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB)[0, 0] * 255
    views = int(np.quantile(cloud.views[index], 0.9))
    return Proposal(box, cloud.point[index], tuple(map(float, rgb)), views, float(score))
