"""Where a thing stands that is "next to", "on" or "left of" another: places to try, best first.

Every goal is a predicate on centres of the thing's box, an ideal centre, and a grid of places
around it. The predicates lie inside of what generated questions call true (`data.relations`,
`data.viewpoints`), so that a place that holds here is one that anybody would agree with. All in
a world whose axes run along the walls; metres.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.errors import QueryError
from spatial3d_ros.scene.free_space import Body

_STEP = 0.05
_MOST = 2500  # places tried: beyond it the grid gets coarser
_NEAR = 0.35, 0.15  # next to: gap on the floor, and on furniture
_SNUG = 0.08  # gap of the ideal place beside a thing
_AIR = 0.02  # least gap, so that nothing touches
_EXACT = 0.05  # how well a gap that was told in metres is kept
SHIFT_TOLERANCE = 0.1  # how well a shift is kept
_ASIDE = 0.25, 0.15  # as far to the side at least: on the floor, and on furniture
_FURTHEST = 2.2
_GAZE = np.tan(np.deg2rad(55))
_MIN_VIEW = 0.3

Holds = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Goal:
    """`holds` tells of centres (C, 3) whether the thing would stand as wanted: bool (C,)."""

    ideal: np.ndarray
    spots: np.ndarray
    holds: Holds

    def centers(self) -> np.ndarray:
        """The places that hold, (C, 3), those nearest to the ideal one first."""
        good = self.spots[self.holds(self.spots)]
        away = np.linalg.norm(good - self.ideal, axis=1)
        return good[np.argsort(away.round(6), kind="stable")]


@dataclass(frozen=True)
class Level:
    """Where the bottom of the thing is (m), and whether that is on furniture."""

    bottom: float
    raised: bool = False


def next_to(
    half: np.ndarray, anchor: Body, level: Level, from_xy: np.ndarray, gap: float | None
) -> Goal:
    """Beside the anchor on any side, preferably that of `from_xy`; `half` (3,) extents of the
    thing's hull, `gap` metres between the two if told.
    """
    low, high = anchor.box.bounds()
    middle, reach = (low + high) / 2, (high - low) / 2 + half
    z = level.bottom + half[2]
    least, most = (
        (_AIR, _NEAR[level.raised]) if gap is None else (max(gap - _EXACT, _AIR), gap + _EXACT)
    )

    def holds(centers: np.ndarray) -> np.ndarray:
        apart = np.abs(centers[:, :2] - middle[:2]) - reach[:2]
        metres = np.linalg.norm(apart.clip(min=0), axis=1)
        return (metres >= least) & (metres <= most)

    wanted = max(_SNUG if gap is None else gap, least)
    ideal = np.array([*from_xy, z])
    out = np.abs(ideal[:2] - middle[:2]) - reach[:2]
    side = int(out.argmax())
    sign = 1.0 if ideal[side] >= middle[side] else -1.0
    ideal[side] = middle[side] + sign * (reach[side] + wanted)
    other = 1 - side
    ideal[other] = np.clip(ideal[other], low[other], high[other])
    return Goal(ideal, _grid(middle[:2], reach[:2] + most, z, ideal), holds)


def on(half: np.ndarray, anchor: Body) -> Goal:
    """On its top, the outline within that of the anchor as far as it can be.

    Raises QueryError for a thing that carries nothing.
    """
    if anchor.top is None:
        raise QueryError(f"query: nothing can stand on {anchor.name}; name another thing")
    low, high = anchor.box.bounds()
    middle, play = (low + high) / 2, ((high - low) / 2 - half)[:2].clip(min=0.02)
    center = np.array([*middle[:2], anchor.top + half[2]])

    def holds(centers: np.ndarray) -> np.ndarray:
        inside = (np.abs(centers[:, :2] - middle[:2]) <= play + 1e-9).all(1)
        return inside & (np.abs(centers[:, 2] - center[2]) <= 0.05 + 1e-9)

    return Goal(center, _grid(middle[:2], play, center[2], center), holds)


def under(half: np.ndarray, anchor: Body, floor: float) -> Goal:
    """On the floor under a table or desk. Raises QueryError where there is no room for anything."""
    low, high = anchor.box.bounds()
    if not anchor.hollow or floor + 2 * half[2] > high[2] - 0.06:
        raise QueryError(f"query: there is no room under {anchor.name}; name another thing")
    middle, play = (low + high) / 2, ((high - low) / 2 - half)[:2].clip(min=0.02)
    center = np.array([*middle[:2], floor + half[2]])

    def holds(centers: np.ndarray) -> np.ndarray:
        inside = (np.abs(centers[:, :2] - middle[:2]) <= play + 1e-9).all(1)
        return inside & (centers[:, 2] + half[2] < high[2] - 0.05)

    return Goal(center, _grid(middle[:2], play, center[2], center), holds)


def beside(
    side: str, half: np.ndarray, anchor: Body, level: Level, viewer: np.ndarray, gap: float | None
) -> Goal:
    """To the "left" or "right" of the anchor, in "front" of it or "behind" it, for somebody at
    `viewer` (2,) who looks at it. Raises QueryError for one who stands in it.
    """
    low, high = anchor.box.bounds()
    middle, size = (low + high) / 2, (high - low) / 2
    ahead, length = _ahead(viewer, middle, anchor.name)
    left = np.array([-ahead[1], ahead[0]])
    way = {"left": left, "right": -left, "front": -ahead, "behind": ahead}[side]
    across = np.array([-way[1], way[0]])
    outline, own = np.abs(way) @ size[:2], np.abs(way) @ half[:2]
    least = max(_ASIDE[level.raised], outline) + 0.05

    def holds(centers: np.ndarray) -> np.ndarray:
        offset = centers[:, :2] - middle[:2]
        along, aside = offset @ way, np.abs(offset @ across)
        good = (along > least) & (aside < 0.8 * along) & (along < _FURTHEST)
        good &= np.linalg.norm(offset, axis=1) < _FURTHEST
        if gap is not None:
            good &= np.abs(along - outline - own - gap) <= _EXACT
        gaze = np.abs(offset @ left) < _GAZE * (length + offset @ ahead)
        return good & gaze

    away = max(outline + own + (_SNUG if gap is None else gap), least + 0.1)
    ideal = np.array([*(middle[:2] + away * way), level.bottom + half[2]])
    reach = np.full(2, max(_FURTHEST, away + 0.1))
    return Goal(ideal, _grid(middle[:2], reach, ideal[2], ideal), holds)


def between(half: np.ndarray, a: Body, b: Body, level: Level) -> Goal:
    """About the middle of the line between two things."""
    one, other = (np.array(body.box.center[:2]) for body in (a, b))
    line = other - one
    length2 = max(float(line @ line), 1e-9)
    middle = (one + other) / 2
    center = np.array([*middle, level.bottom + half[2]])

    def holds(centers: np.ndarray) -> np.ndarray:
        offset = centers[:, :2] - one
        part = offset @ line / length2
        off2 = (offset**2).sum(1) / length2 - part**2
        return (np.abs(part - 0.5) < 0.22) & (off2 < 0.03)

    return Goal(center, _grid(middle, np.full(2, length2**0.5 / 2), center[2], center), holds)


def shifted(center: Sequence[float], way: np.ndarray, metres: float) -> Goal:
    """So many metres along a unit vector (3,), within 0.1 m."""
    ideal = np.asarray(center, dtype=float) + metres * way
    radius = min(SHIFT_TOLERANCE, metres / 2)

    def holds(centers: np.ndarray) -> np.ndarray:
        return np.linalg.norm(centers - ideal, axis=1) <= radius + 1e-9

    return Goal(ideal, _grid(ideal[:2], np.full(2, radius), ideal[2], ideal, 0.02), holds)


def at(center: Sequence[float], within: float) -> Goal:
    """At a place, or at most `within` metres beside it."""
    ideal = np.asarray(center, dtype=float)

    def holds(centers: np.ndarray) -> np.ndarray:
        return np.linalg.norm(centers - ideal, axis=1) <= within + 1e-9

    return Goal(ideal, _grid(ideal[:2], np.full(2, within), ideal[2], ideal), holds)


def heading(viewer: np.ndarray, center: Sequence[float], relation: str, name: str) -> np.ndarray:
    """Unit vector (3,) of "towards", "away", "to_left" or "to_right", for a thing at `center` and
    somebody or something at `viewer` (2,) or (3,), on the floor plan.
    """
    ahead, _ = _ahead(np.asarray(viewer)[:2], np.asarray(center), name)
    left = np.array([-ahead[1], ahead[0]])
    flat = {"towards": -ahead, "away": ahead, "to_left": left, "to_right": -left}[relation]
    return np.array([*flat, 0.0])


def _ahead(viewer: np.ndarray, middle: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    sight = middle[:2] - viewer[:2]
    length = float(np.linalg.norm(sight))
    if length < _MIN_VIEW:
        raise QueryError(
            f"query: {name} is {length:.2f} m from where it is seen from, on the floor plan; no "
            "direction can be told so near: say 'seen from ...' another thing"
        )
    return sight / length, length


def _grid(
    middle: np.ndarray, reach: np.ndarray, z: float, ideal: np.ndarray, step: float = _STEP
) -> np.ndarray:
    """The ideal centre and a square grid of others around `middle`, (C, 3)."""
    area = float(np.prod(2 * reach))
    step = max(step, (area / _MOST) ** 0.5)
    counts = (reach / step).astype(int)
    x, y = (np.arange(-n, n + 1) * step + m for n, m in zip(counts, middle, strict=True))
    flat = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    return np.vstack([ideal[None], np.column_stack([flat, np.full(len(flat), z)])])
