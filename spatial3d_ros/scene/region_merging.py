"""Agglomerative merging of segments into a tree of regions, most probable merge first.

A segment alone is rarely an object; a chair has a dozen. Segments are merged in pairs, and every
node of the resulting tree is an object hypothesis. The probability that two neighbours belong to
one object is a logistic regression on features of the pair, fitted on generated rooms.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.scene.fusion import VoxelCloud
from spatial3d_ros.scene.voxel_segmentation import Pairs

WEIGHTS = {
    "bias": 5.65,
    "chroma": -3.00,  # difference of the mean colours in a and b
    "light": -3.46,  # difference of the mean colours in L
    "step": -1.73,  # colour difference across the border
    "bend": -0.80,  # mean concavity at the border
    "concave": -0.84,  # share of the border
    "touch": 1.00,  # border over the perimeter of the smaller
    "apart": -0.46,  # 1 if they do not touch
    "small": -0.22,  # log of the area of the smaller
    "big": -1.05,  # log of the area of the larger
    "inside": 0.53,  # share of the smaller box within the larger
    "over": 0.73,  # the same in the xy plane
    "growth": 0.45,  # log of the volume of the joint box over that of the larger
    "on": -0.51,  # share of the border where one rests on the top of the other
    "lift": -0.21,  # bottom of the smaller over that of the larger, in heights of the larger
    "rise": -0.08,  # the same of the tops
    "texture": -0.19,  # standard deviation of the colours
}
_WEIGHT_VECTOR = np.array([*WEIGHTS.values()])

# Columns of the sums along a border.
CONTACTS, STEP, BEND, CONCAVE, ON, NEAR = range(6)
_CONCAVE = 0.15  # concavity from which a pair counts as concave


def merge_probability(rows: np.ndarray) -> np.ndarray:
    """Probabilities (M,) that two regions are one object, from features (M, F)."""
    return np.asarray(1 / (1 + np.exp(-(rows @ _WEIGHT_VECTOR))))


@dataclass(frozen=True, eq=False)
class Node:
    """A region of the merge tree.

    `segments` labels of its segments; `parts` the two regions that were merged into it, by their
    place in the tree, none for a segment; `inner` least probability of the merges within it;
    `outer` probability of the merge that ended it, 0 without; `border` (6,) sums over its contacts
    with other regions when it was created.
    """

    segments: tuple[int, ...]
    parts: tuple[int, ...]
    inner: float
    outer: float
    border: np.ndarray


class Regions:
    """Sums and bounds of all regions, so that a merge is cheap.

    `color` is that of `smooth_features`; `label` (N,) the segment of each voxel. Region k < `count`
    is segment k; the arrays have space for all later merges.
    """

    def __init__(self, cloud: VoxelCloud, label: np.ndarray, color: np.ndarray) -> None:
        self.count = count = int(label.max()) + 1
        self.cell_area = cloud.size**2
        rows = 2 * count
        self.n = np.zeros(rows)
        self.color = np.zeros((rows, 3))
        self.square = np.zeros(rows)
        self.low = np.full((rows, 3), np.inf)
        self.high = np.full((rows, 3), -np.inf)
        self.n[:count] = np.bincount(label)
        for k in range(3):
            self.color[:count, k] = np.bincount(label, color[:, k])
        self.square[:count] = np.bincount(label, (color**2).sum(1))
        np.minimum.at(self.low, label, cloud.point - cloud.size / 2)
        np.maximum.at(self.high, label, cloud.point + cloud.size / 2)
        self.link: list[dict[int, np.ndarray]] = [{} for _ in range(rows)]

    def connect(
        self,
        cloud: VoxelCloud,
        label: np.ndarray,
        color: np.ndarray,
        normal: np.ndarray,
        bend: np.ndarray,
        pairs: Pairs,
        near: Pairs,
    ) -> None:
        """Sums up the borders over touching voxels `pairs` with concavity `bend`, and over voxels
        that are only `near`.
        """
        split = label[pairs[0]] != label[pairs[1]]
        i, j, bend = pairs[0][split], pairs[1][split], bend[split]
        rise = (cloud.point[j, 2] - cloud.point[i, 2]) / cloud.size
        up_i, up_j = normal[i, 2], normal[j, 2]
        rests = ((rise > 0.5) & (up_i > 0.8) & (up_j < 0.6)) | (
            (rise < -0.5) & (up_j > 0.8) & (up_i < 0.6)
        )
        rows = np.zeros((len(i) + len(near[0]), 6))
        rows[: len(i), CONTACTS] = 1
        rows[: len(i), STEP] = np.linalg.norm(color[i] - color[j], axis=1)
        rows[: len(i), BEND] = bend
        rows[: len(i), CONCAVE] = bend > _CONCAVE
        rows[: len(i), ON] = rests
        rows[len(i) :, NEAR] = 1
        a = label[np.concatenate([i, near[0]])]
        b = label[np.concatenate([j, near[1]])]
        pair, inverse = np.unique(
            np.minimum(a, b) * self.count + np.maximum(a, b), return_inverse=True
        )
        sums = np.stack([np.bincount(inverse, column, len(pair)) for column in rows.T], 1)
        for code, border in zip(pair.tolist(), sums, strict=True):
            x, y = divmod(code, self.count)
            self.link[x][y] = self.link[y][x] = border

    def merge(self, a: int, b: int, new: int) -> list[int]:
        """Merges regions a and b into region `new`; returns its neighbours."""
        for sums in (self.n, self.color, self.square):
            sums[new] = sums[a] + sums[b]
        self.low[new] = np.minimum(self.low[a], self.low[b])
        self.high[new] = np.maximum(self.high[a], self.high[b])
        joined: dict[int, np.ndarray] = {}
        for old in (a, b):
            for other, border in self.link[old].items():
                if other not in (a, b):
                    joined[other] = joined[other] + border if other in joined else border
                    del self.link[other][old]
            self.link[old] = {}
        for other, border in joined.items():
            self.link[other][new] = border
        self.link[new] = joined
        return list(joined)

    def outline(self, region: int) -> np.ndarray:
        """Sum (6,) of the borders of a region with all others."""
        return np.asarray(sum(self.link[region].values(), np.zeros(6)))

    def features(self, a: np.ndarray, b: np.ndarray, border: np.ndarray) -> np.ndarray:
        """Features (M, F) of pairs of regions a, b (M,) with borders (M, 6)."""
        swap = self.n[a] > self.n[b]
        s, g = np.where(swap, b, a), np.where(swap, a, b)  # smaller, larger
        contacts = np.maximum(border[:, CONTACTS], 1)
        apart = border[:, CONTACTS] == 0
        mean_s, mean_g = self.color[s] / self.n[s, None], self.color[g] / self.n[g, None]
        chroma = np.linalg.norm(mean_s[:, 1:] - mean_g[:, 1:], axis=1)
        light = np.abs(mean_s[:, 0] - mean_g[:, 0])
        step = np.where(apart, np.hypot(chroma, light), border[:, STEP] / contacts)
        shared = np.minimum(self.high[s], self.high[g]) - np.maximum(self.low[s], self.low[g])
        union = np.maximum(self.high[s], self.high[g]) - np.minimum(self.low[s], self.low[g])
        extent_s, extent_g = self.high[s] - self.low[s], self.high[g] - self.low[g]
        inside = np.maximum(shared, 0) / extent_s
        growth = np.log(union.prod(1) / np.maximum(extent_g.prod(1), extent_s.prod(1)))
        tall = np.maximum(extent_g[:, 2], 0.05)
        texture = self._color_std(s, mean_s) + self._color_std(g, mean_g)
        return np.column_stack(
            [
                np.ones(len(a)),
                chroma / (chroma + 8),
                light / (light + 8),
                step / (step + 8),
                border[:, BEND] / contacts,
                border[:, CONCAVE] / contacts,
                np.minimum(border[:, CONTACTS] / (8 * np.sqrt(self.n[s])), 2),
                apart,
                np.log(self.n[s] * self.cell_area / 0.01) / 3,
                np.log(self.n[g] * self.cell_area / 0.01) / 3,
                inside.prod(1),
                inside[:, :2].prod(1),
                np.minimum(growth, 4),
                border[:, ON] / contacts,
                np.clip((self.low[s, 2] - self.low[g, 2]) / tall, -1, 1.5),
                np.clip((self.high[s, 2] - self.high[g, 2]) / tall, -1, 1.5),
                texture / 20,
            ]
        )

    def _color_std(self, region: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Standard deviation (M,) of the colours in each region."""
        variance = self.square[region] / self.n[region] - (mean**2).sum(1)
        return np.asarray(np.sqrt(np.maximum(variance, 0)))


