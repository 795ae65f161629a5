"""Each object cut out of the views that show it best, at the resolution of the camera."""

from __future__ import annotations

import cv2
import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera, project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.research.rooms.catalog import Room
from spatial3d_ros.research.rooms.render import RoomRenderer
from spatial3d_ros.research.rooms.sensor import ColorNoise

CROP = 64
_LEAST_PIXELS = 4  # of a view
_BORDER = 0.3  # worth of pixels of an object that the image border cuts
Window = tuple[int, int, int, int]


def object_crops(
    room: Room,
    renderer: RoomRenderer,
    camera: Camera,
    poses: list[np.ndarray],
    instance: np.ndarray,
    rng: np.random.Generator,
    *,
    best: int = 2,
    noise: ColorNoise,
) -> tuple[np.ndarray, np.ndarray]:
    """Crops of all objects from their best views.

    camera: at its native resolution, e.g. 640 x 480; poses: (4, 4) world_T_camera of V views;
    instance (V, h, w): ids of the objects in the views at any resolution.

    Returns:
        rgb (n objects, best, CROP, CROP, 3) uint8, black where absent; view (n, best) int8, the
        view of each, -1 where absent.
    """
    rgb = np.zeros((len(room.objects), best, CROP, CROP, 3), np.uint8)
    view = np.full((len(room.objects), best), -1, np.int8)
    for item in room.objects:
        for k, v in enumerate(best_views(instance == item.id)[:best]):
            window = crop_window(item.box, camera, poses[v])
            if window is None:
                continue
            shown = render_window(renderer, camera, poses[v], window)
            rgb[item.id, k] = resize(noise.apply(shown, rng))
            view[item.id, k] = v
    return rgb, view


def best_views(mask: np.ndarray) -> list[int]:
    """Views in the order of how well they show an object, mask (V, h, w); none that hardly do."""
    inner = mask[:, 1:-1, 1:-1].sum((1, 2))
    area = mask.sum((1, 2))
    worth = np.where(inner == area, area, _BORDER * area)
    return [int(v) for v in np.argsort(-worth, kind="stable") if area[v] >= _LEAST_PIXELS]


def crop_window(box: Box3D, camera: Camera, world_T_camera: np.ndarray) -> Window | None:
    """left, top, width, height of the pixels that a box covers; None where it is not in view."""
    pixels, depth = project(transform(invert(world_T_camera), box.corners()), camera)
    if (depth <= 0.05).any():
        return 0, 0, camera.width, camera.height  # the camera is beside the box
    low = np.clip(np.floor(pixels.min(0)), 0, [camera.width - 2, camera.height - 2]).astype(int)
    high = np.clip(np.ceil(pixels.max(0)), low + 2, [camera.width, camera.height]).astype(int)
    if (pixels.max(0) < 0).any() or (pixels.min(0) > [camera.width, camera.height]).any():
        return None
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def render_window(
    renderer: RoomRenderer, camera: Camera, world_T_camera: np.ndarray, window: Window
) -> np.ndarray:
    """RGB of a window at native resolution, large ones scaled down to CROP pixels a side."""
    left, top, width, height = window
    cut = camera.cropped(left, top, width, height)
    small = cut.scaled(min(width, CROP), min(height, CROP))
    coarse = 2 if max(width, height) > 2 * CROP else 1
    return renderer.render(small, world_T_camera, coarse).rgb


def resize(rgb: np.ndarray) -> np.ndarray:
    """To CROP x CROP pixels."""
    return cv2.resize(rgb, (CROP, CROP), interpolation=cv2.INTER_CUBIC)
