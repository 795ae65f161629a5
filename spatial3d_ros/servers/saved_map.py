"""A saved map for the servers: the memory folder of a node, without ROS.

The objects are boxes with labels and colours; the network, which needs images, has no part in the
answers. The folder may be in use: what a node writes appears here.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spatial3d_ros.errors import NotAvailableError, NotFoundError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.database import MemoryDatabase
from spatial3d_ros.memory.edits import MemoryEdit, apply_edit
from spatial3d_ros.memory.maps import change_map
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.questions import MemoryQuestions
from spatial3d_ros.memory.records import Event, MemoryObject
from spatial3d_ros.memory.regions import ANY_HEIGHT, region_at
from spatial3d_ros.memory.state import MemorySettings
from spatial3d_ros.memory.store import MemoryStore
from spatial3d_ros.memory.time_words import is_calendar, time_range
from spatial3d_ros.scene.buffer import Snapshot
from spatial3d_ros.scene.objects import NO_ID, SceneObject
from spatial3d_ros.servers.map_queries import MAX_EVENTS
from spatial3d_ros.servers.records import (
    Answered,
    Change,
    Changes,
    Edit,
    Found,
    History,
    Layout,
    MapObject,
    Measured,
    News,
    Objects,
    Presence,
    Region,
    Regions,
)
from spatial3d_ros.tasks.answering import (
    DISTANCES,
    Turn,
    distance_in_words,
    grounding,
    ids_of,
    words,
)
from spatial3d_ros.tasks.conversation import Conversations
from spatial3d_ros.tasks.memory_answers import remembered
from spatial3d_ros.tasks.query import ParsedQuery
from spatial3d_ros.tasks.query_limits import check_length
from spatial3d_ros.tasks.query_network import load_reader
from spatial3d_ros.tasks.reading import read_ends, read_question
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit, ScoredObject
from spatial3d_ros.tasks.scene_state import Query, SceneState
from spatial3d_ros.tasks.vocabulary import Vocabulary

MAX_OBJECTS = 500  # of one question; relations are computed between all of them
RELOAD_S = 0.5  # between two looks whether the file has changed
_SECOND = 1e9


@dataclass(frozen=True)
class _Map:
    """One state of the file: the memory, and the scene of the objects at their places."""

    memory: ObjectMemory
    scene: SceneState
    stamp_ns: int  # of the newest view


class SavedMap:
    """`MapQueries` on a memory folder. Raises MemoryFileError if it cannot be opened.

    Args:
        allow_edits: open it for writing, which a running node on the same folder excludes.
    """

    live = False

    def __init__(self, folder: Path, *, allow_edits: bool = False) -> None:
        self._lock = threading.RLock()
        self._conversations = Conversations()
        self._writes = allow_edits
        if allow_edits:
            memory = change_map(folder)
            self._database = memory.store.database
        else:
            self._database = MemoryDatabase(folder, write=False)
            memory = _read(self._database)
        self._reader = load_reader()
        self._version = self._file_version()
        self._looked_at = time.monotonic()
        self._map = _mapped(memory, self._version)

    def find(self, phrase: str, max_objects: int = 5, conversation_id: str = "") -> Found:
        """See `MapQueries`."""
        with self._asked(phrase, conversation_id) as turn:
            result = grounding(phrase, turn.outcome(), max_objects, **turn.provenance)
            self._remember(turn, result, conversation_id)
            found = () if result.no_target else result.objects
            return Found(
                text=result.text, objects=self._scored(found), no_target=result.no_target,
                confidence=result.confidence, question_back=result.question_back,
            )  # fmt: skip

    def measure(self, a: str, b: str, kind: str = "auto", conversation_id: str = "") -> Measured:
        """See `MapQueries`."""
        with self._asked((a, b), conversation_id) as turn:
            result = turn.distance(f"{a}, {b}", kind, lambda: None)
            self._remember(turn, result, conversation_id)
            one, two = self._scored((result.a, result.b))
            return Measured(
                text=result.text, metres=result.metres, uncertainty_m=result.uncertainty_m,
                kind=result.kind, a=one, b=two, point_a=result.point_a, point_b=result.point_b,
                question_back=result.question_back,
            )  # fmt: skip

    def ask(self, question: str, conversation_id: str = "") -> Answered:
        """See `MapQueries`."""
        with self._asked(question, conversation_id) as turn:
            if turn.query.intent.startswith("edit."):
                edit = self._edited(turn, question, conversation_id)
                return Answered(
                    text=edit.text, intent=turn.query.intent, objects=edit.before, layout=edit,
                    question_back=edit.question_back,
                )  # fmt: skip
            if turn.query.intent in DISTANCES:
                outcome = distance_in_words(turn.distance(question, "auto", lambda: None))
            else:
                outcome = turn.outcome()
            result = words(question, outcome, **turn.provenance)
            self._remember(turn, result, conversation_id)
            return Answered(
                text=result.text, value=result.value, intent=result.intent,
                objects=self._scored(result.objects), confidence=result.confidence,
                question_back=result.question_back,
            )  # fmt: skip

    def propose_layout(self, instruction: str, conversation_id: str = "") -> Layout:
        """See `MapQueries`."""
        with self._asked(instruction, conversation_id) as turn:
            return self._edited(turn, instruction, conversation_id)

    def objects(self) -> Objects:
        """See `MapQueries`."""
        with self._now() as found:
            shown = [o for o in found.memory.objects() if o.state not in ("deleted", "merged")]
            return self._objects(found, shown)

    def history(self, object_id: int) -> History:
        """See `MapQueries`."""
        with self._now() as found:
            known = found.memory.known.get(object_id)
            if known is None or known.state in ("deleted", "merged"):
                raise NotFoundError(f"object {object_id} is not in the map; list the objects again")
            events = found.memory.events(object_id=object_id)[-MAX_EVENTS:]
            pictures = found.memory.store.pictures(object_id)
            return History(
                object=self._record(known, found.memory),
                events=[_change(event) for event in reversed(events)],
                pictures=[p.stamp_ns / _SECOND for p in pictures],
            )

    def what_changed(self, since: str = "", region: str = "") -> Changes:
        """See `MapQueries`."""
        check_length(since + region)
        with self._now() as found:
            memory = found.memory
            start, end = time_range(since, memory.newest_ns, memory.ended_ns)
            answer = MemoryQuestions(memory).changed(start, end, region)
            if not answer.known:
                raise NotFoundError(answer.text)
            return Changes(
                text=answer.text, events=[_change(event) for event in answer.events[:MAX_EVENTS]]
            )

    def regions(self) -> Regions:
        """See `MapQueries`."""
        with self._now() as found:
            return Regions(
                regions=[
                    Region(
                        name=r.name, corners=list(r.corners), low=_height(r.low),
                        high=_height(r.high),
                    )
                    for r in found.memory.regions
                ]
            )  # fmt: skip

    def edit(self, edit: Edit) -> Objects:
        """See `MapQueries`. Raises NotAvailableError unless edits are allowed."""
        if not self._writes:
            raise NotAvailableError("the map is open for reading only: start with --allow-edits")
        boxes = tuple(Box3D(b.center, b.size, b.yaw) for b in edit.boxes)
        with self._lock:
            memory = self._map.memory
            changed = apply_edit(
                memory,
                MemoryEdit(edit.action, tuple(edit.objects), edit.label, boxes, edit.author),
            )
            self._map = _mapped(memory, self._map.scene.version + 1)
            return self._objects(self._map, changed)

    def picture(self, object_id: int, number: int) -> bytes:
        """See `MapQueries`. Raises NotFoundError."""
        with self._now() as found:
            pictures = found.memory.store.pictures(object_id)
            if not 0 <= number < len(pictures):
                raise NotFoundError(
                    f"object {object_id} has {len(pictures)} pictures; they are kept with the "
                    "parameter memory_pictures"
                )
            return pictures[number].jpeg

    def view(self) -> bytes:
        """See `MapQueries`. Raises NotAvailableError: a saved map has no views."""
        raise NotAvailableError("a saved map has no view of a camera; show a running node")

    def news(self, after: int) -> News:
        """See `MapQueries`."""
        with self._now() as found:
            store = found.memory.store
            last = store.last_event()
            events = store.events_after(after, MAX_EVENTS) if 0 <= after < last else []
            return News(
                version=found.scene.version, last=last, events=[_change(event) for event in events]
            )

    def close(self) -> None:
        """See `MapQueries`."""
        with self._lock:
            self._map.memory.close()

    @contextmanager
    def _now(self) -> Iterator[_Map]:
        """The map as it is in the file now."""
        with self._lock:
            due = time.monotonic() - self._looked_at > RELOAD_S
            if due:
                self._looked_at = time.monotonic()
                version = self._file_version()
                if version != self._version:
                    self._version = version
                    if not self._writes:
                        memory = _read(self._database)
                        self._map = _mapped(memory, self._map.scene.version + 1)
            yield self._map

    @contextmanager
    def _asked(self, text: str | tuple[str, str], conversation_id: str) -> Iterator[Turn]:
        """A question, read, on the map as it is now."""
        for part in (text,) if isinstance(text, str) else text:
            check_length(part)
        with self._now() as found:
            vocabulary = Vocabulary.of_map(found.scene.objects, found.memory)
            read = (
                read_question(text, self._reader, vocabulary)
                if isinstance(text, str)
                else read_ends(*text, self._reader, vocabulary)
            )
            last = self._conversations.last(conversation_id)
            scene = _scene_of(found, read.query, vocabulary, last.objects if last else ())
            score: Callable[[Sequence[str]], np.ndarray] = partial(_no_scores, len(scene.objects))
            memory = partial(remembered, memory=found.memory)
            yield Turn(Query(scene, None), read, None, score, vocabulary, last, memory)

    def _edited(self, turn: Turn, instruction: str, conversation_id: str) -> Layout:
        result = turn.edit(instruction)
        self._remember(turn, result, conversation_id)
        before, after = (
            [self._shown(known) for known in part] for part in (result.before, result.after)
        )
        return Layout(
            text=result.text, action=result.action, possible=result.possible,
            satisfied=result.satisfied, reason=result.reason, before=before, after=after,
            question_back=result.question_back,
        )  # fmt: skip

    def _remember(
        self, turn: Turn, result: Grounding | Distance | Answer | LayoutEdit, name: str
    ) -> None:
        self._conversations.remember(name, turn.query, ids_of(result), turn.subject)

    def _file_version(self) -> int:
        """Changes whenever another connection has written to the file."""
        return int(self._database.query("PRAGMA data_version")[0][0])

    def _objects(self, found: _Map, objects: Sequence[MemoryObject]) -> Objects:
        return Objects(
            frame_id=found.memory.frame_id,
            stamp_s=found.stamp_ns / _SECOND,
            objects=[self._record(known, found.memory) for known in objects],
        )

    def _scored(self, objects: Sequence[ScoredObject]) -> list[MapObject]:
        return [self._shown(scored.object, score=scored.score) for scored in objects]

    def _shown(self, known: SceneObject, **fields: Any) -> MapObject:
        """An object of an answer: as the memory knows it, at the place of the answer."""
        stored = self._map.memory.known.get(known.id)
        if known.id != NO_ID and stored is not None:
            fields = self._record(stored, self._map.memory).model_dump() | fields
        box = known.box
        return MapObject(
            **{
                "id": -1 if known.id == NO_ID else known.id, "label": known.label,
                "color": known.color, "score": known.score,
            }
            | fields
            | {"center": box.center, "size": box.size, "yaw": box.yaw}
        )  # fmt: skip

    def _record(self, known: MemoryObject, memory: ObjectMemory) -> MapObject:
        region = region_at(memory.regions, known.box.center)
        state: Presence = "present" if known.present else "missing"
        return MapObject(
            id=known.id, label=known.label, color=known.color, center=known.box.center,
            size=known.box.size, yaw=known.box.yaw, score=known.score,
            state="gone" if known.state == "gone" else state, region=region.name if region else "",
            first_seen_s=known.first_ns / _SECOND, last_seen_s=known.last_ns / _SECOND,
        )  # fmt: skip


def _read(database: MemoryDatabase) -> ObjectMemory:
    """The memory of a file as it is now, with the time of today, for "this morning"."""
    memory = ObjectMemory(MemoryStore(database), MemorySettings())
    sessions = memory.store.sessions()
    memory.ended_ns = sessions[-2].last_ns if len(sessions) > 1 else 0
    return memory


def _mapped(memory: ObjectMemory, version: int) -> _Map:
    stamp_ns = max((s.last_ns for s in memory.store.sessions()), default=0)
    memory.newest_ns = max(stamp_ns, time.time_ns()) if is_calendar(stamp_ns) else stamp_ns
    objects = tuple(o.as_scene_object(stamp_ns + 1) for o in memory.objects() if o.present)
    heading = _heading([known.box.yaw for known in objects])
    scene = SceneState(
        version, stamp_ns, memory.frame_id, 0, objects, Snapshot(version, ()), heading
    )
    return _Map(memory, scene, stamp_ns)


def _scene_of(
    found: _Map, query: ParsedQuery, vocabulary: Vocabulary, referred: Sequence[int]
) -> SceneState:
    """The objects that a question may be about, where the map has very many."""
    scene, memory = found.scene, found.memory
    if len(scene.objects) <= MAX_OBJECTS:
        return scene
    from spatial3d_ros.tasks.retrieval import wanted_of  # slow: imports the network

    wanted = list(wanted_of(query, vocabulary))
    near = np.mean([known.box.center for known in scene.objects], axis=0)
    named = {*memory.index.retrieve(wanted, near, MAX_OBJECTS), *referred} if wanted else set()
    ordered = sorted(scene.objects, key=lambda known: (known.id not in named, -known.stamp_ns))
    kept = sorted(ordered[:MAX_OBJECTS], key=lambda known: known.id)
    return replace(scene, objects=tuple(kept))


def _heading(yaws: Sequence[float]) -> float:
    """Yaw of the walls, -45 to 45 degrees: boxes stand along them."""
    if not yaws:
        return 0.0
    sines, cosines = (sum(f(4 * yaw) for yaw in yaws) for f in (math.sin, math.cos))
    return math.atan2(sines, cosines) / 4


def _no_scores(count: int, phrases: Sequence[str]) -> np.ndarray:
    """(Q, count + 1): the network says nothing."""
    return np.zeros((len(phrases), count + 1))


def _height(value: float) -> float | None:
    return None if abs(value) >= ANY_HEIGHT else value


def _change(event: Event) -> Change:
    return Change(
        kind=event.kind, stamp_s=event.stamp_ns / _SECOND, object_id=event.object_id,
        label=event.label, text=event.text, confidence=event.confidence,
        before=event.before.center if event.before else None,
        after=event.after.center if event.after else None,
    )  # fmt: skip
