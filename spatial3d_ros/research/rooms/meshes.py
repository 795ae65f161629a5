"""Meshes of the objects of a room, with exactly the bounds of their boxes, and of the room."""

from __future__ import annotations

import math

import numpy as np

from spatial3d_ros.research.rooms.catalog import Room, RoomObject
from spatial3d_ros.research.rooms.furniture import FURNITURE
from spatial3d_ros.research.rooms.parts import Part
from spatial3d_ros.research.rooms.shapes import CARPET, PLANKS, PLASTER, TILES, Builder, Mesh
from spatial3d_ros.research.rooms.small_objects import SMALL_OBJECTS

_BUILDERS = FURNITURE | SMALL_OBJECTS


def object_mesh(item: RoomObject) -> Mesh:
    """The object's mesh in world coordinates; its bounds are those of `item.box`."""
    part = Part(item)
    _BUILDERS[item.category](part)
    center, size = np.array(item.box.center), np.array(item.box.size)
    return part.fitted(center - size / 2, center + size / 2, round(item.heading / (math.pi / 2)))


def shell_mesh(room: Room) -> Mesh:
    """Floor, ceiling and walls, seen from inside."""
    rng = np.random.default_rng((room.seed, 5))
    x, y, z = room.size[0] / 2, room.size[1] / 2, room.size[2]
    floors = {
        PLANKS: ((158, 122, 86), (190, 160, 124), (122, 92, 66)),
        TILES: ((186, 184, 178), (160, 164, 168), (202, 190, 172)),
        CARPET: ((150, 148, 142), (128, 134, 144), (168, 156, 142)),
    }
    pattern = int(rng.choice(list(floors)))
    floor = np.array(floors[pattern][int(rng.integers(3))]) * rng.uniform(0.92, 1.06)
    tint = 226 + rng.uniform(-14, 14) + rng.uniform(-10, 10, 3)
    shell = Builder()
    corners = np.array([[a, b, c] for a in (-x, x) for b in (-y, y) for c in (0, z)])
    quads = {
        "floor": (0, 2, 6, 4),
        "ceiling": (1, 5, 7, 3),
        "walls": ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6)),
    }
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    shell.add(corners[list(quads["floor"])], faces, floor, pattern)
    shell.add(corners[list(quads["ceiling"])], faces, (240, 240, 238), PLASTER)
    for quad in quads["walls"]:
        shell.add(corners[list(quad)], faces, np.clip(tint, 0, 250), PLASTER)
    return shell.mesh()
