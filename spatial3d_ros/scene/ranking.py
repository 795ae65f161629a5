"""Logit of a region to be one whole object: a small network on features of the region.

One hidden layer beside a linear one; linear for few views. `spatial3d fit-proposals` fits it on
generated rooms seen from 1 to 16 views, so that the cuts of the merge tree that agree with the true
objects become probable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from safetensors.numpy import load_file

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.resources import resource_path
from spatial3d_ros.scene.fusion import VoxelCloud
from spatial3d_ros.scene.planes import Structure
from spatial3d_ros.scene.region_merging import Node

FEATURES = (
    "bias",
    "inner",
    "outer",
    "inner outer",
    "area",
    "area area",
    "thin",
    "middle",
    "long",
    "fill",  # visible surface over that of the box
    "low",  # height above the floor
    "on floor",
    "on wall",
    "views",  # mean share of the views that show a voxel
    "frames",
    "frames frames",
    "single",  # one segment
    "border",  # contacts per voxel
    "outline",  # contacts over the perimeter
    "step",  # of colour at the border
    "concave",  # share of the border
    "on",  # share of the border that rests on another region
    "on area",
    "inner step",
    "chroma",  # standard deviation of a and b
    "middle outline",
    "low chroma",
    "wall concave",
    "area area middle",
    "wall long",
    "wall thin",
)


@lru_cache(maxsize=1)
def shipped_weights() -> Mapping[str, np.ndarray]:
    """`mean` and `scale` (F,) of the features, `few` (F,) of the linear model for few views, and
    `linear` (F,), `hidden` (F, H), `out` (H,) of the network for many.
    """
    return load_file(resource_path("proposals.safetensors"))


def logits(rows: np.ndarray, weights: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
    """Logits (M,) of rows of features (M, F); with the shipped weights if none are given.

    The network is better on generated rooms and on many views, the linear model on one to three
    views of real tables and rooms; between 2 and 6 views both are mixed.
    """
    w = shipped_weights() if weights is None else weights
    values = (rows - w["mean"]) / w["scale"]
    many = np.clip((8 * rows[:, FEATURES.index("frames")] - 2) / 4, 0, 1)
    network = np.tanh(values @ w["hidden"]) @ w["out"] + values @ w["linear"]
    return np.asarray((1 - many) * (values @ w["few"]) + many * network)


@dataclass(frozen=True, eq=False)
class RegionSums:
    """Means over the voxels of M regions: `count` (M,) voxels, `views` (M,), `point` (M, 3) world
    metres, and `chroma` (M,), the sum of the standard deviations of a and b.
    """

    count: np.ndarray
    views: np.ndarray
    point: np.ndarray
    chroma: np.ndarray

    @classmethod
    def of(cls, nodes: Sequence[Node], label: np.ndarray, cloud: VoxelCloud) -> RegionSums:
        """Of all nodes of a merge tree; `label` (N,) is the segment of each voxel."""
        origin = cloud.point.mean(0)
        ab = cloud.lab[:, 1:].astype(float)
        values = [np.ones(len(label)), cloud.views, *(cloud.point - origin).T, *ab.T, *(ab**2).T]
        segments = int(label.max()) + 1
        total = np.zeros((len(nodes), len(values)))
        total[:segments] = np.stack([np.bincount(label, v, segments) for v in values], 1)
        for k in range(segments, len(nodes)):
            total[k] = total[list(nodes[k].parts)].sum(0)
        mean = total / total[:, :1]
        variance = np.maximum(mean[:, 7:9] - mean[:, 5:7] ** 2, 0)
        return cls(total[:, 0], mean[:, 1], mean[:, 2:5] + origin, np.sqrt(variance).sum(1))

    def take(self, index: np.ndarray) -> RegionSums:
        """Those of some regions."""
        return RegionSums(*(getattr(self, f.name)[index] for f in fields(self)))


def features(
    nodes: Sequence[Node],
    boxes: Sequence[Box3D],
    sums: RegionSums,
    voxel_m: float,
    structure: Structure,
    frames: int,
) -> np.ndarray:
    """Features (M, F) of regions with tight boxes in `frames` views, as `FEATURES`."""
    area = sums.count * voxel_m**2
    box = np.array([b.array() for b in boxes])
    small, middle, large = np.sort(box[:, 3:], axis=1).T
    shell = 2 * (small * middle + middle * large + small * large)
    thin, middle, large = np.log(small / 0.1), np.log(middle / 0.2), np.log(large / 0.4)
    floor = 0.0 if structure.floor is None else structure.floor.offset
    low = np.minimum(box[:, 2] - box[:, 5] / 2 - floor, 1.5)
    wall = np.zeros(len(nodes))
    for plane in structure.walls:
        wall[np.abs(plane.height(sums.point)) < 0.08] = 1
    border = np.array([node.border for node in nodes])
    contacts = border[:, 0]
    step, concave, on = (border[:, [1, 3, 4]] / np.maximum(contacts, 1)[:, None]).T
    step = step / (step + 8)
    outline = np.minimum(contacts / np.sqrt(sums.count) / 10, 3)
    chroma = np.minimum(sums.chroma / 20, 1.5)
    seen = np.full(len(nodes), min(frames, 8))
    size = np.log(area / 0.05)
    inner = np.array([node.inner for node in nodes])
    outer = np.array([node.outer for node in nodes])
    single = np.array([len(node.segments) == 1 for node in nodes])
    return np.column_stack(
        [
            np.ones(len(nodes)),
            inner,
            outer,
            inner * outer,
            size,
            size * size / 4,
            thin,
            middle,
            large,
            np.minimum(area / shell, 1),
            low,
            low < 0.12,
            wall,
            np.minimum(sums.views / seen, 1),
            seen / 8,
            (seen / 8) ** 2,
            single,
            np.minimum(contacts / sums.count, 3),
            outline,
            step,
            concave,
            on,
            on * size,
            inner * step,
            chroma,
            middle * outline,
            low * chroma,
            wall * concave,
            size * size * middle / 4,
            wall * large,
            wall * thin,
        ]
    )
