"""Images of a room by ray casting: color, exact depth, and the object id of every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.research.rooms.catalog import Room
from spatial3d_ros.research.rooms.meshes import object_mesh, shell_mesh
from spatial3d_ros.research.rooms.shading import Light, texture
from spatial3d_ros.research.rooms.shapes import GLOW

SHELL = -1


@dataclass(frozen=True, eq=False)
class Rendered:
    """The image of an ideal camera.

    rgb (H, W, 3) uint8; depth (H, W) float32 metres along the optical axis; instance (H, W) int32
    object ids, SHELL for walls, floor and ceiling; normal_cos (H, W) float32, the cosine between
    the line of sight and the surface normal (0: grazing).
    """

    rgb: np.ndarray
    depth: np.ndarray
    instance: np.ndarray
    normal_cos: np.ndarray


class RoomRenderer:
    """Ray casting of one room. Construction takes milliseconds; a view scales with its pixels.

    `samples` (n objects, SAMPLES, 3) are points spread over the surface of each object.
    """

    SAMPLES = 10

    def __init__(self, room: Room) -> None:
        meshes = [object_mesh(item) for item in room.objects] + [shell_mesh(room)]
        owners = [item.id for item in room.objects] + [SHELL]
        triangles = np.concatenate([mesh.triangles for mesh in meshes])
        self._rgb = np.concatenate([mesh.rgb for mesh in meshes])
        self._pattern = np.concatenate([mesh.pattern for mesh in meshes])
        self._owner = np.repeat(np.array(owners, np.int32), [len(m.rgb) for m in meshes])
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        self._normals = (normals / np.maximum(length, 1e-12)).astype(np.float32)
        self._light = Light.of_room(room.size, np.random.default_rng((room.seed, 3)))
        self._scene = EmbreeScene()
        TriangleMesh(self._scene, triangles)
        self.samples = np.stack([_spread(mesh.triangles) for mesh in meshes[:-1]])

    def render(self, camera: Camera, world_T_camera: np.ndarray, supersample: int = 1) -> Rendered:
        """The view of a rectified camera. `supersample` rays per pixel and axis are averaged to its
        color; depth and object are those of the ray through the pixel's own coordinates.
        """
        s = supersample
        fine = camera.scaled(camera.width * s, camera.height * s)
        shape = (fine.height, fine.width)
        rays = np.empty((*shape, 3), np.float32)
        rays[..., 0] = (np.arange(fine.width) - fine.cx) / fine.fx
        rays[..., 1] = ((np.arange(fine.height) - fine.cy) / fine.fy)[:, None]
        rays[..., 2] = 1
        rays = rays.reshape(-1, 3) @ world_T_camera[:3, :3].T.astype(np.float32)
        eye = world_T_camera[:3, 3].astype(np.float32)
        hits = self._scene.run(np.tile(eye, (len(rays), 1)), rays, output=True)
        # The rays have length 1 along the optical axis, so their parameter is the depth.
        depth, face = hits["tfar"], hits["primID"]
        normals = self._normals[face]
        cosine = np.einsum("ij,ij->i", normals, rays)
        normals = normals * -np.sign(cosine)[:, None]
        cosine = np.abs(cosine) / np.sqrt(np.einsum("ij,ij->i", rays, rays))
        rgb = self._shade(eye + rays * depth[:, None], normals, face)
        rgb = rgb.reshape(camera.height, s, camera.width, s, 3).mean(axis=(1, 3))
        seen = face >= 0
        return Rendered(
            rgb=(np.clip(rgb, 0, 255) + 0.5).astype(np.uint8),
            depth=np.where(seen, depth, 0).astype(np.float32).reshape(shape)[::s, ::s].copy(),
            instance=np.where(seen, self._owner[face], SHELL).reshape(shape)[::s, ::s].copy(),
            normal_cos=cosine.reshape(shape)[::s, ::s].copy(),
        )

    def clear_sight(self, eyes: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Whether no surface is between each eye (n, 3) and its target (n, 3): (n,) bool."""
        start = np.ascontiguousarray(eyes, dtype=np.float32)
        reach = np.full(len(start), 0.99, np.float32)
        return self._scene.run(start, (targets - start).astype(np.float32), dists=reach) < 0

    def _shade(self, points: np.ndarray, normals: np.ndarray, face: np.ndarray) -> np.ndarray:
        pattern = self._pattern[face]
        start = points + normals * np.float32(2e-3)
        reach = np.full(len(points), 0.98, np.float32)
        blocker = self._scene.run(start, self._light.position - start, dists=reach)
        bright = self._light.on(points, normals, (blocker < 0).astype(np.float32))
        bright = np.where(pattern == GLOW, np.float32(1.02), bright)
        tone = bright * texture(points, normals, pattern)
        return self._rgb[face] * tone[:, None] * self._light.gain


def _spread(triangles: np.ndarray) -> np.ndarray:
    """RoomRenderer.SAMPLES points at equal steps of area along the triangles of a mesh."""
    a, b, c = triangles.transpose(1, 0, 2)
    area = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    steps = (np.arange(RoomRenderer.SAMPLES) + 0.5) / RoomRenderer.SAMPLES
    return triangles[np.searchsorted(area, steps * area[-1])].mean(axis=1)
