"""Recovery of a damaged memory database: readable rows go to a new file, the old one is kept."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from spatial3d_ros.memory.schema import TABLES, migrate

_MAX_FAILURES = 5000  # rows that cannot be read until a table is given up


def recover(path: Path, check: bool) -> list[str]:
    """Repairs the database at `path` if it is damaged; returns what was done, for the log.

    check: whether to read every page; without it only a file that is no database is noticed.
    """
    if _sound(path, check):
        return []
    stamp = time.strftime("%Y%m%d-%H%M%S")
    damaged = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    path.rename(damaged)
    for suffix in ("-wal", "-shm"):
        log = path.with_name(path.name + suffix)
        if log.exists():
            log.rename(damaged.with_name(damaged.name + suffix))
    counts = {}
    with contextlib.closing(sqlite3.connect(path)) as target:
        migrate(target, str(path))
        for table in TABLES:
            rows, lost = _readable(damaged, table)
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                with contextlib.suppress(sqlite3.Error), target:
                    target.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)
            counts[table] = (len(rows), lost)
    saved = ", ".join(f"{kept} {table}" for table, (kept, _) in counts.items() if kept) or "nothing"
    broken = ", ".join(table for table, (_, lost) in counts.items() if lost)
    return [
        f"{path}: was damaged. Saved: {saved}"
        + (f"; not all of: {broken}" if broken else "")
        + f". The damaged file is kept as {damaged.name}"
    ]


def _sound(path: Path, check: bool) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
            return not check or connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    except sqlite3.DatabaseError:
        return False


def _readable(path: Path, table: str) -> tuple[list[tuple], bool]:
    """The rows of a table that can be read, and whether some cannot."""
    rows: list[tuple] = []
    failures = 0
    with contextlib.closing(sqlite3.connect(path)) as source:
        source.text_factory = lambda data: data.decode(errors="replace")
        try:
            last = source.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0
        except sqlite3.Error:
            return rows, True
        waiting = [(0, last)]
        while waiting:
            low, high = waiting.pop()
            try:
                rows += source.execute(
                    f"SELECT * FROM {table} WHERE rowid BETWEEN ? AND ?", (low, high)
                ).fetchall()
            except sqlite3.Error:
                failures += 1
                if failures > _MAX_FAILURES:
                    break
                if low < high:
                    middle = (low + high) // 2
                    waiting += [(low, middle), (middle + 1, high)]
    return rows, failures > 0
