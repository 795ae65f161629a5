"""Noise models of an RGB-D camera and of localization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from spatial3d_ros.research.rooms.render import Rendered


@dataclass(frozen=True)
class DepthNoise:
    """A structured-light camera: the error of its depth grows with the square of the distance.

    Pixels miss at grazing angles, on the far side of depth edges, out of range and at random.

    Attributes:
        axial: standard deviation of the depth, metres per squared metre of depth.
        grazing: cosines between line of sight and normal where pixels always, and begin to, miss.
        edge_step: a jump to a neighbour of more than this share of the depth is an edge.
        edge_loss: chance that a pixel on the far side of an edge misses.
        loss: chance that any pixel misses.
        nearest, farthest: range in metres.
        quantum: the smallest step of the depth, metres.
    """

    axial: float = 0.0012
    grazing: tuple[float, float] = (0.06, 0.18)
    edge_step: float = 0.05
    edge_loss: float = 0.5
    loss: float = 0.003
    nearest: float = 0.25
    farthest: float = 9.0
    quantum: float = 0.001

    def apply(self, rendered: Rendered, rng: np.random.Generator) -> np.ndarray:
        """Measured depth (H, W) float32 in metres, 0 where missing."""
        z = rendered.depth
        noise = rng.standard_normal(z.shape, dtype=np.float32)
        measured = z + np.float32(self.axial) * z * z * noise
        always, begin = self.grazing
        chance = np.clip((begin - rendered.normal_cos) / (begin - always), 0, 1) + self.loss
        chance[self._edges(z)] += self.edge_loss
        lost = rng.random(z.shape, dtype=np.float32) < chance
        lost |= (measured < self.nearest) | (measured > self.farthest)
        measured = np.round(measured / self.quantum) * np.float32(self.quantum)
        return np.where(lost, 0, measured).astype(np.float32)

    def _edges(self, z: np.ndarray) -> np.ndarray:
        """The far side of every depth discontinuity, which the projector does not illuminate."""
        edge = np.zeros(z.shape, dtype=bool)
        limit = 1 - self.edge_step
        edge[:, 1:] |= z[:, :-1] < limit * z[:, 1:]
        edge[:, :-1] |= z[:, 1:] < limit * z[:, :-1]
        edge[1:] |= z[:-1] < limit * z[1:]
        edge[:-1] |= z[1:] < limit * z[:-1]
        return edge


@dataclass(frozen=True)
class ColorNoise:
    """Noise of `sigma` gray levels, and a brightness that varies by a share of `exposure`."""

    sigma: float = 2.5
    exposure: float = 0.04

    def apply(self, rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        grain = rng.standard_normal(rgb.shape, dtype=np.float32) * np.float32(self.sigma)
        gain = np.float32(1 + self.exposure * rng.uniform(-1, 1))
        return np.clip(rgb * gain + grain + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class PoseNoise:
    """Localization error: `position` metres along and `angle` radians about each axis."""

    position: float = 0.006
    angle: float = 0.004

    def apply(self, world_T_camera: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The estimated pose, (4, 4)."""
        noisy = world_T_camera.copy()
        noisy[:3, 3] += rng.normal(0, self.position, 3)
        noisy[:3, :3] @= Rotation.from_rotvec(rng.normal(0, self.angle, 3)).as_matrix()
        return noisy
