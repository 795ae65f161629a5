"""One RGB-D image with its pose, validated at construction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.camera import Camera, backproject
from spatial3d_ros.geometry.pose import check_pose, transform
from spatial3d_ros.geometry.voxels import voxel_keys
from spatial3d_ros.scene.surface_color import Light

# Beyond any depth camera: some drivers and simulators send a huge number for "no return".
MAX_DEPTH_M = 1e3
# Float32 world coordinates resolve a centimetre up to here; UTM positions do not.
MAX_RANGE_M = 1e5


@dataclass(frozen=True, eq=False)
class Frame:
    """A colour image, the depth registered to it, and the camera pose. Read-only.

    Attributes:
        stamp_ns: time of the image, nanoseconds.
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32 metres along the optical axis, 0 where nothing was measured. NaN,
            infinite, negative and larger values than `MAX_DEPTH_M` become 0.
        camera: intrinsics of both images; rectified.
        world_T_camera: (4, 4) float64, optical frame to world (metres, z up).
        frame_id: name of the world frame.
        source: name of the camera, where several cameras feed one memory; "" for the only one.

    Raises:
        FrameError: an invalid image, calibration or pose; the message names the field.
    """

    stamp_ns: int
    rgb: np.ndarray
    depth: np.ndarray
    camera: Camera
    world_T_camera: np.ndarray
    frame_id: str = "map"
    source: str = ""

    def __post_init__(self) -> None:
        rgb, depth = np.asarray(self.rgb), np.asarray(self.depth)
        if not isinstance(self.stamp_ns, (int, np.integer)) or self.stamp_ns < 0:
            raise FrameError(f"stamp_ns: must be whole nanoseconds >= 0, got {self.stamp_ns!r}")
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise FrameError(f"rgb: must be (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
        if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.floating):
            raise FrameError(
                f"depth: must be (H, W) floating point metres, got {depth.shape} {depth.dtype}; "
                "divide 16-bit millimetres by 1000"
            )
        if depth.shape != rgb.shape[:2]:
            raise FrameError(
                f"depth: {_size(depth)} differs from rgb {_size(rgb)}; "
                "register the depth to the colour camera in the driver"
            )
        if depth.shape != (self.camera.height, self.camera.width):
            raise FrameError(
                f"camera: made for {self.camera.width} x {self.camera.height} but the images are "
                f"{_size(rgb)}; send the camera_info of these images"
            )
        if self.camera.distortion:
            raise FrameError(
                "camera: has distortion; pass Camera.rectify of both images and Camera.rectified()"
            )
        pose = check_pose(self.world_T_camera, "world_T_camera")
        if np.abs(pose[:3, 3]).max() > MAX_RANGE_M:
            raise FrameError(
                f"world_T_camera: {pose[:3, 3].tolist()} is too far out for float32 points; "
                "use a local map frame"
            )
        measured = (depth > 0) & (depth < MAX_DEPTH_M)
        arrays = {
            "rgb": rgb.copy(),
            "depth": np.where(measured, depth, 0).astype(np.float32, copy=False),
            "world_T_camera": pose,
        }
        for name, array in arrays.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @cached_property
    def valid_fraction(self) -> float:
        """Share of the pixels with a depth, 0 .. 1."""
        return np.count_nonzero(self.depth) / self.depth.size

    @cached_property
    def light(self) -> Light:
        """Exposure and tint of the image."""
        return Light.of([self.rgb])

    @property
    def nbytes(self) -> int:
        """Bytes of both images."""
        return self.rgb.nbytes + self.depth.nbytes

    def points_world(self, stride: int = 1) -> np.ndarray:
        """World points of every `stride`-th pixel, (H', W', 3) float32; NaN where unmeasured."""
        return transform(self.world_T_camera, backproject(self.depth, self.camera, stride))

    def voxels(self, size: float, samples: int = 1200) -> np.ndarray:
        """Sorted unique keys of the world voxels of edge `size` metres that a grid of about
        `samples` pixels measures.
        """
        stride = max(1, round(math.sqrt(self.depth.size / samples)))
        points = self.points_world(stride).reshape(-1, 3)
        return np.unique(voxel_keys(points[np.isfinite(points[:, 2])], size))


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
