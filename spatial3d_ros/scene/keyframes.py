"""Keyframe selection: frames from a new pose, and frames that show new surfaces."""

from __future__ import annotations

import numpy as np

from spatial3d_ros.geometry.pose import motion
from spatial3d_ros.geometry.voxels import dilate
from spatial3d_ros.scene.frame import Frame

# A frame with a smaller share of pixels with depth does not locate any surface.
MIN_VALID_FRACTION = 0.05


class KeyframeSelector:
    """Compares each frame with the last accepted one. Not thread-safe: one sensor thread owns it.

    A frame is accepted when the camera moved by `min_translation_m` metres or rotated by
    `min_rotation_rad` radians, or, from the same pose, when the share `min_new_voxels` of its
    voxels was empty before (a person walks in, a door opens). Frames with almost no depth are never
    accepted.

    Attributes:
        reason: why the last frame was accepted or rejected, for a log.
    """

    def __init__(
        self,
        min_translation_m: float = 0.15,
        min_rotation_rad: float = 0.26,
        min_new_voxels: float = 0.15,
        voxel_m: float = 0.1,
    ) -> None:
        self._min_translation_m = min_translation_m
        self._min_rotation_rad = min_rotation_rad
        self._min_new_voxels = min_new_voxels
        self._voxel_m = voxel_m
        self.reset()

    def reset(self) -> None:
        """Back to the initial state; the next frame with depth is accepted."""
        self._pose: np.ndarray | None = None
        self._seen = np.empty(0, dtype=np.int64)
        self.reason = "no frame yet"

    def accepts(self, frame: Frame) -> bool:
        """Whether to keep the frame; an accepted frame becomes the reference for later ones."""
        voxels = frame.voxels(self._voxel_m)
        if frame.valid_fraction < MIN_VALID_FRACTION or not len(voxels):
            self.reason = f"only {frame.valid_fraction:.0%} of the pixels have depth"
            return False
        moved = self._moved(frame)
        if not moved and self._new_share(voxels) < self._min_new_voxels:
            self.reason = "same pose, no new surface"
            return False
        self.reason = moved or "new surface in view"
        self._pose = frame.world_T_camera
        # Neighbours included: depth noise across a voxel border does not count as new.
        self._seen = dilate(voxels)
        return True

    def _moved(self, frame: Frame) -> str:
        """How the camera moved since the last keyframe, in words; empty below both thresholds."""
        if self._pose is None:
            return "first view"
        metres, radians = motion(self._pose, frame.world_T_camera)
        if metres >= self._min_translation_m:
            return f"moved {metres:.2f} m"
        return f"rotated {radians:.2f} rad" if radians >= self._min_rotation_rad else ""

    def _new_share(self, voxels: np.ndarray) -> float:
        index = np.searchsorted(self._seen[:-1], voxels)
        return float(np.mean(self._seen[index] != voxels))
