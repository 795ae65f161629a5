"""Small corrections of camera poses, so that several views of one surface fall on one surface.

Localisation is off by a centimetre and a fraction of a degree; two views of a mug then make a mug
twice as thick. Every view is fitted, point to plane, to the coarse map of all views, a few times
over. A prior keeps each pose near where it was, above all in directions that no surface fixes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from spatial3d_ros.geometry.voxels import voxel_keys
from spatial3d_ros.scene.fusion import DEPTH_NOISE, Samples

_CELL = 0.12  # metres; within it a surface is taken as flat
_PRIOR = np.diag([0.008**-2.0] * 3 + [0.015**-2.0] * 3)  # radians, metres: how far off poses may be
_CORRELATION = 5  # neighbouring residuals repeat each other: so many count as one
_POINTS = 1500  # of each view


def align(views: Sequence[Samples], rounds: int = 7) -> list[Samples]:
    """The samples of each view, moved by at most a few centimetres. One view: unchanged."""
    if len(views) < 2:
        return list(views)
    thin = [v.take(v.normal.any(1)) for v in views]
    thin = [v.take(slice(None, None, max(1, len(v.point) // _POINTS))) for v in thin]
    moves = [np.eye(4) for _ in views]
    for step in range(rounds):
        moved = [v.moved(m) for v, m in zip(thin, moves, strict=True)]
        surface = _surface(moved)
        reach = 0.06 if step < rounds // 2 else 0.03
        moves = [_step(v, m, surface, reach) @ m for v, m in zip(moved, moves, strict=True)]
    return [v.moved(m) for v, m in zip(views, moves, strict=True)]


def _keys(view: Samples) -> np.ndarray:
    """Cells by place and main direction of the normal: the two sides of a board stay apart."""
    axis = np.abs(view.normal).argmax(1)
    side = np.take_along_axis(view.normal, axis[:, None], 1)[:, 0] > 0
    return voxel_keys(view.point, _CELL) * 6 + axis * 2 + side


def _surface(views: Sequence[Samples]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Key, mean point and mean normal of every cell, by rising key."""
    key, cell = np.unique(np.concatenate([_keys(v) for v in views]), return_inverse=True)
    weight = np.concatenate([v.weight for v in views])
    values = np.concatenate([np.hstack([v.point, v.normal]) for v in views])
    total = np.stack([np.bincount(cell, weight * c, len(key)) for c in values.T], 1)
    normal = total[:, 3:] / np.maximum(np.linalg.norm(total[:, 3:], axis=1, keepdims=True), 1e-9)
    return key, total[:, :3] / np.bincount(cell, weight, len(key))[:, None], normal


def _step(
    view: Samples,
    so_far: np.ndarray,
    surface: tuple[np.ndarray, np.ndarray, np.ndarray],
    reach: float,
) -> np.ndarray:
    """One Gauss-Newton step (4, 4) of a view, moved by `so_far` already, towards the surface."""
    key, point, normal = surface
    own = _keys(view)
    cell = np.minimum(np.searchsorted(key, own), len(key) - 1)
    residual = ((view.point - point[cell]) * normal[cell]).sum(1)
    fits = (key[cell] == own) & (np.abs(residual) < reach)
    fits &= (view.normal * normal[cell]).sum(1) > 0.85
    if fits.sum() < 50:
        return np.eye(4)
    residual, toward, at = residual[fits], normal[cell][fits], view.point[fits]
    center = at.mean(0)
    jacobian = np.hstack([np.cross(at - center, toward), toward])
    variance = (DEPTH_NOISE * 2.25 / view.weight[fits]) ** 2 + 0.01**2
    weighted = jacobian / (variance * _CORRELATION)[:, None]
    turn, shift = so_far[:3, :3], so_far[:3, 3]
    before = turn.T @ (center - shift)
    away = np.concatenate([Rotation.from_matrix(turn).as_rotvec(), center - before])
    x = np.linalg.solve(weighted.T @ jacobian + _PRIOR, -weighted.T @ residual - _PRIOR @ away)
    move = np.eye(4)
    move[:3, :3] = Rotation.from_rotvec(x[:3]).as_matrix()
    move[:3, 3] = center + x[3:] - move[:3, :3] @ center
    return move
