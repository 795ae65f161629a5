"""Neighbouring voxels, and the sums and order of merges, against plain loops."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest

from helpers.block_views import room_views
from spatial3d_ros.geometry.voxels import voxel_keys
from spatial3d_ros.scene import region_merging
from spatial3d_ros.scene.fusion import VoxelCloud, fuse, sample
from spatial3d_ros.scene.proposals import segment_scene
from spatial3d_ros.scene.region_merging import Regions, build_merge_tree


def cloud_of(cells: np.ndarray) -> VoxelCloud:
    cells = cells[np.argsort(voxel_keys(cells, 1.0))]
    zeros, ones = np.zeros((len(cells), 3), np.float32), np.ones(len(cells), np.float32)
    return VoxelCloud(voxel_keys(cells, 1.0), cells + 0.5, zeros, zeros, ones, ones, 1.0)


@pytest.mark.parametrize("reach", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 400])
def test_neighbours_are_all_pairs_within_reach(count, reach):
    rng = np.random.default_rng(count)
    cells = np.unique(rng.integers(-5, 5, (count, 3)), axis=0).astype(float)
    cloud = cloud_of(cells)
    away = np.abs(cloud.point[:, None] - cloud.point[None]).max(-1, initial=0)
    true = {(i, j) for i, j in np.argwhere(away <= reach).tolist() if i < j}
    first, second = cloud.neighbours(reach)
    pairs = [*zip(first.tolist(), second.tolist(), strict=True)]
    assert len(set(pairs)) == len(pairs) and set(pairs) == true


@cache
def segmented() -> tuple[VoxelCloud, np.ndarray, Regions]:
    found, regions = segment_scene(fuse([sample(f) for f in room_views()], 0.025), 4)
    assert regions is not None and regions.count > 20
    return found.cloud, found.label, regions


def scene() -> tuple[VoxelCloud, np.ndarray, Regions]:
    return copy.deepcopy(segmented())  # merges modify the regions


def test_sums_of_merged_regions_are_those_of_their_voxels():
    cloud, label, regions = scene()
    ends, border = regions.ends.copy(), regions.border.copy()
    nodes = build_merge_tree(regions)
    assert len(nodes) > regions.count
    for k, node in enumerate(nodes):
        inside = np.isin(label, node.segments)
        assert regions.n[k] == inside.sum()
        np.testing.assert_allclose(regions.low[k], cloud.point[inside].min(0) - cloud.size / 2)
        np.testing.assert_allclose(regions.high[k], cloud.point[inside].max(0) + cloud.size / 2)
    for k in range(regions.count, len(nodes)):
        a, b = nodes[k].parts
        assert nodes[k].segments == nodes[a].segments + nodes[b].segments
        assert nodes[a].outer == nodes[b].outer >= nodes[k].inner >= 0.02
    single = nodes[: regions.count]
    for k in range(regions.count):
        np.testing.assert_allclose(single[k].border, border[(ends == k).any(1)].sum(0))


def test_without_slack_the_most_probable_pair_is_merged_first(monkeypatch):
    monkeypatch.setattr(region_merging, "_SLACK", 0.0)
    *_, regions = scene()
    first = build_merge_tree(regions)[regions.count]
    *_, again = scene()
    likely = region_merging.merge_probability(again.features(*again.ends.T, again.border))
    assert first.inner == likely.max()


def test_rounds_of_merges_build_nearly_the_tree_of_single_merges(monkeypatch):
    *_, regions = scene()
    rounds = {frozenset(node.segments) for node in build_merge_tree(regions)}
    monkeypatch.setattr(region_merging, "_SLACK", 0.0)
    *_, again = scene()
    single = {frozenset(node.segments) for node in build_merge_tree(again)}
    assert len(rounds & single) > 0.9 * len(single)
