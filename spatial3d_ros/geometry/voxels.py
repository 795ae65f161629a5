"""Voxel grids: integer keys, sets of voxels as sorted arrays, downsampling of points."""

from __future__ import annotations

import itertools
import math

import numpy as np

# 21 bits per axis, biased to be positive: voxel indices within +-2**20, 100 km at 0.1 m.
_BITS = 21
_BIAS = 1 << (_BITS - 1)
_NEIGHBOURS = np.array(
    [(x << 2 * _BITS) + (y << _BITS) + z for x, y, z in itertools.product((-1, 0, 1), repeat=3)]
)


def voxel_keys(points: np.ndarray, size: float) -> np.ndarray:
    """The voxel of edge `size` metres around each finite point (N, 3), as (N,) int64 keys."""
    x, y, z = np.floor(points / size).astype(np.int64).T + _BIAS
    return (x << 2 * _BITS) + (y << _BITS) + z


def voxel_corners(keys: np.ndarray, size: float) -> np.ndarray:
    """Lowest corners (N, 3) float64 of the voxels of edge `size` metres with these keys."""
    cell = np.stack([keys >> 2 * _BITS, keys >> _BITS, keys], 1) & ((1 << _BITS) - 1)
    return np.asarray((cell - _BIAS) * size)


def subsample(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows of an array, evenly spaced, the first and last included."""
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).astype(int)]


def dilate(keys: np.ndarray) -> np.ndarray:
    """Sorted unique keys of the given voxels and all 26 neighbours of each."""
    return np.unique(keys[:, None] + _NEIGHBOURS)


def voxel_downsample(
    points: np.ndarray, size: float, *features: np.ndarray
) -> tuple[np.ndarray, ...]:
    """One point per occupied voxel: the mean of the points in it.

    Args:
        points: (N, 3) finite metres.
        size: edge of a voxel, metres.
        features: arrays (N, ...) averaged along with the points.

    Returns:
        centroids (M, 3) float32, one float32 mean (M, ...) per feature, and counts (M,) int64;
        in order of the keys.
    """
    keys = voxel_keys(points, size)
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)

    def mean(values: np.ndarray) -> np.ndarray:
        columns = values.reshape(len(values), math.prod(values.shape[1:])).T
        sums = np.array([np.bincount(inverse, column, len(counts)) for column in columns])
        return (sums / counts).T.astype(np.float32).reshape(len(counts), *values.shape[1:])

    return mean(points), *map(mean, features), counts
