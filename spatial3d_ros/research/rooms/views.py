"""Greedy selection of a few views that show most of a room."""

from __future__ import annotations

import numpy as np

from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.research.rooms.catalog import Room
from spatial3d_ros.research.rooms.crops import object_crops
from spatial3d_ros.research.rooms.render import RoomRenderer
from spatial3d_ros.research.rooms.sensor import ColorNoise, DepthNoise, PoseNoise

_CANDIDATES = 56
_ENOUGH = 2.0  # further views of an object seen this often add nothing


def training_views(
    room: Room,
    rng: np.random.Generator,
    n_views: int,
    size: tuple[int, int] = (112, 112),
    supersample: int = 2,
    crops: int = 0,
) -> dict[str, np.ndarray]:
    """A few views that together show nearly all of a room, with sensor and pose noise.

    The camera is a 640 x 480 one of random field of view whose images are scaled to `size`
    (width, height).

    Returns:
        rgb (V, H, W, 3) uint8; depth (V, H, W) float32 metres, 0 where missing; instance (V, H, W)
        int32, -1 for the shell; color, material, pattern (V, H, W) uint8 of `Rendered`; poses
        (V, 4, 4) float64 world_T_camera; camera (fx, fy, cx, cy). With `crops` also the crops of
        `object_crops`: crops (n, crops, 64, 64, 3) uint8 and crop_views (n, crops) int8.
    """
    focal = 320 / np.tan(np.radians(rng.uniform(55, 70)) / 2)
    native = Camera(640, 480, focal, focal, 320.0, 240.0)
    camera = native.scaled(*size)
    renderer = RoomRenderer(room)
    poses = choose_views(room, renderer, camera, rng, n_views)
    views = [renderer.render(camera, pose, supersample) for pose in poses]
    noise = ColorNoise.of_room(room, size[0])
    made = {
        "rgb": np.stack([noise.apply(view.rgb, rng) for view in views]),
        "depth": np.stack([DepthNoise().apply(view, rng) for view in views]),
        "instance": np.stack([view.instance for view in views]),
        "color": np.stack([view.color for view in views]),
        "material": np.stack([view.material for view in views]),
        "pattern": np.stack([view.pattern for view in views]),
        "poses": np.stack([PoseNoise().apply(pose, rng) for pose in poses]),
        "camera": np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
    }
    if crops:
        made["crops"], made["crop_views"] = object_crops(
            room, renderer, native, poses, made["instance"], rng,
            best=crops, noise=ColorNoise.of_room(room, native.width),
        )  # fmt: skip
    return made


def choose_views(
    room: Room, renderer: RoomRenderer, camera: Camera, rng: np.random.Generator, n_views: int
) -> list[np.ndarray]:
    """`n_views` poses (4, 4) world_T_camera that together see nearly every object, most twice.

    Candidates are drawn at the heights of a robot's and of a hand-held camera, away from all
    objects; each step takes the one with the largest gain.
    """
    poses = _candidates(room, rng)
    seen = _seen(renderer, camera, poses)
    total = np.zeros(seen.shape[1])
    chosen: list[int] = []
    for _ in range(n_views):
        gain = (np.minimum(total + seen, _ENOUGH) - np.minimum(total, _ENOUGH)).sum(1)
        # A pose is chosen once; with equal gain the one that sees more objects wins.
        gain = gain + 0.02 * seen.sum(1)
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        total += seen[best]
    return [poses[k] for k in rng.permutation(chosen)]


def _candidates(room: Room, rng: np.random.Generator) -> np.ndarray:
    """Poses (n, 4, 4) in free space that point at a target at least 0.8 m away."""
    half = np.array(room.size[:2]) / 2
    boxes = np.array([item.box.array() for item in room.objects])
    lo, hi = boxes[:, :3] - boxes[:, 3:] / 2, boxes[:, :3] + boxes[:, 3:] / 2
    n = 6 * _CANDIDATES
    eyes = np.empty((n, 3))
    eyes[:, :2] = rng.uniform(-1, 1, (n, 2)) * (half - 0.25)
    robot = rng.random(n) < 0.5
    eyes[:, 2] = np.where(robot, rng.uniform(0.6, 1.4, n), rng.uniform(1.2, 1.7, n))
    # A robot needs free floor; a hand-held camera can be over low furniture.
    bottom = np.where(robot, 0.05, eyes[:, 2] - 0.3)[:, None]
    near = (np.abs(eyes[:, None, :2] - boxes[:, :2]) < boxes[:, 3:5] / 2 + 0.22).all(2)
    blocked = near & (hi[:, 2] > bottom) & (lo[:, 2] < eyes[:, 2:] + 0.25)
    eyes = eyes[~blocked.any(1)] if (~blocked.any(1)).sum() >= _CANDIDATES // 3 else eyes
    poses = []
    for eye in eyes[:_CANDIDATES]:
        target = boxes[rng.integers(len(boxes)), :3] + rng.normal(0, 0.25, 3)
        if rng.random() < 0.3:
            target[:2] = rng.uniform(-1, 1, 2) * half
        reach = max(float(np.linalg.norm(target[:2] - eye[:2])), 0.8)
        # Cameras point slightly down, seldom steeply.
        target[2] = np.clip(target[2], eye[2] - 0.75 * reach, eye[2] + 0.1 * reach)
        direction = target - eye
        direction[:2] *= reach / max(float(np.linalg.norm(direction[:2])), 1e-6)
        poses.append(look_at(eye, eye + direction, (*rng.normal(0, 0.02, 2), 1)))
    return np.stack(poses)


def _seen(renderer: RoomRenderer, camera: Camera, poses: np.ndarray) -> np.ndarray:
    """Share of each object's surface samples that each pose sees, (n poses, n objects), 1 at most.

    Half of a solid always faces away; seeing 40 % of the samples counts as all of it.
    """
    objects, count = renderer.samples.shape[:2]
    points = renderer.samples.reshape(-1, 3)
    eyes = np.repeat(poses[:, :3, 3], len(points), axis=0)
    offset = np.tile(points, (len(poses), 1)) - eyes
    turned = np.einsum("pji,pnj->pni", poses[:, :3, :3], offset.reshape(len(poses), -1, 3))
    x, y, z = np.moveaxis(turned, 2, 0)
    deep = np.maximum(z, 1e-3)
    u, v = camera.fx * x / deep + camera.cx, camera.fy * y / deep + camera.cy
    inside = (z > 0.35) & (u > 0) & (u < camera.width - 1) & (v > 0) & (v < camera.height - 1)
    at = np.flatnonzero(inside.ravel())
    clear = np.zeros(inside.size, dtype=bool)
    clear[at] = renderer.clear_sight(eyes[at], eyes[at] + offset[at])
    share = clear.reshape(len(poses), objects, count).mean(2)
    return np.minimum(share / 0.4, 1.0)
