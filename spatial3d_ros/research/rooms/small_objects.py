"""The shapes of small things and of what hangs on walls, one function each (see `parts`)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from spatial3d_ros.research.rooms.parts import CREAM, STEEL, Part
from spatial3d_ros.research.rooms.shapes import FABRIC, GLOW, METAL, PLAIN, STRIPES, WOOD


def _mug(b: Part) -> None:
    r = 0.38 * b.w
    b.lathe([(0, 0), (r, 0), (r, b.h), (0.86 * r, b.h)], b.c)
    b.lathe([(0.86 * r, b.h), (0.86 * r, 0.1 * b.h), (0, 0.1 * b.h)], (236, 230, 220))
    grip, outer = r * 0.9, b.w - r
    for z in (0.22, 0.72):
        b.box((-0.012, grip, z * b.h), (0.012, outer, (z + 0.1) * b.h), b.c)
    b.box((-0.012, outer - 0.012, 0.22 * b.h), (0.012, outer, 0.82 * b.h), b.c)


def _bottle(b: Part) -> None:
    r, neck = b.d / 2, 0.36 * b.d / 2
    shoulder = 0.62 if b.variant else 0.55
    b.lathe(
        [(0, 0), (r, 0), (r, shoulder * b.h), (neck, (shoulder + 0.2) * b.h), (neck, 0.92 * b.h)],
        b.c,
    )
    b.lathe([(1.2 * neck, 0.9 * b.h), (1.2 * neck, b.h), (0, b.h)], b.dark if b.variant else CREAM)
    if b.variant:
        b.lathe([(1.02 * r, 0.22 * b.h), (1.02 * r, 0.42 * b.h)], CREAM)


def _book(b: Part) -> None:
    cover = min(0.2, 0.006 / b.h)
    b.slab(-0.5, 0.5, -0.5, 0.5, 0, cover)
    b.slab(-0.5, 0.5, -0.5, 0.5, 1 - cover, 1)
    b.slab(-0.5, -0.47, -0.5, 0.5, 0, 1)
    b.slab(-0.47, 0.47, -0.48, 0.48, cover, 1 - cover, (232, 226, 208), PLAIN)
    b.slab(-0.1, 0.2, -0.3, 0.3, 1 - cover, 1 + 0.001 / b.h, b.light)


def _box(b: Part) -> None:
    if b.variant:
        b.slab(-0.47, 0.47, -0.47, 0.47, 0, 0.84)
        b.slab(-0.5, 0.5, -0.5, 0.5, 0.78, 1, b.dim)
        return
    b.slab(-0.5, 0.5, -0.5, 0.5, 0, 1)
    tape = min(0.03 / b.w, 0.1)
    b.slab(-0.5 - 0.001, 0.5 + 0.001, -tape, tape, 0.75, 1.002, b.light, PLAIN)


def _bowl(b: Part) -> None:
    r = b.d / 2
    b.lathe(
        [(0, 0), (0.45 * r, 0), (0.5 * r, 0.1 * b.h), (0.85 * r, 0.5 * b.h), (r, b.h)],
        b.c,
        b.p,
        sides=18,
    )
    b.lathe(
        [(r, b.h), (0.92 * r, b.h), (0.75 * r, 0.5 * b.h), (0.4 * r, 0.18 * b.h), (0, 0.15 * b.h)],
        b.light,
        b.p,
        sides=18,
    )


def _vase(b: Part) -> None:
    r, h = b.d / 2, b.h
    if b.variant:
        outline = [
            (0, 0),
            (0.5 * r, 0),
            (0.75 * r, 0.25 * h),
            (r, 0.6 * h),
            (0.85 * r, 0.8 * h),
            (0.42 * r, 0.93 * h),
            (0.55 * r, h),
        ]
    else:
        outline = [
            (0, 0),
            (0.7 * r, 0),
            (r, 0.3 * h),
            (0.8 * r, 0.55 * h),
            (0.35 * r, 0.75 * h),
            (0.4 * r, 0.9 * h),
            (0.62 * r, h),
        ]
    b.lathe(outline, b.c, b.p, sides=16)
    b.lathe([(outline[-1][0], h), (0.22 * r, 0.9 * h), (0, 0.86 * h)], b.dark * 0.6, b.p)
    z = outline[3][1]
    b.lathe(
        [(outline[3][0] * 1.03, z - 0.03 * h), (outline[3][0] * 1.03, z + 0.03 * h)],
        b.light,
        sides=16,
    )


def _laptop(b: Part) -> None:
    thick, hinge = 0.018, -0.22 * b.d
    b.box((hinge, -b.w / 2, 0), (b.d / 2, b.w / 2, thick), b.c, METAL)
    b.box((hinge + 0.03, -0.42 * b.w, thick), (0.12 * b.d, 0.42 * b.w, thick + 0.002), (44, 44, 48))
    top = (-0.5 * b.d + 0.006, 0, b.h)
    b.bar((hinge + 0.006, 0, 0.01), top, (0.006, b.w / 2, 0), b.c, METAL)
    foot, head = (hinge + 0.006, 0.01), (top[0], top[2])
    at = [
        tuple(np.interp(t, (0, 1), pair) for pair in zip(foot, head, strict=True))
        for t in (0.12, 0.93)
    ]
    b.bar(
        (at[0][0] + 0.008, 0, at[0][1]),
        (at[1][0] + 0.008, 0, at[1][1]),
        (0.001, 0.45 * b.w, 0),
        (58, 74, 96),
    )


def _ball(b: Part) -> None:
    r = b.h / 2
    angles = np.linspace(-np.pi / 2, np.pi / 2, 11)
    outline = [(r * math.cos(a), r + r * math.sin(a)) for a in angles]
    b.lathe(outline, b.c, b.p, sides=20)
    if b.variant:
        b.lathe([(1.004 * outline[k][0], outline[k][1]) for k in (4, 5, 6)], CREAM, b.p, sides=20)


def _backpack(b: Part) -> None:
    b.blob((-0.36 * b.d, -0.46 * b.w, 0), (0.3 * b.d, 0.46 * b.w, 0.95 * b.h), b.c, FABRIC, 0.45)
    b.blob(
        (0.1 * b.d, -0.34 * b.w, 0.06 * b.h), (0.5 * b.d, 0.34 * b.w, 0.5 * b.h), b.dim, FABRIC, 0.4
    )
    for side in (-1, 1):
        y = side * 0.24 * b.w
        b.box(
            (-0.5 * b.d, y - 0.025, 0.12 * b.h),
            (-0.34 * b.d, y + 0.025, 0.85 * b.h),
            b.dark,
            FABRIC,
        )
        b.blob(
            (-0.2 * b.d, side * 0.5 * b.w - 0.05, 0.05 * b.h),
            (0.15 * b.d, side * 0.5 * b.w + 0.05, 0.4 * b.h),
            b.dim,
            FABRIC,
            0.5,
        )
    b.box((-0.08 * b.d, -0.12 * b.w, 0.93 * b.h), (0.02 * b.d, 0.12 * b.w, b.h), b.dark, FABRIC)


def _pillow(b: Part) -> None:
    pattern = STRIPES if b.rng.random() < 0.3 else FABRIC
    b.blob((-b.d / 2, -b.w / 2, 0), (b.d / 2, b.w / 2, b.h), b.c, pattern, 0.5)


def _door(b: Part) -> None:
    frame = 0.06 / b.w
    for y0, y1, z0 in ((-0.5, -0.5 + frame, 0), (0.5 - frame, 0.5, 0), (-0.5, 0.5, 1 - 0.06 / b.h)):
        b.slab(-0.5, 0.3, y0, y1, z0, 1, b.light)
    b.slab(-0.5, 0.05, -0.5 + frame, 0.5 - frame, 0, 1 - 0.06 / b.h)
    spans = (
        ((0.08, 0.42), (0.5, 0.92)) if b.variant == 0 else ((0.06, 0.28), (0.34, 0.6), (0.66, 0.92))
    )
    for z0, z1 in spans:
        b.slab(0.05, 0.15, -0.34, 0.34, z0, z1, b.dim)
    b.slab(0.05, 0.5, 0.36, 0.42, 0.47, 0.49, STEEL, METAL)
    b.slab(0.35, 0.5, 0.26, 0.42, 0.47, 0.49, STEEL, METAL)


def _window(b: Part) -> None:
    y, z = 0.09 / b.w, 0.09 / b.h
    b.slab(-0.5, -0.1, -0.5 + y, 0.5 - y, z, 1 - z, (168, 206, 232), GLOW)
    for lo, hi in (
        ((-0.5, 0), (0.5, z)),
        ((-0.5, 1 - z), (0.5, 1)),
        ((-0.5, z), (-0.5 + y, 1 - z)),
        ((0.5 - y, z), (0.5, 1 - z)),
    ):
        b.slab(-0.5, 0.5, lo[0], hi[0], lo[1], hi[1])
    for k in range(1, 2 if b.w < 1.2 else 3):
        mid = -0.5 + k / (2 if b.w < 1.2 else 3)
        b.slab(-0.3, 0.3, mid - 0.4 * y, mid + 0.4 * y, z, 1 - z)
    b.slab(-0.3, 0.2, -0.5 + y, 0.5 - y, 0.6, 0.6 + 0.7 * z)


def _picture(b: Part) -> None:
    y, z = 0.035 / b.w, 0.035 / b.h
    b.slab(-0.5, 0.5, -0.5, 0.5, 0, 1, b.dark, WOOD)
    b.slab(0.5, 0.53, -0.5 + y, 0.5 - y, z, 1 - z, b.c, PLAIN)
    if b.variant == 1:
        b.slab(0.53, 0.55, -0.25, 0.25, 0.25, 0.75, CREAM, PLAIN)
        b.slab(0.55, 0.57, -0.18, 0.18, 0.32, 0.68, b.dim, PLAIN)
    for k in range(0 if b.variant == 1 else 4):
        if b.variant == 0:
            (y0, y1), (z0, z1) = (np.sort(b.rng.uniform(0, 1, 2)) for _ in range(2))
        else:
            y0, y1, z0, z1 = 0, 1, 0.12 + 0.23 * k, 0.2 + 0.23 * k
        tone = b.light if k % 2 else b.dim
        inner = (
            [-0.5 + y + t * (1 - 2 * y) for t in (y0, y1)],
            [z + t * (1 - 2 * z) for t in (z0, z1)],
        )
        b.slab(0.53, 0.54 + 0.01 * k, *inner[0], *inner[1], tone, PLAIN)


SMALL_OBJECTS: dict[str, Callable[[Part], None]] = {
    "mug": _mug,
    "bottle": _bottle,
    "book": _book,
    "box": _box,
    "bowl": _bowl,
    "vase": _vase,
    "laptop": _laptop,
    "ball": _ball,
    "backpack": _backpack,
    "pillow": _pillow,
    "door": _door,
    "window": _window,
    "picture": _picture,
}
