"""The cloud of the views in memory: a new view costs its own work only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.block_views import room_views
from spatial3d_ros.scene import view_fusion
from spatial3d_ros.scene.alignment import align
from spatial3d_ros.scene.fusion import fuse, sample
from spatial3d_ros.scene.view_fusion import ViewFusion

VOXEL = 0.025


@pytest.fixture
def sampled(monkeypatch) -> list[int]:
    """The stamps of the frames that were sampled."""
    stamps: list[int] = []

    def counted(frame, *options):
        stamps.append(frame.stamp_ns)
        return sample(frame, *options)

    monkeypatch.setattr(view_fusion, "sample", counted)
    return stamps


def test_first_views_are_registered_together():
    frames = room_views(3)
    cloud = ViewFusion().cloud(frames, range(3), VOXEL, 320, 6.0)
    expected = fuse(align([sample(frame) for frame in frames]), VOXEL)
    assert np.array_equal(cloud.key, expected.key)
    assert np.allclose(cloud.point, expected.point) and np.allclose(cloud.lab, expected.lab)


def test_a_new_view_is_sampled_alone_and_joins_the_others(sampled):
    frames = room_views(5)
    fusion = ViewFusion()
    fusion.cloud(frames[:4], range(4), VOXEL, 320, 6.0)
    cloud = fusion.cloud(frames[1:], range(1, 5), VOXEL, 320, 6.0)
    assert sampled == [0, 1, 2, 3, 4]
    fresh = ViewFusion().cloud(frames[1:], range(1, 5), VOXEL, 320, 6.0)
    assert cloud.views.max() == 4
    assert abs(len(cloud) - len(fresh)) < 0.1 * len(fresh)
    shared = np.intersect1d(cloud.key, fresh.key, return_indices=True)
    assert len(shared[0]) > 0.7 * len(fresh)
    gap = np.linalg.norm(cloud.point[shared[1]] - fresh.point[shared[2]], axis=1)
    assert np.median(gap) < 0.01


def test_views_in_a_rotated_world_or_other_voxels_are_fused_anew(sampled):
    frames = room_views(2)
    fusion = ViewFusion()
    fusion.cloud(frames, range(2), VOXEL, 320, 6.0)
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    turned = [replace(f, world_T_camera=turn @ f.world_T_camera) for f in frames]
    cloud = fusion.cloud(turned, range(2), VOXEL, 320, 6.0)
    assert len(sampled) == 4 and cloud.point[:, 1].min() < -2
    fusion.cloud(turned, range(2), 2 * VOXEL, 320, 6.0)
    assert len(sampled) == 6
