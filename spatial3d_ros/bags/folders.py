"""Frames from folders of images.

Two layouts are understood. *Numbered*: a colour folder, a depth folder, a pose file with a line
an image, `K.txt`. *TUM*: `rgb.txt`, `depth.txt` and `groundtruth.txt` with time stamps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from spatial3d_ros.errors import BagError, FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import pose_matrix
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors.pose_source import PoseTrack

COLOR_FOLDERS = ("images", "image", "color", "colour", "rgb")
POSE_FILES = ("poses.txt", "pose.txt")
CALIBRATION_FILES = ("K.txt", "intrinsics.txt", "intrinsic.txt")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".pgm", ".ppm", ".bmp", ".tif", ".tiff")
# Rotations from a world with another upward axis to z up.
UP = {
    "z": np.eye(4),
    "y": np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float),
    "-y": np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float),
}
TUM_SLOP_S = 0.02


@dataclass(frozen=True)
class FolderRecording:
    """What was found in a folder; iterating reads the images one by one.

    `items` are (stamp_ns, colour file, depth file, world_T_camera (4, 4) with z up).
    """

    path: Path
    items: tuple[tuple[int, Path, Path, np.ndarray], ...]
    intrinsics: tuple[float, float, float, float]
    depth_scale: float

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Frame]:
        for stamp_ns, color, depth, pose in self.items:
            rgb = cv2.cvtColor(_image(color, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            metres = _image(depth, cv2.IMREAD_UNCHANGED)
            if metres.ndim != 2:
                raise FrameError(f"{depth}: depth must have one channel, not {metres.shape[2]}")
            if metres.shape != rgb.shape[:2]:
                raise FrameError(
                    f"{depth} is {metres.shape[1]}x{metres.shape[0]} but {color} is "
                    f"{rgb.shape[1]}x{rgb.shape[0]}: register depth to colour first"
                )
            height, width = metres.shape
            yield Frame(
                stamp_ns=stamp_ns,
                rgb=rgb,
                depth=metres.astype(np.float32) / self.depth_scale,
                camera=Camera(width, height, *self.intrinsics),
                world_T_camera=pose,
            )


def frames_from_folder(
    path: str | Path,
    *,
    rate_hz: float = 10.0,
    depth_scale: float | None = None,
    up: str = "z",
    intrinsics: tuple[float, float, float, float] | None = None,
) -> FolderRecording:
    """Find the frames of a folder in either layout.

    `rate_hz` spaces numbered images (TUM files carry stamps); `depth_scale` is the value of one
    metre (1000, or 5000 in TUM files, when not given); `up` is the world's upward axis: z, y or -y;
    `intrinsics` are fx, fy, cx, cy in pixels when the folder has no K.txt.

    Raises BagError that names the file which is missing or cannot be understood.
    """
    path = Path(path)
    if not path.is_dir():
        raise BagError(f"{path}: no such folder")
    if up not in UP:
        raise BagError(f"--up {up}: choose one of {', '.join(UP)}")
    if rate_hz <= 0 or (depth_scale is not None and depth_scale <= 0):
        raise BagError("rate and depth scale must be positive")
    intrinsics = intrinsics or _calibration(path)
    tum = (path / "rgb.txt").exists()
    items = _tum_items(path) if tum else _numbered_items(path, rate_hz)
    if not items:
        raise BagError(f"{path}: no image has both a depth image and a pose")
    turned = tuple((stamp, rgb, depth, UP[up] @ pose) for stamp, rgb, depth, pose in items)
    return FolderRecording(path, turned, intrinsics, depth_scale or (5000.0 if tum else 1000.0))


def _image(file: Path, mode: int) -> np.ndarray:
    image = cv2.imread(str(file), mode) if file.exists() else None
    if image is None:
        raise BagError(f"{file}: {'cannot be read as an image' if file.exists() else 'missing'}")
    return image


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BagError(f"{file}: cannot be read as text ({error})") from error


def _stamp(file: Path, line: int, seconds: float) -> int:
    """Seconds as nanoseconds."""
    if not math.isfinite(seconds):
        raise BagError(f"{file}:{line}: the stamp is {seconds}")
    return round(seconds * 1e9)


def _numbers(file: Path) -> list[tuple[int, list[float]]]:
    """(line number, numbers) of every line that is not empty or a comment."""
    rows = []
    for number, line in enumerate(_lines(file), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            rows.append((number, [float(word) for word in line.replace(",", " ").split()]))
        except ValueError:
            raise BagError(f"{file}:{number}: expected numbers, found {line.strip()!r}") from None
    if not rows:
        raise BagError(f"{file}: empty")
    return rows


def _calibration(path: Path) -> tuple[float, float, float, float]:
    file = next((path / name for name in CALIBRATION_FILES if (path / name).exists()), None)
    if file is None:
        raise BagError(
            f"{path / CALIBRATION_FILES[0]}: missing; write the 3x3 camera matrix there or give "
            "--intrinsics FX,FY,CX,CY"
        )
    values = [value for _, row in _numbers(file) for value in row]
    if len(values) == 4:
        fx, fy, cx, cy = values
    elif len(values) in (9, 16):
        matrix = np.reshape(values, (3, 3) if len(values) == 9 else (4, 4))
        fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    else:
        raise BagError(f"{file}: expected 4, 9 or 16 numbers, found {len(values)}")
    if not (fx > 0 and fy > 0):
        raise BagError(f"{file}: focal lengths must be positive, found {fx} and {fy}")
    return float(fx), float(fy), float(cx), float(cy)


def _pose(file: Path, line: int, numbers: list[float]) -> np.ndarray:
    """world_T_camera of a line: 16 or 12 numbers (rows of a matrix), or 7 (t, then q x y z w)."""
    try:
        if len(numbers) == 7:
            return pose_matrix(numbers[:3], numbers[3:])
        if len(numbers) in (12, 16):
            return np.vstack([np.reshape(numbers[:12], (3, 4)), [0.0, 0.0, 0.0, 1.0]])
    except FrameError as error:
        raise BagError(f"{file}:{line}: {error}") from error
    raise BagError(f"{file}:{line}: a pose has 7, 12 or 16 numbers, found {len(numbers)}")


def _natural(file: Path) -> list[tuple[int, str]]:
    return [(int(part or -1), text) for part, text in re.findall(r"(\d*)(\D*)", file.stem)]


def _images_in(folder: Path) -> list[Path]:
    files = [f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise BagError(f"{folder}: no images")
    return sorted(files, key=_natural)


def _numbered_items(path: Path, rate_hz: float) -> list[tuple[int, Path, Path, np.ndarray]]:
    folder = next((path / n for n in COLOR_FOLDERS if (path / n).is_dir()), None)
    if folder is None:
        raise BagError(
            f"{path}: no colour images; expected a folder {'/, '.join(COLOR_FOLDERS)}/ or rgb.txt"
        )
    if not (path / "depth").is_dir():
        raise BagError(f"{path / 'depth'}: missing; it holds the depth images")
    pose_file = next((path / n for n in POSE_FILES if (path / n).exists()), None)
    if pose_file is None:
        raise BagError(f"{path / POSE_FILES[0]}: missing; it holds one pose an image")
    images = _images_in(folder)
    depths = {f.stem: f for f in _images_in(path / "depth")}
    rows = _numbers(pose_file)
    names_file = path / "all_image_names.txt"
    if names_file.exists():
        names = [Path(name).stem for line in _lines(names_file) for name in line.split()]
        source = names_file
    else:
        names, source = [f.stem for f in images], folder
    if len(names) != len(rows):
        raise BagError(f"{pose_file}: {len(rows)} poses, but {source} names {len(names)} images")
    row_of = dict(zip(names, rows, strict=True))
    items: list[tuple[int, Path, Path, np.ndarray]] = []
    for file in images:
        if file.stem not in row_of:
            raise BagError(f"{source}: does not name {file.name}")
        if file.stem not in depths:
            raise BagError(f"{path / 'depth'}: no depth image for {file.name}")
        pose = _pose(pose_file, *row_of[file.stem])
        # Numbered images carry no time: the first lands at one second, as stamp 0 means "not set".
        stamp_ns = 10**9 + round(len(items) * 1e9 / rate_hz)
        items.append((stamp_ns, file, depths[file.stem], pose))
    return items


def _tum_list(file: Path) -> list[tuple[float, Path]]:
    if not file.exists():
        raise BagError(f"{file}: missing")
    entries = []
    for number, line in enumerate(_lines(file), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            seconds = float(words[0])
            _stamp(file, number, seconds)
            entries.append((seconds, file.parent / words[1].replace("\0", "")))
        except (ValueError, IndexError):
            raise BagError(f"{file}:{number}: expected `stamp file`, found {line!r}") from None
    return sorted(entries)


def _tum_items(path: Path) -> list[tuple[int, Path, Path, np.ndarray]]:
    colors, depths = _tum_list(path / "rgb.txt"), _tum_list(path / "depth.txt")
    pose_file = path / "groundtruth.txt"
    if not pose_file.exists():
        raise BagError(f"{pose_file}: missing; it holds `stamp tx ty tz qx qy qz qw` lines")
    track = PoseTrack.of_recording(str(pose_file))
    for line, numbers in _numbers(pose_file):
        if len(numbers) != 8:
            raise BagError(f"{pose_file}:{line}: expected 8 numbers, found {len(numbers)}")
        track.add(_stamp(pose_file, line, numbers[0]), _pose(pose_file, line, numbers[1:]))
    times = np.array([stamp for stamp, _ in depths])
    items: list[tuple[int, Path, Path, np.ndarray]] = []
    for stamp, color in colors:
        if not len(times):
            break
        nearest = int(np.abs(times - stamp).argmin())
        pose = track.known(round(stamp * 1e9))
        if abs(times[nearest] - stamp) <= TUM_SLOP_S and pose is not None:
            items.append((round(stamp * 1e9), color, depths[nearest][1], pose))
    return items
