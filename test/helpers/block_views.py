"""Views of a small room of blocks, ray cast without a renderer."""

from __future__ import annotations

import numpy as np

from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene.frame import Frame

CAMERA = Camera(320, 240, 260.0, 260.0, 159.5, 119.5)
FLOOR = ((-3, -3, -0.1), (3, 3, 0), (150, 130, 110))
WALL = ((-3, 2.5, 0), (3, 2.6, 2.5), (200, 200, 205))
TABLE_TOP = ((-0.6, -0.4, 0.70), (0.6, 0.4, 0.75), (120, 70, 30))
LEGS = [
    ((x, y, 0), (x + 0.06, y + 0.06, 0.70), (120, 70, 30))
    for x in (-0.6, 0.54)
    for y in (-0.4, 0.34)
]
VASE = ((0.1, -0.1, 0.75), (0.25, 0.05, 1.0), (30, 60, 200))
CRATE = ((1.3, 0.5, 0), (1.8, 1.0, 0.45), (200, 40, 40))
PICTURE = ((-1.9, 2.46, 1.2), (-1.1, 2.5, 1.8), (40, 140, 60))
ROOM = [FLOOR, WALL, TABLE_TOP, *LEGS, VASE, CRATE, PICTURE]
EYES = [(-1.8, -1.8, 1.5), (0.0, -2.2, 1.4), (1.8, -1.8, 1.6), (2.4, -0.4, 1.3), (-2.2, 0.6, 1.5)]


def view(
    blocks: list, eye: tuple, target: tuple, stamp: int = 0, rng=None, pose_noise: float = 0.006
) -> Frame:
    """Ray casts axis-aligned blocks (low, high, rgb) by the slab method; `rng` for noise."""
    pose = look_at(eye, target)
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    rays = np.stack(
        [(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], -1
    )
    rays = rays @ pose[:3, :3].T
    rays = np.where(np.abs(rays) < 1e-9, 1e-9, rays)
    depth, rgb = np.full(u.shape, np.inf), np.zeros((*u.shape, 3))
    for low, high, color in blocks:
        t0, t1 = ((np.array(b) - pose[:3, 3]) / rays for b in (low, high))
        near, far = np.minimum(t0, t1), np.maximum(t0, t1)
        enter = near.max(-1)
        hit = (enter < far.min(-1)) & (enter > 0.02) & (enter < depth)
        depth[hit] = enter[hit]
        shade = np.array([0.8, 0.9, 1.0])[near.argmax(-1)]
        rgb[hit] = (shade[..., None] * np.array(color))[hit]
    depth[~np.isfinite(depth)] = 0
    if rng is not None:
        depth = np.where(depth > 0, depth + 0.0012 * depth**2 * rng.standard_normal(u.shape), 0)
        rgb = rgb + rng.normal(0, 2.5, rgb.shape)
        pose[:3, 3] += rng.normal(0, pose_noise, 3)
    return Frame(stamp, rgb.clip(0, 255).astype(np.uint8), depth.astype(np.float32), CAMERA, pose)


def room_views(n: int = 5, noisy: bool = True, blocks: list = ROOM) -> list[Frame]:
    rng = np.random.default_rng(3) if noisy else None
    return [view(blocks, EYES[k], (0, 0.5, 0.6), k, rng) for k in range(n)]
