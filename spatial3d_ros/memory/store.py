"""Rows of the memory database to records, and back."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.memory.database import MemoryDatabase
from spatial3d_ros.memory.records import Event, MemoryObject, Observation, Picture, Session
from spatial3d_ros.memory.regions import Region
from spatial3d_ros.scene.label_distribution import ranked

OBSERVATION_PERIOD_NS = 5 * 10**9  # of an object that does not change

_OBJECT = (
    "id, x, y, z, sx, sy, sz, yaw, label, label_score, color, r, g, b, score, views, hits, state, "
    "empty_looks, first_ns, last_ns, session, px, py, pz, pinned, label_pinned, merged_into, "
    "source, points"
)
_OBSERVATION = "object, stamp_ns, session, x, y, z, sx, sy, sz, yaw, label, score, view"
_EVENT = "stamp_ns, session, kind, object, label, confidence, before, after, detail"


class MemoryStore:
    """Objects, observations, regions, edits, events and sessions of one database."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database
        self._stored: dict[int, tuple[int, tuple]] = {}  # newest observation of each object

    def objects(self) -> list[MemoryObject]:
        """All objects, by id, deleted and merged ones included."""
        vectors = {
            row[0]: (row[1], np.frombuffer(row[2], np.float16))
            for row in self.database.query("SELECT object, weights_sha256, vector FROM appearance")
        }
        labels: defaultdict[int, list[tuple[str, float]]] = defaultdict(list)
        for number, *share in self.database.query("SELECT object, label, probability FROM labels"):
            labels[number].append((share[0], share[1]))
        found = []
        for row in self.database.query(f"SELECT {_OBJECT} FROM objects ORDER BY id"):
            known = _object(row)
            known = replace(known, labels=ranked(labels[known.id]))
            if known.id in vectors:
                weights, values = vectors[known.id]
                known = replace(known, weights=weights, appearance=values)
            found.append(known)
        return found

    def object(self, number: int) -> MemoryObject | None:
        """One object, without its appearance and labels but the first."""
        rows = self.database.query(f"SELECT {_OBJECT} FROM objects WHERE id = ?", (number,))
        return _object(rows[0]) if rows else None

    def save(self, objects: Sequence[MemoryObject]) -> None:
        """Inserts or replaces objects, with an observation of each that was seen."""
        marks = ", ".join("?" * len(_OBJECT.split(",")))
        self.database.write(
            f"INSERT OR REPLACE INTO objects ({_OBJECT}) VALUES ({marks})",
            [_object_row(known) for known in objects],
        )
        self.database.write(
            "DELETE FROM labels WHERE object = ?", [(known.id,) for known in objects]
        )
        self.database.write(
            "INSERT OR REPLACE INTO labels VALUES (?, ?, ?, ?)",
            [
                (known.id, label, share, _label_source(known))
                for known in objects
                for label, share in known.labels
            ],
        )
        self.database.write(
            "INSERT OR REPLACE INTO appearance VALUES (?, ?, ?)",
            [
                (known.id, known.weights, known.appearance.astype(np.float16).tobytes())
                for known in objects
                if known.appearance is not None
            ],
        )

    def remove(self, ids: Sequence[int]) -> None:
        """Removes every trace of objects."""
        rows = [(number,) for number in ids]
        self.database.write("DELETE FROM objects WHERE id = ?", rows)
        for table in ("observations", "labels", "appearance", "crops", "events", "edits"):
            self.database.write(f"DELETE FROM {table} WHERE object = ?", rows)

    def take_over(self, old: int, new: int) -> None:
        """Gives the history of object `new` to object `old`."""
        for table in ("observations", "crops"):
            self.database.write(f"UPDATE {table} SET object = ? WHERE object = ?", [(old, new)])
        self.database.write("DELETE FROM events WHERE object = ?", [(new,)])

    def observe(self, known: MemoryObject) -> None:
        """Stores a look at an object, unless it is like one of the last five seconds."""
        place = (*np.round(known.box.array(), 1).tolist(), known.label)
        stamp, stored = self._stored.get(known.id, (-OBSERVATION_PERIOD_NS, ()))
        if known.last_ns - stamp < OBSERVATION_PERIOD_NS and stored == place:
            return
        self._stored[known.id] = known.last_ns, place
        self.add_observations(
            [
                Observation(
                    known.id, known.last_ns, known.session, known.box, known.label, known.score
                )
            ]
        )

    def add_observations(self, observations: Iterable[Observation]) -> None:
        """Inserts observations as they are."""
        self.database.write(
            f"INSERT INTO observations ({_OBSERVATION}) VALUES ({', '.join('?' * 13)})",
            [
                (o.object_id, o.stamp_ns, o.session, *_box_row(o.box), o.label, o.score, o.view)
                for o in observations
            ],
        )

    def observations(self, object_id: int, limit: int = 1000) -> list[Observation]:
        """The newest observations of an object, oldest first."""
        rows = self.database.query(
            f"SELECT {_OBSERVATION} FROM observations WHERE object = ? "
            "ORDER BY stamp_ns DESC LIMIT ?",
            (object_id, limit),
        )
        return [
            Observation(row[0], row[1], row[2], _box(row[3:10]), *row[10:]) for row in rows[::-1]
        ]

    def add_picture(self, picture: Picture) -> None:
        """Inserts a picture."""
        self.database.write(
            "INSERT INTO crops (object, stamp_ns, jpeg, score, bearing) VALUES (?, ?, ?, ?, ?)",
            [(picture.object_id, picture.stamp_ns, picture.jpeg, picture.score, picture.bearing)],
        )

    def remove_picture(self, picture: Picture) -> None:
        """Removes the picture of its object and stamp."""
        self.database.write(
            "DELETE FROM crops WHERE object = ? AND stamp_ns = ?",
            [(picture.object_id, picture.stamp_ns)],
        )

    def pictures(self, object_id: int) -> list[Picture]:
        """The pictures of an object, best first."""
        rows = self.database.query(
            "SELECT object, stamp_ns, score, bearing, length(jpeg), jpeg FROM crops "
            "WHERE object = ? ORDER BY score DESC",
            (object_id,),
        )
        return [Picture(*row) for row in rows]

    def picture_list(self) -> list[Picture]:
        """All pictures without their JPEG."""
        return [
            Picture(*row)
            for row in self.database.query(
                "SELECT object, stamp_ns, score, bearing, length(jpeg) FROM crops"
            )
        ]

    def remove_pictures(self) -> None:
        """Removes all pictures."""
        self.database.write("DELETE FROM crops")

    def add_events(self, events: Sequence[Event]) -> None:
        """Appends events."""
        self.database.write(
            f"INSERT INTO events ({_EVENT}) VALUES ({', '.join('?' * 9)})",
            [
                (
                    e.stamp_ns, e.session, e.kind, e.object_id, e.label, e.confidence,
                    _box_text(e.before), _box_text(e.after), json.dumps(e.detail),
                )
                for e in events
            ],
        )  # fmt: skip

    def events(
        self, start_ns: int = 0, end_ns: int = 2**62, object_id: int | None = None
    ) -> list[Event]:
        """Events with stamps in [start_ns, end_ns], of one object or of all, oldest first."""
        only = "" if object_id is None else f"AND object = {int(object_id)}"
        rows = self.database.query(
            f"SELECT {_EVENT} FROM events WHERE stamp_ns BETWEEN ? AND ? {only} "
            "ORDER BY stamp_ns, id",
            (start_ns, end_ns),
        )
        return [_event(row) for row in rows]

    def last_event(self) -> int:
        """Number of the last event, 0 before one."""
        return int(self.database.query("SELECT coalesce(max(id), 0) FROM events")[0][0])

    def events_after(self, number: int, limit: int) -> list[Event]:
        """The first events with a number larger than this, oldest first."""
        rows = self.database.query(
            f"SELECT {_EVENT} FROM events WHERE id > ? ORDER BY id LIMIT ?", (number, limit)
        )
        return [_event(row) for row in rows]

    def add_edit(
        self, stamp_ns: int, author: str, action: str, object_id: int, detail: dict[str, Any]
    ) -> None:
        """Appends an edit with its provenance."""
        self.database.write(
            "INSERT INTO edits (stamp_ns, author, action, object, detail) VALUES (?, ?, ?, ?, ?)",
            [(stamp_ns, author, action, object_id, json.dumps(detail))],
        )

    def edits(self) -> list[tuple[int, str, str, int, dict[str, Any]]]:
        """Stamp, author, action, object and detail of all edits, oldest first."""
        rows = self.database.query(
            "SELECT stamp_ns, author, action, object, detail FROM edits ORDER BY id"
        )
        return [(*row[:4], json.loads(row[4])) for row in rows]

    def regions(self) -> list[Region]:
        """All regions, by name."""
        rows = self.database.query("SELECT name, low, high, corners FROM regions ORDER BY name")
        return [
            Region(name, tuple(map(tuple, json.loads(corners))), low, high)
            for name, low, high, corners in rows
        ]

    def set_regions(self, regions: Sequence[Region]) -> None:
        """Replaces all regions."""
        self.database.write("DELETE FROM regions")
        self.database.write(
            "INSERT OR REPLACE INTO regions VALUES (?, ?, ?, ?)",
            [(r.name, r.low, r.high, json.dumps(r.corners)) for r in regions],
        )

    def sessions(self) -> list[Session]:
        """All sessions, oldest first."""
        rows = self.database.query(
            "SELECT id, started_ns, first_ns, last_ns FROM sessions ORDER BY id"
        )
        return [Session(*row) for row in rows]

    def save_session(self, session: Session) -> None:
        """Inserts or replaces a session."""
        self.database.write(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)",
            [(session.id, session.started_ns, session.first_ns, session.last_ns)],
        )

    def prune(self, older_than_ns: int, max_bytes: int = 2**62) -> None:
        """Drops observations, pictures and events before a stamp, and objects that are gone since
        then; then the older half of the observations while the file is larger than `max_bytes`.
        """
        db = self.database
        for table in ("observations", "crops", "events"):
            db.write(f"DELETE FROM {table} WHERE stamp_ns < ?", [(older_than_ns,)])
        gone = db.query(
            "SELECT id FROM objects WHERE last_ns < ? AND state IN ('gone', 'missing')",
            (older_than_ns,),
        )
        self.remove([row[0] for row in gone])
        if db.nbytes > max_bytes:
            for table in ("crops", "observations"):
                db.write(
                    f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY stamp_ns "
                    f"LIMIT (SELECT count(*) / 2 FROM {table}))"
                )


