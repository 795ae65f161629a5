"""Folders of RGB-D images of a plain room, for tests of converting and of what follows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from spatial3d_ros.bags.folder_geometry import SUN3D_UNIT
from spatial3d_ros.geometry.pose import look_at

HEIGHT, WIDTH, FOCAL = 96, 128, 100.0
K = np.array([[FOCAL, 0, 64], [0, FOCAL, 48], [0, 0, 1]])
FIVE = 5  # frames of a folder


def room_depth(pose: np.ndarray) -> np.ndarray:
    """Depth (H, W) metres of a room of 4 x 4 x 2.5 m with its floor at z = 0."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([(columns - 64) / FOCAL, (rows - 48) / FOCAL, np.ones(rows.shape)], -1)
    rays = rays @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        steps = [
            (limit - pose[axis, 3]) / rays[..., axis]
            for axis, limits in enumerate([(-2, 2), (-2, 2), (0, 2.5)])
            for limit in limits
        ]
    depth = np.min([np.where(step > 1e-6, step, np.inf) for step in steps], axis=0)
    return np.asarray(depth)


def camera_poses(count: int = FIVE) -> list[np.ndarray]:
    """A camera that moves towards a corner of the room; every wall shows how far."""
    return [
        look_at((-1 + 0.2 * k, -1.5 + 0.25 * k, 1.8 - 0.1 * k), (0.6 + 0.1 * k, 1.2, 0.3))
        for k in range(count)
    ]


class Images:
    """Writes the images of a room; `unit` is that of depth, `world` turns the poses."""

    def __init__(self, unit: float = 0.001, world: np.ndarray | None = None) -> None:
        self.true_poses = camera_poses()
        self.poses = [(np.eye(4) if world is None else world) @ p for p in self.true_poses]
        self.unit = unit

    def color(self, path: Path, k: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 20 * k, np.uint8))

    def depth(self, path: Path, k: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        metres = room_depth(self.true_poses[k])
        counts = np.rint(metres / self.unit)
        if self.unit == SUN3D_UNIT:  # whole millimetres, rotated by three bits
            counts = 8 * np.rint(metres / 0.001)
        assert cv2.imwrite(str(path), counts.astype(np.uint16))


def seven_scenes(path: Path, images: Images) -> Path:
    for k, pose in enumerate(images.poses):
        images.color(path / f"frame-{100 + k:06d}.color.png", k)
        images.depth(path / f"frame-{100 + k:06d}.depth.png", k)
        np.savetxt(path / f"frame-{100 + k:06d}.pose.txt", pose)
    np.savetxt(path / "camera-intrinsics.txt", K)
    return path
