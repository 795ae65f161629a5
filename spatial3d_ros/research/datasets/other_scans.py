"""Scans of ARKitScenes (3dod) and MultiScan as their authors publish them: frames and boxes.

    41254925/41254925_3dod_annotation.json, and in 41254925_frames/ lowres_wide/41254925_T.png,
        lowres_depth/41254925_T.png (mm), lowres_wide_intrinsics/41254925_T.pincam and
        lowres_wide.traj, T in seconds
    scene_00000_00/scene_00000_00.annotations.json, .align.json, .json (streams), .jsonl (cameras),
        .mp4 (colour), .depth.zlib (depth)

Boxes are the axis-aligned bounds of the annotated oriented ones. ARKitScenes names no ids: objects
count from 1 in the order of the file, as in the sentences of SceneVerse. Written from the formats'
public descriptions: https://github.com/apple/ARKitScenes/blob/main/DATA.md,
https://3dlg-hcvc.github.io/multiscan/read-the-docs/dataset/index.html,
https://github.com/scene-verse/SceneVerse/blob/main/preprocess/README.md.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import invert
from spatial3d_ros.research.datasets.boxes_only import BoxObject, BoxRoom
from spatial3d_ros.research.datasets.files import Point, Record, Size, read_entries, read_json
from spatial3d_ros.scene.frame import Frame

MILLIMETRES = 1000.0
NEAREST_S = 0.01
"""A pose or intrinsics of another time than the image's, at most."""
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # ARKit's camera looks along -z with y up


class _Axes(Record):
    centroid: Point
    axesLengths: Size
    normalizedAxes: tuple[float, ...]
    front: Point | None = None

    def object(self, number: int, label: str) -> BoxObject:
        axes = np.array(self.normalizedAxes).reshape(3, 3)  # one axis after the other
        size = np.abs(axes).T @ np.array(self.axesLengths)
        ahead = None if self.front is None else tuple(np.add(self.centroid, self.front).tolist())
        return BoxObject(
            id=number, label=label, center=self.centroid, size=tuple(size.tolist()),
            front_point=ahead,
        )  # fmt: skip


class _Segments(Record):
    obbAligned: _Axes


class _ArkitObject(Record):
    label: str
    segments: _Segments


class _MultiScanObject(Record):
    objectId: int
    label: str
    obb: _Axes


@dataclass(frozen=True)
class ArkitScan:
    """Frames of an ARKitScenes scan; `items` are (number in the order of time, aligned_T_camera).

    Iterating reads the images. Images without a pose within NEAREST_S are left out.
    """

    path: Path
    items: tuple[tuple[int, np.ndarray], ...]
    stems: tuple[str, ...]
    """Of the files of each item."""

    @classmethod
    def read(cls, path: Path) -> ArkitScan:
        """Raises ConfigError naming a file that is missing or damaged."""
        times, poses = _trajectory(_frames(path) / "lowres_wide.traj")
        stems = sorted(file.stem for file in (_frames(path) / "lowres_depth").glob("*.png"))
        _require_images(_frames(path), stems)
        items, kept = [], []
        for number, stem in enumerate(stems):
            nearest = int(np.abs(times - _seconds(stem)).argmin())
            if abs(times[nearest] - _seconds(stem)) <= NEAREST_S:
                items.append((number, poses[nearest]))
                kept.append(stem)
        if not items:
            raise ConfigError(f"{_frames(path)}: no depth image has a pose in lowres_wide.traj")
        return cls(path, tuple(items), tuple(kept))

    @property
    def scene_id(self) -> str:
        """The folder's name."""
        return self.path.name

    def chosen(self, rows: Sequence[int]) -> ArkitScan:
        """Only these items."""
        return ArkitScan(
            self.path,
            tuple(self.items[k] for k in rows),
            tuple(self.stems[k] for k in rows),
        )

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Frame]:
        for (_, pose), stem in zip(self.items, self.stems, strict=True):
            depth = _image(_frames(self.path) / "lowres_depth" / f"{stem}.png")
            color = _image(_frames(self.path) / "lowres_wide" / f"{stem}.png")
            camera = self._camera(stem)
            yield _frame(round(_seconds(stem) * 1e9), color, depth / MILLIMETRES, camera, pose)

    def _camera(self, stem: str) -> Camera:
        folder = _frames(self.path) / "lowres_wide_intrinsics"
        scene, _, seconds = stem.rpartition("_")
        for shift in (0.0, -0.001, 0.001):  # the two times are rounded apart
            path = folder / f"{scene}_{float(seconds) + shift:.3f}.pincam"
            if path.is_file():
                width, height, *rest = _row(path, path.read_text(), 6)
                return Camera(int(width), int(height), *rest)
        raise ConfigError(f"{folder / stem}.pincam: missing; the copy is incomplete")


