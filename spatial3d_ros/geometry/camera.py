"""Pinhole cameras: intrinsics, calibration messages, distortion, back-projection and projection.

Pixel convention (METHODS 1.1): the pixel in column u and row v is the point (u, v), without a
half-pixel shift, so resizing an image multiplies focal length and principal point by one ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from spatial3d_ros.errors import FrameError

# How many coefficients each distortion model of sensor_msgs/CameraInfo may carry.
DISTORTION_MODELS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}


@dataclass(frozen=True)
class Camera:
    """Intrinsics of one image, in pixels. Optical frame: x right, y down, z forward.

    `distortion` holds the coefficients D of the raw image; it is empty for a rectified one.

    Raises:
        FrameError: a size or a focal length that is not positive, a value that is not finite, or
            distortion coefficients that do not fit their model.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: str = ""
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise FrameError(
                f"camera_info: width x height is {self.width} x {self.height}; "
                "the camera driver must fill in the image size"
            )
        for name in ("fx", "fy", "cx", "cy"):
            value = getattr(self, name)
            if not math.isfinite(value) or (name[0] == "f" and value <= 0):
                raise FrameError(
                    f"camera_info: {name} is {value}; the camera is not calibrated, "
                    "publish a CameraInfo with a valid K matrix"
                )
        if self.distortion:
            self._check_distortion()

    def _check_distortion(self) -> None:
        counts = DISTORTION_MODELS.get(self.distortion_model)
        if counts is None:
            raise FrameError(
                f"camera_info: distortion_model '{self.distortion_model}' is unknown; use one of "
                f"{', '.join(DISTORTION_MODELS)}, or send rectified images with an empty d"
            )
        if len(self.distortion) not in counts or not np.isfinite(self.distortion).all():
            raise FrameError(
                f"camera_info: d is {self.distortion}; {self.distortion_model} takes "
                f"{' or '.join(map(str, counts))} finite coefficients"
            )

    @classmethod
    def from_calibration(
        cls,
        width: int,
        height: int,
        k: Sequence[float],
        d: Sequence[float] = (),
        distortion_model: str = "",
        binning_x: int = 0,
        binning_y: int = 0,
        roi: tuple[int, int, int, int] | None = None,
    ) -> Camera:
        """The camera of the image a driver sends, from its full-resolution calibration (REP-104).

        Args:
            width, height: full sensor resolution the calibration was made at.
            k: the nine numbers of K, row by row.
            d, distortion_model: coefficients of the raw image; all zero means no distortion.
            binning_x, binning_y: sensor pixels per image pixel, 0 means 1.
            roi: (x_offset, y_offset, width, height) in sensor pixels; a zero size means everything.

        Raises:
            FrameError: see `Camera`; also a K that is not 3x3 or a region outside the sensor.
        """
        matrix = np.asarray(k, dtype=np.float64).ravel()
        if matrix.size != 9:
            raise FrameError(f"camera_info: k has {matrix.size} numbers; it must be a 3x3 matrix")
        coefficients = tuple(map(float, d)) if np.any(d) else ()
        model = distortion_model if coefficients else ""
        fx, fy, cx, cy = map(float, matrix[[0, 4, 2, 5]])
        camera = cls(int(width), int(height), fx, fy, cx, cy, model, coefficients)
        if roi is not None and roi[2] > 0 and roi[3] > 0:
            camera = camera.cropped(*roi)
        bin_x, bin_y = max(1, binning_x), max(1, binning_y)
        if (bin_x, bin_y) == (1, 1):
            return camera
        return replace(
            camera,
            width=camera.width // bin_x,
            height=camera.height // bin_y,
            fx=camera.fx / bin_x,
            fy=camera.fy / bin_y,
            cx=camera.cx / bin_x,
            cy=camera.cy / bin_y,
        )

    @property
    def matrix(self) -> np.ndarray:
        """K, (3, 3) float64."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    def scaled(self, width: int, height: int) -> Camera:
        """The camera of the same image resized to width x height (aspect may change)."""
        x, y = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * x,
            fy=self.fy * y,
            cx=self.cx * x,
            cy=self.cy * y,
        )

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """The camera of the window [left, left + width) x [top, top + height) of the image.

        Raises:
            FrameError: the window leaves the image.
        """
        if left < 0 or top < 0 or left + width > self.width or top + height > self.height:
            raise FrameError(
                f"camera_info: roi {width} x {height} at ({left}, {top}) leaves the image of "
                f"{self.width} x {self.height}"
            )
        return replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def rectified(self) -> Camera:
        """The camera of the undistorted image: same intrinsics, no distortion."""
        return replace(self, distortion_model="", distortion=())

    def undistort_maps(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Where each rectified pixel lies in the raw image, for `cv2.remap`; None if undistorted.

        Returns:
            (map_x, map_y), each (H, W) float32, read-only and cached per camera.
        """
        return _undistort_maps(self) if self.distortion else None

    def rectify(self, image: np.ndarray) -> np.ndarray:
        """The undistorted image. Floating point images are depth: never blended across an edge."""
        maps = self.undistort_maps()
        if maps is None:
            return image
        depth = np.issubdtype(image.dtype, np.floating)
        return cv2.remap(image, *maps, cv2.INTER_NEAREST if depth else cv2.INTER_LINEAR)


