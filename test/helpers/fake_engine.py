"""An engine without a network: two objects, fixed answers, and a gate that holds questions."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from spatial3d_ros.errors import NoSceneError, NotAvailableError, QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.results import Distance, Grounding, LayoutEdit, ScoredObject

STAGES = ("preprocess", "objects", "decode", "answer")


def scene_object(number, center, label, stamp_ns):
    return SceneObject(
        id=number,
        box=Box3D(center, (0.5, 0.5, 1.0), 0.1),
        rgb=(200.0, 30.0, 30.0),
        label=label,
        color="red",
        score=0.9,
        views=3,
        stamp_ns=stamp_ns,
        points=np.zeros((4, 3), np.float32),
    )


class FakeEngine:
    """Remembers frames and answers every question with its first object, while `gate` is set."""

    def __init__(self, gate=True):
        self.gate = threading.Event()
        if gate:
            self.gate.set()
        self.frames = []
        self.sightings = []
        self.class_images = []
        self.rewinds = 0
        self.refreshes = 0
        self.moved = None
        self.failure = None
        self.refresh_failure = None
        self._lock = threading.Lock()

    def add_frame(self, frame):
        self.frames.append(frame)
        return SimpleNamespace(keyframe=True, version=len(self.frames), reason="moved")

    def add_detections(self, sightings):
        self.sightings += sightings
        return True

    def add_class_image(self, image):
        self.class_images.append(image)

    def forget_views(self):
        self.rewinds += 1

    def refresh(self):
        self.refreshes += 1
        if self.refresh_failure:
            raise self.refresh_failure
        return len(self.frames)

    def clear(self):
        self.frames.clear()

    def close(self):
        pass

    def stats(self):
        return {"model": "fake", "device": "cpu", "views": len(self.frames)}

    def scene(self):
        frames = list(self.frames)
        if not frames:
            raise NoSceneError("nothing was seen yet: start the camera")
        stamp = frames[-1].stamp_ns
        things = (
            self.moved or scene_object(1, (1.0, 2.0, 0.5), "chair", stamp),
            scene_object(2, (4.0, 6.0, 0.5), "table", stamp),
        )
        return SimpleNamespace(
            version=len(frames),
            stamp_ns=stamp,
            frame_id=frames[-1].frame_id,
            views=len(frames),
            objects=things,
        )

    def ground(self, query, *, max_objects=5, conversation_id="", monitor=None):
        scene = self._work(query, monitor)
        best = tuple(ScoredObject(thing, 0.8) for thing in scene.objects[:max_objects])
        return Grounding(query, best, False, "the red chair", 1, **self._tail(scene))

    def measure_distance(
        self, query="", *, a="", b="", kind="auto", conversation_id="", monitor=None
    ):
        scene = self._work(query or f"{a} {b}", monitor)
        one, two = (ScoredObject(thing, 0.8) for thing in scene.objects)
        ends = (one.object.box.center, two.object.box.center)
        kind = "center" if kind == "auto" else kind
        return Distance(
            query, 5.0, kind, one, two, *ends, "5.00 m", uncertainty_m=0.25, network_m=4.5,
            disagreement_m=0.5, alternatives=(two,), **self._tail(scene),
        )  # fmt: skip

    def ask(self, question, *, conversation_id="", monitor=None):
        raise NotAvailableError("the model 'fake' has no part for open questions")

    def edit_layout(self, instruction, *, apply=False, conversation_id="", monitor=None):
        """The chair half a metre further; "impossible" is, and so is nothing that is applied."""
        scene = self._work(instruction, monitor)
        chair = scene.objects[0]
        if "impossible" in instruction:
            reason = "the table is in the way"
            return LayoutEdit(
                instruction, "move", False, reason, False, (chair,), (), reason, **self._tail(scene)
            )
        x, y, z = chair.box.center
        after = replace(chair, box=replace(chair.box, center=(x + 0.5, y, z)))
        if apply:
            self.moved = after
        return LayoutEdit(
            instruction, "move", True, "", True, (chair,), (after,), "the chair moved", apply,
            **self._tail(scene),
        )  # fmt: skip

    def answer(self, query, *, conversation_id="", monitor=None):
        if query.startswith("how far"):
            return self.measure_distance(query, monitor=monitor)
        if query.startswith("move"):
            return self.edit_layout(query, monitor=monitor)
        return self.ground(query, monitor=monitor)

    def _work(self, query, monitor):
        if not query.strip():
            raise QueryError("the question is empty: ask in words")
        if len(query) > 500:
            raise QueryError(f"the question has {len(query)} characters: at most 500 are possible")
        if self.failure:
            raise self.failure
        with self._lock:
            for number, stage in enumerate(STAGES):
                monitor.stage(stage, number / len(STAGES))
            while not self.gate.wait(0.01):
                monitor.stage("decode", 0.5)
        return self.scene()

    @staticmethod
    def _tail(scene):
        return {
            "views_used": scene.views,
            "scene_version": scene.version,
            "stamp_ns": scene.stamp_ns,
            "stages_ms": dict.fromkeys(STAGES, 1.0),
        }
