"""From patches to things: a tree of merges, likeliest first, and the hypotheses on it.

A patch alone is a thing only sometimes; a chair is a dozen patches. So patches are merged pair by pair,
and every node of the tree that arises is a hypothesis. Its score is how sure the merges inside it were
times how unlikely the next merge outwards is. How likely two neighbours are to be one thing is a logistic
regression on a few measures of the pair, fitted on generated rooms.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.scene.fusion import VoxelCloud
from spatial3d_ros.scene.segmentation import Pairs

MEASURES = (
    "one",
    "paint",  # a and b between the means
    "light",  # L between the means
    "step",  # of colour across the border
    "bend",
    "concave",  # share of the border
    "touch",  # border over the girth of the smaller
    "apart",  # 1 where they do not touch
    "small",
    "big",
    "inside",  # share of the smaller's box within the bigger's
    "over",  # the same, seen from above
    "growth",
    "on",  # share of the border where one stands on the other's top
    "lift",  # how high in the bigger's box the smaller begins
    "rise",  # and by how much it sticks out above
    "texture",
)


@dataclass(frozen=True, eq=False)
class Node:
    """A set of patches. `inner` is the least likeness of the merges in it, `outer` that of the merge it
    ended in (0: none); `border` (6,) sums up its contacts with others; `parent` is what it became, -1: none.
    """

    members: tuple[int, ...]
    inner: float
    outer: float
    border: np.ndarray
    parent: int


class Regions:
    """Patches and their merges: sums that add up, so that a merge costs nothing."""

    def __init__(self, cloud: VoxelCloud, label: np.ndarray, color: np.ndarray) -> None:
        count = int(label.max()) + 1
        total = 2 * count
        self.count = count
        self.size = cloud.size
        self.n = np.zeros(total)
        self.n[:count] = np.bincount(label, minlength=count)
        self.color = np.zeros((total, 3))
        self.square = np.zeros(total)
        for k in range(3):
            self.color[:count, k] = np.bincount(label, color[:, k], count)
        self.square[:count] = np.bincount(label, (color**2).sum(1), count)
        self.lo = np.full((total, 3), np.inf)
        self.hi = np.full((total, 3), -np.inf)
        np.minimum.at(self.lo, label, cloud.point - cloud.size / 2)
        np.maximum.at(self.hi, label, cloud.point + cloud.size / 2)
        self.link: list[dict[int, np.ndarray]] = [{} for _ in range(total)]

    def connect(self, cloud: VoxelCloud, label, color, normal, bend, pairs: Pairs, wide: Pairs) -> None:
        """Borders between regions: contacts, colour step, bend, concave, on top, near."""
        first, second = pairs
        split = label[first] != label[second]
        i, j, b = first[split], second[split], bend[split]
        way = cloud.point[j] - cloud.point[i]
        stands = ((way[:, 2] > 0.5 * cloud.size) & (normal[i, 2] > 0.8) & (normal[j, 2] < 0.6)) | (
            (way[:, 2] < -0.5 * cloud.size) & (normal[j, 2] > 0.8) & (normal[i, 2] < 0.6)
        )
        rows = np.stack(
            [np.ones(len(i)), np.linalg.norm(color[i] - color[j], axis=1), b, b > 0.15, stands, 0 * b], 1
        )
        gi, gj = wide
        far = np.zeros((len(gi), rows.shape[1]))
        far[:, 5] = 1
        a = np.concatenate([label[i], label[gi]])
        c = np.concatenate([label[j], label[gj]])
        rows = np.concatenate([rows, far])
        lo, hi = np.minimum(a, c), np.maximum(a, c)
        pair, inverse = np.unique(lo * (self.count + 1) + hi, return_inverse=True)
        sums = np.stack([np.bincount(inverse, r, len(pair)) for r in rows.T], 1)
        for p, s in zip(pair.tolist(), sums, strict=True):
            x, y = divmod(p, self.count + 1)
            self.link[x][y] = s
            self.link[y][x] = s

    def merge(self, a: int, b: int, new: int) -> list[int]:
        """Makes `new` of a and b; the neighbours it has."""
        self.n[new] = self.n[a] + self.n[b]
        self.color[new] = self.color[a] + self.color[b]
        self.square[new] = self.square[a] + self.square[b]
        self.lo[new] = np.minimum(self.lo[a], self.lo[b])
        self.hi[new] = np.maximum(self.hi[a], self.hi[b])
        joined: dict[int, np.ndarray] = {}
        for old in (a, b):
            for other, s in self.link[old].items():
                if other in (a, b):
                    continue
                joined[other] = joined[other] + s if other in joined else s
                self.link[other].pop(old, None)
            self.link[old] = {}
        for other, s in joined.items():
            self.link[other][new] = s
        self.link[new] = joined
        return list(joined)

    def outline(self, region: int) -> np.ndarray:
        """The borders (6,) of a region with all others, summed up."""
        return sum(self.link[region].values(), np.zeros(6))

    def measures(self, a: np.ndarray, b: np.ndarray, border: np.ndarray) -> np.ndarray:
        """Measures (M, len(MEASURES)) of pairs of regions with borders (M, 6)."""
        swap = self.n[a] > self.n[b]
        s, g = np.where(swap, b, a), np.where(swap, a, b)  # smaller, bigger
        contacts = np.maximum(border[:, 0], 1)
        apart = border[:, 0] == 0
        mean_s, mean_g = self.color[s] / self.n[s, None], self.color[g] / self.n[g, None]
        paint = np.linalg.norm(mean_s[:, 1:] - mean_g[:, 1:], axis=1)
        light = np.abs(mean_s[:, 0] - mean_g[:, 0])
        color = np.hypot(paint, light)
        step = np.where(apart, color, border[:, 1] / contacts)
        shared = np.minimum(self.hi[s], self.hi[g]) - np.maximum(self.lo[s], self.lo[g])
        shared = np.maximum(shared, 0)
        extent_s, extent_g = self.hi[s] - self.lo[s], self.hi[g] - self.lo[g]
        union = np.maximum(self.hi[s], self.hi[g]) - np.minimum(self.lo[s], self.lo[g])
        ratio = shared / extent_s
        deviation = [
            np.sqrt(np.maximum(self.square[k] / self.n[k] - (m**2).sum(1), 0))
            for k, m in ((s, mean_s), (g, mean_g))
        ]
        tall = np.maximum(extent_g[:, 2], 0.05)
        return np.stack(
            [
                np.ones(len(a)),
                paint / (paint + 8),
                light / (light + 8),
                step / (step + 8),
                border[:, 2] / contacts,
                border[:, 3] / contacts,
                np.minimum(border[:, 0] / (8 * np.sqrt(self.n[s])), 2),
                apart.astype(float),
                np.log(self.n[s] * self.size**2 / 0.01) / 3,
                np.log(self.n[g] * self.size**2 / 0.01) / 3,
                ratio.prod(1),
                ratio[:, :2].prod(1),
                np.minimum(np.log(union.prod(1) / np.maximum(extent_g.prod(1), extent_s.prod(1))), 4),
                border[:, 4] / contacts,
                np.clip((self.lo[s, 2] - self.lo[g, 2]) / tall, -1, 1.5),
                np.clip((self.hi[s, 2] - self.hi[g, 2]) / tall, -1, 1.5),
                (deviation[0] + deviation[1]) / 20,
            ],
            1,
        )


# Fitted on generated rooms; a name of MEASURES each.
WEIGHTS = np.array(
    [
        5.01, -2.14, -2.87, -2.04, -0.88, -0.82, 0.93, -0.38, 0.35, -1.16, 1.11, 0.78,
        0.60, -1.37, -0.49, -0.06, -0.61,
    ]
)


def likeness(measures: np.ndarray) -> np.ndarray:
    """Probability (M,) that the two regions of a row are one thing."""
    return 1 / (1 + np.exp(-(measures @ WEIGHTS)))


def grow(regions: Regions, least: float = 0.02, judge=likeness) -> list[Node]:
    """The tree: first the patches, then the merges in order, down to the likeness `least`."""
    count = regions.count
    members: list[tuple[int, ...]] = [(k,) for k in range(count)]
    inner = [1.0] * count
    outer = [0.0] * count
    border = [regions.outline(k) for k in range(count)]
    parent = [-1] * count
    alive = [True] * count
    heap: list[tuple[float, int, int]] = []

    def judge_pairs(a: list[int], b: list[int]) -> None:
        if not a:
            return
        borders = np.array([regions.link[x][y] for x, y in zip(a, b, strict=True)])
        p = judge(regions.measures(np.array(a), np.array(b), borders))
        for x, y, q in zip(a, b, p.tolist(), strict=True):
            if q >= least:
                heapq.heappush(heap, (-q, x, y))

    pairs = [(a, b) for a in range(count) for b in regions.link[a] if a < b]
    judge_pairs([a for a, _ in pairs], [b for _, b in pairs])
    while heap:
        q, a, b = heapq.heappop(heap)
        if not (alive[a] and alive[b]):
            continue
        new = len(members)
        near = regions.merge(a, b, new)
        members.append(members[a] + members[b])
        inner.append(min(-q, inner[a], inner[b]))
        outer.append(0.0)
        border.append(regions.outline(new))
        parent.append(-1)
        alive[a] = alive[b] = False
        alive.append(True)
        for old in (a, b):
            outer[old], parent[old] = -q, new
        judge_pairs(near, [new] * len(near))
    return [Node(*n) for n in zip(members, inner, outer, border, parent, strict=True)]
