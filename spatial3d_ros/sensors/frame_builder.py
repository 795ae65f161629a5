"""Messages of one stamp to a `Frame`: decode, calibrate, rectify, align, check that they fit.

Takes anything with the fields of the messages; ROS is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors import image_decoding
from spatial3d_ros.sensors.plausibility import unit_problem
from spatial3d_ros.sensors.registration import register_depth

COLOR_DECODERS: dict[str, Callable[[Any, str], np.ndarray]] = {
    "raw": image_decoding.decode_color,
    "compressed": image_decoding.decode_compressed_color,
}
DEPTH_DECODERS: dict[str, Callable[[Any, str, float], np.ndarray]] = {
    "raw": image_decoding.decode_depth,
    "compressedDepth": image_decoding.decode_compressed_depth,
}
# Other names of the models of sensor_msgs/CameraInfo, by which some drivers call them.
DISTORTION_NAMES = {
    "fisheye": "equidistant",
    "kannala_brandt": "equidistant",
    "kannala_brandt4": "equidistant",
    "radtan": "plumb_bob",
    "brown_conrady": "plumb_bob",
}
# image_proc: image_rect, image_rect_color; drivers: rect/image, image_rectified, image_rect_raw,
# image_undistorted, image_undistort.
RECTIFIED = re.compile(r"(^|[/_])(rect(ified)?|undist(ort(ed)?)?)([/_]|$)")
SAMPLE_STRIDE = 8
IMPOSSIBLE_M = 100.0  # median depth that no depth camera measures
MAX_OFF_CENTRE = 0.2  # of the image size, from its middle to the principal point
CENTRED = 0.03  # within this share of it a principal point lies in the middle
MIN_VALID = 0.01  # a depth image with less is a covered or broken sensor


class EmptyDepthError(FrameError):
    """A depth image that holds next to no depth."""


@dataclass(frozen=True, eq=False)
class SyncedFrame:
    """A colour and a depth message of one stamp, their calibrations, and the camera's pose.

    Attributes:
        stamp_ns: stamp of the colour image.
        info: CameraInfo of colour; None if none has arrived.
        depth_info: CameraInfo of depth, needed only if depth is not aligned to colour.
        world_T_camera: (4, 4) float64, optical frame to `frame_id`.
        selected: whether the keyframe gate let it through, so that it is worth decoding.
        epoch: how often the clock of the images had gone back before it.
    """

    stamp_ns: int
    color: Any
    depth: Any
    info: Any
    depth_info: Any
    world_T_camera: np.ndarray
    frame_id: str
    selected: bool = True
    epoch: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of both images as they arrived."""
        return len(self.color.data) + len(self.depth.data)


@dataclass(frozen=True)
class Topics:
    """Resolved names, for error messages."""

    color: str
    depth: str
    camera_info: str
    pose: str
    depth_info: str = "depth/camera_info"


Extrinsics = Callable[[str, str], np.ndarray]
"""`a_T_b` (4, 4) of the frames a and b; raises FrameError when they are not linked."""


def no_extrinsics(parent: str, child: str) -> np.ndarray:
    """The extrinsics where TF is not available: identity of a frame to itself."""
    if parent == child:
        return np.eye(4)
    raise FrameError(
        f"TF: {parent!r} and {child!r} are not linked, because TF is not subscribed: install "
        "tf2_msgs, or set the parameter color_T_depth"
    )


