"""Which frames are worth keeping: those from a new place, and those that show something new."""

from __future__ import annotations

import numpy as np

from spatial3d_ros.geometry.pose import motion
from spatial3d_ros.geometry.voxels import dilate
from spatial3d_ros.scene.frame import Frame

# A view with less depth than this share of its pixels cannot place anything in the room.
MIN_VALID_FRACTION = 0.05


class KeyframeSelector:
    """Compares each frame with the last one accepted. Not thread-safe: one sensor thread owns it.

    A frame is accepted when the camera moved by `min_translation_m` metres or turned by
    `min_rotation_rad` radians, or, from the same place, when the share `min_new_voxels` of the
    voxels it sees was empty before (a person walks in, a door opens). Frames almost without depth
    are never accepted.

    Attributes:
        reason: why the last frame was accepted or not, in words for a log.
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
        """Forgets everything; the next frame with depth is accepted."""
        self._pose: np.ndarray | None = None
        self._seen = np.empty(0, dtype=np.int64)
        self.reason = "nothing seen yet"

    def accepts(self, frame: Frame) -> bool:
        """Whether to keep the frame; if so, later frames are compared with it."""
        voxels = frame.voxels(self._voxel_m)
        if frame.valid_fraction < MIN_VALID_FRACTION or not len(voxels):
            self.reason = f"only {frame.valid_fraction:.0%} of the pixels have depth"
            return False
        moved = self._moved(frame)
        if not moved and self._new_share(voxels) < self._min_new_voxels:
            self.reason = "same place, nothing new"
            return False
        self.reason = moved or "something new in view"
        self._pose = frame.world_T_camera
        # With the neighbours, depth noise across a voxel border does not count as new.
        self._seen = dilate(voxels)
        return True

    def _moved(self, frame: Frame) -> str:
        """In which way the camera left the last keyframe; empty if it did not."""
        if self._pose is None:
            return "first view"
        metres, radians = motion(self._pose, frame.world_T_camera)
        if metres >= self._min_translation_m:
            return f"moved {metres:.2f} m"
        return f"turned {radians:.2f} rad" if radians >= self._min_rotation_rad else ""

    def _new_share(self, voxels: np.ndarray) -> float:
        place = np.searchsorted(self._seen[:-1], voxels)
        return float(np.mean(self._seen[place] != voxels))
