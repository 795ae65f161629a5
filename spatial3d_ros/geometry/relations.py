"""Spatial relations of axis-aligned boxes, for all (target, anchor) pairs at once.

Every predicate is a pure function with its thresholds as arguments. A generator of sentences calls
it twice: with strict thresholds, where every annotator agrees that the relation holds, and with
loose ones, where some annotator might. A sentence is unambiguous if exactly one object satisfies
the strict relation and no other object satisfies the loose one.

Metres and radians, z up. Boxes are (N, 6): centre, full size. Matrices are (T, A), indexed
[target, anchor]. Sides depend on a viewer: `ahead` is the direction from the viewer to the anchor,
so "behind" is farther along it and "front" is nearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np

BoolArray = np.ndarray
Side = Literal["left", "right", "front", "behind"]
SIDES: tuple[Side, ...] = ("left", "right", "front", "behind")


class BoxPairs:
    """Distances and overlaps of each target box (T, 6) with each anchor box (A, 6).

    Without `anchors`, the targets are paired with each other, and with themselves on the diagonal.
    """

    def __init__(self, targets: np.ndarray, anchors: np.ndarray | None = None) -> None:
        anchors = targets if anchors is None else anchors
        self.target_size, self.anchor_size = targets[:, None, 3:], anchors[None, :, 3:]
        target_center, anchor_center = targets[:, None, :3], anchors[None, :, :3]
        self.low, self.high = _bounds(target_center, self.target_size)
        self.anchor_low, self.anchor_high = _bounds(anchor_center, self.anchor_size)
        self.offset = target_center - anchor_center
        """(T, A, 3) from the anchor's centre to the target's."""
        self.overlap = np.minimum(self.high, self.anchor_high) - np.maximum(
            self.low, self.anchor_low
        )
        """(T, A, 3) shared extent along each axis; negative where the boxes are apart."""

    @cached_property
    def distance(self) -> np.ndarray:
        """(T, A) between centres."""
        return np.linalg.norm(self.offset, axis=-1)

    @cached_property
    def gap(self) -> np.ndarray:
        """(T, A) between surfaces, 0 where the boxes intersect."""
        return np.linalg.norm(self.overlap.clip(max=0), axis=-1)

    @cached_property
    def plan_gap(self) -> np.ndarray:
        """(T, A) between footprints on the floor plan."""
        return np.linalg.norm(self.overlap[..., :2].clip(max=0), axis=-1)

    @cached_property
    def target_share(self) -> np.ndarray:
        """(T, A) share of the target's footprint that lies on the anchor's."""
        return self._shared_area / np.maximum(self.target_size[..., :2].prod(-1), 1e-9)

    @cached_property
    def smaller_share(self) -> np.ndarray:
        """(T, A) shared area over the smaller of the two footprints."""
        anchor_area = np.maximum(self.anchor_size[..., :2].prod(-1), 1e-9)
        return np.maximum(self.target_share, self._shared_area / anchor_area)

    @cached_property
    def rise(self) -> np.ndarray:
        """(T, A) height of the target's bottom over the anchor's top."""
        return self.low[..., 2] - self.anchor_high[..., 2]

    @cached_property
    def drop(self) -> np.ndarray:
        """(T, A) height of the anchor's bottom over the target's top."""
        return self.anchor_low[..., 2] - self.high[..., 2]

    @cached_property
    def outside(self) -> np.ndarray:
        """(T, A) from the target's centre to the anchor's footprint (maximum norm), < 0 inside."""
        return (np.abs(self.offset[..., :2]) - self.anchor_size[..., :2] / 2).max(-1)

    @cached_property
    def _shared_area(self) -> np.ndarray:
        return self.overlap[..., :2].clip(min=0).prod(-1)


def resting_on(pairs: BoxPairs, *, tolerance: float, min_share: float = 0.0) -> BoolArray:
    """Target bottom within `tolerance` of the anchor's top, more than `min_share` of its footprint
    on the anchor.
    """
    return (np.abs(pairs.rise) < tolerance) & (pairs.target_share > min_share)


def above(pairs: BoxPairs, *, clearance: float, over: BoolArray) -> BoolArray:
    """Target bottom more than `clearance` over the anchor's top, where `over` (T, A) holds on the
    floor plan (`centered_over` or `overlapping`).
    """
    return (pairs.rise > clearance) & over


def below(pairs: BoxPairs, *, clearance: float, over: BoolArray) -> BoolArray:
    """Target top more than `clearance` under the anchor's bottom, where `over` (T, A) holds."""
    return (pairs.drop > clearance) & over


