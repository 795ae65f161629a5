"""The objects of the memory, the session and pending events, saved in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.observed_space import ObservedSpace
from spatial3d_ros.memory.records import Event, EventKind, MemoryObject, Session, State
from spatial3d_ros.memory.regions import Region
from spatial3d_ros.memory.retrieval import ObjectIndex
from spatial3d_ros.memory.store import MemoryStore
from spatial3d_ros.memory.time_words import age

ESTABLISHED = 3  # updates that saw an object, from which it is remembered out of view
SAVE_PERIOD_S = 1.0
CLOCK_NS = 60 * 10**9  # by which it may be behind


@dataclass(frozen=True)
class MemorySettings:
    """empty_looks: looks at an empty place until its object is missing. gone_after_s: time until a
    missing object is gone. same_origin: whether the map frame has the same origin in each session;
    if not, remembered objects are aligned by their constellation. max_objects: of the scene.
    pictures: kept of each object; picture_bytes: of all of them.
    """

    empty_looks: int = 3
    gone_after_s: float = 86400.0
    same_origin: bool = True
    max_objects: int = 100
    pictures: int = 0
    picture_bytes: int = 100 * 2**20


class MemoryState:
    """All objects ever seen and not forgotten. Methods may be called from any thread.

    `ended_ns` is the last stamp of earlier sessions, 0 before one; `problem` is why nothing is
    remembered, "" if it is; `on_events` receives each batch of events; `new_id` gives the ids of
    the object map, which objects that people add share; `index` finds present objects for a
    question; `space` is what was seen empty.
    """

    def __init__(
        self,
        store: MemoryStore,
        settings: MemorySettings,
        on_events: Callable[[list[Event]], None],
    ) -> None:
        self.store, self.settings, self.on_events = store, settings, on_events
        self.problem = ""
        self.new_id: Callable[[], int] | None = None
        self._reserved = -1
        self.lock = threading.RLock()
        self.known: dict[int, MemoryObject] = {}
        self.index = ObjectIndex()
        stored = store.objects()
        mistakes = [o.id for o in stored if o.hits < ESTABLISHED and o.source == "seen"]
        store.remove(mistakes)
        for item in stored:
            if item.id in mistakes:
                continue
            state: State = "remembered" if item.state == "confirmed" else item.state
            self.known[item.id] = replace(item, state=state, place=item.box.center)
            self.index.put(self.known[item.id])
        sessions = store.sessions()
        self.session = Session(sessions[-1].id + 1 if sessions else 1, time.time_ns(), 0, 0)
        self.regions = store.regions()
        self.space = ObservedSpace(store.database, settings.same_origin)
        self.frame_id = store.database.meta("frame_id")
        self.newest_ns = max((s.last_ns for s in sessions), default=0)
        self.ended_ns = self.newest_ns  # of the last session
        self._dirty: set[int] = set()
        self._events: list[Event] = []
        self._saved_at = 0.0

    @property
    def folder(self) -> Path:
        """Where it is stored."""
        return self.store.database.folder

    def stats(self) -> dict[str, object]:
        """Objects, bytes of the file, and why nothing is stored ("" if it is), for diagnostics."""
        return {
            "objects": len(self.known),
            "file_bytes": self.store.database.nbytes,
            "problem": self.trouble,
        }

    def close(self) -> None:
        """Stores everything and releases the folder."""
        self.save(now=True)
        self.store.database.close()

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
            self.space.save()
            for known in changed:
                if known.state == "confirmed" and known.session == self.session.id:
                    self.store.observe(known)
            self.store.add_events(self._events)
            if self.session.first_ns:
                self.store.save_session(self.session)
            if self.frame_id:
                self.store.database.set_meta("frame_id", self.frame_id)
            events, self._events = self._events, []
        if events:
            self.on_events(events)

    def emit(
        self,
        kind: EventKind,
        known: MemoryObject | None = None,
        before: Box3D | None = None,
        after: Box3D | None = None,
        confidence: float = 1.0,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Appends an event, stored and told with the next `save`."""
        number, label = (known.id, known.label) if known else (-1, "")
        stamp, session = self.newest_ns, self.session.id
        self._events.append(
            Event(kind, stamp, number, label, confidence, before, after, session, detail or {})
        )

    def events(
        self, start_ns: int = 0, end_ns: int = 2**62, object_id: int | None = None
    ) -> list[Event]:
        """Events with stamps in [start_ns, end_ns], of one object or of all, oldest first."""
        self.save(now=True)
        self.store.database.flush(2.0)
        return self.store.events(start_ns, end_ns, object_id)

    def evidence_ns(self, known: MemoryObject) -> int:
        """Stamp of the look that decided its state: the last one at it, or at its empty place."""
        if known.present:
            return known.last_ns
        events = [*self.store.events(object_id=known.id), *self._events]
        told = [e.stamp_ns for e in events if e.object_id == known.id and e.kind == "missing"]
        return max([known.last_ns, *told])

    def set_regions(self, regions: Sequence[Region]) -> None:
        """Replaces all regions; of several with one name the last one counts."""
        with self.lock:
            self.regions = list({region.name: region for region in regions}.values())
            self.store.set_regions(self.regions)

    def put(self, known: MemoryObject) -> None:
        """Inserts or replaces an object."""
        with self.lock:
            self.known[known.id] = known
            self.index.put(known)
            self._dirty.add(known.id)

    def forget(self, ids: Sequence[int]) -> None:
        """Removes objects with their history."""
        with self.lock:
            for number in ids:
                self.known.pop(number, None)
                self.index.remove(number)
            self.store.remove(ids)

    @property
    def trouble(self) -> str:
        """What a person should know: nothing is remembered or written, or the clock is wrong."""
        behind = self.ended_ns - self.session.last_ns
        clock = (
            f"{self.folder}: the clock is {age(behind / 1e9).removesuffix(' ago')} behind the end "
            "of the last session: times and ages in answers are wrong until it is set right"
            if self.session.first_ns and behind > CLOCK_NS
            else ""
        )
        return self.problem or self.store.database.problem or clock

    def _check_frame(self, frame_id: str) -> bool:
        """Whether the memory is of this frame; the first one seen becomes its frame."""
        if not self.frame_id:
            self.frame_id = frame_id
        elif self.frame_id != frame_id and self.settings.same_origin:
            self.problem = (
                f"{self.folder}: is a memory in frame '{self.frame_id}', but the map is in "
                f"'{frame_id}', so it is not used; set the parameter memory_origin to new, or "
                "choose another memory_folder"
            )
            return False
        return True
