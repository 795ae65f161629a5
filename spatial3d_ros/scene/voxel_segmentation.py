"""Segments of a voxel cloud: touching voxels of one colour without a concave edge between them."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from spatial3d_ros.scene.fusion import VoxelCloud

LAB_WEIGHTS = np.array([0.4, 1, 1], np.float32)  # shading changes only L, a material all three

Pairs = tuple[np.ndarray, np.ndarray]


def remove_outliers(cloud: VoxelCloud, min_mass: float = 0.1) -> tuple[VoxelCloud, Pairs]:
    """The cloud without isolated voxels, and without voxels below the share `min_mass` of the
    largest mass around them: noise of far measurements around well measured surfaces; and the
    touching pairs of the voxels that stay.
    """
    first, second = pairs = cloud.neighbours()
    best = cloud.mass.copy()
    np.maximum.at(best, first, cloud.mass[second])
    np.maximum.at(best, second, cloud.mass[first])
    heavy = cloud.mass >= min_mass * best
    pairs = _among(pairs, heavy)
    cloud = cloud.take(heavy)
    several = _count(*pairs, len(cloud)) > 1
    return cloud.take(several), _among(pairs, several)


def _among(pairs: Pairs, keep: np.ndarray) -> Pairs:
    """The pairs of voxels that are both kept, by their places among the kept ones."""
    place = np.cumsum(keep) - 1
    both = keep[pairs[0]] & keep[pairs[1]]
    return place[pairs[0][both]], place[pairs[1][both]]


def smooth_features(cloud: VoxelCloud, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, 3), CIE Lab times LAB_WEIGHTS, and unit normals (N, 3), averaged over neighbours
    of similar colour.
    """
    color = cloud.lab * LAB_WEIGHTS
    first, second = pairs
    near = np.abs(color.take(first, 0) - color.take(second, 0)).sum(1) < 12
    ones = np.ones(len(cloud), np.float32)
    values = np.column_stack([color, cloud.normal, ones])
    first, second = first[near], second[near]
    weight = np.ones(len(first), np.float32)
    graph = csr_matrix((weight, (first, second)), (len(cloud), len(cloud)))
    total = values + graph @ values + graph.T @ values
    normal = total[:, 3:6]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    return total[:, :3] / total[:, 6:], normal


def concavity(cloud: VoxelCloud, normal: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Change of the normal along each pair (P,): > 0 in a concave edge, 0 on a plane, < 0 over a
    convex edge.
    """
    first, second = pairs
    step = cloud.point.take(second, 0) - cloud.point.take(first, 0)
    length = np.sqrt(np.einsum("pk,pk->p", step, step))
    change = normal.take(first, 0) - normal.take(second, 0)
    return np.asarray(np.einsum("pk,pk->p", change, step) / np.maximum(length, 1e-9))


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
    step = color.take(first, 0) - color.take(second, 0)
    difference = np.sqrt(np.einsum("pk,pk->p", step, step))
    link = (difference < max_color) & (bend < max_bend)
    degree = _count(first, second, n)
    linked = _count(first[link], second[link], n)
    is_core = linked >= core * degree
    strong = link & is_core[first] & is_core[second]
    label = _components(first[strong], second[strong], n)
    small = (np.bincount(label) < min_size)[label]
    loose = small[first] | small[second]
    first, second, link = first[loose], second[loose], link[loose]
    order = np.argsort(-(difference[loose] + 20 * np.maximum(bend[loose], 0)))
    label = _absorb(label, first[order], second[order], min_size)
    small = (np.bincount(label) < min_size)[label]
    both = link & small[first] & small[second]
    rest = _components(first[both], second[both], n)
    label = np.where(small, label.max() + 1 + rest, label)
    label = _absorb(label, first[order], second[order], min_size)
    used = np.bincount(label) > 0
    return (np.cumsum(used) - 1)[label]


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
