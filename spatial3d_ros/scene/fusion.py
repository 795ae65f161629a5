"""Several posed RGB-D frames become one voxel cloud: mean position, colour, normal and views per voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np

from spatial3d_ros.geometry.voxels import voxel_keys
from spatial3d_ros.scene.frame import Frame

DEPTH_NOISE = 0.0012  # metres at one metre; grows with the square of the distance
WINDOW = 5  # pixels; side of the square a normal is fitted to


@dataclass(frozen=True, eq=False)
class VoxelCloud:
    """N occupied voxels in rising order of `key`.

    `point` (N, 3) float32 world metres, mean of what fell in; `lab` (N, 3) float32 CIE Lab; `normal`
    (N, 3) float32 towards the cameras, 0 where unknown; `views` (N,) int64 frames that saw it; `mass`
    (N,) float64 summed weights of what fell in; `size` edge of a voxel in metres.
    """

    key: np.ndarray
    point: np.ndarray
    lab: np.ndarray
    normal: np.ndarray
    views: np.ndarray
    mass: np.ndarray
    size: float

    def __len__(self) -> int:
        return len(self.key)

    def take(self, keep: np.ndarray) -> VoxelCloud:
        """The voxels of a mask or of rising indices."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return VoxelCloud(**{n: v if n == "size" else v[keep] for n, v in values.items()})

    def neighbours(self, reach: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Every pair (i, j) of voxels at most `reach` cells apart on each axis, once."""
        steps = np.arange(-reach, reach + 1)
        cells = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
        offsets = np.sort(voxel_keys(cells, 1) - voxel_keys(np.zeros((1, 3)), 1))
        first, second = [], []
        for offset in offsets[len(offsets) // 2 + 1 :]:
            place = np.searchsorted(self.key, self.key + offset)
            place[place == len(self)] = 0
            hit = np.flatnonzero(self.key[place] == self.key + offset)
            first.append(hit)
            second.append(place[hit])
        return np.concatenate(first), np.concatenate(second)


@dataclass(frozen=True, eq=False)
class Samples:
    """Usable pixels of one view: `point`, `lab`, `normal` (n, 3) float32, world; `weight` (n,) 0 .. 1."""

    point: np.ndarray
    lab: np.ndarray
    normal: np.ndarray
    weight: np.ndarray

    def take(self, keep: np.ndarray | slice) -> Samples:
        return Samples(*(getattr(self, f.name)[keep] for f in fields(self)))

    def moved(self, pose: np.ndarray) -> Samples:
        """After a rigid motion (4, 4)."""
        pose = pose.astype(np.float32)
        point = self.point @ pose[:3, :3].T + pose[:3, 3]
        return Samples(point, self.lab, self.normal @ pose[:3, :3].T, self.weight)


def fuse(views: Sequence[Samples], voxel_m: float) -> VoxelCloud:
    """Fuses views into voxels of `voxel_m`; near measurements weigh more. No samples: empty cloud."""
    keys, sums = [np.empty(0, np.int64)], [np.empty((0, 11))]
    for view in views:
        known = view.normal.any(1)
        values = np.column_stack([view.point, view.lab, view.normal, np.ones(len(known)), known])
        key, total = _sum_by_key(voxel_keys(view.point, voxel_m), values * view.weight[:, None])
        keys.append(key)
        sums.append(total)
    key = np.concatenate(keys)
    _, seen = np.unique(key, return_counts=True)
    key, total = _sum_by_key(key, np.concatenate(sums))
    mean = total[:, :6] / total[:, 9:10]
    length = np.linalg.norm(total[:, 6:9], axis=1)
    sure = length > 0.5 * np.maximum(total[:, 10], 1e-9)  # shorter: the views disagree
    normal = np.where(sure[:, None], total[:, 6:9] / np.maximum(length, 1e-9)[:, None], 0)
    mean, normal = mean.astype(np.float32), normal.astype(np.float32)
    return VoxelCloud(key, mean[:, :3], mean[:, 3:], normal, seen, total[:, 9], voxel_m)


def _sum_by_key(key: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    unique, inverse = np.unique(key, return_inverse=True)
    total = [np.bincount(inverse, column, len(unique)) for column in values.T]
    return unique, np.stack(total, -1)


def sample(frame: Frame, width: int = 320, max_depth_m: float = 6.0) -> Samples:
    """The usable pixels of a frame read at about `width` pixels across: not flying, not grazing."""
    step = max(1, round(frame.depth.shape[1] / width))
    depth = frame.depth[::step, ::step]
    valid = (depth > 0) & (depth < max_depth_m)
    inverse = np.where(valid, 1 / np.where(valid, depth, 1), 0).astype(np.float32)
    camera = frame.camera
    x = ((np.arange(depth.shape[1]) * step - camera.cx) / camera.fx).astype(np.float32)
    y = ((np.arange(depth.shape[0]) * step - camera.cy) / camera.fy).astype(np.float32)
    normal, facing = _normals(inverse, valid, x, y, step)
    keep = valid & ~_flying(depth, inverse) & (facing > 0.12)
    v, u = np.nonzero(keep)
    z = depth[v, u]
    rotation = frame.world_T_camera[:3, :3].astype(np.float32)
    ray = np.stack([x[u], y[v], np.ones_like(z)], -1)
    point = (ray * z[:, None]) @ rotation.T + frame.world_T_camera[:3, 3].astype(np.float32)
    rgb = cv2.blur(frame.rgb, (step, step))[::step, ::step] if step > 1 else frame.rgb
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return Samples(point, lab[v, u], normal[v, u] @ rotation.T, np.minimum(1, (1.5 / z) ** 2))


def _flying(depth: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Pixels that hang between a near and a far surface: jumps of the same sign on both sides."""
    flying = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        step = np.diff(inverse, axis=axis)
        both = np.minimum(np.abs(step[1:] if axis == 0 else step[:, 1:]),
                          np.abs(step[:-1] if axis == 0 else step[:, :-1]))  # fmt: skip
        same = (step[1:] * step[:-1] if axis == 0 else step[:, 1:] * step[:, :-1]) > 0
        inner = (slice(1, -1), slice(None)) if axis == 0 else (slice(None), slice(1, -1))
        jump = np.maximum(6 * DEPTH_NOISE, 0.03 * inverse[inner] ** 2)
        flying[inner] |= same & (both > jump)
    return flying


def _normals(
    inverse: np.ndarray, valid: np.ndarray, x: np.ndarray, y: np.ndarray, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Camera-frame unit normals (H, W, 3), 0 where unknown, and |cos| to the line of sight (1 there).

    On a plane n.X = d the inverse depth is linear in the image, 1/z = (n/d).(x, y, 1): two masked
    slopes give the normal, and noise, being constant in 1/z, does not bias it.
    """
    mask = valid.astype(np.float32)
    count = cv2.boxFilter(mask, -1, (WINDOW, WINDOW), normalize=False)
    full = count > 0.6 * WINDOW * WINDOW
    safe = np.maximum(count, 1)

    def mean(image: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(image * mask, -1, (WINDOW, WINDOW), normalize=False) / safe

    q = mean(inverse)
    spread = np.sqrt(np.maximum(mean(inverse * inverse) - q * q, 0))
    gx, gy = _slope(inverse, mask, q, mean, x, 1), _slope(inverse, mask, q, mean, y, 0)
    normal = np.stack([gx, gy, q - gx * x[None, :] - gy * y[:, None]], -1)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = -normal / np.maximum(length, 1e-9)  # towards the camera: n.X < 0
    ray = np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2)
    facing = q / np.maximum(length[..., 0], 1e-9) / ray
    # A window over a depth edge fits a plane that is not there; a steep plane spreads evenly.
    even = np.sqrt((gx * (x[1] - x[0])) ** 2 + (gy * (y[1] - y[0])) ** 2) * np.sqrt((WINDOW**2 - 1) / 12)
    known = full & (spread < even + 3 * DEPTH_NOISE)
    known &= even < np.maximum(0.06 * q * q, 4 * DEPTH_NOISE)
    return np.where(known[..., None], normal, 0), np.where(known, facing, 1)


def _slope(inverse, mask, q, mean, coordinate, axis):  # noqa: ANN001, ANN202
    grid = coordinate[None, :] if axis == 1 else coordinate[:, None]
    grid = np.broadcast_to(grid, inverse.shape).astype(np.float32)
    m = mean(grid)
    return (mean(grid * inverse) - m * q) / np.maximum(mean(grid * grid) - m * m, 1e-9)
