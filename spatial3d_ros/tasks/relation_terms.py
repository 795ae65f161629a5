"""How far spatial relations hold between the objects of a map, as numbers from 0 to 1.

The predicates are those of `geometry.relations`, with thresholds for boxes that were measured, not
generated: a box may be 10 cm off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spatial3d_ros.categories import CATEGORIES
from spatial3d_ros.geometry import relations as geometry

ON_TOLERANCE_M = 0.12  # between the bottom of an object and the top of what carries it
ON_SHARE = 0.4  # least share of its footprint on that
SAME_TOP_M = 0.08  # between the tops of a box and of what stands on the object
MIN_OFFSET_M = 0.1  # from a viewer to what is beside one
NEXT_TO_M, NEAR_M = 0.7, 1.2  # largest gaps
AT_WALL = 0.4  # from the middle of the room (0) to a wall (1)
SECTOR = np.pi / 3  # half angle of "left", "right", "front", "behind"
_SIDE_ORDER = {"left": "leftmost", "right": "rightmost", "front": "closest", "behind": "farthest"}
SIZES = {
    "largest": "volume", "smallest": "volume", "tallest": "height", "shortest": "height",
    "longest": "length",
}  # fmt: skip


def _surface(label: str) -> float:
    """How far below the top of its box, as a share of its height, an object carries others: a seat
    lies lower, and the box of a desk may include what stands on it.
    """
    spec = CATEGORIES.get(label)
    if spec is None or not spec.surface:
        return 0.0
    return 0.7 if spec.back else 0.45


@dataclass(frozen=True, eq=False)
class Viewer:
    """Who sees sides: a `position` (2,) in metres, and where that is told the unit vector `heading`
    (2,) along which one looks; both in the frame of the boxes, None where unknown.
    """

    position: np.ndarray | None
    heading: np.ndarray | None = None


_BESIDE: dict[str, geometry.Side] = {
    "left": "left", "right": "right", "front": "behind", "behind": "front"
}  # fmt: skip
"""The side of an anchor at the viewer's place that is on a side of the viewer."""


