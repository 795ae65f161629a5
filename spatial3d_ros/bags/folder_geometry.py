"""What a folder of images does not say: the unit of its depth, and which way is up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors.plausibility import (
    AGREES,
    FAR_M,
    MAX_VIEWS,
    MIN_BASELINE_M,
    MIN_PAIRS,
    NEAR_M,
    depth_disagreement,
    level_normal,
    median_depth,
)

MILLIMETRE, TUM_UNIT, SUN3D_UNIT = 0.001, 0.0002, 0.000125
UNITS = (MILLIMETRE, TUM_UNIT, SUN3D_UNIT, 0.0001, 1 / 256, 1.0)
"""Metres of the depth value 1 that recordings have; the first that fits is the one guessed."""

CLEARLY = 0.5  # the best unit disagrees by less than this share of another one's disagreement
SNAP_DEG = 5.0  # an upward direction this close to an axis is that axis: normals are noisy
AXES = {
    f"{sign}{name}": (1.0 if not sign else -1.0) * np.eye(3)[k]
    for k, name in enumerate("xyz")
    for sign in ("", "-")
}
AUTO = "auto"


def guess_unit(
    frames: Sequence[Frame], multiples_of_8: bool, usual: float = MILLIMETRE
) -> tuple[float, str]:
    """The unit of depth of some frames that were read as if in millimetres, and how it was found.

    Depth of one view must agree with the next, which only the right unit does; where no two views
    show it, `usual` is taken if the median depth is that of a room. `multiples_of_8`: all counts
    are, as in the rotated depth of SUN3D.
    """
    median_m = float(np.median([median_depth(frame) for frame in frames])) if frames else 0.0
    order = dict.fromkeys([*([SUN3D_UNIT] if multiples_of_8 else []), usual, *UNITS])
    factors = {unit: unit / MILLIMETRE for unit in order}
    likely = [unit for unit in order if NEAR_M <= median_m * factors[unit] <= FAR_M]
    tried = {unit: depth_disagreement(frames, factors[unit]) for unit in likely}
    agreeing = {u: off for u, (off, n) in tried.items() if n >= MIN_PAIRS}
    best = min(agreeing, key=agreeing.__getitem__, default=usual)
    if agreeing and agreeing[best] < AGREES:
        rivals = [off for unit, off in agreeing.items() if unit != best]
        if not rivals or agreeing[best] < CLEARLY * min(rivals):
            return best, f"depth of one view agrees with the next to {agreeing[best]:.1%}"
    unit = likely[0] if likely else usual
    median_m *= factors[unit]
    return unit, f"the median depth is then {median_m:.2f} m; give --depth-unit if it is not"


def views_with_baseline(poses: Sequence[np.ndarray]) -> list[int]:
    """Indices of at most MAX_VIEWS views from the middle of a path, each a step from the last."""
    kept: list[int] = []
    for k, pose in enumerate(poses):
        step = np.linalg.norm(pose[:3, 3] - poses[kept[-1]][:3, 3]) if kept else np.inf
        if step > 1.1 * MIN_BASELINE_M:
            kept.append(k)
    first = max(0, (len(kept) - MAX_VIEWS) // 2)
    return kept[first : first + MAX_VIEWS]


def upward_axis(text: str) -> np.ndarray | None:
    """The unit vector (3,) of "z", "-y", or "0,-1,0.2"; None for "auto". Raises ConfigError."""
    if text == AUTO:
        return None
    if text in AXES:
        return AXES[text]
    try:
        vector = np.array([float(part) for part in text.split(",")])
    except ValueError:
        vector = np.zeros(0)
    length = float(np.linalg.norm(vector))
    if vector.shape != (3,) or not (np.isfinite(length) and length > 1e-6):
        raise ConfigError(
            f"--up {text}: give auto, one of {', '.join(AXES)}, or a vector such as 0,-1,0.2"
        )
    return np.asarray(vector / length)


def find_up(
    poses: Sequence[np.ndarray], frames: Callable[[], Sequence[Frame]]
) -> tuple[np.ndarray, str]:
    """The upward direction (3,) of the world, and how it was found.

    It is the normal of floors and table tops near the camera's mean upward axis; an axis of the
    world if it is nearly one; z where no level surface is seen.
    """
    mean = np.mean([-pose[:3, 1] for pose in poses], axis=0)
    length = float(np.linalg.norm(mean))
    up = level_normal(frames(), mean / length) if length > 1e-6 else None
    if up is None:
        return AXES["z"], "no level surface is seen, so z is taken; give --up if it is not"
    name = max(AXES, key=lambda key: float(AXES[key] @ up))
    degrees = math.degrees(math.acos(min(1.0, float(AXES[name] @ up))))
    if degrees <= SNAP_DEG:
        return AXES[name], f"{name}, {degrees:.1f} degrees off the normal of the level surfaces"
    text = ",".join(f"{value:.3f}" for value in up)
    return up, f"{text}, the normal of the level surfaces, {degrees:.0f} degrees off {name}"


def turn_upright(up: np.ndarray) -> np.ndarray:
    """The shortest rotation (4, 4) that turns a unit vector (3,) to z; about x for -z."""
    turn = np.eye(4)
    axis = np.cross(up, AXES["z"])
    sine, cosine = float(np.linalg.norm(axis)), float(up[2])
    if sine < 1e-9:
        if cosine < 0:
            turn[1, 1] = turn[2, 2] = -1.0
        return turn
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn[:3, :3] += cross + cross @ cross * ((1 - cosine) / sine**2)
    return turn
