"""Small corrections of camera poses, so that all views of one surface coincide.

Localisation errs by a centimetre and a fraction of a degree; two views of a mug then make a mug of
twice its thickness. Each view is registered, point to plane, to a coarse map of all views, over a
few rounds. A prior keeps each pose near its measured value where no surface constrains it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from spatial3d_ros.geometry.voxels import voxel_keys
from spatial3d_ros.scene.fusion import DEPTH_NOISE, Samples

_CELL = 0.12  # metres; a surface counts as flat within it
_PRIOR = np.diag([0.008**-2.0] * 3 + [0.015**-2.0] * 3)  # inverse variance of poses: rad, metres
_CORRELATION = 5  # neighbouring residuals are correlated: so many count as one
_POINTS = 1500  # of each view


def sparse(view: Samples) -> Samples:
    """The samples of a view that its registration uses: about `_POINTS` with a normal."""
    known = np.flatnonzero(view.normal.any(1))
    return view.take(known[:: max(1, len(known) // _POINTS)])


def register(
    views: Sequence[Samples], known: Sequence[np.ndarray | None], rounds: int = 7
) -> list[np.ndarray]:
    """Corrections (4, 4) of views, as `sparse` returns them. Views with a `known` correction keep
    it: a new view costs its own registration only.
    """
    if len(views) < 2:
        return [np.eye(4) if one is None else one for one in known]
    corrections = [np.eye(4) if one is None else one for one in known]
    moved = [v.transformed(c) for v, c in zip(views, corrections, strict=True)]
    free = [k for k, one in enumerate(known) if one is None]
    settled = [view for view, one in zip(moved, known, strict=True) if one is not None]
    surface = _surface(settled or moved)
    for step in range(rounds if free else 0):
        if not settled or len(free) > 1:
            surface = _surface(moved)
        max_residual = 0.06 if step < rounds // 2 else 0.03
        for k in free:
            change = _step(moved[k], corrections[k], surface, max_residual)
            corrections[k] = change @ corrections[k]
        for k in free:
            moved[k] = views[k].transformed(corrections[k])
    return corrections


def align(views: Sequence[Samples]) -> list[Samples]:
    """The samples of each view after registration. A single view stays unchanged."""
    corrections = register([sparse(v) for v in views], [None] * len(views))
    return [v.transformed(c) for v, c in zip(views, corrections, strict=True)]


def _keys(view: Samples) -> np.ndarray:
    """Cell of each point by position and main axis of the normal: two sides of a board differ."""
    axis = np.abs(view.normal).argmax(1)
    side = np.take_along_axis(view.normal, axis[:, None], 1)[:, 0] > 0
    return voxel_keys(view.point, _CELL) * 6 + axis * 2 + side


def _surface(views: Sequence[Samples]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Key, mean point and mean normal of every cell, in ascending order of key."""
    key, cell = np.unique(np.concatenate([_keys(v) for v in views]), return_inverse=True)
    weight = np.concatenate([v.weight for v in views])
    values = np.concatenate([np.hstack([v.point, v.normal]) for v in views])
    total = np.stack([np.bincount(cell, weight * c, len(key)) for c in values.T], 1)
    normal = total[:, 3:] / np.maximum(np.linalg.norm(total[:, 3:], axis=1, keepdims=True), 1e-9)
    return key, total[:, :3] / np.bincount(cell, weight, len(key))[:, None], normal


def _step(
    view: Samples,
    correction: np.ndarray,
    surface: tuple[np.ndarray, np.ndarray, np.ndarray],
    max_residual: float,
) -> np.ndarray:
    """One Gauss-Newton step (4, 4) of a view to which `correction` (4, 4) was already applied."""
    key, point, normal = surface
    own = _keys(view)
    cell = np.minimum(np.searchsorted(key, own), len(key) - 1)
    residual = ((view.point - point[cell]) * normal[cell]).sum(1)
    fits = (key[cell] == own) & (np.abs(residual) < max_residual)
    fits &= (view.normal * normal[cell]).sum(1) > 0.85
    if fits.sum() < 50:
        return np.eye(4)
    residual, normal, position = residual[fits], normal[cell][fits], view.point[fits]
    center = position.mean(0)
    jacobian = np.hstack([np.cross(position - center, normal), normal])
    variance = (DEPTH_NOISE * 2.25 / view.weight[fits]) ** 2 + 0.01**2
    weighted = jacobian / (variance * _CORRELATION)[:, None]
    rotation, translation = correction[:3, :3], correction[:3, 3]
    before = rotation.T @ (center - translation)
    offset = np.concatenate([Rotation.from_matrix(rotation).as_rotvec(), center - before])
    x = np.linalg.solve(weighted.T @ jacobian + _PRIOR, -weighted.T @ residual - _PRIOR @ offset)
    step = np.eye(4)
    step[:3, :3] = Rotation.from_rotvec(x[:3]).as_matrix()
    step[:3, 3] = center + x[3:] - step[:3, :3] @ center
    return step
