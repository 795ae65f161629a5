"""Which frames of a scan the network sees, and whether their files are all there.

As in the releases (METHODS 1.1): `uniform`, equally spaced in time, or `coverage`, greedily the
frame that shows most 0.1 m voxels that no chosen frame shows, in the order of time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np

from spatial3d_ros.bags.scannet import MILLIMETRES, ScanNetScene, read_scannet_scene
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.camera import Camera, backproject
from spatial3d_ros.geometry.pose import transform
from spatial3d_ros.research.datasets.other_scans import (
    OtherScan,
    is_other_scan,
    read_other_frames,
)

Scan = ScanNetScene | OtherScan
FrameChoice = Literal["uniform", "coverage"]
VOXEL = 0.1
_STRIDE = 8  # of the depth pixels that count for coverage


def scenes_in(folder: str | Path) -> list[str]:
    """Names of the scenes below a folder. Raises ConfigError when there are none."""
    path = Path(folder)
    found = sorted(
        one.name
        for one in path.glob("*/")
        if (one / f"{one.name}.txt").is_file() or is_other_scan(one)
    )
    if not found:
        raise ConfigError(
            f"{path}: no scene; expected folders such as scene0000_00 with scene0000_00.txt, as "
            "ScanNet's scans/ has, or scans of ARKitScenes (3dod) or MultiScan"
        )
    return found


def require_scenes(folder: str | Path, needed: Collection[str]) -> None:
    """Raise ConfigError that names the scenes that a folder lacks."""
    missing = sorted(set(needed) - set(scenes_in(folder)))
    if missing:
        more = f", and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ConfigError(
            f"{folder}: {len(missing)} of {len(set(needed))} scenes are missing: "
            f"{', '.join(missing[:3])}{more}; download them, or leave out their annotations"
        )


def read_chosen_frames(
    folder: str | Path, scene_id: str, count: int, choice: FrameChoice = "uniform"
) -> Scan:
    """At most `count` frames of a scene, in the order of time.

    Raises ConfigError for a scene whose frames are incomplete, and for another choice; only
    ScanNet's can be chosen by coverage.
    """
    if choice not in get_args(FrameChoice):
        raise ConfigError(
            f"choice: '{choice}' is unknown; use {' or '.join(get_args(FrameChoice))}"
        )
    path = Path(folder) / scene_id
    if is_other_scan(path):
        if choice == "coverage":
            raise ConfigError(f"{path}: choice: coverage reads ScanNet only; use uniform")
        other = read_other_frames(path)
        return other.chosen(_uniform(len(other), count))
    scene = read_scannet_scene(path)
    _require_whole(scene)
    if not scene.items:
        raise ConfigError(f"{scene.path}: no frame has a pose")
    chosen = _uniform(len(scene), count) if choice == "uniform" else _covering(scene, count)
    return replace(scene, items=tuple(scene.items[k] for k in chosen))


def _require_whole(scene: ScanNetScene) -> None:
    """Every frame with a pose has both images, and none of the files is empty."""
    for kind, ending in (("color", "jpg"), ("depth", "png")):
        sizes = {f.stem: f.stat().st_size for f in (scene.path / kind).glob(f"*.{ending}")}
        lacking = [number for number, _ in scene.items if not sizes.get(str(number))]
        if lacking:
            shown = ", ".join(map(str, lacking[:4]))
            raise ConfigError(
                f"{scene.path / kind}: {len(lacking)} of {len(scene)} frames with a pose have no "
                f"{kind} image or an empty one: {shown}; the copy is incomplete, export it again"
            )


def _uniform(total: int, count: int) -> Sequence[int]:
    if total <= count:
        return range(total)
    return np.linspace(0, total - 1, count).astype(int).tolist()


def _covering(scene: ScanNetScene, count: int) -> Sequence[int]:
    shown = [_voxels(scene, number, pose) for number, pose in scene.items]
    chosen: list[int] = []
    covered = np.empty(0, dtype=np.int64)
    for _ in range(min(count, len(shown))):
        gains = [
            -1 if k in chosen else len(voxels) - np.isin(voxels, covered).sum()
            for k, voxels in enumerate(shown)
        ]
        best = int(np.argmax(gains))
        chosen.append(best)
        covered = np.union1d(covered, shown[best])
    return sorted(chosen)


def _voxels(scene: ScanNetScene, number: int, pose: np.ndarray) -> np.ndarray:
    """Keys of the voxels that a frame shows, sorted."""
    path = scene.path / "depth" / f"{number}.png"
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ConfigError(f"{path}: no readable image")
    k = scene.intrinsics
    camera = Camera(image.shape[1], image.shape[0], k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    points = backproject(image.astype(np.float32) / MILLIMETRES, camera, _STRIDE)
    points = points[np.isfinite(points[..., 2])]
    cells = np.floor(transform(pose, points) / VOXEL).astype(np.int64) + 2**20
    return np.unique((cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2])
