"""Agglomerative merging of segments into a tree of regions, most probable merges first.

A segment alone is rarely an object; a chair has a dozen. Segments are merged in pairs, and every
node of the resulting tree is an object hypothesis. The probability that two neighbours belong to
one object is a logistic regression on features of the pair, fitted on generated rooms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix

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
CONTACTS, STEP, BEND, CONCAVE, ON = range(5)
_CONCAVE = 0.15  # concavity from which a pair counts as concave
_SLACK = 0.01  # merges less probable than the best by up to this are made in one round


def merge_probability(rows: np.ndarray) -> np.ndarray:
    """Probabilities (M,) that two regions are one object, from features (M, F)."""
    return np.asarray(1 / (1 + np.exp(-(rows @ _WEIGHT_VECTOR))))


@dataclass(frozen=True, eq=False)
class Node:
    """A region of the merge tree.

    `segments` labels of its segments; `parts` the two regions that were merged into it, by their
    place in the tree, none for a segment; `inner` least probability of the merges within it;
    `outer` probability of the merge that ended it, 0 without; `border` (5,) sums over its contacts
    with other regions when it was created.
    """

    segments: tuple[int, ...]
    parts: tuple[int, ...]
    inner: float
    outer: float
    border: np.ndarray


class Regions:
    """Sums and bounds of all regions, and the borders between them, so that merges are cheap.

    `color` is that of `smooth_features`; `label` (N,) the segment of each voxel. Region k < `count`
    is segment k; the arrays have space for all later merges. Regions `ends` (E, 2), the smaller
    first, are near each other; `border` (E, 5) sums over their contacts.
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
        order = np.argsort(label, kind="stable")
        point, start = cloud.point[order], np.append(0, np.cumsum(self.n[: count - 1])).astype(int)
        self.low[:count] = np.minimum.reduceat(point, start) - cloud.size / 2
        self.high[:count] = np.maximum.reduceat(point, start) + cloud.size / 2
        self.ends, self.border = np.empty((0, 2), int), np.empty((0, 5))

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
        """Sums up the borders over touching voxels `pairs` with concavity `bend`; those of voxels
        that are only `near` are 0.
        """
        split = label[pairs[0]] != label[pairs[1]]
        i, j, bend = pairs[0][split], pairs[1][split], bend[split]
        rise = (cloud.point[j, 2] - cloud.point[i, 2]) / cloud.size
        up_i, up_j = normal[i, 2], normal[j, 2]
        rests = ((rise > 0.5) & (up_i > 0.8) & (up_j < 0.6)) | (
            (rise < -0.5) & (up_j > 0.8) & (up_i < 0.6)
        )
        rows = np.zeros((len(i), 5))
        rows[:, CONTACTS] = 1
        rows[:, STEP] = np.linalg.norm(color[i] - color[j], axis=1)
        rows[:, BEND] = bend
        rows[:, CONCAVE] = bend > _CONCAVE
        rows[:, ON] = rests
        a = label[np.concatenate([i, near[0]])]
        b = label[np.concatenate([j, near[1]])]
        first, second = np.minimum(a, b), np.maximum(a, b)
        graph = coo_matrix((np.ones(len(a), bool), (first, second)), (self.count,) * 2).tocsr()
        graph.sort_indices()
        self.ends = np.stack(graph.nonzero(), 1).astype(int)
        code = self.ends @ (self.count, 1)
        edge = np.searchsorted(code, (first * self.count + second)[: len(i)])
        self.border = _sums(edge, rows, len(code))

    def merge(self, a: np.ndarray, b: np.ndarray, new: np.ndarray) -> None:
        """Adds up the regions a and b (M,), of which no two are the same, as regions `new` (M,)."""
        for sums in (self.n, self.color, self.square):
            sums[new] = sums[a] + sums[b]
        self.low[new] = np.minimum(self.low[a], self.low[b])
        self.high[new] = np.maximum(self.high[a], self.high[b])

    def features(self, a: np.ndarray, b: np.ndarray, border: np.ndarray) -> np.ndarray:
        """Features (M, F) of pairs of regions a, b (M,) with borders (M, 5)."""
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

    In each round those pairs are merged that prefer each other to all other neighbours, if they
    are about as probable as the best. Modifies `regions`.
    """
    count, space = regions.count, len(regions.n)
    segments: list[tuple[int, ...]] = [(k,) for k in range(count)]
    parts: list[tuple[int, ...]] = [()] * count
    inner, outer = [1.0] * count, [0.0] * count
    ends, border = regions.ends, regions.border
    outline = [_outline(ends, border, 0, count)]
    likely = probability(regions.features(ends[:, 0], ends[:, 1], border))
    parent = np.arange(space)
    while len(likely) and (best := likely.max()) >= min_probability:
        pairs = _mutual(ends, likely, max(min_probability, best - _SLACK), space)
        a, b = ends[pairs].T
        new = np.arange(len(parts), len(parts) + len(pairs))
        regions.merge(a, b, new)
        for p, x, y in zip(likely[pairs].tolist(), a.tolist(), b.tolist(), strict=True):
            segments.append(segments[x] + segments[y])
            parts.append((x, y))
            inner.append(min(p, inner[x], inner[y]))
            outer.append(0.0)
            outer[x] = outer[y] = p
        parent[a] = parent[b] = new
        now = parent[ends]
        changed = now.max(1) >= new[0]
        moved, sums = _joined(now[changed], border[changed], space)
        outline.append(_outline(moved, sums, new[0], len(new)))
        ends = np.concatenate([ends[~changed], moved])
        border = np.concatenate([border[~changed], sums])
        renewed = probability(regions.features(moved[:, 0], moved[:, 1], sums))
        likely = np.concatenate([likely[~changed], renewed])
    rows = zip(segments, parts, inner, outer, np.concatenate(outline), strict=True)
    return [Node(*row) for row in rows]


def _outline(ends: np.ndarray, border: np.ndarray, first: int, count: int) -> np.ndarray:
    """Sums (`count`, 5) of the borders of the regions from `first` on."""
    index, edge = ends.T.ravel() - first, np.tile(np.arange(len(ends)), 2)
    own = index >= 0
    return _sums(index[own], border[edge[own]], count)


def _mutual(ends: np.ndarray, likely: np.ndarray, least: float, space: int) -> np.ndarray:
    """The pairs, by index, at least as probable as `least`, of which either region prefers the
    other to its other neighbours, most probable first. One at least.
    """
    likely_enough = np.flatnonzero(likely >= least)
    order = likely_enough[np.argsort(-likely[likely_enough], kind="stable")]
    best = np.empty(space, int)
    best[ends[order[::-1]].ravel()] = np.repeat(order[::-1], 2)  # of several the last stays
    return order[(best[ends[order]] == order[:, None]).all(1)]


def _joined(ends: np.ndarray, border: np.ndarray, space: int) -> tuple[np.ndarray, np.ndarray]:
    """Each pair of different regions once, the smaller first, with the sum of its borders."""
    two = ends[:, 0] != ends[:, 1]
    code = np.sort(ends[two], 1) @ (space, 1)
    code, pair = np.unique(code, return_inverse=True)
    return np.stack(np.divmod(code, space), 1), _sums(pair, border[two], len(code))


def _sums(index: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Sums (count, F) of the rows (N, F) with each index (N,)."""
    return np.stack([np.bincount(index, column, count) for column in rows.T], 1)
