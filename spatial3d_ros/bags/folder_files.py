"""Files of recorded folders: images, lists of numbers, poses and calibrations."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import cv2
import numpy as np

from spatial3d_ros.errors import BagError, FrameError
from spatial3d_ros.geometry.pose import pose_matrix

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".pgm", ".ppm", ".bmp", ".tif", ".tiff")
CALIBRATION_FILES = (
    "K.txt", "intrinsics.txt", "intrinsic.txt", "camera-intrinsics.txt", "camera_intrinsics.txt",
    "intrinsic.json", "camera_intrinsic.json", "camera.json", "camera_primesense.json",
)  # fmt: skip
HINT = (
    "write the 3x3 camera matrix there or give --intrinsics FX,FY,CX,CY (7-Scenes: "
    "585,585,320,240; Redwood and ICL-NUIM: 525,525,319.5,239.5; TUM freiburg1: "
    "517.3,516.5,318.6,255.3)"
)

Intrinsics = tuple[float, float, float, float]
"""fx, fy, cx, cy in pixels."""


def read_image(file: Path, mode: int) -> np.ndarray:
    """An image by OpenCV's mode. Raises BagError."""
    image = cv2.imread(str(file), mode) if file.exists() else None
    if image is None:
        raise BagError(f"{file}: {'cannot be read as an image' if file.exists() else 'missing'}")
    return image


def read_lines(file: Path) -> list[str]:
    """The lines of a text file. Raises BagError."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BagError(f"{file}: cannot be read as text ({error})") from error


def read_numbers(file: Path) -> list[tuple[int, list[float]]]:
    """(line number, numbers) of every line that is not empty or a comment. Raises BagError."""
    rows = []
    for number, line in enumerate(read_lines(file), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            rows.append((number, [float(word) for word in line.replace(",", " ").split()]))
        except ValueError:
            raise BagError(f"{file}:{number}: expected numbers, found {line.strip()!r}") from None
    if not rows:
        raise BagError(f"{file}: empty")
    return rows


def read_poses(file: Path) -> list[tuple[int, np.ndarray]]:
    """(line number, world_T_camera (4, 4)) of every pose of a file.

    A pose is a line of 16 or 12 numbers (rows of a matrix) or 7 (t, then q x y z w); or a matrix of
    3 or 4 lines with 4 numbers each, with a line of three before each in a `.log` of Redwood. A
    lost pose, which is not finite, is returned as it is. Raises BagError.
    """
    rows = read_numbers(file)
    if all(len(numbers) == 4 for _, numbers in rows):
        last = (numbers for _, numbers in rows[3::4])
        tall = len(rows) % 4 == 0 and all(
            n == [0, 0, 0, 1] or not all(map(math.isfinite, n)) for n in last
        )
        return [_stacked(file, rows[k : k + 3 + tall]) for k in range(0, len(rows), 3 + tall)]
    if len(rows[0][1]) == 3 and len(rows) > 1 and len(rows[1][1]) == 4:
        return [_stacked(file, rows[k + 1 : k + 5]) for k in range(0, len(rows), 5)]
    return [(line, pose_of(file, line, numbers)) for line, numbers in rows]


def _stacked(file: Path, rows: list[tuple[int, list[float]]]) -> tuple[int, np.ndarray]:
    line = rows[0][0] if rows else 1
    if len(rows) not in (3, 4) or any(len(numbers) != 4 for _, numbers in rows):
        raise BagError(f"{file}:{line}: expected a matrix of 3 or 4 lines with 4 numbers each")
    return line, pose_of(file, line, [value for _, numbers in rows for value in numbers])


def pose_of(file: Path, line: int, numbers: list[float]) -> np.ndarray:
    """world_T_camera (4, 4) of 16, 12 or 7 numbers. Raises BagError."""
    try:
        if len(numbers) == 7:
            return pose_matrix(numbers[:3], numbers[3:])
        if len(numbers) in (12, 16):
            return np.vstack([np.reshape(numbers[:12], (3, 4)), [0.0, 0.0, 0.0, 1.0]])
    except FrameError as error:
        raise BagError(f"{file}:{line}: {error}") from error
    raise BagError(f"{file}:{line}: a pose has 7, 12 or 16 numbers, found {len(numbers)}")


def stamp_of_seconds(file: Path, line: int, seconds: float) -> int:
    """Seconds as nanoseconds. Raises BagError if they are not finite."""
    if not math.isfinite(seconds):
        raise BagError(f"{file}:{line}: the stamp is {seconds}")
    return round(seconds * 1e9)


def read_calibration(path: Path) -> Intrinsics:
    """The calibration in a folder or the one above it. Raises BagError."""
    places = [folder / name for folder in (path, path.parent) for name in CALIBRATION_FILES]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise BagError(f"{path / CALIBRATION_FILES[0]}: missing; {HINT}")
    values = _json_matrix(file) if file.suffix == ".json" else None
    if values is None:
        values = [value for _, row in read_numbers(file) for value in row]
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


def _json_matrix(file: Path) -> list[float]:
    """`intrinsic_matrix` of Open3D's format: 9 numbers, column by column; here row by row."""
    try:
        matrix = json.loads(file.read_text(encoding="utf-8"))["intrinsic_matrix"]
        return [float(v) for v in np.reshape(np.array(matrix, float), (3, 3)).T.ravel()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BagError(f"{file}: expected intrinsic_matrix with 9 numbers ({error})") from error


def images_in(folder: Path) -> list[Path]:
    """The images of a folder by number, not by text. Raises BagError where there is none."""
    files = [f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise BagError(f"{folder}: no images")
    return sorted(files, key=natural)


def natural(file: Path) -> list[tuple[int, str]]:
    """Sorts file names by their numbers."""
    return [(int(part or -1), text) for part, text in re.findall(r"(\d*)(\D*)", file.stem)]
