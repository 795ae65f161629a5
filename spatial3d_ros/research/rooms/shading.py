"""Appearance of surfaces: procedural patterns on their color, and the light of a room."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.research.rooms import shapes

_HASH = np.random.default_rng(11).uniform(-1, 1, (64, 64)).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """Lamps at `positions` (n, 3), daylight along `sun` (3,), ambient light, and intensities.

    `lamp` is that of each lamp; `gain` (3,) is the white balance and exposure of the camera.
    """

    positions: np.ndarray
    sun: np.ndarray
    lamp: float
    sky: float
    ambient: float
    gain: np.ndarray

    @classmethod
    def of_room(cls, size: tuple[float, float, float], rng: np.random.Generator) -> Light:
        sun = np.array([*rng.normal(0, 1, 2), rng.uniform(0.4, 1.2)])
        return cls(
            positions=np.array(
                [[*(np.array(size[:2]) * rng.uniform(-0.3, 0.3, 2)), size[2] - 0.15]],
                dtype=np.float32,
            ),
            sun=(sun / np.linalg.norm(sun)).astype(np.float32),
            lamp=float(rng.uniform(0.24, 0.38)),
            sky=float(rng.uniform(0.08, 0.22)),
            ambient=float(rng.uniform(0.64, 0.76)),
            gain=(rng.uniform(0.9, 1.08) * rng.uniform(0.95, 1.05, 3)).astype(np.float32),
        )

    @classmethod
    def several(cls, size: tuple[float, float, float], rng: np.random.Generator) -> Light:
        """One to three lamps: ceiling lamps, or one that stands in the room; colors vary more."""
        count = int(rng.integers(1, 4))
        positions = np.empty((count, 3), np.float32)
        positions[:, :2] = np.array(size[:2]) * rng.uniform(-0.42, 0.42, (count, 2))
        positions[:, 2] = size[2] - 0.15
        if count > 1 and rng.random() < 0.5:
            positions[-1, 2] = rng.uniform(1.2, 2.0)
        sun = np.array([*rng.normal(0, 1, 2), rng.uniform(0.4, 1.2)])
        warm = rng.normal(0, 0.07)
        gain = rng.uniform(0.82, 1.1) * np.array([1 + warm, 1 + 0.2 * warm, 1 - warm])
        return cls(
            positions=positions,
            sun=(sun / np.linalg.norm(sun)).astype(np.float32),
            lamp=float(rng.uniform(0.32, 0.6) / count**0.7),
            sky=float(rng.uniform(0.06, 0.22)),
            ambient=float(rng.uniform(0.5, 0.7)),
            gain=gain.astype(np.float32),
        )

    def on(self, points: np.ndarray, normals: np.ndarray, lit: np.ndarray) -> np.ndarray:
        """Brightness (n,) of surfaces that face the viewer; `lit` (lamps, n) is 1 where a lamp is
        seen.
        """
        bright = self.ambient * (1 + 0.14 * normals[:, 2])
        bright += self.sky * np.maximum(normals @ self.sun, 0)
        for position, seen in zip(self.positions, lit, strict=True):
            to_lamp = position - points
            near = np.einsum("ij,ij->i", to_lamp, to_lamp)
            facing = np.einsum("ij,ij->i", to_lamp, normals) / np.sqrt(near)
            bright += np.maximum(facing, 0) * seen * (self.lamp * 1.35) / (1 + 0.06 * near)
        return bright

    def highlight(
        self, points: np.ndarray, reflected: np.ndarray, lit: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        """What glossy surfaces add (n,): mirror images of the lamps, and of the bright ceiling.

        reflected: (n, 3) unit directions of the mirrored lines of sight.
        """
        strength, power = GLOSS[codes].T
        shine = 0.25 * np.clip(reflected[:, 2], 0, 1) ** 3
        for position, seen in zip(self.positions, lit, strict=True):
            to_lamp = position - points
            to_lamp /= np.sqrt(np.einsum("ij,ij->i", to_lamp, to_lamp))[:, None]
            cosine = np.clip(np.einsum("ij,ij->i", to_lamp, reflected), 0, 1)
            shine += seen * cosine**power
        return strength * shine


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


def _plastic(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 + 0.01 * _noise(s, t, 160)


def _ceramic(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1.03 + 0.015 * np.sin(4 * s + 3 * t)


def _glass(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    streak = np.sin(9 * (s + t)) + np.sin(23 * (s + t) + 1)
    return 1 + 0.09 * (streak > 1.1) + 0.03 * np.sin(3 * t)


def _paper(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 + 0.025 * _noise(s, t, 70) + 0.02 * _noise(s, t, 240)


def _wicker(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    over = (np.floor(s / 0.02) + np.floor(t / 0.02)) % 2 == 0
    ridge = np.where(over, np.sin(np.pi * s / 0.02), np.sin(np.pi * t / 0.02))
    return 0.78 + 0.34 * np.abs(ridge)


def _stone(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    vein = np.abs(np.sin(7 * s + 5 * t + 2 * np.sin(6 * t + 3 * s)))
    return 0.98 + 0.07 * _noise(s, t, 55) - 0.16 * (vein < 0.07)


def _brick(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    row = np.floor(t / 0.08)
    along = s / 0.24 + 0.5 * (row % 2)
    seam = (t / 0.08 - row < 0.1) | (along % 1 < 0.04)
    return np.where(seam, np.float32(1.22), 1 + 0.12 * _noise(np.floor(along), row, 1.0))


def _strong_wood(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Grain that a camera resolves from across a room."""
    rings = np.sin(38 * t + 3.2 * np.sin(2.6 * s) + 1.4 * np.sin(7 * s))
    return 1 + 0.1 * rings + 0.05 * np.sin(150 * t + 2 * np.sin(6 * s)) + 0.03 * _noise(s, t, 90)


