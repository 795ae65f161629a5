"""Which images, depth images and poses of a folder belong together, by the layout of the folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spatial3d_ros.bags.folder_files import (
    images_in,
    natural,
    pose_of,
    read_lines,
    read_numbers,
    read_poses,
    stamp_of_seconds,
)
from spatial3d_ros.errors import BagError
from spatial3d_ros.sensors.pose_source import PoseTrack

COLOR_FOLDERS = ("images", "image", "color", "colour", "rgb")
POSE_FILES = ("poses.txt", "pose.txt", "trajectory.log", "trajectory.txt", "traj.txt")
POSE_FOLDERS = ("poses", "pose")
FLAT = re.compile(r"(.+)[._-](?:color|colour|rgb)\.(?:png|jpe?g|ppm|bmp)", re.IGNORECASE)
FLAT_DEPTHS = ("depth.png", "depth.pgm", "depth.tif", "depth.tiff")
TUM_SLOP_S = 0.02
SUN3D_SLOP_US = 40_000


@dataclass(frozen=True, eq=False)
class FrameFiles:
    """The files of a frame. `stem` names it; `world_T_camera` (4, 4) as recorded."""

    stamp_ns: int
    stem: str
    color: Path
    depth: Path
    world_T_camera: np.ndarray


@dataclass(frozen=True, eq=False)
class FolderContents:
    """`layout` for people; frames by stamp; `lost` frames have a pose that is not finite."""

    layout: str
    path: Path
    frames: tuple[FrameFiles, ...]
    lost: int = 0


def read_layout(path: Path, rate_hz: float) -> FolderContents:
    """The frames of a folder in any known layout; `rate_hz` where files carry no time.

    Raises BagError that names the file which is missing or cannot be understood.
    """
    if not path.is_dir():
        raise BagError(f"{path}: no such folder")
    path = _sequence(path)
    if (path / "groundtruth.txt").exists() or (path / "rgb.txt").exists():
        return _contents("TUM", path, _tum(path))
    if any(FLAT.fullmatch(file.name) for file in path.iterdir()):
        return _contents("frames in one folder (7-Scenes, 3DMatch)", path, _flat(path, rate_hz))
    if (path / "extrinsics").is_dir():
        return _contents("SUN3D", path, _numbered(path, rate_hz))
    redwood = next(path.glob("*.log"), None) is not None
    return _contents("Redwood" if redwood else "numbered", path, _numbered(path, rate_hz))


def _contents(layout: str, path: Path, frames: list[FrameFiles]) -> FolderContents:
    if not frames:
        raise BagError(f"{path}: no image has both a depth image and a pose")
    known = tuple(frame for frame in frames if np.isfinite(frame.world_T_camera).all())
    if not known:
        raise BagError(f"{path}: no pose is finite")
    return FolderContents(layout, path, known, len(frames) - len(known))


def _sequence(path: Path) -> Path:
    """The folder itself, or the only sequence in it (`seq-01`)."""
    sequences = sorted(p for p in path.glob("seq-*") if p.is_dir())
    if len(sequences) > 1:
        raise BagError(
            f"{path}: several sequences ({', '.join(p.name for p in sequences)}); give one of them"
        )
    return sequences[0] if sequences else path


def _stamps(rate_hz: float) -> Callable[[int], int]:
    """Images without time: the first lands at one second, as stamp 0 means "not set"."""
    return lambda k: 10**9 + round(k * 1e9 / rate_hz)


def _flat(path: Path, rate_hz: float) -> list[FrameFiles]:
    """`STEM.color.png`, `STEM.depth.png`, `STEM.pose.txt` in one folder."""
    stamp = _stamps(rate_hz)
    found: list[FrameFiles] = []
    for color in sorted((f for f in path.iterdir() if FLAT.fullmatch(f.name)), key=natural):
        match = FLAT.fullmatch(color.name)
        assert match is not None
        stem, separator = match[1], color.name[len(match[1])]
        names = [f"{stem}{separator}{name}" for name in FLAT_DEPTHS]
        depth = next((path / name for name in names if (path / name).exists()), None)
        if depth is None:
            raise BagError(f"{path / names[0]}: missing; no depth image for {color.name}")
        file = path / f"{stem}{separator}pose.txt"
        if not file.exists():
            raise BagError(f"{file}: missing; it holds the pose of {color.name}")
        found.append(FrameFiles(stamp(len(found)), stem, color, depth, _one_pose(file)))
    return found


def _one_pose(file: Path) -> np.ndarray:
    poses = read_poses(file)
    if len(poses) != 1:
        raise BagError(f"{file}: expected one pose, found {len(poses)}")
    return poses[0][1]


def _numbered(path: Path, rate_hz: float) -> list[FrameFiles]:
    """A colour folder, a depth folder, and a file of poses or a folder of them."""
    folder = next((path / n for n in COLOR_FOLDERS if (path / n).is_dir()), None)
    if folder is None:
        raise BagError(
            f"{path}: no colour images; expected a folder {'/, '.join(COLOR_FOLDERS)}/, files "
            "NAME.color.png, or rgb.txt"
        )
    if not (path / "depth").is_dir():
        raise BagError(f"{path / 'depth'}: missing; it holds the depth images")
    images = images_in(folder)
    depth_of = _depth_of(path / "depth", images)
    pose_of_stem = _poses_by_stem(path, folder, images)
    stamp = _stamps(rate_hz)
    found: list[FrameFiles] = []
    for file in images:
        pose, depth = pose_of_stem(file), depth_of(file)
        found.append(FrameFiles(stamp(len(found)), file.stem, file, depth, pose))
    return found


def _depth_of(folder: Path, images: list[Path]) -> Callable[[Path], Path]:
    """The depth image of a colour image: of its name, else of its number, else of its time."""
    depths = images_in(folder)
    by_stem = {file.stem: file for file in depths}
    if any(image.stem in by_stem for image in images):
        pass
    elif all(re.fullmatch(r"\d+-\d+", file.stem) for file in (*images, *depths)):  # SUN3D
        times = np.array([_last_number(file) for file in depths])
        for image in images:
            apart = np.abs(times - _last_number(image))
            if apart.min() <= SUN3D_SLOP_US:
                by_stem[image.stem] = depths[int(apart.argmin())]
    else:
        by_number = {_last_number(file): file for file in depths}
        by_stem = {i.stem: by_number[n] for i in images if (n := _last_number(i)) in by_number}

    def find(image: Path) -> Path:
        if image.stem not in by_stem:
            raise BagError(f"{folder}: no depth image for {image.name}")
        return by_stem[image.stem]

    return find


def _last_number(file: Path) -> int:
    numbers = re.findall(r"\d+", file.stem)
    return int(numbers[-1]) if numbers else -1


def _poses_by_stem(path: Path, folder: Path, images: list[Path]) -> Callable[[Path], np.ndarray]:
    places = [path / name for name in POSE_FILES]
    places += [*sorted(path.glob("*.log")), *sorted(path.glob("*traj*.txt"))]
    places += sorted((path / "extrinsics").glob("*.txt"))[-1:]
    pose_file = next((place for place in places if place.is_file()), None)
    if pose_file is None:
        poses = next((path / n for n in POSE_FOLDERS if (path / n).is_dir()), None)
        if poses is None:
            raise BagError(f"{path / POSE_FILES[0]}: missing; it holds one pose an image")

        def read(image: Path) -> np.ndarray:
            file = poses / f"{image.stem}.txt"
            if not file.exists():
                raise BagError(f"{file}: missing; it holds the pose of {image.name}")
            return _one_pose(file)

        return read
    rows = read_poses(pose_file)
    names_file = path / "all_image_names.txt"
    names, source = [f.stem for f in images], folder
    if names_file.exists():
        names = [Path(name).stem for line in read_lines(names_file) for name in line.split()]
        source = names_file
    if len(names) != len(rows):
        raise BagError(f"{pose_file}: {len(rows)} poses, but {source} names {len(names)} images")
    by_name = dict(zip(names, (pose for _, pose in rows), strict=True))

    def find(image: Path) -> np.ndarray:
        if image.stem not in by_name:
            raise BagError(f"{source}: does not name {image.name}")
        return by_name[image.stem]

    return find


def _tum(path: Path) -> list[FrameFiles]:
    """`rgb.txt` and `depth.txt`, or folders whose file names are stamps, and `groundtruth.txt`."""
    colors, depths = _tum_list(path, "rgb"), _tum_list(path, "depth")
    pose_file = path / "groundtruth.txt"
    if not pose_file.exists():
        raise BagError(f"{pose_file}: missing; it holds `stamp tx ty tz qx qy qz qw` lines")
    track = PoseTrack.of_recording(str(pose_file))
    for line, numbers in read_numbers(pose_file):
        if len(numbers) != 8:
            raise BagError(f"{pose_file}:{line}: expected 8 numbers, found {len(numbers)}")
        stamp_ns = stamp_of_seconds(pose_file, line, numbers[0])
        track.add(stamp_ns, pose_of(pose_file, line, numbers[1:]))
    times = np.array([stamp for stamp, _ in depths])
    found: list[FrameFiles] = []
    for stamp, color in colors:
        if not len(times):
            break
        nearest = int(np.abs(times - stamp).argmin())
        pose = track.known(round(stamp * 1e9))
        if abs(times[nearest] - stamp) <= TUM_SLOP_S and pose is not None:
            files = (color.stem, color, depths[nearest][1])
            found.append(FrameFiles(round(stamp * 1e9), *files, pose))
    return found


def _tum_list(path: Path, name: str) -> list[tuple[float, Path]]:
    """(stamp in seconds, file) of `NAME.txt`, or of the files in `NAME/`, by stamp."""
    file, folder = path / f"{name}.txt", path / name
    entries = []
    if not file.exists():
        if not folder.is_dir():
            raise BagError(f"{file}: missing")
        for image in images_in(folder):
            try:
                entries.append((float(image.stem), image))
            except ValueError:
                raise BagError(
                    f"{image}: the name is no stamp in seconds, and there is no {file.name}"
                ) from None
        return sorted(entries)
    for number, line in enumerate(read_lines(file), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            seconds = float(words[0])
            stamp_of_seconds(file, number, seconds)
            entries.append((seconds, path / words[1].replace("\0", "")))
        except (ValueError, IndexError):
            raise BagError(f"{file}:{number}: expected `stamp file`, found {line!r}") from None
    return sorted(entries)
