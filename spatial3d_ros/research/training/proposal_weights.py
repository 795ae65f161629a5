"""Fits the weights of `scene/region_merging.py` and `scene/ranking.py` on generated rooms.

Merging: a pair of regions is positive if most voxels of both belong to one object. The pairs come
from trees that the weights of the round before build. Ranking: the logits of the regions are those
of a distribution over all cuts of the tree (`scene/region_choice.py`), and the likelihood of the
cuts that agree best with the true objects is maximised.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from spatial3d_ros.bags.reader import read_bag
from spatial3d_ros.errors import BagError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.rooms.catalog import catalog_of_room
from spatial3d_ros.research.rooms.recorded_rooms import (
    RecordedRoom,
    load_recorded_room,
    record_room,
)
from spatial3d_ros.scene import region_merging
from spatial3d_ros.scene.proposals import (
    ProposalConfig,
    SegmentedScene,
    describe_regions,
    fuse_views,
    segment_scene,
)
from spatial3d_ros.scene.region_choice import IMPOSSIBLE, best_cut, distribution
from spatial3d_ros.scene.region_merging import Node, Regions, build_merge_tree

VIEWS = (1, 2, 4, 8, 12, 16)  # of the scenes that are made of each room
SECONDS, RATE_HZ = 12.0, 2.0  # of a recording
MARGIN_M = 0.03  # around a true box within which a voxel belongs to the object
PURE = 0.6  # least share of the voxels of a region that belong to its object
AGREES = 0.4  # least overlap, by voxels, of a right region with its object
EQUAL = 0.9  # of the best overlap: a part or a whole of the best region above it is right too
HIDDEN = 12  # units of the ranking
STEPS = 150  # of the optimiser
RIDGE = 2e-3  # weight of the squared weights in the mean loss
ROUNDS = 3


class _RecordingRegions(Regions):
    """Keeps the features of every pair, and how many voxels of each object a region has."""

    counts: np.ndarray

    def count_owners(self, label: np.ndarray, owner: np.ndarray, kinds: int) -> None:
        self.counts = np.zeros((len(self.n), kinds))
        np.add.at(self.counts, (label, owner), 1)
        self.examples: list[tuple[np.ndarray, np.ndarray]] = []

    def merge(self, a: np.ndarray, b: np.ndarray, new: np.ndarray) -> None:
        self.counts[new] = self.counts[a] + self.counts[b]
        super().merge(a, b, new)

    def features(self, a: np.ndarray, b: np.ndarray, border: np.ndarray) -> np.ndarray:
        rows = super().features(a, b, border)
        none = self.counts.shape[1] - 1
        total = self.counts.sum(1)
        of_a, of_b = self.counts[a].argmax(1), self.counts[b].argmax(1)
        pure = (self.counts[a, of_a] > PURE * total[a]) & (self.counts[b, of_b] > PURE * total[b])
        known = pure & ((of_a != none) | (of_b != none))
        self.examples.append((rows[known], (of_a == of_b)[known]))
        return rows


@dataclass(frozen=True, eq=False)
class Example:
    """A segmented scene, its graph, and the object (N,) that each voxel belongs to, as `owners`."""

    scene: SegmentedScene
    regions: _RecordingRegions
    owner: np.ndarray
    objects: int

    def tree(self, merging: np.ndarray) -> tuple[list[Node], _RecordingRegions]:
        """The merge tree with these weights, and the graph that recorded its pairs."""
        regions = copy.deepcopy(self.regions)
        regions.count_owners(self.scene.label, self.owner, self.objects + 1)
        return build_merge_tree(regions, probability=lambda rows: expit(rows @ merging)), regions


def fit_proposals(
    examples: Sequence[Example],
    config: ProposalConfig,
    merging: np.ndarray,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, np.ndarray]:
    """Weights of the ranking, for trees of the scenes with these weights of the merges."""
    trees = [tree_example(example, merging, config) for example in examples]
    trees = [tree for tree in trees if len(tree.node)]
    say(f"{len(trees)} scenes, {sum(len(tree.node) for tree in trees)} regions")
    return fit_ranking(trees)


def fit_merging(
    examples: Sequence[Example],
    say: Callable[[str], None] = lambda text: None,
) -> np.ndarray:
    """Weights of the merges, in the order of `region_merging.WEIGHTS`."""
    merging = np.array([*region_merging.WEIGHTS.values()])
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for step in range(ROUNDS):
        for example in examples:
            pairs += example.tree(merging)[1].examples
        rows, same = zip(*pairs, strict=True)
        merging = logistic(np.concatenate(rows), np.concatenate(same))
        say(f"merging, round {step + 1}: {sum(map(len, rows))} pairs")
    return merging


def _recording(folder: Path, seed: int) -> RecordedRoom:
    """The recording of a room, made if missing: full and basic catalog in turn, and of either in
    turn a robot's path and a hand's.
    """
    catalog = catalog_of_room("both", seed)
    bag = folder / f"{catalog}_{seed}.mcap"
    try:
        return load_recorded_room(bag)
    except BagError:
        path = ("robot", "hand")[seed // 2 % 2]
        return record_room(
            bag, seed, seconds=SECONDS, rate_hz=RATE_HZ, path=path, compressed=True,
            overwrite=True, catalog=catalog,
        )  # fmt: skip


def room_examples(folder: Path, seed: int, config: ProposalConfig) -> Iterator[Example]:
    """Scenes of a generated room, from consecutive views of its recording."""
    recorded = _recording(folder, seed)
    frames = list(read_bag(recorded.bag))
    boxes = [item.box for item in recorded.room.objects]
    rng = np.random.default_rng((seed, 23))
    for count in VIEWS:
        first = int(rng.integers(max(1, len(frames) // 2)))
        last = int(rng.integers(min(first + count, len(frames)), len(frames) + 1))
        chosen = np.unique(np.linspace(first, last - 1, count).round().astype(int))
        cloud = fuse_views([frames[k] for k in chosen], config)
        scene, regions = segment_scene(cloud, count, _RecordingRegions)
        if isinstance(regions, _RecordingRegions):
            yield Example(scene, regions, owners(scene.cloud.point, boxes), len(boxes))


def owners(points: np.ndarray, boxes: Sequence[Box3D]) -> np.ndarray:
    """Index (N,) of the smallest box around each point (N, 3); len(boxes) for none."""
    owner = np.full(len(points), len(boxes))
    for k in sorted(range(len(boxes)), key=lambda k: -boxes[k].volume):
        owner[boxes[k].contains(points, MARGIN_M)] = k
    return owner


@dataclass(frozen=True, eq=False)
class TreeExample:
    """A merge tree of K regions: `parts` of each, features (M, F) of those at indices `node` (M,)
    that are large enough for an object, which of them are `right` (M,), and `background` (K,), 0
    for a segment that may belong to no object.
    """

    parts: Sequence[tuple[int, ...]]
    rows: np.ndarray
    node: np.ndarray
    right: np.ndarray
    background: np.ndarray

    def loss(self, logits: np.ndarray) -> tuple[float, np.ndarray]:
        """Negative log likelihood of the right cuts, and its gradient (M,) by the logits (M,)."""
        every = np.full(len(self.parts), IMPOSSIBLE)
        every[self.node] = logits
        right = np.full(len(self.parts), IMPOSSIBLE)
        right[self.node[self.right]] = logits[self.right]
        total = distribution(self.parts, every)
        good = distribution(self.parts, right, self.background)
        gradient = (total.probability - good.probability)[self.node]
        return total.log_sum - good.log_sum, gradient


def tree_example(example: Example, merging: np.ndarray, config: ProposalConfig) -> TreeExample:
    """The tree of a scene with these weights of the merges, and its right cuts."""
    nodes = example.tree(merging)[0]
    found, rows = describe_regions(example.scene, nodes, config)
    overlap = np.array([_overlaps(c.voxels, example.owner, example.objects) for c in found])
    overlap = overlap.reshape(len(found), example.objects)
    node = np.array([c.node for c in found], int)
    right, background = right_cuts(nodes, node, overlap)
    return TreeExample([n.parts for n in nodes], rows, node, right, background)


def right_cuts(
    nodes: Sequence[Node], node: np.ndarray, overlap: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which regions, at indices `node` (M,), may be in a right cut, (M,) bool, and what each
    segment adds as background (K,): it may be none if a right region has to contain it.

    For each object the region that agrees best with it is right, and those that are nearly as good
    and are a part of it or contain it. overlap: (M, objects).
    """
    gain = np.full(len(nodes), IMPOSSIBLE)
    gain[node] = overlap.max(1, initial=0.0) - AGREES
    parts = [n.parts for n in nodes]
    segments = [frozenset(nodes[k].segments) for k in node]
    best = [int(np.flatnonzero(node == k)[0]) for k in best_cut(parts, gain)]
    right, background = np.zeros(len(node), bool), np.zeros(len(nodes))
    for k in best:
        others = frozenset().union(*(segments[j] for j in best if j != k))
        column = overlap[:, int(overlap[k].argmax())]
        equal = [
            j
            for j in np.flatnonzero(column >= EQUAL * column[k]).tolist()
            if (segments[j] <= segments[k] or segments[j] >= segments[k])
            and not segments[j] & others
        ]
        right[equal] = True
        background[list(min((segments[j] for j in equal), key=len))] = IMPOSSIBLE
    return right, background


