"""Segments of a voxel cloud: touching voxels of one colour without a concave edge between them."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from spatial3d_ros.scene.fusion import VoxelCloud

LAB_WEIGHTS = np.array([0.4, 1, 1], np.float32)  # shading changes only L, a material all three

Pairs = tuple[np.ndarray, np.ndarray]


def remove_outliers(cloud: VoxelCloud, min_mass: float = 0.1) -> VoxelCloud:
    """The cloud without isolated voxels, and without voxels below the share `min_mass` of the
    largest mass around them: noise of far measurements around well measured surfaces.
    """
    first, second = cloud.neighbours()
    best = cloud.mass.copy()
    np.maximum.at(best, first, cloud.mass[second])
    np.maximum.at(best, second, cloud.mass[first])
    cloud = cloud.take(cloud.mass >= min_mass * best)
    return cloud.take(_count(*cloud.neighbours(), len(cloud)) > 1)


def smooth_features(cloud: VoxelCloud, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, 3), CIE Lab times LAB_WEIGHTS, and unit normals (N, 3), averaged over neighbours
    of similar colour.
    """
    color = cloud.lab * LAB_WEIGHTS
    first, second = pairs
    near = np.abs(color[first] - color[second]).sum(1) < 12
    first, second = first[near], second[near]
    values = np.column_stack([color, cloud.normal, np.ones(len(cloud), np.float32)])
    total = values.astype(np.float64)
    for column in range(values.shape[1]):
        total[:, column] += np.bincount(first, values[second, column], len(cloud))
        total[:, column] += np.bincount(second, values[first, column], len(cloud))
    normal = total[:, 3:6]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    return (total[:, :3] / total[:, 6:]).astype(np.float32), normal.astype(np.float32)


def concavity(cloud: VoxelCloud, normal: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Change of the normal along each pair (P,): > 0 in a concave edge, 0 on a plane, < 0 over a
    convex edge.
    """
    first, second = pairs
    step = cloud.point[second] - cloud.point[first]
    step /= np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9)
    return ((normal[first] - normal[second]) * step).sum(1)


def segment(
    pairs: Pairs,
    color: np.ndarray,
    bend: np.ndarray,
    max_color: float = 3.0,
    max_bend: float = 0.15,
    core: float = 0.6,
    min_size: int = 4,
) -> np.ndarray:
    """Segment label of every voxel, (N,) int.

    A pair is linked if its colours differ by less than `max_color` and its concavity is below
    `max_bend`. Only core voxels, linked to the share `core` of their neighbours, connect segments,
    so that a few mixed voxels are no bridge. All other voxels, and segments of fewer voxels than
    `min_size`, join the touching segment of the nearest colour.
    """
    first, second = pairs
    n = len(color)
    difference = np.linalg.norm(color[first] - color[second], axis=1)
    link = (difference < max_color) & (bend < max_bend)
    degree = _count(first, second, n)
    linked = _count(first[link], second[link], n)
    is_core = linked >= core * degree
    strong = link & is_core[first] & is_core[second]
    label = _components(first[strong], second[strong], n)
    order = np.argsort(-(difference + 20 * np.maximum(bend, 0)))
    label = _absorb(label, first[order], second[order], min_size)
    small = (np.bincount(label) < min_size)[label]
    both = link & small[first] & small[second]
    rest = _components(first[both], second[both], n)
    label = np.where(small, label.max() + 1 + rest, label)
    label = _absorb(label, first[order], second[order], min_size)
    return np.unique(label, return_inverse=True)[1]


def boundary_pairs(cloud: VoxelCloud, label: np.ndarray, pairs: Pairs, reach: int = 3) -> Pairs:
    """Pairs of voxels of different segments up to `reach` cells apart, both on a boundary."""
    first, second = pairs
    same = label[first] == label[second]
    boundary = np.flatnonzero(_count(first[same], second[same], len(cloud)) < 8)
    i, j = cloud.take(boundary).neighbours(reach)
    i, j = boundary[i], boundary[j]
    apart = label[i] != label[j]
    return i[apart], j[apart]


def _count(first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    return np.bincount(first, minlength=n) + np.bincount(second, minlength=n)


def _components(first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    graph = coo_matrix((np.ones(len(first), bool), (first, second)), (n, n))
    return connected_components(graph, False)[1].astype(np.int64)


def _absorb(label: np.ndarray, first: np.ndarray, second: np.ndarray, min_size: int) -> np.ndarray:
    """Voxels of small segments join touching larger ones; of several pairs the last decides."""
    label = label.copy()
    for _ in range(3):
        small = (np.bincount(label) < min_size)[label]
        if not small.any():
            break
        for a, b in ((first, second), (second, first)):
            edge = small[a] & ~small[b]
            label[a[edge]] = label[b[edge]]
    return label