@dataclass(frozen=True)
class FrameBuilder:
    """Builds frames; every error names topic, field and way out.

    With `rectified` the images are undistorted already: P of the calibration is used and D is
    ignored. Otherwise D is the distortion of the images, as REP 104 defines it. None decides by
    the topic's name (`RECTIFIED`).

    `alignment` selects how depth in another frame or size than colour is handled: "auto" registers
    it with the calibration of depth and the `extrinsics` of the two frames, "refuse" raises, and
    "given" takes it as aligned whatever its frame_id. `depth_unit` is the depth value 1 in metres;
    0 means that of the encoding (REP 118). `source` names the camera in its frames.
    """

    topics: Topics
    color_transport: str = "raw"
    depth_transport: str = "raw"
    rectified: bool | None = None
    alignment: str = "auto"
    extrinsics: Extrinsics = no_extrinsics
    depth_unit: float = 0.0
    source: str = ""

    def build(self, synced: SyncedFrame) -> Frame:
        """Decode a synced frame. Raises FrameError."""
        topics, color, depth = self.topics, synced.color, synced.depth
        camera = self.camera(synced.info, topics.camera_info)
        rgb = COLOR_DECODERS[self.color_transport](color, topics.color)
        metres = DEPTH_DECODERS[self.depth_transport](depth, topics.depth, self.depth_unit)
        self._check_unit(metres, depth)
        if rgb.shape[:2] != (camera.height, camera.width):
            raise FrameError(
                f"{topics.camera_info}: fields width and height make an image of "
                f"{camera.width}x{camera.height}, but {topics.color} is {_size(rgb)}. "
                "Remap to the calibration of this image."
            )
        frames = (color.header.frame_id.lstrip("/"), depth.header.frame_id.lstrip("/"))
        if self._is_aligned(*frames) and metres.shape == rgb.shape[:2]:
            metres = camera.rectify(metres)
        else:
            metres = self._register(metres, synced.depth_info, camera, *frames)
        frame = Frame(
            synced.stamp_ns,
            camera.rectify(rgb),
            metres,
            camera.rectified(),
            synced.world_T_camera,
            synced.frame_id,
            self.source,
        )
        if frame.valid_fraction < MIN_VALID:
            raise self._no_depth(frame.valid_fraction)
        return frame

    def inspect(self, synced: SyncedFrame) -> None:
        """Raise FrameError for what makes a frame unusable, as far as its images show it without
        being decoded: a small part of the time of `build`.
        """
        topics, depth = self.topics, synced.depth
        image_decoding.inspect_color(synced.color, topics.color)
        if self.depth_transport == "raw":
            share = image_decoding.inspect_depth(depth, topics.depth, SAMPLE_STRIDE)
        elif image_decoding.is_dense_png(depth):
            return
        else:
            metres = DEPTH_DECODERS[self.depth_transport](depth, topics.depth, self.depth_unit)
            share = float(np.mean(metres[::SAMPLE_STRIDE, ::SAMPLE_STRIDE] > 0))
        if share < MIN_VALID:
            raise self._no_depth(share)

    def _no_depth(self, share: float) -> EmptyDepthError:
        return EmptyDepthError(
            f"{self.topics.depth}: field data holds a depth for only {share:.1%} of the pixels, "
            "the rest is 0, NaN or infinite. Is the lens covered, or the scene out of range?"
        )

    def _check_unit(self, metres: np.ndarray, depth: Any) -> None:
        """Raises FrameError for depth in another unit, where that is beyond doubt."""
        sample = metres[::SAMPLE_STRIDE, ::SAMPLE_STRIDE]
        sample = sample[np.isfinite(sample) & (sample > 0)]
        if self.depth_unit or not sample.size or np.median(sample) <= IMPOSSIBLE_M:
            return
        encoding = getattr(depth, "encoding", getattr(depth, "format", ""))
        unit = 1.0 if encoding.startswith("32FC1") else image_decoding.MILLIMETRES
        raise FrameError(f"{self.topics.depth}: {unit_problem(float(np.median(sample)), unit)}")

    def aligned(self, color: Any, depth: Any) -> str:
        """Returns "yes" if depth is in the pixels of colour, "by us" if it is registered here."""
        frames = (color.header.frame_id.lstrip("/"), depth.header.frame_id.lstrip("/"))
        sizes = {(getattr(m, "width", 0), getattr(m, "height", 0)) for m in (color, depth)}
        same = len(sizes - {(0, 0)}) < 2  # compressed images have no size field
        return "yes" if self._is_aligned(*frames) and same else "by us"

    @property
    def is_rectified(self) -> bool:
        """Whether the images are undistorted: as given, or else by the name of image_proc."""
        if self.rectified is not None:
            return self.rectified
        return bool(RECTIFIED.search(self.topics.color))

    def rectified_note(self, info: Any) -> str:
        """What was decided about distortion by the name of the topic; "" if nothing was."""
        if self.rectified is not None or not self.is_rectified or not np.any(info.d):
            return ""
        return (
            f"{self.topics.color} is rectified by its name, but D of {self.topics.camera_info} is "
            "not zero: D is ignored and P used. Set images_rectified (--rectified or "
            "--no-rectified) to decide it"
        )

    def _is_aligned(self, color_frame: str, depth_frame: str) -> bool:
        return self.alignment == "given" or len({*filter(None, (color_frame, depth_frame))}) < 2

    def _register(
        self, metres: np.ndarray, info: Any, camera: Camera, color_frame: str, depth_frame: str
    ) -> np.ndarray:
        """Depth in the pixels of the rectified colour `camera`."""
        topics = self.topics
        size = f"{camera.width}x{camera.height}"
        differ = [
            f"{field} {ours}, but {topics.color} is {theirs}"
            for field, ours, theirs in (
                ("fields width and height are", _size(metres), size),
                ("field header.frame_id is", repr(depth_frame), repr(color_frame)),
            )
            if ours != theirs
        ]
        problem = (
            f"{topics.depth}: {'; '.join(differ)}, so depth is not aligned. Register it to colour "
            "in the camera driver"
        )
        if self.alignment != "auto":
            raise FrameError(f"{problem}, or set depth_alignment to auto.")
        if info is None:
            raise FrameError(
                f"{problem}, or publish the calibration of depth on {topics.depth_info}, and it is "
                "registered here. If it is aligned whatever its frame_id, set depth_alignment to "
                "given."
            )
        depth_camera = self.camera(info, topics.depth_info)
        if metres.shape != (depth_camera.height, depth_camera.width):
            raise FrameError(
                f"{topics.depth_info}: fields width and height make an image of "
                f"{depth_camera.width}x{depth_camera.height}, but {topics.depth} is "
                f"{_size(metres)}. Remap to the calibration of this image."
            )
        same = not color_frame or not depth_frame or color_frame == depth_frame
        try:
            color_T_depth = np.eye(4) if same else self.extrinsics(color_frame, depth_frame)
        except FrameError as error:
            raise FrameError(f"{problem}. It cannot be registered here: {error}") from error
        return register_depth(
            depth_camera.rectify(metres),
            depth_camera.rectified(),
            camera.rectified(),
            color_T_depth,
        )

    def camera(self, info: Any, topic: str) -> Camera:
        """The camera of a CameraInfo, distortion included. Raises FrameError, naming the topic."""
        if info is None:
            raise FrameError(
                f"{topic}: no CameraInfo has arrived, so depth cannot be projected. "
                "Publish it, or remap rgb/camera_info to its topic."
            )
        matrix, coefficients = info.k, info.d
        projection = np.reshape(info.p, (3, 4))
        # Without K the driver publishes rectified images only.
        if self.is_rectified or not np.any(matrix):
            matrix = projection[:, :3] if projection[0, 0] > 0 else matrix
            coefficients = ()
        roi = info.roi
        try:
            camera = Camera.from_calibration(
                info.width,
                info.height,
                np.ravel(matrix).tolist(),
                coefficients,
                DISTORTION_NAMES.get(info.distortion_model, info.distortion_model),
                info.binning_x,
                info.binning_y,
                (roi.x_offset, roi.y_offset, roi.width, roi.height),
            )
        except FrameError as error:
            reason = str(error).removeprefix("camera_info: ")
            raise FrameError(f"{topic}: field {reason}") from error
        full = roi.width == 0 or (roi.width, roi.height) == (info.width, info.height)
        off = (abs(camera.cx / camera.width - 0.5), abs(camera.cy / camera.height - 0.5))
        exchanged = (abs(camera.cy / camera.width - 0.5), abs(camera.cx / camera.height - 0.5))
        if full and max(exchanged) < CENTRED and max(off) > 2 * CENTRED:
            raise FrameError(
                f"{topic}: field k has the principal point ({camera.cx:.0f}, {camera.cy:.0f}), but "
                f"the image is {camera.width}x{camera.height}: its two coordinates are exchanged. "
                "Correct the calibration."
            )
        if full and max(off) > MAX_OFF_CENTRE:
            raise FrameError(
                f"{topic}: field k has the principal point ({camera.cx:.0f}, {camera.cy:.0f}), but "
                f"the image is {camera.width}x{camera.height}: it is the calibration of another "
                "image size. Publish that of this image."
            )
        return camera


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
