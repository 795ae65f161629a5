"""A room with two blocks, ray cast: consistent depth, colour and poses for tests of inputs."""

from __future__ import annotations

import numpy as np

from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene.frame import Frame

PERIOD_NS = 200_000_000
CAMERA = Camera(160, 120, 130.0, 130.0, 79.5, 59.5)
ROOM = np.array([[-3.0, -2.5, 0.0], [3.0, 2.5, 2.6]])
BLOCKS = [([0.5, -0.6, 0.0], [1.3, 0.6, 0.8]), ([-1.8, 1.0, 0.0], [-1.0, 2.0, 1.2])]


def ray_cast(world_T_camera):
    """Depth (H, W) along the optical axis, and a colour by surface, of a room with two blocks."""
    v, u = np.mgrid[0:120, 0:160]
    rays = np.stack(
        [(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], -1
    )
    rays = rays @ world_T_camera[:3, :3].T
    origin = world_T_camera[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        to = (ROOM[:, None, None] - origin) / rays
        leave = np.nanmax(to, axis=0)
        depth, surface = leave.min(-1), leave.argmin(-1)
        for number, (low, high) in enumerate(BLOCKS, 1):
            one, other = (np.array(low) - origin) / rays, (np.array(high) - origin) / rays
            enter, out = np.minimum(one, other).max(-1), np.maximum(one, other).min(-1)
            hit = (enter > 0) & (enter < out) & (enter < depth)
            depth = np.where(hit, enter, depth)
            surface = np.where(hit, 3 * number + np.minimum(one, other).argmax(-1), surface)
    shade = np.array([60, 110, 90, 200, 150, 220, 30, 180, 250], np.uint8)[surface]
    return depth.astype(np.float32), np.repeat(shade[..., None], 3, -1)


def frame(number, eye, target):
    """The frame of that number, five a second, from one point towards another."""
    pose = look_at(eye, target)
    depth, rgb = ray_cast(pose)
    return Frame(10**9 + number * PERIOD_NS, rgb, depth, CAMERA, pose, "map")


def turning_frames(count=20):
    """Frames of a camera that moves through the room and turns."""
    eyes = [np.array([-1.6 + 0.08 * k, -1.5 + 0.05 * k, 1.2]) for k in range(count)]
    ahead = [np.array([1.0, 0.3 + 0.06 * k, -0.25]) for k in range(count)]
    return [frame(k, eyes[k], eyes[k] + ahead[k]) for k in range(count)]
