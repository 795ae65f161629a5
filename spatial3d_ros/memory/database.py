"""The memory database: one SQLite file in a folder, written by a thread of its own.

A transaction is committed at least every second (write-ahead log), so `kill -9` loses at most the
last two seconds. A full or read-only disk is kept as `problem`; the caller goes on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spatial3d_ros.errors import MemoryFileError
from spatial3d_ros.memory.recovery import recover
from spatial3d_ros.memory.schema import check_readable, migrate

FILE, LOCK = "memory.sqlite", "lock"
COMMIT_S = 1.0
MAX_PENDING = 20_000  # rows kept for a disk that may have space again
_CHECKED_BYTES = 100 * 2**20  # larger files are checked only after a run that did not close them

Statement = tuple[str, Sequence[tuple[Any, ...]]]


class MemoryDatabase:
    """The file `memory.sqlite` of a folder. Methods may be called from any thread.

    Args:
        folder: created if missing.
        write: False reads only, beside a node that uses the folder.

    Attributes:
        problem: why the last write failed, "" if it did not.
        notes: what was repaired on opening, for the log.

    Raises:
        MemoryFileError: another process writes to the folder, or the schema is newer.
    """

    def __init__(self, folder: Path, *, write: bool = True) -> None:
        self.folder, self.path = folder, folder / FILE
        self.problem = ""
        self.notes: list[str] = []
        self.writable = write
        self._lock_file: int | None = None
        self._read_lock = threading.Lock()
        self._queue: queue.SimpleQueue[Statement | None] = queue.SimpleQueue()
        self._flushed = threading.Condition()
        self._queued = self._done = 0
        self._closed = False
        if write:
            self._prepare_folder()
        elif not self.path.is_file():
            raise MemoryFileError(f"{self.path}: no such memory; check the folder")
        self._read = self._open()
        self._thread: threading.Thread | None = None
        if self.writable:
            self._thread = threading.Thread(target=self._run, name="memory writer", daemon=True)
            self._thread.start()

    def query(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Committed rows. Raises MemoryFileError if the file cannot be read."""
        with self._read_lock:
            if self._closed:
                raise MemoryFileError(f"{self.path}: the memory is closed")
            try:
                return self._read.execute(sql, arguments).fetchall()
            except sqlite3.Error as error:
                raise MemoryFileError(f"{self.path}: cannot be read ({error})") from error

    def write(self, sql: str, rows: Iterable[tuple[Any, ...]] = ((),)) -> None:
        """Queues a statement for each of the rows; returns at once."""
        given = list(rows)
        if given and self.writable:
            with self._flushed:
                self._queued += 1
            self._queue.put((sql, given))

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Waits until everything queued so far is committed; returns whether it is."""
        with self._flushed:
            target = self._queued
            self._flushed.wait_for(lambda: self._done >= target, timeout_s)
            return self._done >= target and not self.problem

    def meta(self, key: str) -> str:
        """A value of the table meta, "" if there is none."""
        rows = self.query("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else ""

    def set_meta(self, key: str, value: str) -> None:
        """Queues a value of the table meta."""
        self.write("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(key, value)])

    def copy_to(self, folder: Path) -> None:
        """Copies everything committed to the memory of another folder, which it replaces.

        Raises MemoryFileError if that folder is in use or cannot be written.
        """
        self.flush()
        if folder.resolve() == self.folder.resolve():
            return
        target = MemoryDatabase(folder)
        problem = target.problem
        target.close()
        if problem:
            raise MemoryFileError(problem)
        try:
            with contextlib.closing(sqlite3.connect(target.path)) as copy, self._read_lock:
                self._read.backup(copy)
        except sqlite3.Error as error:
            raise MemoryFileError(self._unwritten(str(error))) from error

    @property
    def nbytes(self) -> int:
        """Bytes of the file and its log."""
        files = (self.path, self.path.with_name(f"{FILE}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Commits what is queued and releases the folder. Idempotent."""
        if self._thread is not None:
            self.set_meta("clean", "1")
            self._queue.put(None)
            self._thread.join(15.0)
            self._thread = None
        with self._read_lock:
            if not self._closed:
                self._closed = True
                self._read.close()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _prepare_folder(self) -> None:
        """Makes and locks the folder; one that cannot be written is only read."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise MemoryFileError(
                    f"{self.folder}: another process uses this memory; stop it, or choose another "
                    "memory_folder"
                ) from None
            self._cannot_write(error.strerror or str(error))

    def _cannot_write(self, reason: str) -> None:
        self.writable = False
        self.problem = self._unwritten(reason)

    def _unwritten(self, reason: str) -> str:
        return (
            f"{self.folder}: cannot be written ({reason}), so nothing new is remembered; free "
            "space, change its rights, or choose another memory_folder"
        )

    def _open(self) -> sqlite3.Connection:
        if not self.writable:
            if not self.path.is_file():
                return _empty()
            return self._connect(f"{self.path.absolute().as_uri()}?mode=ro")
        try:
            if self.path.is_file():
                self.notes += recover(self.path, self._needs_check())
            connection = self._connect(self.path.absolute().as_uri())
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection, str(self.path))
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('clean', '0')")
            connection.commit()
            return connection
        except (sqlite3.Error, OSError) as error:
            self._cannot_write(str(error))
            return self._open()

    def _connect(self, uri: str) -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=1.0)
        connection.execute("PRAGMA synchronous = NORMAL")
        if "mode=ro" in uri:
            check_readable(connection, str(self.path))
        return connection

    def _needs_check(self) -> bool:
        """Whether to read every page: the file is small, or the last run did not close it."""
        if self.path.stat().st_size < _CHECKED_BYTES:
            return True
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(self.path)) as connection,
        ):
            rows = connection.execute("SELECT value FROM meta WHERE key = 'clean'").fetchall()
            return not rows or rows[0][0] != "1"
        return True

    def _run(self) -> None:
        """Commits what is queued, once in `COMMIT_S`; after an error it is tried again."""
        connection = self._connect(self.path.absolute().as_uri())
        pending: list[Statement] = []
        ended = False
        while not ended:
            ended = self._collect(pending)
            try:
                with connection:
                    for sql, rows in pending:
                        connection.executemany(sql, rows)
                self.problem = ""
            except sqlite3.OperationalError as error:  # a full disk, for one: tried again
                self.problem = self._unwritten(str(error))
                while sum(len(rows) for _, rows in pending) > MAX_PENDING:
                    pending.pop(0)
                    self._count_done(1)
                if not ended:
                    time.sleep(COMMIT_S)
                continue
            except sqlite3.Error as error:
                self.problem = self._unwritten(str(error))
            self._count_done(len(pending))
            pending.clear()
        with contextlib.suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def _collect(self, pending: list[Statement]) -> bool:
        """Appends what arrives within `COMMIT_S` of the first statement; returns whether to end."""
        end = None
        while True:
            try:
                wait = (
                    None
                    if end is None and not pending
                    else max(0.0, (end or time.monotonic()) - time.monotonic())
                )
                item = self._queue.get(timeout=wait)
            except queue.Empty:
                return False
            if item is None:
                return True
            pending.append(item)
            end = end or time.monotonic() + COMMIT_S / 2

    def _count_done(self, count: int) -> None:
        with self._flushed:
            self._done += count
            self._flushed.notify_all()


def _empty() -> sqlite3.Connection:
    """A memory without rows, for a folder that can be neither read nor written."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    migrate(connection, "memory")
    return connection
