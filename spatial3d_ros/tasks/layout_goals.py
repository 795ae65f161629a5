"""Goals of a layout edit: candidate centers of a box that is "next to", "on" or "left of" another.

A goal is a predicate on centers, an ideal center, and a grid of candidates around it. The
predicates are stricter than those of the generated questions, so that a pose that satisfies a goal
satisfies the relation. Metres, in a frame whose axes run along the walls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry import relations
from spatial3d_ros.scene.free_space import Body

_STEP = 0.05
_MAX_CANDIDATES = 2500  # beyond it the grid gets coarser
_NEAR = 0.35, 0.15  # next to: gap on the floor, and on furniture
_IDEAL_GAP = 0.08  # gap of the ideal center to the anchor
_MIN_GAP = 0.02  # so that nothing touches
_GAP_TOLERANCE = 0.05  # of a gap that is given in metres
SHIFT_TOLERANCE = 0.1  # of the length of a shift
_MIN_SIDE = 0.25, 0.15  # least offset to a side: on the floor, and on furniture
_MAX_SIDE = 2.2  # largest offset to a side
_TAN_HALF_FOV = np.tan(np.deg2rad(55))  # of the viewer
_MIN_VIEW = 0.3  # from the viewer to the anchor

Holds = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Goal:
    """`holds` (C, 3) -> bool (C,): which centers satisfy the goal; `candidates` (C, 3)."""

    ideal: np.ndarray
    candidates: np.ndarray
    holds: Holds

    def centers(self) -> np.ndarray:
        """The candidates that satisfy the goal, (C, 3), nearest to the ideal first."""
        good = self.candidates[self.holds(self.candidates)]
        away = np.linalg.norm(good - self.ideal, axis=1)
        return good[np.argsort(away.round(6), kind="stable")]


@dataclass(frozen=True)
class Level:
    """Height of the bottom of the box (m), and whether that is on furniture."""

    bottom: float
    raised: bool = False


def next_to(
    half: np.ndarray, anchor: Body, level: Level, from_xy: np.ndarray, gap: float | None
) -> Goal:
    """Next to the anchor on any side, preferably that of `from_xy` (2,).

    half: half extents (3,) of the box along the axes. gap: metres between the two, None: any.
    """
    low, high = anchor.box.bounds()
    middle, reach = (low + high) / 2, (high - low) / 2 + half
    z = level.bottom + half[2]
    min_gap, max_gap = (
        (_MIN_GAP, _NEAR[level.raised])
        if gap is None
        else (max(gap - _GAP_TOLERANCE, _MIN_GAP), gap + _GAP_TOLERANCE)
    )

    def holds(centers: np.ndarray) -> np.ndarray:
        apart = np.abs(centers[:, :2] - middle[:2]) - reach[:2]
        metres = np.linalg.norm(apart.clip(min=0), axis=1)
        return (metres >= min_gap) & (metres <= max_gap)

    wanted = max(_IDEAL_GAP if gap is None else gap, min_gap)
    ideal = np.array([*from_xy, z])
    out = np.abs(ideal[:2] - middle[:2]) - reach[:2]
    side = int(out.argmax())
    sign = 1.0 if ideal[side] >= middle[side] else -1.0
    ideal[side] = middle[side] + sign * (reach[side] + wanted)
    other = 1 - side
    ideal[other] = np.clip(ideal[other], low[other], high[other])
    return Goal(ideal, _grid(middle[:2], reach[:2] + max_gap, z, ideal), holds)


def on(half: np.ndarray, anchor: Body) -> Goal:
    """On top of the anchor, the outline within that of the anchor if it fits.

    Raises QueryError for an anchor that cannot support objects.
    """
    if anchor.top is None:
        raise QueryError(f"query: nothing can stand on {anchor.name}; name another object")
    low, high = anchor.box.bounds()
    middle, slack = (low + high) / 2, ((high - low) / 2 - half)[:2].clip(min=0.02)
    center = np.array([*middle[:2], anchor.top + half[2]])

    def holds(centers: np.ndarray) -> np.ndarray:
        inside = (np.abs(centers[:, :2] - middle[:2]) <= slack + 1e-9).all(1)
        return inside & (np.abs(centers[:, 2] - center[2]) <= 0.05 + 1e-9)

    return Goal(center, _grid(middle[:2], slack, center[2], center), holds)


def under(half: np.ndarray, anchor: Body, floor: float) -> Goal:
    """On the floor under a table or desk. Raises QueryError if the box does not fit under it."""
    low, high = anchor.box.bounds()
    if not anchor.hollow or floor + 2 * half[2] > high[2] - 0.06:
        raise QueryError(f"query: there is no room under {anchor.name}; name another object")
    middle, slack = (low + high) / 2, ((high - low) / 2 - half)[:2].clip(min=0.02)
    center = np.array([*middle[:2], floor + half[2]])

    def holds(centers: np.ndarray) -> np.ndarray:
        inside = (np.abs(centers[:, :2] - middle[:2]) <= slack + 1e-9).all(1)
        return inside & (centers[:, 2] + half[2] < high[2] - 0.05)

    return Goal(center, _grid(middle[:2], slack, center[2], center), holds)


def on_side(
    side: str, half: np.ndarray, anchor: Body, level: Level, viewer: np.ndarray, gap: float | None
) -> Goal:
    """To the "left" or "right" of the anchor, in "front" of it or "behind" it, seen from `viewer`
    (2,) facing it. Raises QueryError for a viewer inside it.
    """
    low, high = anchor.box.bounds()
    middle, size = (low + high) / 2, (high - low) / 2
    ahead, length = _ahead(viewer, middle, anchor.name)
    left = relations.left_of(ahead)
    direction = {"left": left, "right": -left, "front": -ahead, "behind": ahead}[side]
    across = relations.left_of(direction)
    outline, own = np.abs(direction) @ size[:2], np.abs(direction) @ half[:2]
    min_offset = max(_MIN_SIDE[level.raised], outline) + 0.05

    def holds(centers: np.ndarray) -> np.ndarray:
        offset = centers[:, :2] - middle[:2]
        along, aside = offset @ direction, np.abs(offset @ across)
        good = (along > min_offset) & (aside < 0.8 * along) & (along < _MAX_SIDE)
        good &= np.linalg.norm(offset, axis=1) < _MAX_SIDE
        if gap is not None:
            good &= np.abs(along - outline - own - gap) <= _GAP_TOLERANCE
        in_view = np.abs(offset @ left) < _TAN_HALF_FOV * (length + offset @ ahead)
        return good & in_view

    away = max(outline + own + (_IDEAL_GAP if gap is None else gap), min_offset + 0.1)
    ideal = np.array([*(middle[:2] + away * direction), level.bottom + half[2]])
    reach = np.full(2, max(_MAX_SIDE, away + 0.1))
    return Goal(ideal, _grid(middle[:2], reach, ideal[2], ideal), holds)


def between(half: np.ndarray, a: Body, b: Body, level: Level) -> Goal:
    """Near the middle of the line between two anchors."""
    one, other = (np.array(body.box.center[:2]) for body in (a, b))
    middle = (one + other) / 2
    center = np.array([*middle, level.bottom + half[2]])

    def holds(centers: np.ndarray) -> np.ndarray:
        return relations.between(centers[:, :2], one, other, half_span=0.22, max_off=0.03**0.5)

    reach = np.full(2, np.linalg.norm(other - one) / 2)
    return Goal(center, _grid(middle, reach, center[2], center), holds)


def shifted(center: Sequence[float], direction: np.ndarray, metres: float) -> Goal:
    """A shift by `metres` along a unit vector (3,), within 0.1 m."""
    ideal = np.asarray(center, dtype=float) + metres * direction
    radius = min(SHIFT_TOLERANCE, metres / 2)

    def holds(centers: np.ndarray) -> np.ndarray:
        return np.linalg.norm(centers - ideal, axis=1) <= radius + 1e-9

    return Goal(ideal, _grid(ideal[:2], np.full(2, radius), ideal[2], ideal, 0.02), holds)


def at(center: Sequence[float], within: float) -> Goal:
    """Within `within` metres of a center."""
    ideal = np.asarray(center, dtype=float)

    def holds(centers: np.ndarray) -> np.ndarray:
        return np.linalg.norm(centers - ideal, axis=1) <= within + 1e-9

    return Goal(ideal, _grid(ideal[:2], np.full(2, within), ideal[2], ideal), holds)


def shift_direction(
    viewer: np.ndarray, center: Sequence[float], relation: str, name: str
) -> np.ndarray:
    """Unit vector (3,) on the floor plan of "towards", "away", "to_left" or "to_right", for an
    object at `center` seen from `viewer`, (2,) or (3,).
    """
    ahead, _ = _ahead(np.asarray(viewer)[:2], np.asarray(center), name)
    left = relations.left_of(ahead)
    direction = {"towards": -ahead, "away": ahead, "to_left": left, "to_right": -left}[relation]
    return np.array([*direction, 0.0])


def _ahead(viewer: np.ndarray, middle: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """Unit vector (2,) and metres from the viewer to `middle` on the floor plan."""
    ahead = middle[:2] - viewer[:2]
    length = float(np.linalg.norm(ahead))
    if length < _MIN_VIEW:
        raise QueryError(
            f"query: {name} is {length:.2f} m from the viewpoint on the floor plan, too near for a "
            "direction; add 'seen from ...' another object"
        )
    return ahead / length, length


def _grid(
    middle: np.ndarray, reach: np.ndarray, z: float, ideal: np.ndarray, step: float = _STEP
) -> np.ndarray:
    """The ideal center and a square grid of others around `middle`, (C, 3)."""
    area = float(np.prod(2 * reach))
    step = max(step, (area / _MAX_CANDIDATES) ** 0.5)
    counts = (reach / step).astype(int)
    x, y = (np.arange(-n, n + 1) * step + m for n, m in zip(counts, middle, strict=True))
    flat = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    return np.vstack([ideal[None], np.column_stack([flat, np.full(len(flat), z)])])
