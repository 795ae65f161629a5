"""Small corrections of camera poses, so that several views of one surface fall on one surface.

Localisation is off by a centimetre and a fraction of a degree; two views of a mug then make a mug twice as
thick. Every view is fitted, point to plane, to the coarse map of all views, a few times over. A prior keeps
each pose near where it was, above all in directions that no surface fixes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from spatial3d_ros.geometry.voxels import voxel_keys
from spatial3d_ros.scene.fusion import DEPTH_NOISE, Samples

_CELL = 0.12  # metres; a surface is taken as flat within
_PRIOR_TURN, _PRIOR_SHIFT = 0.008, 0.015  # radians, metres; what localisation is thought to be off by
_CORRELATION = 5  # neighbouring residuals repeat each other: so many count as one
_POINTS = 2000  # of each view


def align(views: Sequence[Samples], rounds: int = 8) -> list[Samples]:
    """The samples of each view, moved by at most a few centimetres. One view: unchanged."""
    if len(views) < 2:
        return list(views)
    thin = [v.take(slice(None, None, max(1, len(v.point) // _POINTS))) for v in views]
    thin = [v.take(v.normal.any(1)) for v in thin]
    moves = [np.eye(4) for _ in views]
    for step in range(rounds):
        moved = [v.moved(m) for v, m in zip(thin, moves, strict=True)]
        key, point, normal = _surface(moved)
        reach = 0.06 if step < rounds // 2 else 0.03
        for k, view in enumerate(moved):
            moves[k] = _correction(view, key, point, normal, reach, moves[k]) @ moves[k]
    return [v.moved(m) for v, m in zip(views, moves, strict=True)]


def _keys(view: Samples) -> np.ndarray:
    """Cells by place and by the main direction of the normal: the two sides of a board stay apart."""
    axis = np.abs(view.normal).argmax(1)
    side = np.take_along_axis(view.normal, axis[:, None], 1)[:, 0] > 0
    return voxel_keys(view.point, _CELL) * 6 + axis * 2 + side


def _surface(views: Sequence[Samples]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean point and normal of every cell, by rising key."""
    key, cell = np.unique(np.concatenate([_keys(v) for v in views]), return_inverse=True)
    weight = np.concatenate([v.weight for v in views])
    values = np.concatenate([np.hstack([v.point, v.normal]) for v in views])
    total = np.stack([np.bincount(cell, weight * c, len(key)) for c in values.T], 1)
    normal = total[:, 3:] / np.maximum(np.linalg.norm(total[:, 3:], axis=1, keepdims=True), 1e-9)
    return key, total[:, :3] / np.bincount(cell, weight, len(key))[:, None], normal


def _correction(
    view: Samples,
    key: np.ndarray,
    point: np.ndarray,
    normal: np.ndarray,
    reach: float,
    so_far: np.ndarray,
) -> np.ndarray:
    """One Gauss-Newton step of a view towards the surface, (4, 4)."""
    own = _keys(view)
    cell = np.minimum(np.searchsorted(key, own), len(key) - 1)
    n = normal[cell]
    residual = ((view.point - point[cell]) * n).sum(1)
    good = (key[cell] == own) & (np.abs(residual) < reach) & ((view.normal * n).sum(1) > 0.85)
    if good.sum() < 50:
        return np.eye(4)
    center = view.point[good].mean(0)
    n, residual = n[good], residual[good]
    sigma2 = (DEPTH_NOISE * 2.25 / view.weight[good]) ** 2 + 0.01**2
    jacobian = np.hstack([np.cross(view.point[good] - center, n), n])
    weighted = jacobian / (sigma2 * _CORRELATION)[:, None]
    prior = np.diag([_PRIOR_TURN**-2.0] * 3 + [_PRIOR_SHIFT**-2.0] * 3)
    turn = Rotation.from_matrix(so_far[:3, :3]).as_rotvec()
    shift = so_far[:3, 3] + center - so_far[:3, :3].T @ (center - so_far[:3, 3]) - so_far[:3, 3]
    away = np.concatenate([turn, shift])
    x = np.linalg.solve(weighted.T @ jacobian + prior, -weighted.T @ residual - prior @ away)
    move = np.eye(4)
    move[:3, :3] = Rotation.from_rotvec(x[:3]).as_matrix()
    move[:3, 3] = center + x[3:] - move[:3, :3] @ center
    return move
