"""What a scene stands on and ends at: the floor, the ceiling and the walls of a voxel cloud.

Planes are looked for along gravity (+z) and across it. A wall is told from the front of a cupboard
by what is behind it: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spatial3d_ros.scene.fusion import VoxelCloud

_BIN = 0.02  # metres
_TURN = np.deg2rad(2.0)
_PAINT = np.array([0.4, 1, 1], np.float32)  # shading changes L, paint changes a and b too
_WALL_DEPTH = 0.12  # metres behind a wall that noise may reach


@dataclass(frozen=True, eq=False)
class Plane:
    """Points p with normal.p = offset; `normal` looks into the room; `mask` (N,) its voxels."""

    normal: np.ndarray
    offset: float
    mask: np.ndarray

    def height(self, point: np.ndarray) -> np.ndarray:
        """Signed metres in front of the plane."""
        return point @ self.normal.astype(point.dtype) - self.offset


@dataclass(frozen=True, eq=False)
class Structure:
    """Floor and ceiling, where seen, and walls."""

    floor: Plane | None
    ceiling: Plane | None
    walls: tuple[Plane, ...]

    def remove(self, cloud: VoxelCloud) -> VoxelCloud:
        """The voxels off floor, ceiling and walls. A door or a picture, painted unlike its wall,
        stays.
        """
        keep = np.ones(len(cloud), bool)
        if self.floor is not None:
            keep &= self.floor.height(cloud.point) > 1.5 * cloud.size
        if self.ceiling is not None:
            keep &= self.ceiling.height(cloud.point) > 2 * cloud.size
        for wall in self.walls:
            height = wall.height(cloud.point)
            near = np.flatnonzero((height > -_WALL_DEPTH) & (height < 2 * cloud.size))
            paint = cloud.lab * _PAINT
            keep[near[np.linalg.norm(paint[near] - _main_paint(paint[wall.mask]), axis=1) < 7]] = (
                False
            )
        return cloud.take(keep)


def find_structure(cloud: VoxelCloud) -> Structure:
    """Floor, ceiling and walls; the masks of their planes are those of `cloud`."""
    if not len(cloud):
        return Structure(None, None, ())
    floor = find_floor(cloud)
    return Structure(floor, find_ceiling(cloud, floor), tuple(find_walls(cloud, floor)))


def _main_paint(paint: np.ndarray) -> np.ndarray:
    """The commonest colour (3,)."""
    cell, count = np.unique(np.round(paint / 3).astype(int), axis=0, return_counts=True)
    top = cell[count.argmax()] * 3
    return paint[np.linalg.norm(paint - top, axis=1) < 6].mean(0)


def find_floor(cloud: VoxelCloud, min_area_m2: float = 0.25) -> Plane | None:
    """The lowest large horizontal plane: at least `min_area_m2` and a sixth of the largest one."""
    up = np.flatnonzero(cloud.normal[:, 2] > 0.85)
    return _level(cloud, up, np.array([0.0, 0.0, 1.0]), min_area_m2)


def find_ceiling(cloud: VoxelCloud, floor: Plane | None) -> Plane | None:
    """The highest large plane that looks down, two metres or more above the floor."""
    down = cloud.normal[:, 2] < -0.85
    if floor is not None:
        down &= floor.height(cloud.point) > 2.0
    return _level(cloud, np.flatnonzero(down), np.array([0.0, 0.0, -1.0]), 0.5)


def _level(cloud: VoxelCloud, index: np.ndarray, normal: np.ndarray, area: float) -> Plane | None:
    height = cloud.point[index] @ normal
    peak = _peaks(height, area / cloud.size**2, share=1 / 6)
    if not peak:
        return None
    return _fit(cloud, index, normal, peak[0])


def find_walls(cloud: VoxelCloud, floor: Plane | None, min_area_m2: float = 0.8) -> list[Plane]:
    """Large vertical planes that nothing is seen behind, outermost first in each direction."""
    upright = np.flatnonzero((np.abs(cloud.normal[:, 2]) < 0.25) & cloud.normal.any(1))
    base = cloud.point[:, 2].min() if floor is None else floor.offset
    walls: list[Plane] = []
    taken = np.zeros(len(cloud), bool)
    for _ in range(12):
        rest = upright[~taken[upright]]
        yaw = np.arctan2(cloud.normal[rest, 1], cloud.normal[rest, 0])
        if len(rest) < min_area_m2 / cloud.size**2:
            break
        votes, _ = np.histogram(yaw, int(2 * np.pi / _TURN), (-np.pi, np.pi))
        votes = votes + np.roll(votes, 1) + np.roll(votes, -1)
        best = (np.argmax(votes) + 0.5) * _TURN - np.pi
        near = np.abs((yaw - best + np.pi) % (2 * np.pi) - np.pi) < np.deg2rad(12)
        index = rest[near]
        normal = np.array([np.cos(best), np.sin(best), 0.0])
        found = _peaks(cloud.point[index] @ normal, min_area_m2 / cloud.size**2, share=0)
        taken[index] = True
        if not found:
            continue
        for offset in found:
            plane = _fit(cloud, index, normal, offset)
            if _bounds_the_scene(cloud, plane, base, walls):
                walls.append(plane)
    return walls


def _bounds_the_scene(cloud: VoxelCloud, plane: Plane, base: float, walls: list[Plane]) -> bool:
    """False for the front of a cupboard: too low, or something is seen behind it, or a wall is."""
    points = cloud.point[plane.mask]
    side = np.array([-plane.normal[1], plane.normal[0], 0], np.float32)
    along = points @ side
    lo, hi = np.quantile(along, (0.02, 0.98))
    top = np.quantile(points[:, 2], 0.98) - base
    seen = np.quantile(cloud.point[:, 2], 0.99) - base  # a low camera sees no high walls
    if hi - lo < 0.4 or top < (1.5 if hi - lo < 1.2 else min(1.5, 0.75 * seen)):
        return False
    at = cloud.point @ side
    depth = plane.height(cloud.point)
    behind = (depth < -0.15) & (at > lo + 0.1) & (at < hi - 0.1) & (cloud.point[:, 2] > base + 0.1)
    if behind.sum() > 0.1 * plane.mask.sum():
        return False
    for wall in walls:  # there is a wall further out: furniture, unless it is higher than that
        gap = plane.offset - wall.offset
        if wall.normal @ plane.normal > 0.98 and gap > 0.1:
            reach = cloud.point[wall.mask] @ side
            beside = reach.min() < hi + 0.3 and reach.max() > lo - 0.3
            if top < 2.2 or (beside and gap < 1.0):
                return False
    return True


def _peaks(values: np.ndarray, least: float, share: float) -> list[float]:
    """Lowest first: positions where 3 bins hold `least` values and `share` of the fullest peak."""
    if not len(values):
        return []
    low = values.min() - 2 * _BIN
    count = np.bincount(((values - low) / _BIN).astype(int), minlength=8)
    count = np.append(count, [0, 0])
    sums = count + np.roll(count, 1) + np.roll(count, -1)
    top = sums.max() * share
    inner = np.arange(1, len(sums) - 1)
    high = inner[
        (sums[inner] >= max(least, top))
        & (sums[inner] >= sums[inner - 1])
        & (sums[inner] > sums[inner + 1])
    ]
    return [low + (i + 0.5) * _BIN for i in high]


def _fit(cloud: VoxelCloud, index: np.ndarray, normal: np.ndarray, offset: float) -> Plane:
    """Two rounds of least squares around a first guess; the plane may tilt by a few degrees."""
    for band in (0.06, 0.04):
        distance = cloud.point[index] @ normal - offset
        inlier = cloud.point[index[np.abs(distance) < band]].astype(np.float64)
        if len(inlier) < 10:
            break
        center = inlier.mean(0)
        fitted = np.linalg.eigh(np.cov((inlier - center).T))[1][:, 0]
        fitted *= np.sign(fitted @ normal)
        if fitted @ normal > 0.99:
            normal = fitted
        offset = float(center @ normal)
    mask = np.zeros(len(cloud), bool)
    mask[index[np.abs(cloud.point[index] @ normal - offset) < 0.04]] = True
    return Plane(normal, offset, mask)
