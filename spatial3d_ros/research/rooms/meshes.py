"""Meshes of the objects of a room, with exactly the bounds of their boxes, and of the room."""

from __future__ import annotations

import math

import numpy as np

from spatial3d_ros.categories import PATTERNS
from spatial3d_ros.research.rooms.catalog import Room, RoomObject
from spatial3d_ros.research.rooms.furniture import FURNITURE
from spatial3d_ros.research.rooms.parts import Part
from spatial3d_ros.research.rooms.shapes import (
    BRICK,
    CARPET,
    GLOW,
    PLANKS,
    PLASTER,
    TILES,
    Builder,
    Mesh,
)
from spatial3d_ros.research.rooms.small_objects import SMALL_OBJECTS
from spatial3d_ros.research.rooms.solids import kind_mesh

_BUILDERS = FURNITURE | SMALL_OBJECTS


def object_mesh(item: RoomObject) -> Mesh:
    """The object's mesh in world coordinates; its bounds are those of `item.box`."""
    if item.look is not None:
        return kind_mesh(item)
    part = Part(item)
    _BUILDERS[item.category](part)
    center, size = np.array(item.box.center), np.array(item.box.size)
    return part.fitted(center - size / 2, center + size / 2, round(item.heading / (math.pi / 2)))


def shell_mesh(room: Room) -> Mesh:
    """Floor, ceiling and walls, seen from inside; outdoors walls of brick, and the sky in place of
    a ceiling.
    """
    rng = np.random.default_rng((room.seed, 5))
    rich = any(item.look is not None for item in room.objects)
    x, y, z = room.size[0] / 2, room.size[1] / 2, room.size[2]
    floors = {
        PLANKS: ((158, 122, 86), (190, 160, 124), (122, 92, 66)),
        TILES: ((186, 184, 178), (160, 164, 168), (202, 190, 172)),
        CARPET: ((150, 148, 142), (128, 134, 144), (168, 156, 142)),
    }
    pattern = int(rng.choice(list(floors)))
    floor = np.array(floors[pattern][int(rng.integers(3))]) * rng.uniform(0.92, 1.06)
    tint = 226 + rng.uniform(-14, 14) + rng.uniform(-10, 10, 3)
    walls = PLASTER
    if rich:
        floor = np.clip(floor * rng.uniform(0.55, 1.15) + rng.normal(0, 12, 3), 10, 245)
        tint = np.clip(tint - np.abs(rng.normal(0, 34)) + rng.normal(0, 14, 3), 60, 250)
        walls = BRICK if room.outdoor or rng.random() < 0.12 else PLASTER
    if room.outdoor:
        pattern, floor = PLASTER, np.full(3, rng.uniform(70, 130))  # asphalt
    shell = Builder()
    corners = np.array([[a, b, c] for a in (-x, x) for b in (-y, y) for c in (0, z)])
    quads = {
        "floor": (0, 2, 6, 4),
        "ceiling": (1, 5, 7, 3),
        "walls": ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6)),
    }
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    shell.add(corners[list(quads["floor"])], faces, floor, pattern)
    above = ((150, 190, 235), GLOW) if room.outdoor else ((240, 240, 238), PLASTER)
    shell.add(corners[list(quads["ceiling"])], faces, *above)
    feature = int(rng.integers(8)) if rich else 8  # one wall may have another paper or paint
    paper = np.clip(tint * rng.uniform(0.6, 0.95) + rng.normal(0, 16, 3), 30, 250)
    for k, quad in enumerate(quads["walls"]):
        own = k == feature
        shell.motif = None
        if own and walls == PLASTER:
            motif = int(rng.integers(len(PATTERNS)))
            shell.motif = motif, float(rng.uniform(0.12, 0.4)), np.clip(paper * 1.16, 0, 255)
        color = paper if own else np.clip(tint, 0, 250)
        shell.add(corners[list(quad)], faces, color, walls)
    return shell.mesh()
