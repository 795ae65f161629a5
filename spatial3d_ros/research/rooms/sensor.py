"""Noise models of an RGB-D camera and of localization."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from spatial3d_ros.research.rooms.catalog import Room
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
    """Noise of `sigma` gray levels, and a brightness that varies by a share of `exposure`.

    blur: standard deviation in pixels of defocus, at most; smear: length in pixels of a motion
    blur, at most; half of the images have neither. bright: brightness of all images.
    """

    sigma: float = 2.5
    exposure: float = 0.04
    blur: float = 0.0
    smear: float = 0.0
    bright: float = 1.0

    @classmethod
    def of_room(cls, room: Room, size: int) -> ColorNoise:
        """The camera of a room of the full catalog, for images of `size` pixels across; the usual
        noise in other rooms.
        """
        if not any(item.look is not None for item in room.objects):
            return cls()
        rng = np.random.default_rng((room.seed, 29))
        return cls(
            sigma=float(rng.uniform(1.0, 6.0)),
            exposure=float(rng.uniform(0.02, 0.15)),
            blur=float(rng.uniform(0, 1.4)) * size / 640,
            smear=float(rng.uniform(0, 6)) * size / 640,
            bright=float(rng.uniform(0.85, 1.35)),
        )

    def apply(self, rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        image = rgb.astype(np.float32)
        if (self.blur or self.smear) and rng.random() < 0.5:
            image = self._blurred(image, rng)
        grain = rng.standard_normal(rgb.shape, dtype=np.float32) * np.float32(self.sigma)
        gain = np.float32(self.bright * (1 + self.exposure * rng.uniform(-1, 1)))
        return np.clip(image * gain + grain + 0.5, 0, 255).astype(np.uint8)

    def _blurred(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sigma, length = self.blur * rng.random(), self.smear * rng.random()
        if sigma > 0.3:
            image = cv2.GaussianBlur(image, (0, 0), sigma)
        reach = int(np.ceil(length / 2))
        if length > 1:
            angle, size = rng.uniform(0, np.pi), 2 * reach + 1
            kernel = np.zeros((size, size), np.float32)
            step = np.linspace(-length / 2, length / 2, 2 * size)
            columns = np.round(reach + np.cos(angle) * step).astype(int)
            kernel[np.round(reach + np.sin(angle) * step).astype(int), columns] = 1
            image = cv2.filter2D(image, -1, kernel / kernel.sum())
        return image


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
