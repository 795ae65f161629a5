"""A gripper in the image: its pixels are found while the camera moves, and give no proposals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from helpers.block_views import room_views, view
from spatial3d_ros.scene.camera_fixed import fixed_pixels
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.proposals import propose

ROWS, COLUMNS = slice(180, 240), slice(120, 200)


def with_gripper(frame: Frame) -> Frame:
    depth, rgb = frame.depth.copy(), frame.rgb.copy()
    depth[ROWS, COLUMNS] = 0.3
    rgb[ROWS, COLUMNS] = (90, 90, 95)
    return replace(frame, depth=depth, rgb=rgb)


def test_a_gripper_is_found_and_nothing_else():
    fixed = fixed_pixels([with_gripper(frame) for frame in room_views()])
    assert fixed is not None and fixed[185:235, 125:195].all()
    assert fixed.sum() < 1.5 * 60 * 80
    assert fixed_pixels(room_views()) is None


def test_a_camera_that_stands_still_has_nothing_fixed():
    still = [with_gripper(view([], (0, 0, 1), (1, 1, 0.5), k)) for k in range(6)]
    assert fixed_pixels(still) is None
    assert fixed_pixels(still[:1]) is None and fixed_pixels([]) is None


def test_a_gripper_is_no_proposal():
    frames = room_views()
    eyes = np.stack([frame.world_T_camera[:3, 3] for frame in frames])

    def near(found: list) -> int:
        """Proposals whose centre is within half a metre of a camera."""
        centers = np.array([p.box.center for p in found]).reshape(-1, 3)
        return int((np.linalg.norm(centers[:, None] - eyes, axis=2).min(1) < 0.5).sum())

    assert near(propose([with_gripper(frame) for frame in frames])) == 0 == near(propose(frames))
