"""The life of objects: which one is seen, which moved, which is missing.

`update` gets the objects of the map after each refresh and returns them with lasting ids, together
with those that are remembered; `record` gets their labels once the network has named them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spatial3d_ros.errors import MemoryFileError
from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.geometry.pose import transform
from spatial3d_ros.memory.alignment import MIN_OBJECTS, align
from spatial3d_ros.memory.association import has_moved, labels_agree, moved, same_place
from spatial3d_ros.memory.presence import kept_points, look_at_places
from spatial3d_ros.memory.records import Event, MemoryObject, Session, is_dynamic
from spatial3d_ros.memory.store import MemoryStore
from spatial3d_ros.scene.buffer import View
from spatial3d_ros.scene.objects import SceneObject

ESTABLISHED = 3  # updates that saw an object, from which it is remembered out of view
MAX_UNPROPOSED = 8  # looks at a surface that is no object any more, until it was a mistake
MISTAKEN_LOOK = 0.3  # probability that one look calls an occupied place empty
WINDOW_NS = 60 * 10**9  # objects seen in it move along with a jump of the pose
SAVE_PERIOD_S, ALIGN_PERIOD_S = 1.0, 2.0


@dataclass(frozen=True)
class MemorySettings:
    """empty_looks: looks at an empty place until its object is missing. gone_after_s: time until a
    missing object is gone. same_origin: whether the map frame has the same origin in each session;
    if not, remembered objects are aligned by their constellation. max_objects: of the scene.
    """

    empty_looks: int = 3
    gone_after_s: float = 86400.0
    same_origin: bool = True
    max_objects: int = 100


class ObjectMemory:
    """All objects ever seen and not forgotten. Methods may be called from any thread.

    `problem` is why nothing is remembered, "" if it is; `on_events` receives each batch of events;
    `new_id` gives the ids of the object map, which objects that people add share.
    """

    def __init__(
        self,
        store: MemoryStore,
        settings: MemorySettings = MemorySettings(),
        on_events: Callable[[list[Event]], None] = lambda _: None,
    ) -> None:
        self.store, self.settings, self.on_events = store, settings, on_events
        self.problem = ""
        self.new_id: Callable[[], int] | None = None
        self._reserved = -1
        self.lock = threading.RLock()
        self.known: dict[int, MemoryObject] = {}
        for item in store.objects():
            seen = item.state == "confirmed"
            self.known[item.id] = replace(
                item, state="remembered" if seen else item.state, empty_looks=0
            )
        sessions = store.sessions()
        self.session = Session(sessions[-1].id + 1 if sessions else 1, time.time_ns(), 0, 0)
        self.newest_ns = sessions[-1].last_ns if sessions else 0
        self._first_session = not self.known
        self._unaligned = set() if settings.same_origin else set(self.known)
        self._align_at = 0.0
        self.align_problem = ""
        self._ids: dict[int, int] = {}  # of the memory, by ids of the map
        self._births: set[int] = set()
        self._votes: dict[int, Counter[str]] = {}
        self._unproposed: Counter[int] = Counter()  # looks at a surface that is no object any more
        self._last_view = -1
        self._dirty: set[int] = set()
        self._events: list[Event] = []
        self._saved_at = 0.0

    @property
    def next_id(self) -> int:
        """Larger than every id in use."""
        return max(self.known, default=-1) + 1

    def reserve_id(self) -> int:
        """A new id; without a map that numbers its objects, the next free one."""
        if self.new_id is not None:
            return self.new_id()
        self._reserved = max(self._reserved + 1, self.next_id)
        return self._reserved

    def objects(self) -> list[MemoryObject]:
        """All objects by id."""
        with self.lock:
            return [self.known[k] for k in sorted(self.known)]

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
            self._drop_vanished({o.id for o in still})
            self._associate(still)
            if self._unaligned:
                self._align(newest)
            fresh = [view for view in views if view.id > self._last_view]
            self._last_view = views[-1].id
            self._look(fresh, newest)
            self._resolve_births(newest)
            self._age(newest)
            dynamic = [o for o in objects if is_dynamic(o.label)]
            camera = views[-1].frame.world_T_camera[:3, 3]
            return self._scene(still, newest, camera) + tuple(dynamic)

    def record(self, objects: Iterable[SceneObject]) -> None:
        """Stores labels and colours of objects, and everything that changed."""
        with self.lock:
            live = set(self._ids.values())
            for item in objects:
                known = self.known.get(item.id)
                if known is None or item.id not in live or known.label_pinned:
                    continue
                label, color = item.label, item.color or known.color
                if not item.label_from_detector and label:
                    votes = self._votes.setdefault(item.id, Counter())
                    votes[label] += 1
                    label = votes.most_common(1)[0][0]
                if is_dynamic(label):
                    self._forget([item.id])
                elif label:
                    self._set(
                        replace(known, label=label, label_score=item.label_score, color=color)
                    )
            self.save()

    def save(self, now: bool = False) -> None:
        """Queues what changed for the database, at most once a second unless `now`."""
        with self.lock:
            due = now or self._events or time.monotonic() - self._saved_at > SAVE_PERIOD_S
            if not due or self.problem:
                return
            self._saved_at = time.monotonic()
            changed = [self.known[k] for k in sorted(self._dirty) if k in self.known]
            self._dirty.clear()
            self.store.save(changed)
            for known in changed:
                if known.state == "confirmed" and known.session == self.session.id:
                    self.store.observe(known)
            self.store.add_events(self._events)
            if self.session.first_ns:
                self.store.save_session(self.session)
            events, self._events = self._events, []
        if events:
            self.on_events(events)

    def start_over(self) -> None:
        """The object map was cleared: what was seen becomes remembered."""
        with self.lock:
            self._ids.clear()
            self._births.clear()

    def move_world(self, world_T_before: np.ndarray, recent_only: bool = True) -> None:
        """The pose jumped: objects seen in the last minute stay with the views that saw them.

        world_T_before: (4, 4) yaw and translation. Without `recent_only` all objects move.
        """
        with self.lock:
            for known in list(self.known.values()):
                recent = known.last_ns > self.newest_ns - WINDOW_NS
                seen_now = known.session == self.session.id and known.state == "confirmed"
                if not recent_only or (recent and seen_now):
                    self._set(moved_by(known, world_T_before))
            if recent_only:
                self.emit("jump", metres=float(np.linalg.norm(world_T_before[:3, 3])))

    def emit(
        self,
        kind: str,
        known: MemoryObject | None = None,
        before: Box3D | None = None,
        after: Box3D | None = None,
        confidence: float = 1.0,
        **detail: object,
    ) -> None:
        """Appends an event, stored and told with the next `save`."""
        number, label = (known.id, known.label) if known else (-1, "")
        self._events.append(
            Event(
                kind, self.newest_ns, number, label, confidence, before, after, self.session.id,
                detail,
            )  # type: ignore[arg-type]
        )  # fmt: skip

    def set(self, known: MemoryObject) -> None:
        """Inserts or replaces an object."""
        with self.lock:
            self._set(known)

    def _set(self, known: MemoryObject) -> None:
        self.known[known.id] = known
        self._dirty.add(known.id)

    def _forget(self, ids: Sequence[int]) -> None:
        for number in ids:
            self.known.pop(number, None)
            self._births.discard(number)
        self.store.remove(ids)
        self._ids = {k: v for k, v in self._ids.items() if v not in ids}

    def forget(self, ids: Sequence[int]) -> None:
        """Removes objects with their history."""
        with self.lock:
            self._forget(ids)

    def _check_frame(self, frame_id: str) -> bool:
        try:
            stored = self.store.database.meta("frame_id")
        except MemoryFileError as error:
            self.problem = str(error)
            return False
        if not stored:
            self.store.database.set_meta("frame_id", frame_id)
            self.store.database.flush(2.0)
        elif stored != frame_id and self.settings.same_origin:
            self.problem = (
                f"{self.store.database.folder}: is a memory in frame '{stored}', but the map is in "
                f"'{frame_id}', so it is not used; set the parameter memory_origin to objects, or "
                "choose another memory_folder"
            )
            return False
        return True

    def _drop_vanished(self, present: set[int]) -> None:
        """Objects that the map gave up: the established ones stay until their place is empty."""
        vanished = [k for k in self._ids if k not in present]
        mistakes = []
        for number in vanished:
            known = self.known.get(self._ids.pop(number))
            if known is not None and known.id in self._births and known.hits < ESTABLISHED:
                mistakes.append(known.id)
        if mistakes:
            self._forget(mistakes)

    def _associate(self, objects: Sequence[SceneObject]) -> None:
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
        old = [
            o for o in self.known.values() if o.id not in live and o.id not in self._unaligned
        ]
        seen = [self._new(item) for item in fresh]
        matched = set()
        for row, column in same_place(old, seen):
            absent = old[row].state in ("missing", "gone")
            if absent and not labels_agree(old[row], seen[column]):
                continue
            matched.add(column)
            self._ids[fresh[column].id] = old[row].id
            self._see(old[row], fresh[column])
        for column, (item, known) in enumerate(zip(fresh, seen, strict=True)):
            if column not in matched:
                self._ids[item.id] = known.id
                self._births.add(known.id)
                self._set(known)

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
        updated = replace(
            known, box=box, points=known.points if known.pinned else kept_points(item.points),
            rgb=item.rgb, score=item.score, views=max(known.views, item.views),
            hits=known.hits + 1, empty_looks=0, state="confirmed", session=self.session.id,
            last_ns=item.stamp_ns,
        )  # fmt: skip
        if item.label_from_detector and not known.label_pinned:
            updated = replace(updated, label=item.label, label_score=item.label_score)
        if not known.pinned and has_moved(known, item.box):
            self.emit("moved", updated, replace(known.box, center=known.place), box)
            updated = replace(updated, place=box.center)
        elif known.hits < ESTABLISHED or not known.pinned and _grew(known, box):
            updated = replace(updated, place=box.center)
        if known.state in ("missing", "gone"):
            self.emit("returned", updated, after=box)
        expected = self._first_session or self._unaligned
        if updated.hits == ESTABLISHED and known.id in self._births and not expected:
            self.emit("new", updated, after=box)
        self._set(updated)

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
            self._set(moved_by(known, found.world_T_memory))
        self._unaligned.clear()
        self.emit("aligned", objects=found.objects, residual_m=round(found.residual_m, 3))
        self._adopt(seen, [self.known[o.id] for o in remembered])

    def _adopt(self, births: Sequence[MemoryObject], old: Sequence[MemoryObject]) -> None:
        """Objects that were seen before become those that are remembered at their places."""
        births = [o for o in births if o.id in self._births]
        for row, column in same_place(old, births):
            self._take_over(old[row], births[column], "")

    def _look(self, views: Sequence[View], newest: int) -> None:
        """Counts looks at the empty places of objects that are not in the map now."""
        live = set(self._ids.values())
        absent = [
            o for o in self.known.values()
            if o.present and o.id not in live and o.id not in self._unaligned
        ]  # fmt: skip
        if not absent:
            return
        looks = np.array([o.empty_looks for o in absent])
        for view in views:
            empty, occupied = look_at_places(absent, view.frame)
            looks = np.where(empty, looks + 1, np.where(occupied, 0, looks))
            for known in (o for o, seen in zip(absent, occupied, strict=True) if seen):
                self._unproposed[known.id] += 1
        for known, count in zip(absent, looks.tolist(), strict=True):
            if known.id in self._births and self._unproposed[known.id] >= MAX_UNPROPOSED:
                self._forget([known.id])
                continue
            if count == known.empty_looks:
                continue
            updated = replace(known, empty_looks=count)
            if count >= self.settings.empty_looks and not known.pinned:
                if known.hits < ESTABLISHED and known.id in self._births:
                    self._forget([known.id])
                    continue
                updated = replace(updated, state="missing")
                confidence = 1.0 - MISTAKEN_LOOK**count
                self.emit("missing", updated, before=known.box, confidence=confidence)
            self._set(updated)

    def _resolve_births(self, newest: int) -> None:
        """Objects new in this session that are missing or remembered ones."""
        live = set(self._ids.values())
        births = [
            self.known[k] for k in sorted(self._births & live) if self.known[k].hits >= 2
        ]
        others = [
            o for o in self.known.values()
            if o.id not in live and o.id not in self._unaligned and o.state not in ("deleted",)
        ]  # fmt: skip
        absent = [o for o in others if o.state in ("missing", "gone") and o.label]
        labelled = [o for o in births if o.label]
        for row, column in same_place(absent, labelled):
            if labels_agree(absent[row], labelled[column]):
                self._take_over(absent[row], labelled[column], "returned")
        absent = [o for o in absent if o.id not in set(self._ids.values())]
        labelled = [o for o in labelled if o.id in self.known]
        for row, column in moved(absent, labelled):
            self._take_over(absent[row], labelled[column], "moved")

    def _take_over(self, old: MemoryObject, new: MemoryObject, kind: str) -> None:
        """The object seen as `new` is the remembered `old`: id and history go along."""
        for map_id, number in self._ids.items():
            if number == new.id:
                self._ids[map_id] = old.id
        known = replace(
            new, id=old.id, first_ns=old.first_ns, hits=old.hits + new.hits,
            label=old.label if old.label_pinned else new.label or old.label,
            label_pinned=old.label_pinned, source=old.source, empty_looks=0,
        )  # fmt: skip
        self.known.pop(new.id, None)
        self._births.discard(new.id)
        self._votes.pop(new.id, None)
        self._events = [e for e in self._events if e.object_id != new.id]
        self.store.take_over(old.id, new.id)
        self.store.database.write("DELETE FROM objects WHERE id = ?", [(new.id,)])
        self._set(known)
        if kind:
            self.emit(kind, known, old.box, known.box)

    def _age(self, newest: int) -> None:
        limit = newest - round(self.settings.gone_after_s * 1e9)
        for known in list(self.known.values()):
            if known.state == "missing" and known.last_ns < limit:
                self._set(replace(known, state="gone"))
                self.emit("gone", known, before=known.box)

    def _scene(
        self, objects: Sequence[SceneObject], newest: int, camera: np.ndarray
    ) -> tuple[SceneObject, ...]:
        """The objects of the map and the remembered ones nearest to the camera, by id."""
        found: dict[int, SceneObject] = {}
        parts: list[tuple[int, Box3D]] = []
        for item in objects:
            known = self.known[self._ids[item.id]]
            if known.state == "merged":
                parts.append((known.merged_into, item.box))
            elif known.state != "deleted":
                shown = replace(item, id=known.id, box=known.box if known.pinned else item.box)
                if known.label_pinned:
                    shown = replace(shown, label=known.label, label_score=1.0)
                found[known.id] = shown
        for number, box in parts:
            whole = self.known.get(number)
            if whole is not None and whole.present:
                shown = found.get(number) or whole.as_scene_object(newest)
                found[number] = replace(shown, box=_union(shown.box, box))
        absent = [
            o for o in self.known.values()
            if o.present and o.id not in found and o.id not in self._unaligned
            and (o.hits >= ESTABLISHED or o.id not in self._births)
        ]  # fmt: skip
        absent.sort(key=lambda o: float(np.linalg.norm(np.subtract(o.box.center, camera))))
        hidden = _covered(absent, [item.box for item in found.values()])
        room = max(0, self.settings.max_objects - len(found))
        for known in [o for o, no in zip(absent, hidden, strict=True) if not no][:room]:
            found[known.id] = known.as_scene_object(newest)
        return tuple(found[k] for k in sorted(found))


def moved_by(known: MemoryObject, pose: np.ndarray) -> MemoryObject:
    """The object after a motion (4, 4), yaw and translation, of the world."""
    yaw = float(np.arctan2(pose[1, 0], pose[0, 0]))
    box = known.box.rotated(yaw)
    box = replace(box, center=vector(np.add(box.center, pose[:3, 3])))
    place = vector(transform(pose, np.array(known.place)))
    return replace(known, box=box, place=place, points=transform(pose, known.points))


def _grew(known: MemoryObject, box: Box3D) -> bool:
    """Whether the box is a better look at the same object: much larger than before."""
    return box.volume > 1.3 * known.box.volume


def _union(a: Box3D, b: Box3D) -> Box3D:
    (low_a, high_a), (low_b, high_b) = a.bounds(), b.bounds()
    return Box3D.from_bounds(np.minimum(low_a, low_b), np.maximum(high_a, high_b))


def _covered(objects: Sequence[MemoryObject], boxes: Sequence[Box3D]) -> list[bool]:
    """Whether the place of each object is taken by one of the boxes, of about its size."""
    if not objects or not boxes:
        return [False] * len(objects)
    a = np.array([o.box.hull().array() for o in objects])
    b = np.array([box.hull().array() for box in boxes])
    low = np.maximum(a[:, None, :3] - a[:, None, 3:] / 2, b[None, :, :3] - b[None, :, 3:] / 2)
    high = np.minimum(a[:, None, :3] + a[:, None, 3:] / 2, b[None, :, :3] + b[None, :, 3:] / 2)
    shared = np.maximum(high - low, 0).prod(2)
    volume_a, volume_b = (np.maximum(x[:, 3:].prod(1), 1e-6) for x in (a, b))
    union = volume_a[:, None] + volume_b - shared
    within = (shared > 0.7 * volume_a[:, None]) & (volume_a[:, None] > 0.3 * volume_b)
    return [bool(v) for v in ((shared / union > 0.25) | within).any(1)]
