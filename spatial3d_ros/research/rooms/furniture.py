"""Meshes of furniture: one function builds one category, in the object frame of `parts`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from spatial3d_ros.research.rooms.parts import CREAM, DARK, STEEL, Part
from spatial3d_ros.research.rooms.shapes import FABRIC, GLOW, LEAF, METAL, PLAIN, STRIPES, WOOD


def _table(b: Part) -> None:
    top = 1 - 0.045 / b.h
    if b.variant == 2:
        b.lathe(
            [(0, top * b.h), (b.d / 2, top * b.h), (b.d / 2, b.h), (0, b.h)],
            b.c,
            b.p,
            stretch=b.w / b.d,
            sides=24,
        )
        b.rod(0, 0, 0, top * b.h, 0.05, b.dark, b.p)
        b.lathe([(0, 0), (0.3 * b.d, 0), (0.3 * b.d, 0.02), (0.05, 0.05)], b.dark, b.p)
        return
    b.slab(-0.5, 0.5, -0.5, 0.5, top, 1)
    if b.variant == 0:
        b.legs(top * b.h, 0.03, 0.02, b.dim)
    else:
        for side in (-1, 1):
            y = side * (b.w / 2 - 0.05)
            b.box((-0.46 * b.d, y - 0.02, 0), (0.46 * b.d, y + 0.02, top * b.h), b.dim, b.p)


def _desk(b: Part) -> None:
    top = 1 - 0.035 / b.h
    b.slab(-0.5, 0.5, -0.5, 0.5, top, 1)
    if b.variant == 0:
        b.legs(top * b.h, 0.025, 0.015, b.dark)
        b.slab(-0.46, -0.43, -0.45, 0.45, 0.5, top, b.dim)
    else:
        for side in (-1, 1):
            b.slab(
                -0.48,
                0.46,
                side * 0.5 - 0.02 * (side + 1),
                side * 0.5 + 0.02 * (1 - side),
                0,
                top,
                b.dim,
            )
        b.slab(-0.48, -0.45, -0.46, 0.46, 0.4, top, b.dim)
    for side in (-0.24, 0.24):
        b.slab(0.0, 0.47, side - 0.2, side + 0.2, 0.86, top, b.light)
        b.slab(0.47, 0.485, side - 0.05, side + 0.05, 0.9, 0.92, DARK, METAL)


def _chair(b: Part) -> None:
    seat = 0.5
    thick = 0.05 if b.variant < 2 else 0.09
    b.slab(-0.5, 0.5, -0.5, 0.5, seat - thick, seat)
    b.legs((seat - thick) * b.h, 0.02, 0.01, b.dim)
    if b.variant == 0:
        b.slab(-0.5, -0.42, -0.48, 0.48, seat, 1)
    elif b.variant == 1:
        for y in (-0.46, -0.16, 0.16, 0.46):
            b.slab(-0.5, -0.42, max(y - 0.05, -0.5), min(y + 0.05, 0.5), seat, 0.9, b.dim)
        b.slab(-0.5, -0.4, -0.5, 0.5, 0.82, 1)
        b.slab(-0.5, -0.43, -0.5, 0.5, 0.64, 0.72)
    else:
        b.slab(-0.48, -0.44, -0.08, 0.08, seat - thick, 0.7, DARK)
        b.blob((-0.5 * b.d, -0.5 * b.w, 0.58 * b.h), (-0.34 * b.d, 0.5 * b.w, b.h), b.c, b.p, 0.4)


def _seat(b: Part, arm: float, cushions: int) -> None:
    """Armchair and sofa: base, back, arms, cushions whose top is the sitting height."""
    sit = 0.5 if cushions == 1 else 0.52
    b.legs(0.1 * b.h, 0.025, 0.02, DARK)
    b.slab(-0.48, 0.48, -0.49, 0.49, 0.08, 0.34, b.dim)
    round_back = 0.35 if b.variant else 0.12
    b.blob((-0.5 * b.d, -0.5 * b.w, 0.1 * b.h), (-0.24 * b.d, 0.5 * b.w, b.h), b.c, b.p, round_back)
    for side in (-1, 1):
        y0, y1 = sorted((side * 0.5, side * (0.5 - arm)))
        b.blob(
            (-0.5 * b.d, y0 * b.w, 0.08 * b.h),
            (0.49 * b.d, y1 * b.w, 0.72 * b.h),
            b.c,
            b.p,
            0.3 if b.variant else 0.1,
        )
    span = (1 - 2 * arm) / cushions
    for k in range(cushions):
        y = -0.5 + arm + k * span
        b.blob(
            ((-0.24) * b.d, (y + 0.004) * b.w, 0.33 * b.h),
            (0.5 * b.d, (y + span - 0.004) * b.w, sit * b.h),
            b.light,
            b.p,
            0.18,
        )


def _armchair(b: Part) -> None:
    _seat(b, 0.18, 1)


def _sofa(b: Part) -> None:
    _seat(b, 0.1, 3 if b.w > 1.9 else 2)


def _bed(b: Part) -> None:
    b.legs(0.2 * b.h, 0.035, 0.02, DARK)
    b.slab(-0.5, -0.46, -0.5, 0.5, 0.1, 1, b.dim, WOOD if b.variant else FABRIC)
    b.slab(-0.46, 0.5, -0.49, 0.49, 0.16, 0.3, b.dark, WOOD)
    b.slab(-0.46, 0.485, -0.48, 0.48, 0.3, 0.5, CREAM, FABRIC)
    b.slab(-0.26, 0.5, -0.5, 0.5, 0.27, 0.52, b.c, FABRIC if b.variant else STRIPES)
    b.slab(-0.26, -0.14, -0.5, 0.5, 0.27, 0.525, b.light, FABRIC)


def _cabinet(b: Part) -> None:
    front = 0.5 - 0.03 / b.d
    b.slab(-0.5, front, -0.5, 0.5, 0.04, 1)
    b.slab(-0.46, front - 0.04, -0.47, 0.47, 0, 0.04, DARK, PLAIN)
    across, up = (
        ((2 if b.w < 1.1 else 3), 1)
        if b.variant == 0
        else ((1 if b.w < 0.9 else 2), 2 + int(b.h > 0.8) + int(b.h > 1.3))
    )
    if b.variant == 2:
        across, up = 2, 2
    for i in range(across):
        for k in range(up):
            y0, y1 = -0.5 + i / across, -0.5 + (i + 1) / across
            z0, z1 = 0.05 + 0.94 * k / up, 0.05 + 0.94 * (k + 1) / up
            gap = 0.012 / b.w
            b.slab(
                front,
                0.5 - 0.012 / b.d,
                y0 + gap,
                y1 - gap,
                z0 + 0.008 / b.h,
                z1 - 0.008 / b.h,
                b.light if b.variant else b.dim,
            )
            y = (y0 + y1) / 2 if b.variant == 1 else (y1 - 0.06 if i % 2 == 0 else y0 + 0.06)
            z = (z0 + z1) / 2
            b.box(
                ((0.5 * b.d) - 0.012, y * b.w - 0.02, z * b.h - 0.02),
                (0.5 * b.d, y * b.w + 0.02, z * b.h + 0.02),
                STEEL,
                METAL,
            )


def _shelf(b: Part) -> None:
    boards = max(3, round(b.h / 0.36) + 1)
    thick = 0.022 / b.h
    if b.variant == 0:
        b.slab(-0.5, -0.47, -0.5, 0.5, 0, 1, b.dim)
        for side in (-1, 1):
            y0, y1 = sorted((side * 0.5, side * (0.5 - 0.022 / b.w)))
            b.slab(-0.5, 0.5, y0, y1, 0, 1)
    else:
        b.legs(b.h, 0.014, 0.0, b.dark)
    for k in range(boards):
        z = (0.03 + 0.97 * k / (boards - 1)) if b.variant == 0 else (0.1 + 0.9 * k / (boards - 1))
        b.slab(-0.49, 0.5, -0.5, 0.5, z - thick, z, b.c)


def _nightstand(b: Part) -> None:
    b.legs(0.2 * b.h, 0.018, 0.01, b.dark)
    front = 0.5 - 0.025 / b.d
    low = 0.16 if b.variant == 0 else 0.6
    b.slab(-0.5, front, -0.5, 0.5, low, 1)
    if b.variant:
        b.legs(0.62 * b.h, 0.015, 0.0, b.dim)
        b.slab(-0.5, front, -0.5, 0.5, 0.16, 0.2)
    drawers = 2 if b.variant == 0 else 1
    for k in range(drawers):
        z0, z1 = (low + (0.97 - low) * (k + j) / drawers for j in (0, 1))
        b.slab(front, 0.5 - 0.01 / b.d, -0.46, 0.46, z0 + 0.02, z1 - 0.02, b.light)
        b.slab(0.46, 0.5, -0.06, 0.06, (z0 + z1) / 2 - 0.02, (z0 + z1) / 2 + 0.02, DARK, METAL)


def _stool(b: Part) -> None:
    r, thick = b.d / 2, 0.05 + 0.02 * b.variant
    b.lathe(
        [
            (0, b.h - thick),
            (0.94 * r, b.h - thick),
            (r, b.h - thick / 2),
            (0.94 * r, b.h),
            (0, b.h),
        ],
        b.c,
        b.p,
        sides=18,
    )
    if b.variant:
        b.rod(0, 0, 0, b.h - thick, 0.03, STEEL, METAL)
        b.lathe([(0, 0), (0.85 * r, 0), (0.85 * r, 0.015), (0.03, 0.04)], b.dark, METAL)
    else:
        for sx in (-1, 1):
            for sy in (-1, 1):
                b.bar(
                    (sx * 0.65 * r, sy * 0.65 * r, 0),
                    (sx * 0.5 * r, sy * 0.5 * r, b.h - thick),
                    (0.018, 0.018, 0),
                    b.dim,
                    b.p,
                )


def _fridge(b: Part) -> None:
    front, split = 0.5 - 0.07 / b.d, 0.66 if b.variant == 0 else 0.36
    b.slab(-0.5, front, -0.5, 0.5, 0.03, 1, b.dim)
    b.slab(-0.45, front, -0.45, 0.45, 0, 0.03, DARK, PLAIN)
    for z0, z1 in ((0.04, split - 0.006), (split + 0.006, 1)):
        b.slab(front, 0.5 - 0.035 / b.d, -0.5, 0.5, z0, z1)
        near = z1 - 0.3 * (z1 - z0) if z0 < 0.1 else z0 + 0.3 * (z1 - z0)
        b.slab(
            0.5 - 0.035 / b.d,
            0.5,
            0.36,
            0.42,
            near - 0.2 * (z1 - z0),
            near + 0.2 * (z1 - z0),
            STEEL,
            METAL,
        )


def _sink(b: Part) -> None:
    top, front = 0.8, 0.46
    b.slab(-0.5, front, -0.49, 0.49, 0.06, top - 0.035)
    b.slab(-0.45, front - 0.05, -0.47, 0.47, 0, 0.06, DARK, PLAIN)
    doors = 2 if b.w < 1.1 else 3
    for k in range(doors):
        y0, y1 = -0.49 + 0.98 * k / doors + 0.01, -0.49 + 0.98 * (k + 1) / doors - 0.01
        b.slab(front, front + 0.02, y0, y1, 0.08, top - 0.05, b.light)
        b.slab(
            front + 0.02,
            front + 0.035,
            (y0 + y1) / 2 - 0.05,
            (y0 + y1) / 2 + 0.05,
            top - 0.1,
            top - 0.085,
            STEEL,
            METAL,
        )
    b.slab(-0.5, 0.5, -0.5, 0.5, top - 0.035, top, (206, 204, 200), PLAIN)
    half = min(0.27, 0.36 * b.w)
    z = top * b.h
    b.box((-0.3 * b.d, -half, z), (0.36 * b.d, half, z + 0.004), STEEL, METAL)
    b.box(
        (-0.26 * b.d, -half + 0.03, z), (0.32 * b.d, half - 0.03, z + 0.006), (92, 96, 102), METAL
    )
    b.rod(-0.4 * b.d, 0, z, b.h - 0.012, 0.016, STEEL, METAL)
    b.box((-0.42 * b.d, -0.013, b.h - 0.026), (-0.05 * b.d, 0.013, b.h), STEEL, METAL)


def _lamp(b: Part) -> None:
    r, tall = b.d / 2, b.h > 0.8
    shade = b.h - max(0.2, (0.24 if tall else 0.5) * b.h)
    b.lathe([(0, b.h), (0.62 * r, b.h), (r, shade), (0, shade)], b.c, GLOW, sides=18)
    if tall:
        b.rod(0, 0, 0, shade, 0.014, DARK, METAL)
        b.lathe(
            [(0, 0), (0.7 * r, 0), (0.7 * r, 0.02), (0, 0.03)],
            DARK if b.variant else b.dark,
            METAL,
        )
    else:
        k = 0.55 * r
        b.lathe(
            [(0, 0), (k, 0), (0.9 * k, 0.3 * shade), (0.3 * k, 0.8 * shade), (0.2 * k, shade)],
            b.dim,
            PLAIN,
        )


def _plant(b: Part) -> None:
    r, pot = b.d / 2, min(0.32 * b.h, 0.34)
    foot = (CREAM, (150, 92, 62), (96, 98, 102))[int(b.rng.integers(3))]
    b.lathe([(0, 0), (0.36 * r, 0), (0.52 * r, pot), (0.44 * r, pot), (0, 0.92 * pot)], foot, PLAIN)
    rng = b.rng
    if b.variant:
        b.rod(0, 0, 0.9 * pot, 0.7 * b.h, 0.014, (92, 74, 48))
        for k in range(9):
            size = np.array([0.42 * r, 0.42 * r, 0.17 * (b.h - pot)]) * rng.uniform(0.8, 1.2)
            angle, reach = 2.4 * k, r * 0.55 * (k > 0)
            middle = (
                reach * math.cos(angle),
                reach * math.sin(angle),
                pot + (b.h - pot) * rng.uniform(0.25, 0.85),
            )
            b.blob(middle - size, middle + size, b.c * rng.uniform(0.75, 1.15), LEAF)
        return
    for k in range(34):
        angle, lift = 2.4 * k, rng.uniform(0.1, 1.4)
        out = np.array(
            [math.cos(angle) * math.cos(lift), math.sin(angle) * math.cos(lift), math.sin(lift)]
        )
        side = np.array([-math.sin(angle), math.cos(angle), 0]) * 0.16 * r
        base = np.array([0, 0, 0.95 * pot])
        tip = base + out * (r, r, b.h - pot) * rng.uniform(0.75, 1.0)
        middle = base + 0.55 * (tip - base) + (0, 0, 0.06 * b.h)
        leaf = np.stack([base, middle - side, tip - (0, 0, 0.05 * b.h), middle + side])
        b.add(leaf, np.array([[0, 1, 3], [1, 2, 3]]), b.c * rng.uniform(0.7, 1.15), LEAF)


def _tv(b: Part) -> None:
    foot = 0.09
    b.slab(-0.5, 0.5, -0.22, 0.22, 0, 0.03, b.dark, PLAIN)
    b.slab(-0.1, 0.1, -0.08, 0.08, 0, 0.2, b.dark, PLAIN)
    b.slab(-0.25, 0.25, -0.5, 0.5, foot, 1, b.c, PLAIN)
    b.slab(0.25, 0.28, -0.455, 0.455, foot + 0.08, 0.93, 0.1 * b.c + (16, 18, 24), PLAIN)


def _bin(b: Part) -> None:
    r = b.d / 2
    if b.variant == 0:
        profile = [(0, 0), (0.76 * r, 0), (r, b.h), (0.93 * r, b.h)]
        b.lathe(profile, b.c, b.p)
        b.lathe([(0.93 * r, b.h), (0.72 * r, 0.06 * b.h), (0, 0.05 * b.h)], b.dark * 0.7, b.p)
    else:
        b.lathe([(0, 0), (0.92 * r, 0), (0.92 * r, 0.84 * b.h)], b.c, b.p)
        b.lathe([(r, 0.82 * b.h), (r, 0.88 * b.h), (0.75 * r, 0.97 * b.h), (0, b.h)], b.dark, b.p)


FURNITURE: dict[str, Callable[[Part], None]] = {
    "table": _table,
    "desk": _desk,
    "chair": _chair,
    "armchair": _armchair,
    "sofa": _sofa,
    "bed": _bed,
    "cabinet": _cabinet,
    "shelf": _shelf,
    "nightstand": _nightstand,
    "stool": _stool,
    "fridge": _fridge,
    "sink": _sink,
    "lamp": _lamp,
    "plant": _plant,
    "tv": _tv,
    "bin": _bin,
}
