"""Primitive solids of the meshes of a room, collected in one colored triangle mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# Textures: the brightness of a surface of one material on its color (see `shading`).
PLAIN, WOOD, FABRIC, LEATHER, METAL, CARTON, LEAF, STRIPES, GLOW = range(9)
PLANKS, TILES, CARPET, PLASTER, PLASTIC, GLASS, CERAMIC, PAPER, WICKER = range(9, 18)
STONE, MIRROR, BRICK = range(18, 21)

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=bool)
CUBE = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ]
)  # fmt: skip

NEAREST = 255
Color = Sequence[float] | np.ndarray


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles (n, 3, 3) float32 metres, their colors (n, 3) float32 0-255, textures (n,).

    Where `motif` (n,) is not 0, its index in `categories.PATTERNS`, the surface has both `rgb` and
    `second` (n, 3) in a pattern that repeats after `period` (n,) metres; negative: turned. names
    (n, 2) uint8: index in `categories.COLORS` of what both are called, NEAREST for the nearest.
    """

    triangles: np.ndarray
    rgb: np.ndarray
    texture: np.ndarray
    second: np.ndarray
    motif: np.ndarray
    period: np.ndarray
    names: np.ndarray


@lru_cache(maxsize=64)
def grid_faces(rings: int, sides: int) -> np.ndarray:
    """Faces between `rings` rings of `sides` points each."""
    ring, side = np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij")
    a, b = ring * sides + side, ring * sides + (side + 1) % sides
    c, d = a + sides, b + sides
    return np.stack([np.stack([a, b, d], -1), np.stack([a, d, c], -1)], 2).reshape(-1, 3)


@lru_cache(maxsize=16)
def circle(sides: int) -> np.ndarray:
    """Points (sides, 2) of the unit circle."""
    angle = np.arange(sides) * (2 * np.pi / sides)
    return np.stack([np.cos(angle), np.sin(angle)], -1)


@lru_cache(maxsize=16)
def superellipsoid(power: float) -> np.ndarray:
    """Points of a ball (power 1) that becomes a cushion as the power falls, in [-1, 1]^3."""
    up, around = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, 9), np.arange(16) * (np.pi / 8), indexing="ij"
    )

    def soft(value: np.ndarray) -> np.ndarray:
        return np.sign(value) * np.abs(value) ** power

    points = np.stack(
        [
            soft(np.cos(up)) * soft(np.cos(around)),
            soft(np.cos(up)) * soft(np.sin(around)),
            soft(np.sin(up)),
        ],
        -1,
    )
    return points.reshape(-1, 3)


class Builder:
    """Collects solids. Coordinates are metres in the frame of the builder."""

    def __init__(self) -> None:
        self._points: list[np.ndarray] = []
        self._faces: list[np.ndarray] = []
        self._rgb: list[np.ndarray] = []
        self._pattern: list[int] = []
        self._motif: list[tuple[int, float, np.ndarray]] = []
        self._count = 0
        self._names: list[tuple[int, int]] = []
        self.motif: tuple[int, float, Color] | None = None  # of the solids that follow
        self.names = (NEAREST, NEAREST)  # so too: shades of one color keep its name

    def add(self, points: np.ndarray, faces: np.ndarray, rgb: Color, pattern: int = PLAIN) -> None:
        self._points.append(points)
        self._faces.append(faces + self._count)
        color = np.asarray(rgb, dtype=np.float32)
        code, period, second = self.motif or (0, 1.0, color)
        self._rgb.append(color)
        self._names.append(self.names)
        self._motif.append((code, period, np.asarray(second, dtype=np.float32)))
        self._pattern.append(pattern)
        self._count += len(points)

    def box(
        self, lo: Sequence[float], hi: Sequence[float], rgb: Color, pattern: int = PLAIN
    ) -> None:
        self.add(
            np.where(CORNERS, np.asarray(hi, float), np.asarray(lo, float)), CUBE, rgb, pattern
        )

    def bar(
        self,
        start: Sequence[float],
        end: Sequence[float],
        half: Sequence[float],
        rgb: Color,
        pattern: int = PLAIN,
    ) -> None:
        """A prism whose ends are rectangles of half sizes `half` around `start` and `end`."""
        half = np.asarray(half, float)
        lo, hi = np.asarray(start, float), np.asarray(end, float)
        slab = np.argmin(half)  # the ends lie across the axis without thickness
        middle = np.where(CORNERS[:, slab : slab + 1], hi, lo)
        self.add(middle + np.where(CORNERS, half, -half), CUBE, rgb, pattern)

    def lathe(
        self,
        profile: Sequence[tuple[float, float]],
        rgb: Color,
        pattern: int = PLAIN,
        *,
        center: tuple[float, float] = (0.0, 0.0),
        stretch: float = 1.0,
        sides: int = 14,
    ) -> None:
        """Revolve (radius, z) pairs about the vertical through `center`; `stretch` scales y."""
        ends = circle(sides) * (1.0, stretch)
        outline = np.asarray(profile, float)
        points = np.empty((len(outline), sides, 3))
        points[..., :2] = outline[:, None, :1] * ends + center
        points[..., 2] = outline[:, 1:]
        self.add(points.reshape(-1, 3), grid_faces(len(outline), sides), rgb, pattern)

    def rod(
        self,
        x: float,
        y: float,
        z0: float,
        z1: float,
        radius: float,
        rgb: Color,
        pattern: int = PLAIN,
    ) -> None:
        self.lathe(
            [(0, z0), (radius, z0), (radius, z1), (0, z1)], rgb, pattern, center=(x, y), sides=8
        )

    def blob(
        self,
        lo: Sequence[float],
        hi: Sequence[float],
        rgb: Color,
        pattern: int = PLAIN,
        power: float = 1.0,
    ) -> None:
        """A ball (power 1) or cushion (power towards 0) filling the box from `lo` to `hi`."""
        low, high = np.asarray(lo, float), np.asarray(hi, float)
        self.add(
            (low + high) / 2 + superellipsoid(power) * (high - low) / 2,
            grid_faces(9, 16),
            rgb,
            pattern,
        )

    def fitted(self, lo: np.ndarray, hi: np.ndarray, quarter_turns: int) -> Mesh:
        """All solids, rotated and then scaled so that their bounds are exactly `lo` and `hi`."""
        points = np.concatenate(self._points)
        for _ in range(quarter_turns % 4):
            points = np.stack([-points[:, 1], points[:, 0], points[:, 2]], -1)
        low, high = points.min(0), points.max(0)
        return self._mesh(lo + (points - low) * ((hi - lo) / (high - low)))

    def mesh(self) -> Mesh:
        return self._mesh(np.concatenate(self._points))

    def _mesh(self, points: np.ndarray) -> Mesh:
        sizes = [len(faces) for faces in self._faces]
        return Mesh(
            points[np.concatenate(self._faces)].astype(np.float32),
            np.repeat(np.stack(self._rgb), sizes, axis=0),
            np.repeat(np.array(self._pattern, dtype=np.int8), sizes),
            np.repeat(np.stack([second for *_, second in self._motif]), sizes, axis=0),
            np.repeat(np.array([code for code, *_ in self._motif], dtype=np.int8), sizes),
            np.repeat(np.array([p for _, p, _ in self._motif], dtype=np.float32), sizes),
            np.repeat(np.array(self._names, dtype=np.uint8), sizes, axis=0),
        )
