"""Lifting of 2D boxes and masks to 3D detections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.camera import Camera, project
from spatial3d_ros.geometry.pose import invert, look_at, transform
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.lifting import Detection2D, lift, rectified_corners

CAMERA = Camera(320, 240, 260.0, 260.0, 159.5, 119.5)
POSE = look_at((0, 0, 1.2), (2, 0, 0))


def room(center=(2.0, 0.0, 0.15), radius=0.15):
    """A ball on a floor in front of a wall at 4 m, ray cast."""
    u, v = np.meshgrid(np.arange(320), np.arange(240))
    rays = np.stack(
        [(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], -1
    )
    way, eye = rays @ POSE[:3, :3].T, POSE[:3, 3]
    with np.errstate(divide="ignore"):
        floor = np.where(way[..., 2] < 0, -eye[2] / way[..., 2], np.inf)
        wall = np.where(way[..., 0] > 0, (4.0 - eye[0]) / way[..., 0], np.inf)
    off = eye - np.array(center)
    a, b, c = (way**2).sum(-1), (way * off).sum(-1), (off**2).sum() - radius**2
    root = b * b - a * c
    ball = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    depth = np.minimum(np.minimum(floor, wall), ball).astype(np.float32)
    rgb = np.where((ball < floor)[..., None], (200, 30, 30), (90, 90, 90)).astype(np.uint8)
    return Frame(5, rgb, depth, CAMERA, POSE), np.isfinite(ball) & (ball <= depth)


def corners(mask, margin=0):
    rows, columns = np.nonzero(mask)
    return tuple(
        float(x)
        for x in (
            columns.min() - margin, rows.min() - margin,
            columns.max() + 1 + margin, rows.max() + 1 + margin,
        )
    )  # fmt: skip


@pytest.mark.parametrize("margin", [0, 8])
@pytest.mark.parametrize("with_mask", [True, False])
def test_ball_on_the_floor_is_lifted_without_the_floor(margin, with_mask):
    frame, mask = room()
    box = Detection2D(corners(mask, margin), "ball", 0.7, mask if with_mask else None)
    seen = lift(box, frame)
    low, high = seen.box.bounds()
    assert high[2] == pytest.approx(0.3, abs=0.04) and low[2] > 0.0
    assert (high - low)[1] == pytest.approx(0.3, abs=0.06)
    assert np.linalg.norm(np.array(seen.box.center[:2]) - (1.92, 0.0)) < 0.1  # its near side
    assert seen.rgb[0] > 180 and (seen.label, seen.score, seen.stamp_ns) == ("ball", 0.7, 5)


def test_box_of_floor_only_is_a_flat_box():
    frame, _ = room(center=(9, 9, 9))
    seen = lift(Detection2D((120, 150, 200, 190), "rug", 0.5), frame)
    assert seen.box.size[2] < 0.05 and abs(seen.box.center[2]) < 0.03
    assert seen.box.size[0] > 0.3 and seen.box.size[1] > 0.3


def test_background_wall_is_left_out():
    frame, mask = room(center=(2.0, 0.0, 1.0), radius=0.2)
    seen = lift(Detection2D(corners(mask, 6), "balloon", 0.5), frame)
    assert seen.box.center[0] < 2.1 and max(seen.box.size) < 0.45


@pytest.mark.parametrize(
    "box", [(-99, -99, -9, -9), (0, 0, 0, 0), (1e30, 0, 2e30, 5), (9, 9, 10, 10)]
)
def test_box_without_depth_is_an_error(box):
    frame, _ = room()
    with pytest.raises(FrameError, match=r"no depth in the box of 'x'"):
        lift(Detection2D(box, "x", 0.5), frame)


def test_corners_of_a_distorted_image_are_rectified():
    bent = replace(CAMERA, distortion_model="plumb_bob", distortion=(-0.3, 0.1, 0.0, 0.0, 0.0))
    ahead = np.array([[0.4, 0.3, 1.0], [-0.4, -0.3, 1.0]])
    x, y = ahead[:, 0], ahead[:, 1]
    r2 = x * x + y * y
    factor = 1 - 0.3 * r2 + 0.1 * r2 * r2
    u, v = CAMERA.fx * x * factor + CAMERA.cx, CAMERA.fy * y * factor + CAMERA.cy
    found = rectified_corners((u.min(), v.min(), u.max(), v.max()), bent)
    truth, _ = project(ahead, CAMERA)
    assert found[0] <= truth[:, 0].min() + 0.5 and found[2] >= truth[:, 0].max() - 0.5
    assert found == pytest.approx((*truth.min(0), *truth.max(0)), abs=8)
    assert rectified_corners((1.0, 2.0, 3.0, 4.0), CAMERA) == (1.0, 2.0, 3.0, 4.0)


def test_points_project_into_the_box():
    frame, mask = room()
    points = lift(Detection2D(corners(mask), "ball", 0.7, mask), frame).points
    uv, _ = project(transform(invert(POSE), points), CAMERA)
    left, top, right, bottom = corners(mask)
    assert (uv >= (left - 1, top - 1)).all() and (uv <= (right, bottom)).all()
