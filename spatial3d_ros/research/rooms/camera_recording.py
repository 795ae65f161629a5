"""Recordings of generated rooms: camera frames and their ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.research.rooms.catalog import Room
from spatial3d_ros.research.rooms.paths import hand_path, robot_path
from spatial3d_ros.research.rooms.render import RoomRenderer
from spatial3d_ros.research.rooms.sensor import ColorNoise, DepthNoise, PoseNoise
from spatial3d_ros.research.rooms.views import choose_views
from spatial3d_ros.scene.frame import Frame

_PATHS = {"robot": robot_path, "hand": hand_path}


@dataclass(frozen=True, eq=False)
class Recording:
    """Frames of one camera path through a room.

    instances: per frame (H, W) int32 object ids, -1 for walls, floor and ceiling.
    pixels: (n frames, n objects) int64, how many pixels of each object each frame shows.
    The ground truth of the objects is `room.objects`.
    """

    room: Room
    frames: list[Frame]
    instances: list[np.ndarray]
    pixels: np.ndarray


def record(
    room: Room,
    seed: int,
    n_frames: int,
    camera: Camera,
    path: str = "robot",
    noise: bool = True,
    rate_hz: float = 15.0,
    supersample: int = 1,
) -> Iterator[tuple[Frame, np.ndarray]]:
    """Frames and their (H, W) int32 object ids one by one, for recordings too long for memory.

    Raises:
        ConfigError: an unknown `path`.
    """
    if path not in _PATHS:
        raise ConfigError(f"path: '{path}' is unknown; use one of {', '.join(_PATHS)}")
    rng = np.random.default_rng((seed, 17))
    renderer = RoomRenderer(room)
    for k, pose in enumerate(_PATHS[path](room, n_frames, rng)):
        view = renderer.render(camera, pose, supersample)
        rgb, depth = view.rgb, view.depth
        if noise:
            rgb, depth = ColorNoise().apply(rgb, rng), DepthNoise().apply(view, rng)
            pose = PoseNoise().apply(pose, rng)
        yield Frame(round(k * 1e9 / rate_hz), rgb, depth, camera, pose), view.instance


def make_recording(
    room: Room,
    seed: int,
    n_frames: int,
    camera: Camera,
    path: str = "robot",
    noise: bool = True,
    rate_hz: float = 15.0,
) -> Recording:
    """All of `record` at once, with the visible pixels of every object counted."""
    pairs = list(record(room, seed, n_frames, camera, path, noise, rate_hz))
    count = len(room.objects)
    pixels = [np.bincount(ids.ravel() + 1, minlength=count + 1)[1:] for _, ids in pairs]
    return Recording(room, [f for f, _ in pairs], [ids for _, ids in pairs], np.array(pixels))


def training_views(
    room: Room,
    rng: np.random.Generator,
    n_views: int,
    size: tuple[int, int] = (112, 112),
    supersample: int = 2,
) -> dict[str, np.ndarray]:
    """A few views that together show nearly all of a room, with sensor and pose noise.

    The camera is a 640 x 480 one of random field of view whose images are scaled to `size`
    (width, height).

    Returns:
        rgb (V, H, W, 3) uint8; depth (V, H, W) float32 metres, 0 where missing; instance (V, H, W)
        int32, -1 for the shell; poses (V, 4, 4) float64 world_T_camera; camera (fx, fy, cx, cy).
    """
    focal = 320 / np.tan(np.radians(rng.uniform(55, 70)) / 2)
    camera = Camera(640, 480, focal, focal, 320.0, 240.0).scaled(*size)
    renderer = RoomRenderer(room)
    poses = choose_views(room, renderer, camera, rng, n_views)
    views = [renderer.render(camera, pose, supersample) for pose in poses]
    return {
        "rgb": np.stack([ColorNoise().apply(view.rgb, rng) for view in views]),
        "depth": np.stack([DepthNoise().apply(view, rng) for view in views]),
        "instance": np.stack([view.instance for view in views]),
        "poses": np.stack([PoseNoise().apply(pose, rng) for pose in poses]),
        "camera": np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
    }