def _strong_fabric(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    weave = np.sin(300 * s) * np.sin(300 * t)
    return 0.99 + 0.1 * _noise(s, t, 120) + 0.07 * _noise(s, t, 40) + 0.05 * weave


def _strong_leather(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    crease = np.abs(np.sin(11 * s + 3 * np.sin(8 * t)) + np.sin(13 * t + 2 * np.sin(9 * s)))
    return 1.02 - 0.13 * (crease < 0.16) + 0.04 * _noise(s, t, 70)


def _strong_metal(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 + 0.05 * _noise(0 * s, t, 300) + 0.04 * _noise(0 * s, t, 90)


def _strong_carton(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 + 0.05 * np.sin(420 * s) + 0.05 * _noise(s, 0 * t, 90) + 0.04 * _noise(s, t, 30)


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
    shapes.PLASTIC: _plastic,
    shapes.CERAMIC: _ceramic,
    shapes.GLASS: _glass,
    shapes.PAPER: _paper,
    shapes.WICKER: _wicker,
    shapes.STONE: _stone,
    shapes.BRICK: _brick,
}
_STRONG = {
    shapes.WOOD: _strong_wood,
    shapes.FABRIC: _strong_fabric,
    shapes.LEATHER: _strong_leather,
    shapes.METAL: _strong_metal,
    shapes.CARTON: _strong_carton,
}
"""Textures of the full catalog, where a material has to be seen."""
GLOSS = np.zeros((21, 2), np.float32)  # strength and exponent of the highlight of a texture
GLOSS[shapes.METAL] = 0.5, 14
GLOSS[shapes.PLASTIC] = 0.22, 24
GLOSS[shapes.CERAMIC] = 0.4, 50
GLOSS[shapes.GLASS] = 0.6, 70
GLOSS[shapes.LEATHER] = 0.18, 9
GLOSS[shapes.MIRROR] = 0.6, 90


def surface_coordinates(points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two coordinates (n,) in metres along a surface, from points and normals of its object: along
    the floor for lying surfaces, else across and up.
    """
    x, y, z = points.T
    nx, ny, nz = np.abs(normals).T
    lying = nz > 0.7
    return np.where(lying | (ny >= nx), x, y), np.where(lying, y, z)


def texture(s: np.ndarray, t: np.ndarray, codes: np.ndarray, *, strong: bool = False) -> np.ndarray:
    """Brightness (n,) of the texture at surface coordinates (n,)."""
    tone = np.ones(len(s), dtype=np.float32)
    table = {**_PATTERNS, **_STRONG} if strong else _PATTERNS
    for code in np.flatnonzero(np.bincount(codes)):
        if code in table:
            at = np.flatnonzero(codes == code)
            tone[at] = table[code](s[at], t[at])
    return tone


def motif_mask(s: np.ndarray, t: np.ndarray, motif: np.ndarray, period: np.ndarray) -> np.ndarray:
    """Where (n,) a surface has its second color: half of a striped, checked or dotted one.

    motif: index in categories.PATTERNS; period (n,) metres, negative for turned patterns.
    """
    turned = period < 0
    size = np.abs(period)
    a, b = np.where(turned, t, s) / size, np.where(turned, s, t) / size
    column, row = np.floor(a), np.floor(b)
    dots = (a - column - 0.5) ** 2 + (b - row - 0.5) ** 2 < _DOT_RADIUS**2
    odd = (2 * a - np.floor(a) * 2) >= 1
    checks = odd ^ ((2 * b - np.floor(b) * 2) >= 1)
    return np.choose(motif, [np.zeros(len(s), bool), odd, checks, dots])


_DOT_RADIUS = math.sqrt(0.5 / math.pi)  # half of the surface