def backproject(depth: np.ndarray, camera: Camera, stride: int = 1) -> np.ndarray:
    """Points seen by every `stride`-th pixel, in the optical frame of a rectified camera.

    Args:
        depth: (H, W) metres along the optical axis; 0 is no measurement.

    Returns:
        (ceil(H / stride), ceil(W / stride), 3) float32 metres, NaN where depth is 0.

    Raises:
        FrameError: depth and camera differ in size.
    """
    if depth.shape != (camera.height, camera.width):
        raise FrameError(
            f"depth: image is {depth.shape[1]} x {depth.shape[0]} but its camera_info says "
            f"{camera.width} x {camera.height}; send the camera_info of the depth image"
        )
    ray_x, ray_y = _rays(camera)
    z = depth[::stride, ::stride].astype(np.float32)
    z[z == 0] = np.nan
    points = np.empty((*z.shape, 3), dtype=np.float32)
    np.multiply(z, ray_x[::stride], out=points[..., 0])
    np.multiply(z, ray_y[::stride, None], out=points[..., 1])
    points[..., 2] = z
    return points


def project(points: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of points in the optical frame of a rectified camera.

    Args:
        points: (..., 3) metres.

    Returns:
        uv (..., 2) pixels, NaN where the point is not in front of the camera, and z (...) metres.
        The pixels may lie outside the image.
    """
    x, y, z = np.moveaxis(np.asarray(points), -1, 0)
    front = np.where(z > 0, z, np.nan)
    u = x / front * camera.fx + camera.cx
    v = y / front * camera.fy + camera.cy
    return np.stack([u, v], axis=-1), z


@lru_cache(maxsize=8)
def _rays(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """x / z of every column and y / z of every row, float32."""
    ray_x = (np.arange(camera.width) - camera.cx) / camera.fx
    ray_y = (np.arange(camera.height) - camera.cy) / camera.fy
    return ray_x.astype(np.float32), ray_y.astype(np.float32)


@lru_cache(maxsize=4)
def _undistort_maps(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    k, d = camera.matrix, np.array(camera.distortion)
    size = (camera.width, camera.height)
    fisheye = camera.distortion_model == "equidistant"
    make_maps = cv2.fisheye.initUndistortRectifyMap if fisheye else cv2.initUndistortRectifyMap
    maps = make_maps(k, d, np.eye(3), k, size, cv2.CV_32FC1)
    for axis in maps:
        axis.flags.writeable = False
    return maps
