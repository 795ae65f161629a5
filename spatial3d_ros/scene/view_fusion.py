"""Fusion of the views in memory that keeps what each view contributes, so that a refresh costs the
new views only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spatial3d_ros.scene.alignment import register, sparse
from spatial3d_ros.scene.camera_fixed import fixed_pixels
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.fusion import Samples, VoxelCloud, VoxelSums, join, sample, voxelise


@dataclass(frozen=True, eq=False)
class _Fused:
    """A registered view: its measured pose (4, 4), the correction of it, and its sums."""

    pose: np.ndarray
    correction: np.ndarray
    sparse: Samples
    sums: VoxelSums


class ViewFusion:
    """Clouds of successive sets of views. Not thread-safe.

    A view is registered once, to the views that are in memory at that time, and stays where it was
    put. Views whose pose changes, because the world was rotated, are registered anew; so are all
    views when the edge of the voxels changes, or what is known of pixels that move with the camera.
    """

    def __init__(self) -> None:
        self._fused: dict[int, _Fused] = {}
        self._voxel_m = 0.0
        self._fixed: np.ndarray | None = None

    def cloud(
        self,
        frames: Sequence[Frame],
        ids: Sequence[int],
        voxel_m: float,
        width: int,
        depth_m: float,
    ) -> VoxelCloud:
        """The cloud of the frames, whose views have these ids; see `fusion.sample` for the rest."""
        fixed = fixed_pixels(frames)
        if voxel_m != self._voxel_m or _differ(fixed, self._fixed):
            self._fused, self._voxel_m, self._fixed = {}, voxel_m, fixed
        views = dict(zip(ids, frames, strict=True))
        known = {k: self._fused[k] for k, frame in views.items() if self._holds(k, frame)}
        new = {
            k: sample(_without(frame, self._fixed), width, depth_m)
            for k, frame in views.items()
            if k not in known
        }
        thin = {k: known[k].sparse if k in known else sparse(new[k]) for k in views}
        corrections = register(
            [*thin.values()], [known[k].correction if k in known else None for k in views]
        )
        for (k, frame), correction in zip(views.items(), corrections, strict=True):
            if k in new:
                sums = voxelise(new[k].transformed(correction), voxel_m)
                known[k] = _Fused(frame.world_T_camera, correction, thin[k], sums)
        self._fused = known
        return join([known[k].sums for k in views], voxel_m)

    def _holds(self, view_id: int, frame: Frame) -> bool:
        one = self._fused.get(view_id)
        return one is not None and np.array_equal(one.pose, frame.world_T_camera)


def _differ(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two masks differ by more than a fifth of their union."""
    if one is None or other is None or one.shape != other.shape:
        return one is not other
    return bool((one ^ other).sum() > 0.2 * (one | other).sum())


def _without(frame: Frame, pixels: np.ndarray | None) -> Frame:
    """The frame without the depth of some pixels (H, W) bool."""
    if pixels is None or pixels.shape != frame.depth.shape:
        return frame
    return replace(frame, depth=np.where(pixels, np.float32(0), frame.depth))
