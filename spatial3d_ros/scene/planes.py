"""Floor, ceiling and walls of a voxel cloud.

Planes are detected parallel and perpendicular to gravity (+z). Unlike the front of a cupboard, a
wall has no measured points behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spatial3d_ros.geometry.voxels import subsample, voxel_corners, voxel_keys
from spatial3d_ros.scene.fusion import VoxelCloud
from spatial3d_ros.scene.voxel_segmentation import LAB_WEIGHTS

_BIN = 0.02  # metres
_YAW_BIN = np.deg2rad(2.0)
_COLOR_CELL = 3.0  # CIE Lab times LAB_WEIGHTS; edge of a bin of colours
_FITTED = 5000  # points that determine a plane
_SOME = 4  # every so many voxels tell whether there is anything behind a wall
_WALL_DEPTH = 0.12  # metres behind a wall within which points count as noise of it


@dataclass(frozen=True, eq=False)
class Plane:
    """Points p with normal.p = offset; `normal` (3,) points into the room; `mask` (N,) bool, its
    voxels.
    """

    normal: np.ndarray
    offset: float
    mask: np.ndarray

    def height(self, point: np.ndarray) -> np.ndarray:
        """Signed distance (n,) in metres of points (n, 3), positive in front of the plane."""
        return _along(point, self.normal) - self.offset


@dataclass(frozen=True, eq=False)
class Structure:
    """Floor and ceiling, None if not observed, and walls."""

    floor: Plane | None
    ceiling: Plane | None
    walls: tuple[Plane, ...]

    def remove(self, cloud: VoxelCloud) -> VoxelCloud:
        """The voxels that are not floor, ceiling or wall. A door or a picture, of another colour
        than its wall, stays.
        """
        keep = np.ones(len(cloud), bool)
        if self.floor is not None:
            keep &= self.floor.height(cloud.point) > 1.5 * cloud.size
        if self.ceiling is not None:
            keep &= self.ceiling.height(cloud.point) > 2 * cloud.size
        for wall in self.walls:
            height = wall.height(cloud.point)
            near = np.flatnonzero((height > -_WALL_DEPTH) & (height < 2 * cloud.size))
            color = cloud.lab[near] * LAB_WEIGHTS
            main = _main_color(cloud.lab[wall.mask] * LAB_WEIGHTS)
            keep[near[np.linalg.norm(color - main, axis=1) < 7]] = False
        return cloud.take(keep)


def find_structure(cloud: VoxelCloud) -> Structure:
    """Floor, ceiling and walls of a cloud."""
    if not len(cloud):
        return Structure(None, None, ())
    floor = find_floor(cloud)
    return Structure(floor, find_ceiling(cloud, floor), tuple(find_walls(cloud, floor)))


def _main_color(color: np.ndarray) -> np.ndarray:
    """The most frequent colour (3,) of (N, 3)."""
    keys, count = np.unique(voxel_keys(color + _COLOR_CELL / 2, _COLOR_CELL), return_counts=True)
    mode = voxel_corners(keys[[count.argmax()]], _COLOR_CELL)[0]
    return color[np.linalg.norm(color - mode, axis=1) < 6].mean(0)


def find_floor(cloud: VoxelCloud, min_area_m2: float = 0.25) -> Plane | None:
    """The lowest large horizontal plane: at least `min_area_m2` and a sixth of the largest one."""
    up = np.flatnonzero(cloud.normal[:, 2] > 0.85)
    return _horizontal_plane(cloud, up, np.array([0.0, 0.0, 1.0]), min_area_m2)


def find_ceiling(cloud: VoxelCloud, floor: Plane | None) -> Plane | None:
    """The highest large plane with a downward normal, two metres or more above the floor."""
    down = cloud.normal[:, 2] < -0.85
    if floor is not None:
        down &= floor.height(cloud.point) > 2.0
    return _horizontal_plane(cloud, np.flatnonzero(down), np.array([0.0, 0.0, -1.0]), 0.5)


def _horizontal_plane(
    cloud: VoxelCloud, index: np.ndarray, normal: np.ndarray, area: float
) -> Plane | None:
    height = _along(cloud.point[index], normal)
    peak = _peaks(height, area / cloud.size**2, share=1 / 6)
    if not peak:
        return None
    return _fit(cloud, index, normal, peak[0])


def find_walls(cloud: VoxelCloud, floor: Plane | None, min_area_m2: float = 0.8) -> list[Plane]:
    """Large vertical planes without points behind them, outermost first in each direction."""
    normals = cloud.normal
    upright = np.flatnonzero(
        (np.abs(normals[:, 2]) < 0.25) & ((normals[:, 0] != 0) | (normals[:, 1] != 0))
    )
    level = normals[upright, :2]
    bins = int(2 * np.pi / _YAW_BIN)
    yaw = np.arctan2(level[:, 1], level[:, 0])
    yaw_bin = ((yaw + np.pi) / (2 * np.pi) * bins).astype(int) % bins
    least = np.cos(np.deg2rad(12)) * np.hypot(level[:, 0], level[:, 1])
    base = cloud.point[:, 2].min() if floor is None else floor.offset
    some = cloud.point[::_SOME]
    walls: list[Plane] = []
    for _ in range(12):
        if len(upright) < min_area_m2 / cloud.size**2:
            break
        votes = np.bincount(yaw_bin, minlength=bins)
        votes = votes + np.roll(votes, 1) + np.roll(votes, -1)
        best = (np.argmax(votes) + 0.5) * _YAW_BIN - np.pi
        normal = np.array([np.cos(best), np.sin(best), 0.0])
        near = _along(level, normal[:2]) > least
        index = upright[near]
        upright, level, yaw_bin, least = (a[~near] for a in (upright, level, yaw_bin, least))
        height = _along(cloud.point[index], normal)
        for offset in _peaks(height, min_area_m2 / cloud.size**2, share=0):
            plane = _fit(cloud, index, normal, offset)
            if _is_wall(cloud, plane, base, walls, some):
                walls.append(plane)
    return walls


def _is_wall(
    cloud: VoxelCloud, plane: Plane, base: float, walls: list[Plane], some: np.ndarray
) -> bool:
    """Whether a vertical plane is a wall: high enough, and without points or a wall behind it;
    `some` is every `_SOME`-th point of the cloud.
    """
    points = cloud.point[plane.mask]
    side = np.array([-plane.normal[1], plane.normal[0], 0], np.float32)
    along = points @ side
    lo, hi = np.quantile(along, (0.02, 0.98))
    top = np.quantile(points[:, 2], 0.98) - base
    highest = np.quantile(some[:, 2], 0.99) - base  # a low camera sees no high walls
    if hi - lo < 0.4 or top < (1.5 if hi - lo < 1.2 else min(1.5, 0.75 * highest)):
        return False
    at = some @ side
    depth = plane.height(some)
    behind = (depth < -0.15) & (at > lo + 0.1) & (at < hi - 0.1) & (some[:, 2] > base + 0.1)
    if _SOME * behind.sum() > 0.1 * len(points):
        return False
    for wall in walls:  # a wall further out: this is furniture, unless it is higher
        gap = plane.offset - wall.offset
        if wall.normal @ plane.normal > 0.98 and gap > 0.1:
            extent = cloud.point[wall.mask] @ side
            overlaps = extent.min() < hi + 0.3 and extent.max() > lo - 0.3
            if top < 2.2 or (overlaps and gap < 1.0):
                return False
    return True


def _peaks(values: np.ndarray, min_count: float, share: float) -> list[float]:
    """Peaks of a histogram, lowest first: 3 bins hold `min_count` values and `share` of the highest
    peak.
    """
    if not len(values):
        return []
    low = values.min() - 2 * _BIN
    count = np.bincount(((values - low) / _BIN).astype(int), minlength=8)
    count = np.append(count, [0, 0])
    sums = count + np.roll(count, 1) + np.roll(count, -1)
    top = sums.max() * share
    inner = np.arange(1, len(sums) - 1)
    high = inner[
        (sums[inner] >= max(min_count, top))
        & (sums[inner] >= sums[inner - 1])
        & (sums[inner] > sums[inner + 1])
    ]
    return [low + (i + 0.5) * _BIN for i in high]


def _fit(cloud: VoxelCloud, index: np.ndarray, normal: np.ndarray, offset: float) -> Plane:
    """Two rounds of least squares from an initial plane, which may tilt by a few degrees."""
    point = cloud.point[index]
    for band in (0.06, 0.04):
        inlier = point[np.abs(_along(point, normal) - offset) < band]
        if len(inlier) < 10:
            break
        inlier = subsample(inlier, _FITTED).astype(np.float64)
        center = inlier.mean(0)
        inlier -= center
        fitted = np.linalg.eigh(inlier.T @ inlier)[1][:, 0]
        fitted *= np.sign(fitted @ normal)
        if fitted @ normal > 0.99:
            normal = fitted
        offset = float(center @ normal)
    mask = np.zeros(len(cloud), bool)
    mask[index[np.abs(_along(point, normal) - offset) < 0.04]] = True
    return Plane(normal, offset, mask)


def _along(point: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Coordinates (n,) of points (n, 3) along a direction."""
    return np.asarray(point @ normal.astype(point.dtype))
