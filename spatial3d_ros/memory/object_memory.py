"""The life of objects: which one is seen, which moved, which is missing.

`update` gets the objects of the map after each refresh and returns them with lasting ids, together
with those that are remembered; `record` gets their labels once the network has named them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.absence import AbsentObjects
from spatial3d_ros.memory.alignment import MIN_OBJECTS, align
from spatial3d_ros.memory.association import (
    alike,
    labels_agree,
    moved,
    outside,
    same_place,
    shows_less,
    similar_size,
)
from spatial3d_ros.memory.jumps import MOVED_NS, JumpFinder
from spatial3d_ros.memory.naming import Appearances, Names
from spatial3d_ros.memory.pictures import PictureKeeper
from spatial3d_ros.memory.presence import MAX_RANGE_M, kept_points, seen_through
from spatial3d_ros.memory.records import Event, EventKind, MemoryObject, is_dynamic
from spatial3d_ros.memory.resting import RestingPlaces
from spatial3d_ros.memory.shown import moved_by, shown_objects
from spatial3d_ros.memory.state import ESTABLISHED, MemorySettings, MemoryState
from spatial3d_ros.memory.store import MemoryStore
from spatial3d_ros.scene.buffer import View
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import SceneObject

NEW_HITS = 5  # updates that saw an object, until it is told as new: it may be a moved one
REACH_M = 4.0  # between the centres of an object and of another look at it, at most
WAIT_NS = 300 * 10**9  # for a look at the place of an object that fits better than a missing one
ALIGN_PERIOD_S = 2.0
DEFAULTS = MemorySettings()


class ObjectMemory(MemoryState):
    """The life of the objects of a `MemoryState`. Methods may be called from any thread."""

    def __init__(
        self,
        store: MemoryStore,
        settings: MemorySettings = DEFAULTS,
        on_events: Callable[[list[Event]], None] = lambda _: None,
    ) -> None:
        super().__init__(store, settings, on_events)
        self._first_session = not self.known
        self._unaligned = set() if settings.same_origin else set(self.known)
        self._align_at = 0.0
        self.align_problem = ""
        self._ids: dict[int, int] = {}  # of the memory, by ids of the map
        self._births: set[int] = set()
        self._names = Names()
        self._absent = AbsentObjects(settings.empty_looks)
        self._outdated: dict[int, int] = {}  # stamps of objects of the map from before a jump
        self._jumps, self._places = JumpFinder(), RestingPlaces()
        self._missing_since: dict[int, int] = {}
        self._last_view = -1
        self._pictures = PictureKeeper(store, settings.pictures, settings.picture_bytes)

    def update(
        self, objects: Sequence[SceneObject], views: Sequence[View], frame_id: str
    ) -> tuple[SceneObject, ...]:
        """The objects of the map with lasting ids, and the remembered ones, in the world frame."""
        with self.lock:
            if not views or not self._check_frame(frame_id):
                return tuple(objects)
            newest = views[-1].frame.stamp_ns
            self.newest_ns = newest
            self.session = replace(
                self.session, first_ns=self.session.first_ns or newest, last_ns=newest
            )
            still = [o for o in objects if not is_dynamic(o.label)]
            for view in views:
                if view.id > self._last_view:
                    self.space.look(view.frame)
            self._drop_vanished({o.id for o in still})
            still = [o for o in still if self._outdated.get(o.id) != o.stamp_ns]
            self._associate(still, views)
            self._follow_jump(views[-1].frame)
            still = [o for o in still if self._outdated.get(o.id) != o.stamp_ns]
            if self._unaligned:
                self._align(newest)
            fresh = [view for view in views if view.id > self._last_view]
            self._last_view = views[-1].id
            self._look(fresh, newest)
            self._resolve_births(newest)
            self._age(newest)
            seen = [self.known[number] for number in set(self._ids.values())]
            self._pictures.look([o for o in seen if o.last_ns == newest], views[-1].frame)
            camera = views[-1].frame.world_T_camera[:3, 3]
            shown = shown_objects(
                [(o, self.known[self._ids[o.id]]) for o in still],
                self.known,
                self._remembered_near(camera),
                newest,
                camera,
                self.settings.max_objects,
            )
            return (*shown, *(o for o in objects if is_dynamic(o.label)))

    def record(
        self, objects: Iterable[SceneObject], appearances: Appearances | None = None
    ) -> None:
        """Stores names and looks of objects, and everything that changed."""
        with self.lock:
            live = set(self._ids.values())
            for item in objects:
                known = self.known.get(item.id)
                if known is None or item.id not in live or known.label_pinned:
                    continue
                if is_dynamic(item.label):
                    self.forget([item.id])
                elif item.label and item.stamp_ns == self.newest_ns:
                    self.put(self._names.named(known, item, appearances))
                # Else out of view: the map only keeps its last label.
            self.save()

    def start_over(self) -> None:
        """The object map was cleared: what was seen becomes remembered."""
        with self.lock:
            self._ids.clear()
            self._births.clear()

    def move_world(self, world_T_before: np.ndarray, ids: Sequence[int]) -> None:
        """The pose jumped: these objects stay with the views that saw them.

        world_T_before: (4, 4) yaw and translation.
        """
        with self.lock:
            centers = [self.known[number].box.center for number in ids]
            self.space.clear()
            for number in ids:
                self.put(moved_by(self.known[number], world_T_before))
            steps = np.subtract([self.known[number].box.center for number in ids], centers)
            metres = float(np.median(np.linalg.norm(steps, axis=1)))
            self.emit("jump", detail={"metres": round(metres, 2)})

    def forget(self, ids: Sequence[int]) -> None:
        """Removes objects with their history."""
        with self.lock:
            super().forget(ids)
            self._pictures.forget(ids)
            self._births -= set(ids)
            self._ids = {k: v for k, v in self._ids.items() if v not in ids}

    def _remembered_near(self, camera: np.ndarray) -> list[MemoryObject]:
        """Objects that are shown while the map does not contain them, the nearest ones."""
        count = 2 * self.settings.max_objects + len(self._births)
        nearest = (self.known[number] for number in self.index.nearest(camera, count))
        return [
            o for o in nearest
            if (o.hits >= ESTABLISHED or o.id not in self._births) and o.id not in self._unaligned
        ]  # fmt: skip

    def _drop_vanished(self, present: set[int]) -> None:
        """Objects that the map gave up: the established ones stay until their place is empty."""
        vanished = [k for k in self._ids if k not in present]
        self._outdated = {k: v for k, v in self._outdated.items() if k in present}
        mistakes = []
        for number in vanished:
            known = self.known.get(self._ids.pop(number))
            if known is not None and known.id in self._births and known.hits < ESTABLISHED:
                mistakes.append(known.id)
        if mistakes:
            self.forget(mistakes)

    def _associate(self, objects: Sequence[SceneObject], views: Sequence[View]) -> None:
        fresh = []
        for item in objects:
            known = self.known.get(self._ids.get(item.id, -1))
            if known is None:
                fresh.append(item)
            else:
                self._see(known, item)
        if not fresh:
            return
        live = set(self._ids.values())
        places = np.array([item.box.center for item in fresh])
        old = [
            self.known[number] for number in self.index.near(places, REACH_M)
            if number not in live and number not in self._unaligned
        ]  # fmt: skip
        seen = [self._new(item) for item in fresh]
        matched = set()
        for row, column in same_place(old, seen):
            absent = old[row].state in ("missing", "gone")
            if absent and not alike(old[row], seen[column]):
                continue
            if not similar_size(old[row].box, seen[column].box) and seen_through(old[row], views):
                continue  # what is behind the place of an object that was taken
            matched.add(column)
            self._ids[fresh[column].id] = old[row].id
            self._see(old[row], fresh[column])
        for column, (item, known) in enumerate(zip(fresh, seen, strict=True)):
            if column not in matched:
                self._ids[item.id] = known.id
                self._births.add(known.id)
                self.put(known)

    def _new(self, item: SceneObject) -> MemoryObject:
        return MemoryObject(
            item.id, item.box, item.label, kept_points(item.points), item.box.center,
            item.stamp_ns, item.stamp_ns, self.session.id, label_score=item.label_score,
            color=item.color, rgb=item.rgb, score=item.score, views=item.views,
        )  # fmt: skip

    def _see(self, known: MemoryObject, item: SceneObject) -> None:
        """The object is in the map: its record follows."""
        if known.state in ("deleted", "merged"):
            return
        if item.stamp_ns == known.last_ns and known.session == self.session.id:
            return  # out of view: the map only keeps it
        box = known.box if known.pinned else item.box
        keeps = known.pinned or shows_less(item, known)
        updated = replace(
            known, box=box, points=known.points if keeps else kept_points(item.points),
            rgb=item.rgb, score=item.score, views=max(known.views, item.views),
            hits=known.hits + 1, empty_looks=0, state="confirmed", session=self.session.id,
            last_ns=item.stamp_ns,
        )  # fmt: skip
        updated, left = self._places.follow(known, updated)
        if left is not None and self._is_carried(known, left, updated):
            self.emit("moved", updated, left, box)
        if known.id not in self._births:
            self._absent.seen(known.id)
        self._jumps.note(updated, known.box, self.newest_ns)
        if known.state in ("missing", "gone"):
            self.emit("returned", updated, after=box)
        if updated.hits == NEW_HITS and self._is_new(updated):
            self.emit("new", updated, after=box)
        self.put(updated)

    def _is_carried(self, known: MemoryObject, left: Box3D, now: MemoryObject) -> bool:
        """Whether an object in another box went there: what is new of its place was empty before,
        or what it left is empty now. Else its box was drawn anew around what was always there.
        """
        gained, lost = outside(now.points, left), outside(known.points, now.box)
        return self.space.arrived(gained) or self.space.empty(lost)

    def _is_new(self, known: MemoryObject) -> bool:
        """Whether it was brought: its place was seen empty before, and it is no piece of another
        object there that was, or has its label.
        """
        if known.id not in self._births or not self.space.arrived(known.points):
            return False
        near = map(self.known.__getitem__, self.index.near(np.array([known.box.center]), REACH_M))
        others = [
            o for o in near
            if o.present and o.id != known.id and (o.id in self._births or labels_agree(o, known))
        ]  # fmt: skip
        return not same_place(others, [known])

    def _align(self, newest: int) -> None:
        """Brings the objects of a map with another origin to where they are seen."""
        if time.monotonic() - self._align_at < ALIGN_PERIOD_S:
            return
        self._align_at = time.monotonic()
        seen = [self.known[k] for k in set(self._ids.values()) if self.known[k].label]
        remembered = [self.known[k] for k in self._unaligned]
        if len(seen) < MIN_OBJECTS:
            return
        found = align(remembered, seen)
        self.align_problem = found.reason
        if found.reason:
            return
        for known in remembered:
            self.put(moved_by(known, found.world_T_memory))
        self.set_regions([region.moved(found.world_T_memory) for region in self.regions])
        self._unaligned.clear()
        metres = round(found.residual_m, 3)
        self.emit("aligned", detail={"objects": found.objects, "residual_m": metres})
        self._adopt(seen, [self.known[o.id] for o in remembered])

    def _adopt(self, births: Sequence[MemoryObject], old: Sequence[MemoryObject]) -> None:
        """Objects that were seen before become those that are remembered at their places."""
        births = [o for o in births if o.id in self._births]
        for row, column in same_place(old, births):
            self._take_over(old[row], births[column], None)

    def _follow_jump(self, frame: Frame) -> None:
        """Notices a jump of the pose: what was seen before it moves along, under its ids."""
        births = [self.known[k] for k in self._births & set(self._ids.values())]
        jump = self._jumps.find(
            self.known.values(), births, self.session.id, self.session.first_ns, frame
        )
        if jump is None:
            return
        new, begin = {o.id for o in births}, jump.begin_ns
        here = [o for o in self.known.values() if o.present and o.session == self.session.id]
        # Seen again at their places: what is remembered was in the frame of before, too.
        again = sum(o.first_ns < self.session.first_ns for o in here) >= MIN_OBJECTS
        before = [o for o in here if o.id not in new and begin - MOVED_NS < o.last_ns < begin]
        before += [o for o in self.known.values() if again and o.state == "remembered"]
        if not before:  # only new objects shifted: they are where they are seen now
            self.space.clear()
            return
        self._outdated |= {
            map_id: self.known[number].last_ns
            for map_id, number in self._ids.items()
            if any(o.id == number for o in before)
        }
        self._ids = {k: v for k, v in self._ids.items() if k not in self._outdated}
        self.move_world(jump.motion, [o.id for o in before])
        if again or self._first_session:
            self.set_regions([region.moved(jump.motion) for region in self.regions])
        seen = [self.known[k] for k in self._births & set(self._ids.values())]
        self._adopt(seen, [self.known[o.id] for o in before])

    def _look(self, views: Sequence[View], newest: int) -> None:
        """Counts looks at the empty places of objects that are not in the map now."""
        live = set(self._ids.values())
        eyes = np.array([view.frame.world_T_camera[:3, 3] for view in views]).reshape(-1, 3)
        near = [self.known[number] for number in self.index.near(eyes, MAX_RANGE_M + 1.0)]
        absent = [o for o in near if o.present and o.id not in live and o.id not in self._unaligned]
        if not absent:
            return
        for known, fate, confidence in self._absent.look(absent, self._births, views):
            if fate == "mistake":
                self.forget([known.id])
            elif fate == "missing":
                self._missing_since[known.id] = newest
                self.put(replace(known, state="missing"))
                self.emit("missing", known, before=known.box, confidence=confidence)
            else:
                self.put(known)

    def _resolve_births(self, newest: int) -> None:
        """Objects new in this session that are missing or remembered ones."""
        live = set(self._ids.values())
        births = [self.known[k] for k in sorted(self._births & live) if self.known[k].hits >= 2]
        others = [
            o for o in self.known.values()
            if o.id not in live and o.id not in self._unaligned and o.state != "deleted"
        ]  # fmt: skip
        absent = [o for o in others if o.state in ("missing", "gone")]
        labelled = [o for o in births if o.label]
        for row, column in same_place(absent, labelled):
            old, new = absent[row], labelled[column]
            if alike(old, new) and similar_size(old.box, new.box):
                self._take_over(old, new, "returned")
        absent = [o for o in absent if o.id not in set(self._ids.values())]
        labelled = [o for o in labelled if o.id in self.known]
        # Another one that fits better may have moved too: its place was not yet looked at.
        unseen = [
            o for o in others
            if o.state == "remembered" and not self._absent.looked_at(o.id)
            and any(labels_agree(o, new) for new in labelled)
        ]  # fmt: skip
        brought = {o.id for o in labelled if absent and self.space.arrived(o.points)}
        for row, column in moved([*absent, *unseen], labelled, brought):
            if row < len(absent):
                self._take_over(absent[row], labelled[column], "moved")
            elif newest - labelled[column].first_ns > WAIT_NS:
                for at, _ in moved(absent, [labelled[column]], brought):
                    self._take_over(absent[at], labelled[column], "moved")

    def _take_over(self, old: MemoryObject, new: MemoryObject, kind: EventKind | None) -> None:
        """The object seen as `new` is the remembered `old`: id and history go along."""
        for map_id, number in self._ids.items():
            if number == new.id:
                self._ids[map_id] = old.id
        known = replace(
            new, id=old.id, first_ns=old.first_ns, hits=old.hits + new.hits,
            label_pinned=old.label_pinned, source=old.source, empty_looks=0,
            label=old.label or new.label, labels=self._names.take_over(old, new),
        )  # fmt: skip
        self.known.pop(new.id, None)
        self.index.remove(new.id)
        self._births.discard(new.id)
        self._events = [e for e in self._events if e.object_id != new.id]
        self.store.take_over(old.id, new.id)
        self._pictures.take_over(old.id, new.id)
        self.store.database.write("DELETE FROM objects WHERE id = ?", [(new.id,)])
        self.put(known)
        if kind:
            self._jumps.note(known, old.box, self.newest_ns)
            self.emit(kind, known, old.box, known.box)

    def _age(self, newest: int) -> None:
        """What is missing for long, or since an earlier session that ended long ago, is gone."""
        limit = newest - round(self.settings.gone_after_s * 1e9)
        for known in list(self.known.values()):
            since = self._missing_since.get(known.id, self.ended_ns)
            if known.state == "missing" and since < limit:
                self.put(replace(known, state="gone"))
                self.emit("gone", known, before=known.box)