@dataclass(frozen=True)
class MultiScanScan:
    """Frames of a MultiScan scan; `items` are (number in the streams, aligned_T_camera).

    Iterating reads the streams from their beginning.
    """

    path: Path
    items: tuple[tuple[int, np.ndarray], ...]
    cameras: tuple[Camera, ...]

    @classmethod
    def read(cls, path: Path) -> MultiScanScan:
        """Raises ConfigError naming a file that is missing or damaged."""
        stored_T_world = invert(_matrix(_file(path, "align.json"), "coordinate_transform"))
        color = _stream(path, "color_camera")["resolution"]
        lines = [line for line in _text(_file(path, "jsonl")).splitlines() if line.strip()]
        items, cameras = [], []
        for number, line in enumerate(lines):
            where = f"{_file(path, 'jsonl')}: line {number + 1}"
            try:
                values = json.loads(line)
                pose = np.array(values["transform"], float).reshape(4, 4, order="F")
                k = np.array(values["intrinsics"], float).reshape(3, 3, order="F")
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(f"{where}: expected transform and intrinsics ({error})") from None
            items.append((number, stored_T_world @ (pose / pose[3, 3]) @ _FLIP))
            cameras.append(Camera(color[1], color[0], k[0, 0], k[1, 1], k[0, 2], k[1, 2]))
        return cls(path, tuple(items), tuple(cameras))

    @property
    def scene_id(self) -> str:
        """The folder's name."""
        return self.path.name

    def chosen(self, rows: Sequence[int]) -> MultiScanScan:
        """Only these items."""
        return MultiScanScan(
            self.path,
            tuple(self.items[k] for k in rows),
            tuple(self.cameras[k] for k in rows),
        )

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Frame]:
        depths = self._depths([number for number, _ in self.items])
        video = _file(self.path, "mp4")
        opened = cv2.VideoCapture(str(video))
        opened.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # as the intrinsics are
        try:
            for (number, pose), camera in zip(self.items, self.cameras, strict=True):
                opened.set(cv2.CAP_PROP_POS_FRAMES, number)
                there, color = opened.read()
                if not there:
                    raise ConfigError(f"{video}: frame {number} cannot be read")
                yield _frame(number * 10**9 // 60, color, depths[number], camera, pose)
        finally:
            opened.release()

    def _depths(self, numbers: Sequence[int]) -> dict[int, np.ndarray]:
        """Depth images [m] of some frames: the stream is decompressed once up to the last."""
        stream = _stream(self.path, "lidar_sensor")
        height, width = stream["resolution"]
        path, count = _file(self.path, "depth.zlib"), height * width * 2
        unit = 1.0 if read_json(_file(self.path, "json")).get("depth_unit") == "m" else MILLIMETRES
        kind = np.dtype("<f2" if stream["encoding"].startswith("float16") else "<u2")
        found: dict[int, np.ndarray] = {}
        with path.open("rb") as file:
            first = file.peek(1)[:1]
            unpack = zlib.decompressobj(15 if first == b"x" else -15)
            rest, number = b"", 0
            while len(found) < len(set(numbers)):
                packed = file.read(2**20)
                try:
                    rest += unpack.decompress(packed) if packed else unpack.flush()
                except zlib.error as error:
                    raise ConfigError(f"{path}: damaged after frame {number} ({error})") from None
                while len(rest) >= count:
                    if number in numbers:
                        values = np.frombuffer(rest[:count], kind).reshape(height, width)
                        found[number] = values.astype(np.float32) / unit
                    rest, number = rest[count:], number + 1
                if not packed:
                    break
        missing = sorted(set(numbers) - found.keys())
        if missing:
            raise ConfigError(f"{path}: {number} frames, but frame {missing[0]} has a camera")
        return found


OtherScan = ArkitScan | MultiScanScan


def is_other_scan(path: Path) -> bool:
    """Whether a folder is a scan of ARKitScenes or MultiScan, if only a part of one."""
    return _is_arkit(path) or any(_file(path, of).is_file() for of in ("annotations.json", "jsonl"))


def read_other_frames(path: Path) -> OtherScan:
    """The frames of such a folder."""
    return ArkitScan.read(path) if _is_arkit(path) else MultiScanScan.read(path)


def read_other_objects(path: Path) -> BoxRoom:
    """The annotated objects of such a folder. Raises ConfigError naming file, entry and field."""
    if _is_arkit(path):
        found = [
            one.segments.obbAligned.object(number, one.label.replace("_", " "))
            for number, one in enumerate(read_entries(_arkit(path), _ArkitObject, "data"), 1)
        ]
    else:
        found = [
            one.obb.object(one.objectId, one.label.rpartition(".")[0].replace("_", " "))
            for one in read_entries(_file(path, "annotations.json"), _MultiScanObject, "objects")
        ]
    return BoxRoom(scene_id=path.name, objects=tuple(found))


def _arkit(path: Path) -> Path:
    return path / f"{path.name}_3dod_annotation.json"


def _is_arkit(path: Path) -> bool:
    return _arkit(path).is_file() or _frames(path).is_dir()


def _frames(path: Path) -> Path:
    return path / f"{path.name}_frames"


def _file(path: Path, ending: str) -> Path:
    return path / f"{path.name}.{ending}"


def _require_images(frames: Path, stems: Sequence[str]) -> None:
    """Every depth image has a colour image, and none of the files is empty."""
    for kind in ("lowres_depth", "lowres_wide"):
        sizes = {file.stem: file.stat().st_size for file in (frames / kind).glob("*.png")}
        lacking = [stem for stem in stems if not sizes.get(stem)]
        if lacking:
            raise ConfigError(
                f"{frames / kind}: {len(lacking)} of {len(stems)} frames have no image or an empty "
                f"one: {', '.join(lacking[:3])}; the copy is incomplete, download the scan again"
            )


def _seconds(stem: str) -> float:
    try:
        return float(stem.rpartition("_")[2])
    except ValueError as error:
        raise ConfigError(f"{stem}.png: expected a name such as 41254925_2034.123.png") from error


def _trajectory(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,) [s] and poses (N, 4, 4), world_T_camera: lines turn the world into the camera."""
    rows = np.array([_row(path, line, 7) for line in _text(path).splitlines() if line.strip()])
    if not len(rows):
        raise ConfigError(f"{path}: no poses")
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(rows[:, 1:4]).as_matrix()
    poses[:, :3, 3] = rows[:, 4:7]
    return rows[:, 0], np.stack([invert(pose) for pose in poses])


def _row(path: Path, line: str, count: int) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError as error:
        raise ConfigError(f"{path}: expected {count} numbers ({error})") from None
    if len(values) != count or not np.isfinite(values).all():
        raise ConfigError(f"{path}: expected {count} finite numbers, found '{line[:60]}'")
    return values


def _matrix(path: Path, key: str) -> np.ndarray:
    data = read_json(path)
    values = np.array(data.get(key, ()) if isinstance(data, dict) else (), dtype=float)
    if values.size != 16:
        raise ConfigError(f"{path}: {key}: expected 16 numbers")
    return values.reshape(4, 4, order="F")


def _stream(path: Path, kind: str) -> dict[str, Any]:
    """The description of a stream. Raises ConfigError if there is none."""
    file = _file(path, "json")
    data = read_json(file)
    for one in data.get("streams", ()) if isinstance(data, dict) else ():
        if one.get("type") == kind and len(one.get("resolution", ())) == 2 and "encoding" in one:
            return one
    raise ConfigError(f"{file}: streams: none of type {kind} with resolution and encoding")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error


def _image(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.exists() else None
    if image is None:
        raise ConfigError(f"{path}: {'no readable image' if path.exists() else 'missing'}")
    return image


def _frame(
    stamp_ns: int, bgr: np.ndarray, depth: np.ndarray, camera: Camera, pose: np.ndarray
) -> Frame:
    """A frame at the resolution of the depth image (H, W) [m]."""
    height, width = depth.shape[:2]
    color = cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA)
    return Frame(
        stamp_ns=max(1, stamp_ns),
        rgb=cv2.cvtColor(color, cv2.COLOR_BGR2RGB),
        depth=depth.astype(np.float32),
        camera=camera.scaled(width, height),
        world_T_camera=pose,
    )