def box_list(box: Box3D) -> list[float]:
    """Seven numbers: centre, size, yaw."""
    return [*box.center, *box.size, box.yaw]


def _box_row(box: Box3D) -> tuple[float, ...]:
    return tuple(box_list(box))


def _box(row: Sequence[float]) -> Box3D:
    return Box3D(vector(row[:3]), vector(row[3:6]), row[6])


def _box_text(box: Box3D | None) -> str:
    return json.dumps(box_list(box)) if box else ""


def _box_of(text: str) -> Box3D | None:
    return _box(json.loads(text)) if text else None


def _event(row: tuple[Any, ...]) -> Event:
    return Event(
        row[2], row[0], row[3], row[4], row[5], _box_of(row[6]), _box_of(row[7]), row[1],
        json.loads(row[8]),
    )  # fmt: skip


def _label_source(known: MemoryObject) -> str:
    if known.label_pinned:
        return "person"
    return "detector" if known.label_score > 0 else "network"


def _object(row: tuple[Any, ...]) -> MemoryObject:
    return MemoryObject(
        id=row[0], box=_box(row[1:8]), label=row[8], label_score=row[9], color=row[10],
        rgb=vector(row[11:14]), score=row[14], views=row[15], hits=row[16], state=row[17],
        empty_looks=row[18], first_ns=row[19], last_ns=row[20], session=row[21],
        place=vector(row[22:25]), pinned=bool(row[25]), label_pinned=bool(row[26]),
        merged_into=row[27], source=row[28],
        points=np.frombuffer(row[29], np.float32).reshape(-1, 3),
    )  # fmt: skip


def _object_row(known: MemoryObject) -> tuple[Any, ...]:
    return (
        known.id, *_box_row(known.box), known.label, known.label_score, known.color, *known.rgb,
        known.score, known.views, known.hits, known.state, known.empty_looks, known.first_ns,
        known.last_ns, known.session, *known.place, int(known.pinned), int(known.label_pinned),
        known.merged_into, known.source, known.points.astype(np.float32).tobytes(),
    )  # fmt: skip
