"""Names of colors by their distance in CIE Lab, and distances between colors."""

from __future__ import annotations

import numpy as np

from spatial3d_ros.categories import COLORS

_WHITE = np.array([0.95047, 1.0, 1.08883])
_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)  # sRGB, D65


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab (..., 3) under D65 of sRGB colors (..., 3) in 0 .. 255."""
    value = np.clip(np.asarray(rgb, dtype=np.float64) / 255, 0, 1)
    linear = np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    xyz = linear @ _XYZ.T / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


_NAMED = lab(np.array(list(COLORS.values()), float))


def nearest_colors(rgb: np.ndarray) -> np.ndarray:
    """Indices (...) uint8 in categories.COLORS of the nearest named color."""
    offset = lab(rgb)[..., None, :] - _NAMED
    return np.square(offset).sum(-1).argmin(-1).astype(np.uint8)


def color_name(rgb: np.ndarray) -> str:
    """The name of one color (3,)."""
    return tuple(COLORS)[int(nearest_colors(np.asarray(rgb)))]


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """CIE76 distance of two colors (3,): 2.3 is just noticeable, 5 is small."""
    return float(np.linalg.norm(lab(a) - lab(b)))