def _overlaps(voxels: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """Overlap (K,) of a region with each object: shared voxels over those of either."""
    shared = np.bincount(owner[voxels], minlength=count + 1)[:count]
    return shared / (len(voxels) + np.bincount(owner, minlength=count + 1)[:count] - shared)


def fit_ranking(examples: Sequence[TreeExample]) -> dict[str, np.ndarray]:
    """Weights of `ranking.logits` that make the right cuts most probable: the linear model and the
    network, each on all examples.
    """
    rows = np.concatenate([one.rows for one in examples])
    ends = np.cumsum([len(one.rows) for one in examples])[:-1]
    objects = max(1, sum(int(one.right.sum()) for one in examples))
    count = rows.shape[1]
    mean, scale = rows.mean(0), rows.std(0) + 1e-6
    mean[0], scale[0] = 0, 1  # the bias
    values = (rows - mean) / scale
    cuts = (count, count + count * HIDDEN)

    def of_logits(logits: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean loss of an object, and its gradient by the logits of all examples."""
        parts = [one.loss(z) for one, z in zip(examples, np.split(logits, ends), strict=True)]
        return sum(v for v, _ in parts) / objects, np.concatenate([g for _, g in parts]) / objects

    def linear_loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = of_logits(values @ flat)
        return value + RIDGE * float(flat @ flat), values.T @ slope + 2 * RIDGE * flat

    def network_loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        linear, wide, out = np.split(flat, cuts)
        wide = wide.reshape(count, HIDDEN)
        hidden = np.tanh(values @ wide)
        value, slope = of_logits(hidden @ out + values @ linear)
        inner = values.T @ (np.outer(slope, out) * (1 - hidden**2))
        gradient = np.concatenate([values.T @ slope, inner.ravel(), hidden.T @ slope])
        return value + RIDGE * float(flat @ flat), gradient + 2 * RIDGE * flat

    few = _minimum(linear_loss, np.zeros(count))
    start = np.random.default_rng(0).normal(0, 0.05, cuts[1] + HIDDEN)
    start[:count] = few
    linear, wide, out = np.split(_minimum(network_loss, start), cuts)
    found = {
        "mean": mean,
        "scale": scale,
        "few": few,
        "linear": linear,
        "hidden": wide.reshape(count, HIDDEN),
        "out": out,
    }
    return {name: np.ascontiguousarray(v, np.float32) for name, v in found.items()}


def logistic(rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Weights (F,) of a logistic regression from features (M, F) to targets (M,) bool."""
    sign = np.where(targets, 1.0, -1.0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (rows @ weights)
        gradient = -(rows * (sign * expit(-margin))[:, None]).mean(0) + 2 * RIDGE * weights
        value = np.logaddexp(0, -margin).mean() + RIDGE * weights @ weights
        return float(value), gradient

    return _minimum(loss, np.zeros(rows.shape[1]))


def _minimum(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray
) -> np.ndarray:
    """The weights with the least loss, near a start; `loss` returns its gradient too."""
    options = {"maxiter": STEPS}
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x)
