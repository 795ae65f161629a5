"""Messages of one moment to a `Frame`: decode, calibrate, rectify, check that they fit together.

Takes anything shaped like the messages; ROS is not needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors import image_decoding

Decoder = Callable[[Any, str], np.ndarray]
COLOR_DECODERS: dict[str, Decoder] = {
    "raw": image_decoding.decode_color,
    "compressed": image_decoding.decode_compressed_color,
}
DEPTH_DECODERS: dict[str, Decoder] = {
    "raw": image_decoding.decode_depth,
    "compressedDepth": image_decoding.decode_compressed_depth,
}
MIN_VALID = 0.01  # a depth image with less is a covered or broken sensor


@dataclass(frozen=True)
class Topics:
    """Resolved names, for messages to people."""

    color: str
    depth: str
    camera_info: str
    pose: str


@dataclass(frozen=True)
class FrameBuilder:
    """Builds frames; every error names topic, field and way out.

    `rectified` says that the images are undistorted already: then P of the calibration holds and D
    is ignored. Otherwise D is what the lens does to the images, as REP 104 has it.
    """

    topics: Topics
    color_transport: str = "raw"
    depth_transport: str = "raw"
    rectified: bool = False

    def build(
        self,
        color: Any,
        depth: Any,
        info: Any,
        stamp_ns: int,
        world_T_camera: np.ndarray,
        frame_id: str,
    ) -> Frame:
        """The frame of a colour message, a depth message and the calibration of the colour image.

        `info` is None while no calibration has come. Raises FrameError.
        """
        topics = self.topics
        camera = self._camera(info)
        rgb = COLOR_DECODERS[self.color_transport](color, topics.color)
        metres = DEPTH_DECODERS[self.depth_transport](depth, topics.depth)
        if metres.shape != rgb.shape[:2]:
            raise FrameError(
                f"{topics.depth}: fields width and height say {_size(metres)}, but {topics.color} "
                f"is {_size(rgb)}. Register depth to colour in the camera driver."
            )
        if rgb.shape[:2] != (camera.height, camera.width):
            raise FrameError(
                f"{topics.camera_info}: fields width and height make an image of "
                f"{camera.width}x{camera.height}, but {topics.color} is {_size(rgb)}. "
                "Remap to the calibration of this image."
            )
        frame = Frame(
            stamp_ns,
            camera.rectify(rgb),
            camera.rectify(metres),
            camera.rectified(),
            world_T_camera,
            frame_id,
        )
        if frame.valid_fraction < MIN_VALID:
            raise FrameError(
                f"{topics.depth}: field data holds a depth for only {frame.valid_fraction:.1%} of "
                "the pixels, the rest is 0, NaN or infinite. Is the lens covered, or the scene out "
                "of range?"
            )
        return frame

    def aligned(self, color: Any, depth: Any) -> str:
        """Whether depth lies in the pixels of colour, as far as the frames of the headers tell."""
        frames = color.header.frame_id, depth.header.frame_id
        return "yes" if len({*filter(None, frames)}) < 2 else f"no: {frames[0]}, {frames[1]}"

    def _camera(self, info: Any) -> Camera:
        topic = self.topics.camera_info
        if info is None:
            raise FrameError(
                f"{topic}: no CameraInfo has come yet, so images cannot be placed in space. "
                "Publish it, or remap rgb/camera_info to its topic."
            )
        matrix, coefficients = info.k, info.d
        if self.rectified:
            projection = np.reshape(info.p, (3, 4))
            matrix = projection[:, :3] if projection[0, 0] > 0 else matrix
            coefficients = ()
        roi = info.roi
        try:
            return Camera.from_calibration(
                info.width,
                info.height,
                np.ravel(matrix),
                coefficients,
                info.distortion_model,
                info.binning_x,
                info.binning_y,
                (roi.x_offset, roi.y_offset, roi.width, roi.height),
            )
        except FrameError as error:
            reason = str(error).removeprefix("camera_info: ")
            raise FrameError(f"{topic}: field {reason}") from error


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
