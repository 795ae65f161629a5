"""A room of boxes with exact depth, and the object map that perfect eyes would make of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.memory.database import MemoryDatabase
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.state import MemorySettings
from spatial3d_ros.memory.store import MemoryStore
from spatial3d_ros.scene.buffer import View
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import SceneObject

SECOND = 10**9
CAMERA = Camera(240, 180, 165.0, 165.0, 119.5, 89.5)
_V, _U = np.mgrid[: CAMERA.height, : CAMERA.width]
RAYS = np.stack(
    [(_U - CAMERA.cx) / CAMERA.fx, (_V - CAMERA.cy) / CAMERA.fy, np.ones(_U.shape)], axis=2
)
ROOM = Box3D((0.0, 0.0, 1.25), (8.0, 8.0, 2.5))


def render(boxes, eye, target, stamp_ns, frame_id="map"):
    """A frame of the boxes in the room; and which box each pixel shows, -1 for walls."""
    pose = look_at(eye, target)
    rays = (RAYS @ pose[:3, :3].T).astype(np.float32)
    origin = pose[:3, 3].astype(np.float32)
    depth = np.full(rays.shape[:2], np.inf, np.float32)
    owner = np.full(depth.shape, -1)
    inverse = 1 / np.where(rays == 0, 1e-9, rays)
    for index, box in [(-1, ROOM), *enumerate(boxes)]:
        t0, t1 = ((b.astype(np.float32) - origin) * inverse for b in box.bounds())
        near, far = np.minimum(t0, t1).max(2), np.maximum(t0, t1).min(2)
        hit = far if index < 0 else near
        closer = (near <= far) & (far > 0) & (hit > 0.05) & (hit < depth)
        depth[closer], owner[closer] = hit[closer], index
    rgb = np.full((*depth.shape, 3), 128, np.uint8)
    return Frame(stamp_ns, rgb, depth.astype(np.float32), CAMERA, pose, frame_id), owner


class Robot:
    """Looks at a world of labelled boxes and keeps a memory of it in a folder."""

    def __init__(self, folder: Path, things, start_s=1000.0, **settings):
        self.things = dict(things)  # name: (label, box)
        self.database = MemoryDatabase(folder)
        self.events = []
        self.memory = ObjectMemory(
            MemoryStore(self.database), MemorySettings(**settings), self.events.extend
        )
        self.now = round(start_s * SECOND)
        self.next_id = self.memory.next_id
        self.memory.new_id = self.number
        self.views, self.map = [], {}  # map: name to SceneObject, of this session

    def number(self):
        self.next_id += 1
        return self.next_id - 1

    def look(self, eye, target, seconds=1.0, dropped=()):
        """One view; the names in `dropped` are not proposed. Returns the scene by id."""
        self.now += round(seconds * SECOND)
        names = list(self.things)
        frame, owner = render([self.things[n][1] for n in names], eye, target, self.now)
        points = frame.points_world()
        for index, name in enumerate(names):
            label, box = self.things[name]
            visible = points[owner == index]
            if len(visible) < 40 or name in dropped:
                continue
            old = self.map.get(name)
            moved = old and np.linalg.norm(np.subtract(old.box.center, box.center)) > 0.05
            number = self.number() if old is None or moved else old.id
            self.map[name] = SceneObject(
                number, box, (120.0, 60.0, 60.0), 0.9, 3, self.now, visible, label, "red", 0.9
            )
        # The map drops what it sees to be gone.
        for name in list(self.map):
            center = self.map[name].box.center
            if name in self.things and np.allclose(self.things[name][1].center, center, atol=0.05):
                continue
            del self.map[name]
        self.views = [*self.views[-7:], View(self.now, frame)]
        scene = self.memory.update(list(self.map.values()), self.views, "map")
        self.memory.record(scene)
        return {item.id: item for item in scene}

    def tour(self, rounds=2):
        """Looks around from two places; returns the last scene."""
        scene = {}
        for turn in range(8 * rounds):
            angle = turn * np.pi / 4
            eye = (0.4 * (turn % 2), 0.3, 1.4)
            target = (eye[0] + np.cos(angle), eye[1] + np.sin(angle), 1.0)
            scene = self.look(eye, target)
        return scene

    def kinds(self):
        return [(event.kind, event.label) for event in self.events]

    def named(self, label):
        return [o for o in self.memory.objects() if o.label == label]

    def stop(self):
        self.memory.save(now=True)
        self.database.close()


def move(thing, dx, dy):
    label, box = thing
    x, y, z = box.center
    return label, replace(box, center=(x + dx, y + dy, z))


THINGS = {
    "sofa": ("sofa", Box3D((2.6, 0.0, 0.4), (0.9, 1.8, 0.8))),
    "table": ("table", Box3D((-2.5, 0.3, 0.35), (0.8, 1.2, 0.7))),
    "mug": ("mug", Box3D((-2.3, 0.2, 0.8), (0.16, 0.16, 0.2))),
    "chair": ("chair", Box3D((0.2, 2.6, 0.45), (0.5, 0.5, 0.9))),
    "lamp": ("lamp", Box3D((1.0, -2.8, 0.7), (0.4, 0.4, 1.4))),
}
