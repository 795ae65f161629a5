"""Probability that a region is one whole object: a logistic regression on its features.

Fitted on generated rooms seen from 1 to 16 views; a region is positive at an IoU of 0.5 with an
object.
"""

from __future__ import annotations

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.fusion import VoxelCloud
from spatial3d_ros.scene.planes import Structure
from spatial3d_ros.scene.region_merging import Node

_WEIGHTS = {
    "bias": -3.11,
    "inner": 1.13,
    "outer": -0.96,
    "inner outer": -1.81,
    "area": 1.73,
    "area area": 0.36,
    "thin": 1.27,
    "middle": -0.07,
    "long": -2.70,
    "fill": 0.80,  # visible surface over that of the box
    "low": -0.16,  # height above the floor
    "on floor": 0.26,
    "on wall": -2.15,
    "views": 1.52,  # mean share of the views that show a voxel
    "frames": -0.13,
    "frames frames": -0.41,
    "single": 0.06,  # one segment
    "border": 0.76,  # contacts per voxel
    "outline": -1.23,  # contacts over the perimeter
    "step": -0.29,  # of colour at the border
    "concave": 0.28,  # share of the border
    "on": 2.38,  # share of the border that rests on another region
    "on area": -0.18,
    "inner step": 0.73,
    "chroma": 0.05,  # standard deviation of a and b
    "middle outline": 0.81,
    "low chroma": 1.46,
    "wall concave": -1.64,
    "area area middle": -0.53,
    "wall long": 2.27,
    "wall thin": -1.12,
}
_WEIGHT_VECTOR = np.array([*_WEIGHTS.values()])


def score(rows: np.ndarray) -> np.ndarray:
    """Probabilities (M,) of rows of features (M, F)."""
    return np.asarray(1 / (1 + np.exp(-(rows @ _WEIGHT_VECTOR))))


def features(
    node: Node, box: Box3D, voxels: np.ndarray, cloud: VoxelCloud, structure: Structure, frames: int
) -> np.ndarray:
    """Features (F,) of a region with tight box `box` in `frames` views, as `_WEIGHTS`."""
    area = len(voxels) * cloud.size**2
    small, middle, large = np.sort(box.size)
    shell = 2 * (small * middle + middle * large + small * large)
    thin, middle, large = np.log(small / 0.1), np.log(middle / 0.2), np.log(large / 0.4)
    low = box.bounds()[0][2] - (0 if structure.floor is None else structure.floor.offset)
    point = cloud.point[voxels]
    wall = any(abs(w.height(point).mean()) < 0.08 for w in structure.walls)
    contacts = node.border[0]
    step, concave, on = (node.border[[1, 3, 4]] / max(contacts, 1)).tolist()
    step /= step + 8
    outline = min(contacts / np.sqrt(len(voxels)) / 10, 3)
    chroma = min(cloud.lab[voxels, 1:].std(0).sum() / 20, 1.5)
    frames = min(frames, 8)
    size = np.log(area / 0.05)
    low = min(low, 1.5)
    return np.array(
        [
            1,
            node.inner,
            node.outer,
            node.inner * node.outer,
            size,
            size * size / 4,
            thin,
            middle,
            large,
            min(area / shell, 1),
            low,
            low < 0.12,
            wall,
            min(cloud.views[voxels].mean() / frames, 1),
            frames / 8,
            (frames / 8) ** 2,
            len(node.segments) == 1,
            min(contacts / len(voxels), 3),
            outline,
            step,
            concave,
            on,
            on * size,
            node.inner * step,
            chroma,
            middle * outline,
            low * chroma,
            wall * concave,
            size * size * middle / 4,
            wall * large,
            wall * thin,
        ],
        float,
    )
