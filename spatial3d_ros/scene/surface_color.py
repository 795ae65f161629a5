"""Names of the colors of surfaces as people give them, whatever exposure and tint of the camera.

Colors are compared under the light of their images: the brightest tenth counts as nearly white, and
the tint of bright surfaces as none. What people call red or brown in a room is much duller than the
pure colors, so names follow hue and lightness, not distances to those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from spatial3d_ros.scene.label_distribution import Labels, ranked

STEP = 16  # pixels between those that measure the light
BRIGHT, WHITE = 0.9, 0.8  # this quantile of the luminance is made this luminance
MAX_GAIN = 4.0
TINT_SHARE, MAX_TINT = 0.5, 8.0  # of the color of bright surfaces that is that of the light
MIN_PIXELS = 50
DULL, DULL_SLOPE, SOFT = 4.0, 0.1, 1.5  # chroma (CIE Lab) below which a color has no hue
DARK, LIGHT, SLOPE = 36.0, 58.0, 4.0  # lightness between black and gray, gray and white
BROWN = 62.0  # lightness below which orange and yellow hues are brown
VIVID = 38.0  # chroma from which a dark orange is still orange
HUES = (("red", 8.0), ("orange", 62.0), ("yellow", 92.0), ("green", 130.0), ("blue", 272.0),
        ("purple", 332.0))  # fmt: skip
HUE_SOFT = 12.0  # degrees
SHADOW, GLARE = 0.1, 0.05  # darkest and brightest shares of a surface that do not count
HUE_WEIGHT = 3.0  # of a patch with a hue against a dull one: a green chair has black legs

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True)
class Light:
    """Exposure and tint of some images: `gain` of linear RGB, `tint` (a, b) at lightness 100."""

    gain: float = 1.0
    tint: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, images: Iterable[np.ndarray]) -> Light:
        """The light of images (H, W, 3) uint8 RGB; a neutral one for few or black pixels."""
        pixels = [image[::STEP, ::STEP].reshape(-1, 3) for image in images]
        rgb = np.concatenate(pixels) if pixels else np.empty((0, 3), np.uint8)
        linear = _linear(rgb)
        bright = float(np.quantile(linear @ _LUMINANCE, BRIGHT)) if len(rgb) >= MIN_PIXELS else 0.0
        if bright <= 0:
            return cls()
        gain = float(np.clip(WHITE / bright, 1 / MAX_GAIN, MAX_GAIN))
        lab = _lab(linear * gain)
        upper = lab[lab[:, 0] >= np.median(lab[:, 0])]
        level = max(float(np.median(upper[:, 0])), 1.0)
        tint = np.median(upper[:, 1:], axis=0) * 100 / level * TINT_SHARE
        tint *= min(1.0, MAX_TINT / max(float(np.linalg.norm(tint)), 1e-6))
        return cls(gain, (float(tint[0]), float(tint[1])))

    def lab(self, rgb: np.ndarray) -> np.ndarray:
        """CIE Lab (n, 3) under this light of colors (n, 3) in 0 .. 255."""
        lab = _lab(_linear(rgb) * np.float32(self.gain))
        lab[:, 1:] -= lab[:, :1] / 100 * np.array(self.tint, np.float32)
        return lab

    def color_names(self, rgb: np.ndarray) -> Labels:
        """The names of the colors of a surface and their shares, largest first: patches or pixels
        (n, 3) in 0 .. 255; its shadows and highlights do not count. () for none.
        """
        if not len(rgb):
            return ()
        lab = self.lab(rgb)
        low, high = np.quantile(lab[:, 0], (SHADOW, 1 - GLARE))
        lab = lab[(lab[:, 0] >= low) & (lab[:, 0] <= high)]
        shares, hued = _shares(lab)
        weight = 1 + (HUE_WEIGHT - 1) * hued
        total = (weight[:, None] * shares).sum(0) / weight.sum()
        return ranked(zip(_NAMES, total.tolist(), strict=True))


_NAMES = ("black", "gray", "white", "brown", *(name for name, _ in HUES))


def mixed(one: Labels, other: Labels, share: float) -> Labels:
    """Two distributions as one, in which the other has a share."""
    a, b = dict(one), dict(other)
    if not a or not b:
        return one or other
    names = dict.fromkeys((*a, *b))
    return ranked((n, (1 - share) * a.get(n, 0.0) + share * b.get(n, 0.0)) for n in names)


def _shares(lab: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each name fits, (n, names), and how far a color has a hue, (n,)."""
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360
    hued = _step((chroma - DULL - DULL_SLOPE * lightness) / SOFT)
    black = 1 - _step((lightness - DARK) / SLOPE)
    white = _step((lightness - LIGHT) / SLOPE)
    away = np.abs((hue[:, None] - [angle for _, angle in HUES] + 180) % 360 - 180)
    hues = np.exp(-away / HUE_SOFT)
    hues /= hues.sum(1, keepdims=True)
    warm = hues[:, 1] + hues[:, 2]
    brown = (
        warm
        * (1 - _step((lightness - BROWN) / SLOPE) * (hues[:, 2] / warm))
        * (1 - _step((chroma - VIVID) / SLOPE))
    )
    hues[:, 1:3] *= (1 - brown / np.maximum(warm, 1e-9))[:, None]
    plain = np.stack([black, (1 - black) * (1 - white), white, np.zeros_like(black)], 1)
    named = np.column_stack([np.zeros((len(lab), 3)), brown, hues])
    plain = np.column_stack([plain, np.zeros_like(hues)])
    return hued[:, None] * named + (1 - hued)[:, None] * plain, hued


def _step(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))


def _linear(rgb: np.ndarray) -> np.ndarray:
    c = np.asarray(rgb, np.float32) / np.float32(255)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _lab(linear: np.ndarray) -> np.ndarray:
    """CIE Lab (n, 3) float32 of linear RGB (n, 3), which is clipped to 0 .. 1."""
    image = np.ascontiguousarray(np.clip(linear, 0, 1), np.float32)[None]
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_LRGB2Lab)[0]) if len(linear) else linear
