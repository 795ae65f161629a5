"""A room of boxes with exact depth, and the object map that perfect eyes would make of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.database import MemoryDatabase
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.presence import box_points
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.memory.state import MemorySettings
from spatial3d_ros.memory.store import MemoryStore
from spatial3d_ros.research.evaluation.box_views import view_of_boxes
from spatial3d_ros.scene.buffer import View
from spatial3d_ros.scene.objects import SceneObject

SECOND = 10**9
PALETTE = np.random.default_rng(5).integers(30, 226, (40, 3)).astype(np.uint8)
ROOM = Box3D((0.0, 0.0, 1.25), (8.0, 8.0, 2.5))


def render(boxes, eye, target, stamp_ns):
    """A frame of the boxes in the room; and which box each pixel shows, -1 for walls."""
    return view_of_boxes(boxes, ROOM, eye, target, stamp_ns)


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
        self.world_T_true, self.jumped = np.eye(4), 0
        self.views, self.map = [], {}  # map: name to SceneObject, of this session

    def jump(self, world_T_true):
        """From now on the pose of the camera is wrong by this; the map keeps what it had."""
        self.world_T_true, self.jumped = world_T_true, self.now + 1
        self.map = {f"{name} before": item for name, item in self.map.items()}

    def number(self):
        self.next_id += 1
        return self.next_id - 1

    def look(self, eye, target, seconds=1.0, dropped=()):
        """One view; the names in `dropped` are not proposed. Returns the scene by id."""
        self.now += round(seconds * SECOND)
        names = list(self.things)
        frame, owner = render([self.things[n][1] for n in names], eye, target, self.now)
        frame = replace(
            frame, rgb=PALETTE[owner], world_T_camera=self.world_T_true @ frame.world_T_camera
        )
        yaw = np.arctan2(self.world_T_true[1, 0], self.world_T_true[0, 0])
        points = frame.points_world()
        for index, name in enumerate(names):
            label, box = self.things[name]
            box = box.rotated(yaw)
            box = replace(box, center=tuple(np.add(box.center, self.world_T_true[:3, 3])))
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
            if self.jumped and self.map[name].stamp_ns < self.jumped:
                if self.now - self.jumped > 6 * SECOND:
                    del self.map[name]
                continue
            true = self.things[name][1].center if name in self.things else (1e3,) * 3
            true = self.world_T_true[:3, :3] @ true + self.world_T_true[:3, 3]
            if not np.allclose(true, center, atol=0.05):
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


def thing(number, label, x, y=0.0, color="", state="remembered", size=0.3, last_ns=10, **more):
    """A record of an object of 0.3 m at (x, y, 0.5)."""
    box = Box3D((x, y, 0.5), (size,) * 3)
    return MemoryObject(
        number, box, label, box_points(box), box.center, 1, last_ns, 1, state=state, hits=9,
        color=color, label_score=1.0, **more,
    )  # fmt: skip


THINGS = {
    "sofa": ("sofa", Box3D((2.6, 0.0, 0.4), (0.9, 1.8, 0.8))),
    "table": ("table", Box3D((-2.5, 0.3, 0.35), (0.8, 1.2, 0.7))),
    "mug": ("mug", Box3D((-2.3, 0.2, 0.8), (0.16, 0.16, 0.2))),
    "chair": ("chair", Box3D((0.2, 2.6, 0.45), (0.5, 0.5, 0.9))),
    "lamp": ("lamp", Box3D((1.0, -2.8, 0.7), (0.4, 0.4, 1.4))),
}
