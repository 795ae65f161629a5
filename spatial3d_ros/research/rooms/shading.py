"""Appearance of surfaces: procedural patterns on their color, and the light of a room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spatial3d_ros.research.rooms import shapes

_HASH = np.random.default_rng(11).uniform(-1, 1, (64, 64)).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """A lamp at `position` (3,), daylight along `sun` (3,), ambient light, and intensities.

    `gain` (3,) is the white balance and exposure of the camera.
    """

    position: np.ndarray
    sun: np.ndarray
    lamp: float
    sky: float
    ambient: float
    gain: np.ndarray

    @classmethod
    def of_room(cls, size: tuple[float, float, float], rng: np.random.Generator) -> Light:
        sun = np.array([*rng.normal(0, 1, 2), rng.uniform(0.4, 1.2)])
        return cls(
            position=np.array(
                [*(np.array(size[:2]) * rng.uniform(-0.3, 0.3, 2)), size[2] - 0.15],
                dtype=np.float32,
            ),
            sun=(sun / np.linalg.norm(sun)).astype(np.float32),
            lamp=float(rng.uniform(0.24, 0.38)),
            sky=float(rng.uniform(0.08, 0.22)),
            ambient=float(rng.uniform(0.64, 0.76)),
            gain=(rng.uniform(0.9, 1.08) * rng.uniform(0.95, 1.05, 3)).astype(np.float32),
        )

    def on(self, points: np.ndarray, normals: np.ndarray, lit: np.ndarray) -> np.ndarray:
        """Brightness (n,) of surfaces that face the viewer; `lit` is 1 where the lamp is seen."""
        to_lamp = self.position - points
        near = np.einsum("ij,ij->i", to_lamp, to_lamp)
        facing = np.einsum("ij,ij->i", to_lamp, normals) / np.sqrt(near)
        lamp = np.maximum(facing, 0) * lit * (self.lamp * 1.35) / (1 + 0.06 * near)
        return (
            self.ambient * (1 + 0.14 * normals[:, 2])
            + lamp
            + self.sky * np.maximum(normals @ self.sun, 0)
        )


def _noise(s: np.ndarray, t: np.ndarray, per_metre: float) -> np.ndarray:
    """A random value in -1 .. 1 for every cell of a grid."""
    scale = np.float32(per_metre)
    return _HASH[
        np.floor(s * scale).astype(np.int32) & 63, np.floor(t * scale).astype(np.int32) & 63
    ]


def _wood(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return (
        1
        + 0.05 * np.sin(55 * t + 2.5 * np.sin(3 * s))
        + 0.04 * np.sin(170 * t + 1.5 * np.sin(6 * s))
    )


def _fabric(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 + 0.07 * _noise(s, t, 110) + 0.04 * np.sin(260 * s) * np.sin(260 * t)


def _leather(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 + 0.05 * np.sin(10 * s + 2 * np.sin(7 * t)) * np.sin(9 * t) + 0.02 * _noise(s, t, 60)


def _metal(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 + 0.06 * np.sin(5 * s + 3 * t) + 0.02 * _noise(0 * s, t, 220)


def _carton(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 + 0.04 * _noise(s, 0 * t, 90) + 0.03 * _noise(s, t, 35)


def _leaf(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 + 0.16 * _noise(s, t, 26)


def _stripes(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.where(np.sin(52 * s) > 0, np.float32(1.06), np.float32(0.84)) + 0.04 * _noise(
        s, t, 110
    )


def _planks(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    row = np.floor(t / 0.14)
    along = s + 0.5 * row
    tone = 1 + 0.09 * _noise(along / 1.3, row, 1.0) + 0.03 * np.sin(120 * t + 2 * np.sin(5 * s))
    return np.where((t / 0.14 - row < 0.04) | (along / 1.3 % 1 < 0.005), np.float32(0.68), tone)


def _tiles(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    seam = (s / 0.42 % 1 < 0.02) | (t / 0.42 % 1 < 0.02)
    return np.where(seam, np.float32(0.8), 1 + 0.03 * _noise(s / 0.42, t / 0.42, 1.0))


def _carpet(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 + 0.07 * _noise(s, t, 80) + 0.03 * np.sin(3 * s + np.sin(4 * t))


def _plaster(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 + 0.012 * np.sin(6 * s + 2 * np.sin(5 * t)) + 0.008 * _noise(s, t, 50)


_PATTERNS = {
    shapes.WOOD: _wood,
    shapes.FABRIC: _fabric,
    shapes.LEATHER: _leather,
    shapes.METAL: _metal,
    shapes.CARTON: _carton,
    shapes.LEAF: _leaf,
    shapes.STRIPES: _stripes,
    shapes.PLANKS: _planks,
    shapes.TILES: _tiles,
    shapes.CARPET: _carpet,
    shapes.PLASTER: _plaster,
}


def texture(points: np.ndarray, normals: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Brightness offset (n,) of the pattern at each surface point."""
    tone = np.ones(len(points), dtype=np.float32)
    for code in np.flatnonzero(np.bincount(pattern)):
        if code not in _PATTERNS:
            continue
        at = np.flatnonzero(pattern == code)
        x, y, z = points[at].T
        lying = np.abs(normals[at, 2]) > 0.7
        tone[at] = _PATTERNS[code](np.where(lying, x, x + y), np.where(lying, y, z))
    return tone
