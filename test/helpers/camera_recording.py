"""Frames of a camera on a path through a generated room, in memory, with their ground truth."""

from dataclasses import dataclass

import numpy as np

from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.research.rooms.catalog import Room
from spatial3d_ros.research.rooms.paths import hand_path, robot_path
from spatial3d_ros.research.rooms.render import RoomRenderer
from spatial3d_ros.research.rooms.sensor import ColorNoise, DepthNoise, PoseNoise
from spatial3d_ros.scene.frame import Frame


@dataclass(frozen=True, eq=False)
class CameraRecording:
    """instances: per frame (H, W) int32 object ids, -1 for walls, floor and ceiling. pixels:
    (n frames, n objects) int64, how many pixels of each object each frame shows.
    """

    room: Room
    frames: list[Frame]
    instances: list[np.ndarray]
    pixels: np.ndarray


def make_recording(
    room: Room, seed: int, n_frames: int, camera: Camera, path: str = "robot",
    noise: bool = True, rate_hz: float = 15.0,
) -> CameraRecording:  # fmt: skip
    """Record a path, "robot" or "hand"."""
    rng = np.random.default_rng((seed, 17))
    renderer = RoomRenderer(room)
    frames, instances = [], []
    for k, pose in enumerate({"robot": robot_path, "hand": hand_path}[path](room, n_frames, rng)):
        view = renderer.render(camera, pose)
        rgb, depth = view.rgb, view.depth
        if noise:
            rgb, depth = ColorNoise().apply(rgb, rng), DepthNoise().apply(view, rng)
            pose = PoseNoise().apply(pose, rng)
        frames.append(Frame(round(k * 1e9 / rate_hz), rgb, depth, camera, pose))
        instances.append(view.instance)
    count = len(room.objects)
    pixels = [np.bincount(ids.ravel() + 1, minlength=count + 1)[1:] for ids in instances]
    return CameraRecording(room, frames, instances, np.array(pixels))
