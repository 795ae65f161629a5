"""Fusion of posed RGB-D frames into one voxel cloud: mean position, colour and normal of each
voxel, and the number of views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import cv2
import numpy as np
from scipy.sparse import csr_matrix

from spatial3d_ros.geometry.voxels import voxel_corners, voxel_keys
from spatial3d_ros.scene.frame import Frame

DEPTH_NOISE = 0.0012  # metres at one metre; proportional to the square of the distance
_WINDOW = 5  # pixels; side of the square a normal is fitted to
_FULL_WEIGHT_M = 1.5  # measurements weigh 1 up to here, beyond it in inverse to their variance
_MIN_FACING = 0.12  # least cosine between normal and line of sight: no grazing incidence


@dataclass(frozen=True, eq=False)
class Samples:
    """Usable pixels of one view: `point`, CIE `lab`, `normal` (n, 3) float32, world frame;
    `weight` (n,) 0 .. 1.
    """

    point: np.ndarray
    lab: np.ndarray
    normal: np.ndarray
    weight: np.ndarray

    def take(self, keep: np.ndarray | slice) -> Samples:
        """The samples of a mask or slice."""
        return Samples(*(getattr(self, f.name)[keep] for f in fields(self)))

    def transformed(self, pose: np.ndarray) -> Samples:
        """The samples after a rigid motion (4, 4)."""
        pose = pose.astype(np.float32)
        point = self.point @ pose[:3, :3].T + pose[:3, 3]
        return Samples(point, self.lab, self.normal @ pose[:3, :3].T, self.weight)


@dataclass(frozen=True, eq=False)
class VoxelCloud:
    """N occupied voxels in ascending order of `key`.

    `point` (N, 3) float32 world metres, weighted mean of the samples; `lab` (N, 3) float32 CIE Lab;
    `normal` (N, 3) float32 towards the cameras, 0 if unknown; `views` (N,) int64 number of views
    with a sample in it; `mass` (N,) float32 sum of weights; `size` edge of a voxel in metres.
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

    @cached_property
    def facing_up(self) -> np.ndarray:
        """The voxels, by index, whose normal is up or at most 60 degrees off."""
        return np.flatnonzero(self.normal[:, 2] > 0.5)

    def take(self, keep: np.ndarray) -> VoxelCloud:
        """The voxels of a mask or of ascending indices."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return VoxelCloud(**{n: v if n == "size" else v[keep] for n, v in values.items()})

    def scaled(self, factor: float) -> VoxelCloud:
        """The cloud of the same scene `factor` times as large; the keys stay."""
        return replace(self, point=self.point * np.float32(factor), size=self.size * factor)

    def neighbours(self, reach: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Every pair (i, j) of voxels at most `reach` cells apart on each axis, once."""
        first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        end = np.append(self.key, np.iinfo(np.int64).max)  # beyond the last voxel
        steps = np.arange(-reach, reach + 1)
        cells = np.stack(np.meshgrid(steps, steps, -reach), -1).reshape(-1, 3)
        # Lowest cells of the columns around a voxel; of its own and those after it in the order of
        # keys, the voxels of a column follow each other.
        lowest = np.sort(voxel_keys(cells, 1) - voxel_keys(np.zeros((1, 3)), 1))
        for low in lowest[len(lowest) // 2 :]:
            own = low == -reach
            index = np.arange(len(self))
            place = index + 1 if own else np.searchsorted(self.key, self.key + low)
            while len(index):
                inside = end[place] <= self.key[index] + low + 2 * reach
                index, place = index[inside], place[inside]
                first.append(index)
                second.append(place)
                place = place + 1
        return np.concatenate(first), np.concatenate(second)


@dataclass(frozen=True, eq=False)
class VoxelSums:
    """Weighted sums of the samples of one view, in ascending order of `key` (n,).

    `total` (n, 11) float32: offset from the corner of the voxel, lab and normal times weight, the
    weights, and the weights of the samples with a normal.
    """

    key: np.ndarray
    total: np.ndarray


def voxelise(view: Samples, voxel_m: float) -> VoxelSums:
    """The sums of a view over voxels of edge `voxel_m`."""
    offset = view.point - np.floor(view.point / voxel_m) * voxel_m  # exact far from the origin
    ones = np.ones_like(view.weight)
    values = np.column_stack([offset, view.lab, view.normal, ones, view.normal.any(1)])
    values = (values * view.weight[:, None]).astype(np.float32)
    key, total, _ = _sum_by_key(voxel_keys(view.point, voxel_m), values)
    return VoxelSums(key, total)


def _sum_by_key(key: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending unique keys (M,), the sum of the rows (N, F) of each, and how many they are."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    first = np.append(True, ordered[1:] != ordered[:-1])[: len(key)]
    start = np.append(np.flatnonzero(first), len(key))
    gather = csr_matrix((np.ones(len(key), rows.dtype), order, start), (len(start) - 1, len(key)))
    return ordered[first], gather @ rows, np.diff(start)


def join(views: Sequence[VoxelSums], voxel_m: float) -> VoxelCloud:
    """The cloud of some views with voxels of edge `voxel_m`; near samples weigh more."""
    key = np.concatenate([np.empty(0, np.int64), *(v.key for v in views)])
    total = np.concatenate([np.empty((0, 11), np.float32), *(v.total for v in views)])
    key, total, count = _sum_by_key(key, total)
    mass = total[:, 9]
    mean = total[:, :6] / mass[:, None]
    length = np.sqrt(np.einsum("nk,nk->n", total[:, 6:9], total[:, 6:9]))
    agree = length > 0.5 * np.maximum(total[:, 10], 1e-9)  # shorter: the normals disagree
    normal = np.where(agree[:, None], total[:, 6:9] / np.maximum(length, 1e-9)[:, None], 0)
    point = (mean[:, :3] + voxel_corners(key, voxel_m)).astype(np.float32)
    return VoxelCloud(key, point, mean[:, 3:], normal, count, mass, voxel_m)


def fuse(views: Sequence[Samples], voxel_m: float) -> VoxelCloud:
    """Fuses views into voxels of edge `voxel_m`. No samples: empty."""
    return join([voxelise(view, voxel_m) for view in views], voxel_m)


def sample(frame: Frame, width: int = 320, max_depth_m: float = 6.0) -> Samples:
    """Samples of a frame subsampled to about `width` columns, without flying pixels and grazing
    incidence.
    """
    step = max(1, round(frame.depth.shape[1] / width))
    depth = frame.depth[::step, ::step]
    valid = (depth > 0) & (depth < max_depth_m)
    inverse = np.where(valid, 1 / np.where(valid, depth, 1), 0).astype(np.float32)
    camera = frame.camera
    x = ((np.arange(depth.shape[1]) * step - camera.cx) / camera.fx).astype(np.float32)
    y = ((np.arange(depth.shape[0]) * step - camera.cy) / camera.fy).astype(np.float32)
    normal, facing = _normals(inverse, valid, x, y)
    v, u = np.nonzero(valid & ~_flying(inverse) & (facing > _MIN_FACING))
    z = depth[v, u]
    pose = frame.world_T_camera.astype(np.float32)
    ray = np.stack([x[u], y[v], np.ones_like(z)], -1)
    point = (ray * z[:, None]) @ pose[:3, :3].T + pose[:3, 3]
    rgb = cv2.blur(frame.rgb, (step, step))[::step, ::step]
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    weight = np.minimum(1, (_FULL_WEIGHT_M / z) ** 2)
    return Samples(point, lab[v, u], normal[v, u] @ pose[:3, :3].T, weight)


def _flying(inverse: np.ndarray) -> np.ndarray:
    """Flying pixels between a near and a far surface: jumps of one sign on both sides."""
    flying = np.zeros(inverse.shape, bool)
    for image, out in ((inverse, flying), (inverse.T, flying.T)):
        step = np.diff(image, axis=0)
        jump = np.maximum(6 * DEPTH_NOISE, 0.03 * image[1:-1] ** 2)
        out[1:-1] |= (
            (step[1:] * step[:-1] > 0) & (np.abs(step[1:]) > jump) & (np.abs(step[:-1]) > jump)
        )
    return flying


def _normals(
    inverse: np.ndarray, valid: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (H, W, 3) in the camera frame and |cos| (H, W) to the line of sight.

    Without a fitting plane the normal is 0 and the cosine 1. On a plane n.X = d the inverse depth
    is linear in the image, 1/z = (n/d).(x, y, 1): two masked slopes give the normal, and noise,
    which is constant in 1/z, does not bias it.
    """
    mask = valid.astype(np.float32)
    count = cv2.boxFilter(mask, -1, (_WINDOW, _WINDOW), normalize=False)

    def mean(image: np.ndarray) -> np.ndarray:
        total = cv2.boxFilter(image * mask, -1, (_WINDOW, _WINDOW), normalize=False)
        return total / np.maximum(count, 1)

    q = mean(inverse)
    spread = np.sqrt(np.maximum(mean(inverse * inverse) - q * q, 0))
    gx = _slope(inverse, q, np.broadcast_to(x, q.shape), mean)
    gy = _slope(inverse, q, np.broadcast_to(y[:, None], q.shape), mean)
    normal = np.stack([gx, gy, q - gx * x - gy * y[:, None]], -1)
    length = np.maximum(np.sqrt(np.einsum("hwc,hwc->hw", normal, normal)), 1e-9)
    facing = q / length / np.sqrt(1 + x**2 + y[:, None] ** 2)
    # A window over a depth edge spreads more than its plane, or that is too steep.
    even = np.hypot(gx, gy) * abs(x[1] - x[0]) * np.sqrt((_WINDOW**2 - 1) / 12)
    known = (count > 0.6 * _WINDOW**2) & (spread < even + 3 * DEPTH_NOISE)
    known &= even < np.maximum(0.06 * q * q, 4 * DEPTH_NOISE)
    normal *= np.where(known, -1 / length, 0)[..., None]  # towards the camera: n.X < 0
    return normal, np.where(known, facing, 1)


def _slope(
    value: np.ndarray,
    mean_value: np.ndarray,
    at: np.ndarray,
    mean: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Least-squares slope of `value` over the coordinate `at` in each window."""
    mean_at = mean(at)
    spread = np.maximum(mean(at * at) - mean_at * mean_at, 1e-9)
    return (mean(at * value) - mean_at * mean_value) / spread