class RelationTerms:
    """Relations between boxes (N, 6), centre and size in metres, axes along the walls.

    labels: of the same objects. camera: its position (2,) in that frame, None where unknown; sides
    are then those of who looks at the anchor's front: unit vectors `fronts` (N, 2), NaN where an
    object has none, None where no front is known.
    """

    def __init__(
        self,
        boxes: np.ndarray,
        labels: Sequence[str],
        camera: np.ndarray | None,
        fronts: np.ndarray | None = None,
    ) -> None:
        self.boxes, self.camera = boxes, camera
        self._fronts = fronts
        self.pairs = geometry.BoxPairs(boxes)
        self._surfaces = np.array([_surface(label) for label in labels])
        self._labels = labels

    @cached_property
    def shared(self) -> np.ndarray:
        """(N, N) shared volume over that of the smaller box."""
        volumes = self.boxes[:, 3:].prod(-1)
        smaller = np.maximum(np.minimum(volumes[:, None], volumes), 1e-9)
        return self.pairs.overlap.clip(min=0).prod(-1) / smaller

    @property
    def floor(self) -> float:
        """Height of the lowest box."""
        return float((self.boxes[:, 2] - self.boxes[:, 5] / 2).min())

    @cached_property
    def rests(self) -> np.ndarray:
        """(N, N) whether an object rests on another: on its top, or on its seat or mattress."""
        pairs, boxes = self.pairs, self.boxes
        on = geometry.resting_on(pairs, tolerance=ON_TOLERANCE_M, min_share=ON_SHARE)
        top = pairs.anchor_high[..., 2]
        inside = (np.abs(pairs.offset[..., :2]) < pairs.anchor_size[..., :2] / 2).all(-1)
        within = inside & (pairs.low[..., 2] > top - self._surfaces[None] * boxes[None, :, 5])
        within &= pairs.low[..., 2] < top + ON_TOLERANCE_M
        area = boxes[:, 3:5].prod(-1)
        return (on | within) & (area[:, None] < area[None])

    def own_height(self, best: int, carried: Sequence[int]) -> float:
        """Height (m) of an object without what it carries, where its box includes that: something
        stands inside the box and ends at its top. A back, of a chair or a bed, is its own.
        """
        low, high = self.pairs.low[:, 0, 2], self.pairs.high[:, 0, 2]
        spec, top = CATEGORIES.get(self._labels[best]), high[best]
        if spec is not None and not spec.back:
            inside = [k for k in carried if abs(high[k] - top) < SAME_TOP_M]
            top = min([top, *(low[k] for k in inside)])
        return float(top - low[best])

    def to_anchor(
        self, name: str, anchor: np.ndarray, viewer: Viewer | None = None
    ) -> np.ndarray | None:
        """(N,) how far a relation to an anchor holds, given the probability (N,) of each object to
        be it, seen by `viewer`, by default the camera; None for a relation that boxes do not tell.
        """
        matrix = self._matrix(name, viewer or Viewer(self.camera))
        if matrix is None:
            return None
        matrix = matrix * ~np.eye(len(self.boxes), dtype=bool)
        return np.clip(matrix @ anchor, 0, 1)

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(N,) whether objects are between two anchors, given how likely each object is to be
        them, (N,) each.
        """
        ends = [share @ self.boxes[:, :3] / share.sum() for share in (first, second)]
        points = self.boxes[:, :3]
        return geometry.between(points, *ends, half_span=0.4, max_off=0.35).astype(float)

    def heading_to(self, faced: np.ndarray, start: np.ndarray | None) -> np.ndarray | None:
        """(2,) unit vector along which one looks at a point (2,) from `start`. Without a start one
        stands in the room and looks straight at the wall where the point is; at a point away from
        the walls the camera looks, None where it is unknown.
        """
        if start is None:
            low = (self.boxes[:, :2] - self.boxes[:, 3:5] / 2).min(0)
            high = (self.boxes[:, :2] + self.boxes[:, 3:5] / 2).max(0)
            share = 2 * (faced - low) / np.maximum(high - low, 1e-6) - 1
            axis = int(np.abs(share).argmax())
            if abs(share[axis]) >= AT_WALL:
                return np.eye(2)[axis] * np.sign(share[axis])
            start = self.camera
        if start is None or (length := np.linalg.norm(faced - start)) < MIN_OFFSET_M:
            return None
        return np.asarray((faced - start) / length)

    def beside_viewer(self, name: str, viewer: Viewer) -> np.ndarray | None:
        """(N,) whether objects are on one of SIDES of a viewer, "front" being where one looks; None
        without a position or a heading.
        """
        if viewer.position is None or viewer.heading is None or name not in geometry.SIDES:
            return None
        offset = self.boxes[:, :2] - viewer.position
        along, left = geometry.view_coordinates(offset, viewer.heading)
        sides = geometry.side_coordinates(_BESIDE[name], along, left)
        away = np.linalg.norm(offset, axis=-1) > MIN_OFFSET_M
        return (geometry.in_sector(*sides, SECTOR) & away).astype(float)

    def in_room(self, name: str) -> np.ndarray | None:
        """(N,) how far objects stand on the floor, in a corner or in the middle of the room."""
        if name == "floor":
            return (self.boxes[:, 2] - self.boxes[:, 5] / 2 < self.floor + 0.12).astype(float)
        if name not in ("corner", "middle", "wall"):
            return None
        low = (self.boxes[:, :2] - self.boxes[:, 3:5] / 2).min(0)
        high = (self.boxes[:, :2] + self.boxes[:, 3:5] / 2).max(0)
        share = np.abs(2 * (self.boxes[:, :2] - low) / np.maximum(high - low, 1e-6) - 1)
        if name == "wall":
            return np.clip(share.max(-1), 0, 1)
        return np.clip(share.min(-1) if name == "corner" else 1 - share.max(-1), 0, 1)

    def distance_to(
        self, name: str, point: np.ndarray | None, anchor: np.ndarray | None, likely: np.ndarray
    ) -> np.ndarray:
        """(N,) 1 for the closest or farthest of the `likely` (N,) objects, falling off with metres:
        to a point (2,) on the floor plan, or to an anchor with probabilities (N,).
        """
        others = np.ones(len(likely))
        if point is not None or anchor is None:
            distance = np.linalg.norm(self.boxes[:, :2] - point, axis=-1)
        else:
            distance = self.pairs.distance @ (anchor / max(anchor.sum(), 1e-9))
            others = 1 - anchor.clip(0, 1)  # nothing is the closest to itself
        return others * extreme(-distance if name == "closest" else distance, likely * others, 0.3)

    def order(
        self, name: str, likely: np.ndarray, viewer: Viewer | None, ordinal: int = 0
    ) -> np.ndarray | None:
        """(N,) how well objects fit a superlative among the `likely` (N,) ones: 1 for the extreme,
        or for the `ordinal`-th from it; None for one that needs an unknown viewer.
        """
        name = _SIDE_ORDER.get(name, name)
        viewer = viewer or Viewer(self.camera)
        position, ahead = viewer.position, viewer.heading
        sizes, scale = self.boxes[:, 3:], 0.12
        if name in SIZES:
            values = {
                "volume": np.cbrt(sizes.prod(-1)), "height": sizes[:, 2],
                "length": sizes[:, :2].max(-1),
            }[SIZES[name]]  # fmt: skip
            values = -values if name in ("smallest", "shortest") else values
        elif name in ("closest", "farthest") and position is not None:
            distance, scale = np.linalg.norm(self.boxes[:, :2] - position, axis=-1), 0.2
            values = -distance if name == "closest" else distance
        elif name in ("leftmost", "rightmost") and not (position is None and ahead is None):
            offset, scale = self.boxes[:, :2] - (0 if position is None else position), 0.2
            if ahead is None:
                ahead = (likely[:, None] * offset).sum(0)
                ahead = ahead / max(float(np.linalg.norm(ahead)), 1e-6)
            left = geometry.view_coordinates(offset, ahead)[1]
            values = left if name == "leftmost" else -left
        else:
            return None
        return extreme(values, likely, scale, max(ordinal, 1))

    def _matrix(self, name: str, viewer: Viewer) -> np.ndarray | None:
        pairs = self.pairs
        on = geometry.resting_on(pairs, tolerance=ON_TOLERANCE_M, min_share=ON_SHARE)
        if name == "on":
            return on | self.rests
        if name == "in":
            return on | self.rests | self.inside
        if name in ("under", "below"):
            under = geometry.tucked_under(pairs, min_share=ON_SHARE, top_below=0.1)
            lower = geometry.below(pairs, clearance=-0.1, over=geometry.overlapping(pairs))
            return under | lower | self.rests.T
        if name == "above":
            higher = geometry.above(pairs, clearance=-0.1, over=geometry.overlapping(pairs))
            return higher | self.rests
        if name in ("next_to", "near"):
            level = ~(on | on.T)
            reach = NEXT_TO_M if name == "next_to" else NEAR_M
            return (reach + 0.5 - pairs.gap).clip(0, 1) * level  # half at the reach
        if name in geometry.SIDES and (ahead := self._ahead(viewer)) is not None:
            along, left = geometry.view_coordinates(pairs.offset[..., :2], ahead[None])
            return geometry.in_sector(*geometry.side_coordinates(name, along, left), SECTOR)
        return None

    def _ahead(self, viewer: Viewer) -> np.ndarray | None:
        """(N, 2) unit vectors from who looks at each object to the object, None where unknown."""
        if viewer.heading is not None:
            return np.broadcast_to(viewer.heading, (len(self.boxes), 2))
        if viewer.position is None:
            return None if self._fronts is None else -self._fronts
        ahead = self.boxes[:, :2] - viewer.position
        return ahead / np.maximum(np.linalg.norm(ahead, axis=-1, keepdims=True), 1e-6)

    @cached_property
    def inside(self) -> np.ndarray:
        """(N, N) whether the target's centre lies in the anchor's box, and the anchor is larger."""
        centers = np.abs(self.pairs.offset) < self.pairs.anchor_size / 2
        larger = self.pairs.anchor_size.prod(-1) > 3 * self.pairs.target_size.prod(-1)
        return centers.all(-1) & larger


def extreme(values: np.ndarray, likely: np.ndarray, scale: float, rank: int = 1) -> np.ndarray:
    """1 for the highest value among likely objects (probability from a tenth of the best), or for
    the `rank`-th highest, falling off by `scale` on both sides of it.
    """
    chosen = likely >= 0.1 * likely.max(initial=0.0)
    ranked = np.sort(values[chosen] if chosen.any() else values)[::-1]
    wanted = ranked[min(rank, len(ranked)) - 1]
    away = wanted - values
    return np.exp(-(np.clip(away, 0, None) if rank == 1 else np.abs(away)) / scale)
