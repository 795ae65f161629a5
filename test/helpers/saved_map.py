"""A memory folder as a node leaves it: four objects, two rooms, events and a picture."""

from __future__ import annotations

import cv2
import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.maps import change_map
from spatial3d_ros.memory.presence import box_points
from spatial3d_ros.memory.records import Event, MemoryObject, Picture, Session
from spatial3d_ros.memory.regions import Region

SECOND = 10**9
YESTERDAY = 1_790_000_000 * SECOND
LAST = YESTERDAY + 86_400 * SECOND
SOFA, TABLE, MUG, CHAIR = range(4)
BOXES = {
    "sofa": Box3D((2.6, 0.0, 0.4), (0.9, 1.8, 0.8)),
    "table": Box3D((-2.5, 0.3, 0.35), (0.8, 1.2, 0.7)),
    "mug": Box3D((-2.3, 0.2, 0.8), (0.16, 0.16, 0.2)),
    "chair": Box3D((1.4, 2.6, 0.45), (0.5, 0.5, 0.9)),
}
ROOMS = [
    Region("kitchen", ((-4.0, -4.0), (0.0, -4.0), (0.0, 4.0), (-4.0, 4.0))),
    Region("living room", ((0.0, -4.0), (4.0, -4.0), (4.0, 4.0), (0.0, 4.0)), 0.0, 2.5),
]


def known_object(number, label, **fields):
    box = BOXES[label]
    values = {
        "first_ns": YESTERDAY, "last_ns": LAST, "session": 2, "color": "red", "hits": 9,
        "label_score": 0.9, "score": 0.9,
    }  # fmt: skip
    return MemoryObject(number, box, label, box_points(box), box.center, **values | fields)


def jpeg():
    return cv2.imencode(".jpg", np.full((32, 32, 3), (40, 60, 200), np.uint8))[1].tobytes()


def write_map(folder):
    """Makes the folder; the mug is missing and the chair was moved."""
    memory = change_map(folder)
    memory.frame_id = "map"
    store = memory.store
    for number, label in enumerate(BOXES):
        state = "missing" if label == "mug" else "confirmed"
        memory.put(known_object(number, label, state=state))
    store.save_session(Session(1, YESTERDAY, YESTERDAY, YESTERDAY + 600 * SECOND))
    store.save_session(Session(2, LAST - 600 * SECOND, LAST - 600 * SECOND, LAST))
    before = Box3D((0.2, 2.6, 0.45), (0.5, 0.5, 0.9))
    stamp = LAST - 300 * SECOND
    store.add_events(
        [
            Event("moved", stamp, CHAIR, "chair", 0.9, before, BOXES["chair"], 2),
            Event("missing", stamp + SECOND, MUG, "mug", 0.97, BOXES["mug"], None, 2),
        ]
    )
    store.add_picture(Picture(SOFA, LAST, 1.0, 0.0, len(jpeg()), jpeg()))
    memory.set_regions(ROOMS)
    memory.close()
    return folder
