"""A ScanNet scene as its own tools export it: frames with poses in the axis-aligned frame.

    scene0000_00/color/0.jpg, depth/0.png (millimetres), pose/0.txt (4x4, camera to scan),
    intrinsic/intrinsic_depth.txt (4x4), scene0000_00.txt with the line `axisAlignment = 16 numbers`

Colour is scaled to the depth images, whose intrinsics then hold for both. Boxes come from the
scan's annotation (scannet_objects.py) or from a detector, in the file of boxes_only.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.scene.frame import Frame

INTRINSICS = Path("intrinsic") / "intrinsic_depth.txt"
RATE_HZ = 30.0
MILLIMETRES = 1000.0


@dataclass(frozen=True)
class ScanNetScene:
    """Iterating reads the images one by one.

    `items` are (number, aligned_T_camera (4, 4)); `lost` the numbers of images without a pose,
    where ScanNet writes infinities; `scan_to_aligned` (4, 4) turns the raw scan into the frame in
    which boxes and annotations are.
    """

    path: Path
    items: tuple[tuple[int, np.ndarray], ...]
    lost: tuple[int, ...]
    intrinsics: np.ndarray
    scan_to_aligned: np.ndarray

    @property
    def scene_id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def sources(self) -> list[tuple[int, str]]:
        """(stamp in ns, stem of the source file) of each frame."""
        return [(_stamp(number), str(number)) for number, _ in self.items]

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions that were made for the user."""
        lost = f"; left out {len(self.lost)} frames without a pose" if self.lost else ""
        return (f"layout: ScanNet, {len(self.items)} frames, millimetres, z up{lost}",)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Frame]:
        for number, pose in self.items:
            depth = _image(self.path / "depth" / f"{number}.png", cv2.IMREAD_UNCHANGED)
            color = _image(self.path / "color" / f"{number}.jpg", cv2.IMREAD_COLOR)
            height, width = depth.shape[:2]
            color = cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA)
            k = self.intrinsics
            yield Frame(
                stamp_ns=_stamp(number),
                rgb=cv2.cvtColor(color, cv2.COLOR_BGR2RGB),
                depth=depth.astype(np.float32) / MILLIMETRES,
                camera=Camera(width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2]),
                world_T_camera=pose,
            )


def _stamp(number: int) -> int:
    return round((number + 1) * 1e9 / RATE_HZ)


def is_scannet_scene(path: str | Path) -> bool:
    """Whether a folder is such a scene, and not one of numbered images."""
    return (Path(path) / INTRINSICS).is_file()


def read_scannet_scene(path: str | Path, every: int = 1) -> ScanNetScene:
    """Find the frames of a scene's folder, each `every`-th.

    Raises ConfigError naming the file that is missing or holds something else than it should.
    """
    path = Path(path)
    description = path / f"{path.name}.txt"  # which partial copies of a scene lack
    aligned = read_axis_alignment(description) if description.exists() else np.eye(4)
    intrinsics = _matrix(path / INTRINSICS)
    numbers = sorted(int(f.stem) for f in (path / "pose").glob("*.txt") if f.stem.isdigit())
    if not numbers:
        raise ConfigError(f"{path / 'pose'}: no poses; export the scene's .sens file first")
    items, lost = [], []
    for number in numbers[::every]:
        pose = _matrix(path / "pose" / f"{number}.txt", finite=False)
        if np.isfinite(pose).all():
            items.append((number, aligned @ pose))
        else:
            lost.append(number)
    return ScanNetScene(path, tuple(items), tuple(lost), intrinsics, aligned)


def read_axis_alignment(path: str | Path) -> np.ndarray:
    """The (4, 4) matrix of `axisAlignment` in a scene's text file; identity where the file has no
    such line, as in the hidden test scenes.
    """
    path = Path(path)
    for number, line in enumerate(_lines(path), 1):
        key, _, value = line.partition("=")
        if key.strip() == "axisAlignment":
            return _numbers(value, f"{path}: line {number}: axisAlignment", finite=True)
    return np.eye(4)


def _matrix(path: Path, finite: bool = True) -> np.ndarray:
    return _numbers(" ".join(_lines(path)), str(path), finite)


def _numbers(text: str, where: str, finite: bool) -> np.ndarray:
    try:
        values = np.array(text.split(), dtype=np.float64)
    except ValueError as error:
        raise ConfigError(f"{where}: expected 16 numbers ({error})") from error
    if values.size != 16:
        raise ConfigError(f"{where}: expected 16 numbers, found {values.size}")
    if finite and not np.isfinite(values).all():
        raise ConfigError(f"{where}: holds a number that is not finite")
    return values.reshape(4, 4)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error


def _image(path: Path, mode: int) -> np.ndarray:
    image = cv2.imread(str(path), mode) if path.exists() else None
    if image is None:
        raise ConfigError(f"{path}: {'no readable image' if path.exists() else 'missing'}")
    return image
