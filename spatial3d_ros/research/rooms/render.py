"""Images of a room by ray casting: color, exact depth, and what every pixel shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from spatial3d_ros.categories import MATERIALS
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.research.rooms import shapes
from spatial3d_ros.research.rooms.catalog import Room
from spatial3d_ros.research.rooms.color_names import nearest_colors
from spatial3d_ros.research.rooms.meshes import object_mesh, shell_mesh
from spatial3d_ros.research.rooms.shading import (
    GLOSS,
    Light,
    motif_mask,
    surface_coordinates,
    texture,
)

SHELL = -1
UNNAMED = 255
"""In the maps of materials and colors: a surface without a name, or no surface."""
_MATERIAL = {
    shapes.WOOD: "wood", shapes.METAL: "metal", shapes.FABRIC: "fabric",
    shapes.LEATHER: "leather", shapes.PLASTIC: "plastic", shapes.GLASS: "glass",
    shapes.MIRROR: "glass", shapes.CERAMIC: "ceramic", shapes.PAPER: "paper",
    shapes.CARTON: "cardboard", shapes.WICKER: "wicker", shapes.STONE: "stone",
    shapes.LEAF: "leaf", shapes.PLANKS: "wood", shapes.TILES: "ceramic", shapes.CARPET: "fabric",
    shapes.STRIPES: "fabric", shapes.BRICK: "stone",
}  # fmt: skip
_MATERIAL_ID = np.full(32, UNNAMED, np.uint8)
_MATERIAL_ID[list(_MATERIAL)] = [MATERIALS.index(name) for name in _MATERIAL.values()]


@dataclass(frozen=True, eq=False)
class Rendered:
    """The image of an ideal camera.

    rgb (H, W, 3) uint8; depth (H, W) float32 metres along the optical axis; instance (H, W) int32
    object ids, SHELL for walls, floor and ceiling; normal_cos (H, W) float32, the cosine between
    the line of sight and the surface normal (0: grazing). color, material, pattern (H, W) uint8:
    of the surface of each pixel, indices in categories.COLORS, MATERIALS and PATTERNS, UNNAMED
    without one.
    """

    rgb: np.ndarray
    depth: np.ndarray
    instance: np.ndarray
    normal_cos: np.ndarray
    color: np.ndarray
    material: np.ndarray
    pattern: np.ndarray


class RoomRenderer:
    """Ray casting of one room. Construction takes milliseconds; a view scales with its pixels.

    `samples` (n objects, SAMPLES, 3) are points spread over the surface of each object. A window of
    an image is the view of `Camera.cropped`.
    """

    SAMPLES = 10

    def __init__(self, room: Room) -> None:
        meshes = [object_mesh(item) for item in room.objects] + [shell_mesh(room)]
        owners = [item.id for item in room.objects] + [SHELL]
        triangles = np.concatenate([mesh.triangles for mesh in meshes])
        self._rgb = np.stack(
            [np.concatenate([m.rgb for m in meshes]), np.concatenate([m.second for m in meshes])]
        )
        names = np.concatenate([mesh.names for mesh in meshes]).T
        self._colors = np.where(names == shapes.NEAREST, nearest_colors(self._rgb), names)
        self._texture = np.concatenate([mesh.texture for mesh in meshes])
        self._motif = np.concatenate([mesh.motif for mesh in meshes])
        self._period = np.concatenate([mesh.period for mesh in meshes])
        self._owner = np.repeat(np.array(owners, np.int32), [len(m.rgb) for m in meshes])
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        self._normals = (normals / np.maximum(length, 1e-12)).astype(np.float32)
        # SHELL is -1, so the shell's own frame is the last one.
        self._centers = np.zeros((len(room.objects) + 1, 3), np.float32)
        self._turns = np.tile(np.eye(2, dtype=np.float32), (len(room.objects) + 1, 1, 1))
        for item in room.objects:
            self._centers[item.id] = item.box.center
            cos, sin = np.cos(item.heading), np.sin(item.heading)
            self._turns[item.id] = [[cos, sin], [-sin, cos]]
        # Rooms of the basic catalog have one lamp and dull surfaces.
        self._rich = any(item.look is not None for item in room.objects)
        make = Light.several if self._rich else Light.of_room
        self._light = make(room.size, np.random.default_rng((room.seed, 3)))
        self._scene = EmbreeScene()
        TriangleMesh(self._scene, triangles)
        self.samples = np.stack([_spread(mesh.triangles) for mesh in meshes[:-1]])

    def render(self, camera: Camera, world_T_camera: np.ndarray, supersample: int = 1) -> Rendered:
        """The view of a rectified camera. `supersample` rays per pixel and axis are averaged to its
        color; all else is that of the ray through the pixel's own coordinates.
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
        length = np.sqrt(np.einsum("ij,ij->i", rays, rays))
        cosine = np.abs(cosine) / length
        points = eye + rays * depth[:, None]
        s_t = surface_coordinates(*self._local(points, normals, face))
        layer = self._layer(s_t, face)
        rgb = self._shade(points, normals, rays / length[:, None], s_t, face, layer)
        rgb = rgb.reshape(camera.height, s, camera.width, s, 3).mean(axis=(1, 3))
        seen = face >= 0

        def of_pixels(values: np.ndarray, nothing: float) -> np.ndarray:
            return np.where(seen, values, nothing).reshape(shape)[::s, ::s].copy()

        return Rendered(
            rgb=(np.clip(rgb, 0, 255) + 0.5).astype(np.uint8),
            depth=of_pixels(depth, 0).astype(np.float32),
            instance=of_pixels(self._owner[face], SHELL),
            normal_cos=of_pixels(cosine, 0),
            color=of_pixels(self._colors[layer, face], UNNAMED).astype(np.uint8),
            material=of_pixels(_MATERIAL_ID[self._texture[face]], UNNAMED).astype(np.uint8),
            pattern=of_pixels(self._motif[face], 0).astype(np.uint8),
        )

    def clear_sight(self, eyes: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Whether no surface is between each eye (n, 3) and its target (n, 3): (n,) bool."""
        start = np.ascontiguousarray(eyes, dtype=np.float32)
        reach = np.full(len(start), 0.99, np.float32)
        return self._scene.run(start, (targets - start).astype(np.float32), dists=reach) < 0

    def _local(
        self, points: np.ndarray, normals: np.ndarray, face: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points and normals in the frames of their objects, so that textures move with them."""
        owner = self._owner[face]
        local, turned = points - self._centers[owner], normals.copy()
        turns = self._turns[owner]
        local[:, :2] = np.einsum("nij,nj->ni", turns, local[:, :2])
        turned[:, :2] = np.einsum("nij,nj->ni", turns, normals[:, :2])
        return local, turned

    def _layer(self, s_t: tuple[np.ndarray, np.ndarray], face: np.ndarray) -> np.ndarray:
        """1 where a surface shows the second color of its pattern, else 0."""
        layer = np.zeros(len(face), np.int8)
        motif = self._motif[face]
        at = np.flatnonzero(motif)
        layer[at] = motif_mask(s_t[0][at], s_t[1][at], motif[at], self._period[face[at]])
        return layer

    def _shade(
        self,
        points: np.ndarray,
        normals: np.ndarray,
        sight: np.ndarray,
        s_t: tuple[np.ndarray, np.ndarray],
        face: np.ndarray,
        layer: np.ndarray,
    ) -> np.ndarray:
        codes = self._texture[face]
        start = points + normals * np.float32(2e-3)
        reach = np.full(len(points), 0.98, np.float32)
        lit = np.stack(
            [
                self._scene.run(start, position - start, dists=reach) < 0
                for position in self._light.positions
            ]
        ).astype(np.float32)
        bright = self._light.on(points, normals, lit)
        bright = np.where(codes == shapes.GLOW, np.float32(1.02), bright)
        tone = bright * texture(*s_t, codes, strong=self._rich)
        rgb = self._rgb[layer, face] * tone[:, None]
        glossy = np.flatnonzero(GLOSS[codes, 0]) if self._rich else np.empty(0, int)
        if len(glossy):
            away, surface = sight[glossy], normals[glossy]
            mirrored = away - 2 * np.einsum("ij,ij->i", away, surface)[:, None] * surface
            shine = self._light.highlight(points[glossy], mirrored, lit[:, glossy], codes[glossy])
            rgb[glossy] += 255 * shine[:, None]
            self._reflect(rgb, glossy[codes[glossy] == shapes.MIRROR], start, sight, normals)
        return rgb * self._light.gain

    def _reflect(
        self, rgb: np.ndarray, at: np.ndarray, start: np.ndarray, sight: np.ndarray,
        normals: np.ndarray,
    ) -> None:  # fmt: skip
        """Give mirrors the plain color of what they reflect."""
        if not len(at):
            return
        mirrored = (
            sight[at] - 2 * np.einsum("ij,ij->i", sight[at], normals[at])[:, None] * (normals[at])
        )
        face = self._scene.run(start[at], mirrored)
        cosine = np.abs(np.einsum("ij,ij->i", self._normals[face], mirrored))
        seen = self._rgb[0, face] * (0.55 + 0.35 * cosine)[:, None]
        rgb[at] = np.where((face >= 0)[:, None], 0.9 * seen, rgb[at])


def _spread(triangles: np.ndarray) -> np.ndarray:
    """RoomRenderer.SAMPLES points at equal steps of area along the triangles of a mesh."""
    a, b, c = triangles.transpose(1, 0, 2)
    area = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    steps = (np.arange(RoomRenderer.SAMPLES) + 0.5) / RoomRenderer.SAMPLES
    return triangles[np.searchsorted(area, steps * area[-1])].mean(axis=1)
