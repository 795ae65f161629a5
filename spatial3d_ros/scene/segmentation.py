"""Voxels to patches: touching voxels of one colour without a concave fold between them."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from spatial3d_ros.scene.fusion import VoxelCloud

LIGHTNESS = 0.4  # weight of L against a and b: shading changes L alone, paint changes all three

Pairs = tuple[np.ndarray, np.ndarray]


def sharpen(cloud: VoxelCloud, share: float = 0.1) -> VoxelCloud:
    """Without specks, and without the fuzz of far measurements around what was seen well."""
    first, second = cloud.neighbours()
    best = cloud.mass.copy()
    np.maximum.at(best, first, cloud.mass[second])
    np.maximum.at(best, second, cloud.mass[first])
    cloud = cloud.take(cloud.mass >= share * best)
    return cloud.take(_count(*cloud.neighbours(), len(cloud)) > 1)


def smooth(cloud: VoxelCloud, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, 3), lightness scaled, and unit normals (N, 3), averaged over like neighbours."""
    color = cloud.lab * np.array([LIGHTNESS, 1, 1], np.float32)
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


def fold(cloud: VoxelCloud, normal: np.ndarray, pairs: Pairs) -> np.ndarray:
    """How the surface turns from i to j: > 0 in an inner corner, 0 on a plane, < 0 over an edge."""
    first, second = pairs
    way = cloud.point[second] - cloud.point[first]
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    return ((normal[first] - normal[second]) * way).sum(1)


def patches(
    pairs: Pairs,
    color: np.ndarray,
    bend: np.ndarray,
    max_color: float = 3.0,
    max_bend: float = 0.15,
    core: float = 0.6,
    least: int = 4,
) -> np.ndarray:
    """Patch of every voxel (N,) int.

    Pairs whose colours differ by less than `max_color` and whose fold is below `max_bend` hold
    together. Only core voxels, held by the share `core` of their neighbours, pass this on, so that
    a few mixed voxels make no bridge. What is left, and pieces below `least`, join the touching
    patch of the nearest colour.
    """
    first, second = pairs
    n = len(color)
    apart = np.linalg.norm(color[first] - color[second], axis=1)
    link = (apart < max_color) & (bend < max_bend)
    degree = _count(first, second, n)
    held = _count(first[link], second[link], n)
    inner = held >= core * degree
    firm = link & inner[first] & inner[second]
    label = _components(first[firm], second[firm], n)
    order = np.argsort(-(apart + 20 * np.maximum(bend, 0)))
    label = _absorb(label, first[order], second[order], least)
    loose = (np.bincount(label) < least)[label]
    both = link & loose[first] & loose[second]
    rest = _components(first[both], second[both], n)
    label = np.where(loose, label.max() + 1 + rest, label)
    label = _absorb(label, first[order], second[order], least)
    return np.unique(label, return_inverse=True)[1]


def rims(cloud: VoxelCloud, label: np.ndarray, pairs: Pairs, reach: int = 3) -> Pairs:
    """Pairs of voxels of different patches up to `reach` cells apart, both on the rim of theirs."""
    first, second = pairs
    same = label[first] == label[second]
    rim = np.flatnonzero(_count(first[same], second[same], len(cloud)) < 8)
    i, j = cloud.take(rim).neighbours(reach)
    i, j = rim[i], rim[j]
    apart = label[i] != label[j]
    return i[apart], j[apart]


def _count(first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    return np.bincount(first, minlength=n) + np.bincount(second, minlength=n)


def _components(first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    graph = coo_matrix((np.ones(len(first), bool), (first, second)), (n, n))
    return connected_components(graph, False)[1].astype(np.int64)


def _absorb(label: np.ndarray, first: np.ndarray, second: np.ndarray, least: int) -> np.ndarray:
    """Tiny patches join touching larger ones, voxel by voxel; of several pairs the last decides."""
    label = label.copy()
    for _ in range(3):
        loose = (np.bincount(label) < least)[label]
        if not loose.any():
            break
        for a, b in ((first, second), (second, first)):
            edge = loose[a] & ~loose[b]
            label[a[edge]] = label[b[edge]]
    return label
