"""Frames from folders of images, in the layouts of `folder_layouts`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from spatial3d_ros.bags.folder_files import Intrinsics, read_calibration, read_image
from spatial3d_ros.bags.folder_geometry import (
    AUTO,
    MILLIMETRE,
    TUM_UNIT,
    find_up,
    guess_unit,
    turn_upright,
    upward_axis,
    views_with_baseline,
)
from spatial3d_ros.bags.folder_layouts import FrameFiles, read_layout
from spatial3d_ros.errors import BagError, FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors.plausibility import MAX_VIEWS

SATURATED = 65535  # of 16 bits: no measurement (7-Scenes)


@dataclass(frozen=True)
class FolderRecording:
    """What was found in a folder; iterating reads the images one by one.

    `frames` have poses with z up; `depth_unit` is the depth value 1 in metres; `notes` are
    decisions that were made for the user.
    """

    path: Path
    frames: tuple[FrameFiles, ...]
    intrinsics: Intrinsics
    depth_unit: float
    notes: tuple[str, ...] = ()

    @property
    def sources(self) -> list[tuple[int, str]]:
        """(stamp in ns, stem of the source file) of each frame."""
        return [(frame.stamp_ns, frame.stem) for frame in self.frames]

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        for files in self.frames:
            yield _read_frame(files, self.intrinsics, self.depth_unit)


def frames_from_folder(
    path: str | Path,
    *,
    rate_hz: float = 10.0,
    depth_unit: float | None = None,
    up: str = AUTO,
    intrinsics: Intrinsics | None = None,
) -> FolderRecording:
    """Find the frames of a folder in any layout.

    Args:
        rate_hz: spaces images that carry no time.
        depth_unit: metres of the depth value 1; guessed where it is not given.
        up: the world's upward axis: x, y, z, -x, -y, -z, a vector "0,-1,0.2", or "auto".
        intrinsics: where the folder has no calibration.

    Raises:
        BagError: names the file which is missing or cannot be understood.
        ConfigError: `up` is none of these.
    """
    axis = upward_axis(up)
    if rate_hz <= 0 or (depth_unit is not None and depth_unit <= 0):
        raise BagError("--rate and --depth-unit must be positive")
    found = read_layout(Path(path), rate_hz)
    camera = intrinsics or read_calibration(found.path)
    files, poses = found.frames, [frame.world_T_camera for frame in found.frames]
    notes = [f"layout: {found.layout}, {len(files)} frames"]
    if found.lost:
        notes.append(f"left out {found.lost} frames whose pose is not finite")
    try:
        if depth_unit is None:
            depth_unit, why = _guess(found.layout, files, camera)
            notes.append(f"depth unit: {depth_unit:g} m a count ({why})")
        if axis is None:
            unit, spread = depth_unit, files[:: -(-len(files) // MAX_VIEWS)]
            axis, how = find_up(
                poses, lambda: [_read_frame(f, camera, unit, with_color=False) for f in spread]
            )
            notes.append(f"up: {how}")
    except FrameError as error:
        raise BagError(str(error)) from error
    return FolderRecording(
        Path(path), _turned(files, turn_upright(axis)), camera, depth_unit, tuple(notes)
    )


def _guess(layout: str, files: Sequence[FrameFiles], camera: Intrinsics) -> tuple[float, str]:
    """The unit of depth, and how it was found."""
    chosen = [files[k] for k in views_with_baseline([one.world_T_camera for one in files])]
    if read_image(chosen[0].depth, cv2.IMREAD_UNCHANGED).dtype.kind == "f":
        return 1.0, "depth is stored as floating point numbers"
    frames = [_read_frame(one, camera, MILLIMETRE, with_color=False) for one in chosen]
    counts = read_image(chosen[0].depth, cv2.IMREAD_UNCHANGED)
    if layout == "TUM":
        return guess_unit(frames, False, TUM_UNIT)
    return guess_unit(frames, bool((counts % 8 == 0).mean() > 0.99 and counts.max() > 8 * 255))


def _turned(files: Sequence[FrameFiles], turn: np.ndarray) -> tuple[FrameFiles, ...]:
    return tuple(
        FrameFiles(f.stamp_ns, f.stem, f.color, f.depth, turn @ f.world_T_camera) for f in files
    )


def _read_frame(
    files: FrameFiles, intrinsics: Intrinsics, unit: float, *, with_color: bool = True
) -> Frame:
    """The frame of some files; colour is black if it is not to be read."""
    color, depth = files.color, files.depth
    counts = read_image(depth, cv2.IMREAD_UNCHANGED)
    if counts.ndim != 2:
        raise FrameError(f"{depth}: depth must have one channel, not {counts.shape[2]}")
    height, width = counts.shape
    rgb: np.ndarray = np.zeros((height, width, 3), np.uint8)
    if with_color:
        rgb = cv2.cvtColor(read_image(color, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    if counts.shape != rgb.shape[:2]:
        raise FrameError(
            f"{depth} is {width}x{height} but {color} is {rgb.shape[1]}x{rgb.shape[0]}: register "
            "depth to colour first"
        )
    if counts.dtype == np.uint16:
        counts = np.where(counts == SATURATED, 0, counts)
    return Frame(
        stamp_ns=files.stamp_ns,
        rgb=rgb,
        depth=counts.astype(np.float32) * np.float32(unit),
        camera=Camera(width, height, *intrinsics),
        world_T_camera=files.world_T_camera,
    )