def tucked_under(pairs: BoxPairs, *, min_share: float, top_below: float) -> BoolArray:
    """More than `min_share` of the target's footprint under the anchor, its top lower by more than
    `top_below`: a bin under a desk.
    """
    lower = pairs.high[..., 2] < pairs.anchor_high[..., 2] - top_below
    return lower & (pairs.target_share > min_share)


def centered_over(pairs: BoxPairs, margin: float) -> BoolArray:
    """Target centre less than `margin` outside the anchor's footprint."""
    return pairs.outside < margin


def overlapping(pairs: BoxPairs, min_share: float = 0.0) -> BoolArray:
    """Footprints share more than `min_share` of the smaller one."""
    return pairs.smaller_share > min_share


def near(pairs: BoxPairs, reach: float | np.ndarray) -> BoolArray:
    """Surfaces less than `reach` (scalar or (T, A)) apart."""
    return pairs.gap < reach


def line_coordinates(
    points: np.ndarray, start: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Position along and distance off the line start-end, both in units of its length.

    points, start, end: (..., D), broadcast against each other. 0 along is `start`, 1 is `end`.
    """
    line, offset = end - start, points - start
    length2 = np.maximum((line**2).sum(-1), 1e-12)
    along = (offset * line).sum(-1) / length2
    off2 = (offset**2).sum(-1) / length2 - along**2
    return along, np.sqrt(off2.clip(min=0))


def between(
    points: np.ndarray, start: np.ndarray, end: np.ndarray, *, half_span: float, max_off: float
) -> BoolArray:
    """Whether points lie between two others: at 0.5 +- `half_span` of the line, at most `max_off`
    off it (units of its length). Shapes as in `line_coordinates`.
    """
    along, off = line_coordinates(points, start, end)
    return (np.abs(along - 0.5) < half_span) & (off < max_off)


def left_of(direction: np.ndarray) -> np.ndarray:
    """Directions (..., 2) turned 90 degrees counter-clockwise: the left of who looks that way."""
    return np.stack([-direction[..., 1], direction[..., 0]], -1)


def view_coordinates(offset: np.ndarray, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Components of offsets (..., 2) along unit view directions (..., 2), and to their left."""
    return (offset * ahead).sum(-1), (offset * left_of(ahead)).sum(-1)


def side_coordinates(
    side: Side, ahead: np.ndarray, left: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(along, across) a side, from the components that `view_coordinates` gives."""
    along = {"left": left, "right": -left, "front": -ahead, "behind": ahead}[side]
    return along, ahead if side in ("left", "right") else left


def in_sector(along: np.ndarray, across: np.ndarray, half_angle: float) -> BoolArray:
    """Within `half_angle` (< pi / 2) of an axis. NaN, as for an anchor without a front, is not."""
    return np.abs(across) < np.tan(half_angle) * along


def contenders(
    values: Sequence[float], *, largest: bool, ratio: float = 1.0, margin: float = 0.0
) -> list[int]:
    """Indices of the values that could pass for the largest (or smallest), positive ones.

    The extreme value is clear, by the factor `ratio` and by `margin`, if its index is the only one.
    """
    if largest:
        best = max(values)
        bound = min(best / ratio, best - margin)
        return [i for i, value in enumerate(values) if value > bound or value == best]
    best = min(values)
    bound = max(best * ratio, best + margin)
    return [i for i, value in enumerate(values) if value < bound or value == best]


def left_to_right(points: np.ndarray, ahead: np.ndarray, min_gap: float) -> list[int] | None:
    """Order of points (N, 2) from left to right for who looks along `ahead` (2,); None where two
    neighbours are less than `min_gap` apart.
    """
    lateral = points @ left_of(ahead)
    order = np.argsort(-lateral)
    return None if (-np.diff(lateral[order]) < min_gap).any() else order.tolist()


def _bounds(center: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return center - size / 2, center + size / 2
