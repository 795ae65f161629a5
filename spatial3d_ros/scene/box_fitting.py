"""The box of an object from its visible part: tight, and resting on its support surface."""

from __future__ import annotations

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.voxels import subsample
from spatial3d_ros.scene.fusion import VoxelCloud
from spatial3d_ros.scene.planes import Structure

_SAMPLES = 1000  # points whose quantiles bound a box
_FLAT = 0.14  # metres; an object no deeper than this in front of a wall is mounted on it
_MOUNTED = 0.05  # metres; least depth of what is mounted on a wall: flat ones are lost in noise
_GAP = 0.12  # metres above the floor that count as standing on it
_HIGH = 1.5  # metres; an object that begins higher is not extended to the floor


def tight_box(point: np.ndarray, voxel: float) -> Box3D:
    """Box of voxel means (n, 3), without 1 % of outliers at each side of large objects."""
    if len(point) > 100:
        ordered = np.sort(subsample(point, _SAMPLES).T).T  # np.quantile costs more than sorting
        k, part = divmod(0.01 * (len(ordered) - 1), 1)
        k = int(k)
        low = (1 - part) * ordered[k] + part * ordered[k + 1]
        high = (1 - part) * ordered[-1 - k] + part * ordered[-2 - k]
    else:
        low, high = point.min(0), point.max(0)
    return Box3D.from_bounds(low - voxel / 4, high + voxel / 4)


def snap_to_support(
    box: Box3D, index: np.ndarray, cloud: VoxelCloud, structure: Structure
) -> Box3D:
    """Extends the box of the voxels `index` to its wall, or down to its support surface."""
    low, high = box.bounds()
    on_wall = False
    for wall in structure.walls:
        axis = int(np.abs(wall.normal).argmax())
        height = wall.height(cloud.point[index])
        if abs(wall.normal[axis]) > 0.98 and np.quantile(height, 0.95) < _FLAT:
            on_wall = True
            middle = (low + high) / 2
            middle[axis] = 0
            back = (wall.offset - middle @ wall.normal) / wall.normal[axis]
            depth = max(float(np.quantile(height, 0.7)), _MOUNTED)
            low[axis], high[axis] = sorted((back, back + np.sign(wall.normal[axis]) * depth))
    floor = -np.inf if structure.floor is None else structure.floor.offset
    if low[2] - floor < _GAP:
        low[2] = floor
    elif not on_wall:
        low[2] = _support_height(low, high, index, cloud, floor)
    return Box3D.from_bounds(low, high) if high[2] > low[2] else box


def _support_height(
    low: np.ndarray, high: np.ndarray, index: np.ndarray, cloud: VoxelCloud, floor: float
) -> float:
    """Height of the support of a box: a level surface around its bottom, else one below it, else
    the floor.

    No box is extended by more than its own size: a mug on an unseen table keeps its height.
    """
    size, voxel = high - low, cloud.size
    other = np.ones(len(cloud), bool)
    other[index] = False
    level = cloud.point[cloud.facing_up[other[cloud.facing_up]]]
    level = level[level[:, 2] < low[2] + 1.5 * voxel]
    base = floor if low[2] - floor < _HIGH else low[2]
    perimeter = max(3.0, 0.1 * (size[0] + size[1]) / voxel)
    for reach, drop, least in ((3 * voxel, 3 * voxel, perimeter), (0.0, np.inf, 3)):
        below = (level[:, :2] > low[:2] - reach) & (level[:, :2] < high[:2] + reach)
        support = level[below.all(1) & (level[:, 2] > low[2] - drop), 2]
        if len(support) >= least:
            base = float(np.quantile(support, 0.7))
            break
    return min(base, low[2]) if low[2] - base < max(1.2 * size[2], *size[:2]) else low[2]
