"""Tables of the memory database and their migrations (docs/INTERFACES.md 7)."""

from __future__ import annotations

import sqlite3

from spatial3d_ros.errors import MemoryFileError

_BOX = "x REAL, y REAL, z REAL, sx REAL, sy REAL, sz REAL, yaw REAL"

MIGRATIONS: tuple[str, ...] = (
    f"""
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY, started_ns INTEGER, first_ns INTEGER, last_ns INTEGER);
    CREATE TABLE objects (
        id INTEGER PRIMARY KEY, {_BOX}, label TEXT, label_score REAL, color TEXT,
        r REAL, g REAL, b REAL, score REAL, views INTEGER, hits INTEGER, state TEXT,
        empty_looks INTEGER, first_ns INTEGER, last_ns INTEGER, session INTEGER,
        px REAL, py REAL, pz REAL, pinned INTEGER, label_pinned INTEGER, merged_into INTEGER,
        source TEXT, points BLOB);
    CREATE INDEX objects_label ON objects (label);
    CREATE TABLE observations (
        id INTEGER PRIMARY KEY, object INTEGER, stamp_ns INTEGER, session INTEGER, {_BOX},
        label TEXT, score REAL, view INTEGER);
    CREATE INDEX observations_object ON observations (object, stamp_ns);
    CREATE INDEX observations_stamp ON observations (stamp_ns);
    CREATE TABLE labels (
        object INTEGER, label TEXT, probability REAL, source TEXT, PRIMARY KEY (object, label));
    CREATE TABLE appearance (object INTEGER PRIMARY KEY, weights_sha256 TEXT, vector BLOB);
    CREATE TABLE crops (id INTEGER PRIMARY KEY, object INTEGER, stamp_ns INTEGER, jpeg BLOB);
    CREATE INDEX crops_object ON crops (object, stamp_ns);
    CREATE TABLE regions (name TEXT PRIMARY KEY, low REAL, high REAL, corners TEXT);
    CREATE TABLE edits (
        id INTEGER PRIMARY KEY, stamp_ns INTEGER, author TEXT, action TEXT, object INTEGER,
        detail TEXT);
    CREATE TABLE events (
        id INTEGER PRIMARY KEY, stamp_ns INTEGER, session INTEGER, kind TEXT, object INTEGER,
        label TEXT, confidence REAL, before TEXT, after TEXT, detail TEXT);
    CREATE INDEX events_stamp ON events (stamp_ns);
    CREATE INDEX events_object ON events (object);
    """,
    """
    ALTER TABLE crops ADD COLUMN score REAL DEFAULT 0;
    ALTER TABLE crops ADD COLUMN bearing REAL DEFAULT 0;
    """,
    """
    DELETE FROM labels;
    CREATE TABLE space (
        x INTEGER, y INTEGER, z INTEGER, cells BLOB, PRIMARY KEY (x, y, z));
    """,
)
"""The i-th script brings a database from version i to i + 1."""

VERSION = len(MIGRATIONS)
TABLES = (
    "meta", "sessions", "objects", "observations", "labels", "appearance", "crops", "regions",
    "edits", "events", "space",
)  # fmt: skip


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Brings the database to `VERSION`. Raises MemoryFileError if it is newer than that."""
    for number in range(_version(connection, name), VERSION):
        connection.executescript(
            f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;"
        )


def check_readable(connection: sqlite3.Connection, name: str) -> None:
    """Raises MemoryFileError if a database that is only read has another version."""
    try:
        version = _version(connection, name)
    except sqlite3.Error as error:
        raise MemoryFileError(f"{name}: cannot be read ({error})") from error
    if version < VERSION:
        raise MemoryFileError(
            f"{name}: has schema version {version}; start a node with this memory_folder once, "
            "which brings it to the present one"
        )


def _version(connection: sqlite3.Connection, name: str) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise MemoryFileError(
            f"{name}: has schema version {version}, this release reads up to {VERSION}; install "
            "the newer release that wrote it, or choose another memory_folder"
        )
    return version