def build_merge_tree(
    regions: Regions,
    min_probability: float = 0.02,
    probability: Callable[[np.ndarray], np.ndarray] = merge_probability,
) -> list[Node]:
    """Nodes of the tree: the segments, then the merges in order, down to `min_probability`.

    Modifies `regions`.
    """
    count = regions.count
    segments: list[tuple[int, ...]] = [(k,) for k in range(count)]
    parts: list[tuple[int, ...]] = [()] * count
    inner, outer = [1.0] * count, [0.0] * count
    border = [regions.outline(k) for k in range(count)]
    alive = [True] * count
    heap: list[tuple[float, int, int]] = []

    def push(a: list[int], b: list[int]) -> None:
        if not a:
            return
        borders = np.array([regions.link[x][y] for x, y in zip(a, b, strict=True)])
        likely = probability(regions.features(np.array(a), np.array(b), borders))
        for p, x, y in zip(likely.tolist(), a, b, strict=True):
            if p >= min_probability:
                heapq.heappush(heap, (-p, x, y))

    first = [(a, b) for a in range(count) for b in regions.link[a] if a < b]
    push([a for a, _ in first], [b for _, b in first])
    while heap:
        negative, a, b = heapq.heappop(heap)
        if not (alive[a] and alive[b]):
            continue
        new = len(segments)
        neighbours = regions.merge(a, b, new)
        segments.append(segments[a] + segments[b])
        parts.append((a, b))
        inner.append(min(-negative, inner[a], inner[b]))
        outer.append(0.0)
        outer[a] = outer[b] = -negative
        border.append(regions.outline(new))
        alive[a] = alive[b] = False
        alive.append(True)
        push(neighbours, [new] * len(neighbours))
    return [Node(*node) for node in zip(segments, parts, inner, outer, border, strict=True)]
