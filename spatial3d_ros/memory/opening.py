"""Opens the memory of a folder, checked, repaired and within its bounds."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from spatial3d_ros.errors import ConfigError, NotAvailableError
from spatial3d_ros.memory.database import MemoryDatabase
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.records import Event
from spatial3d_ros.memory.state import MemorySettings
from spatial3d_ros.memory.store import MemoryStore

_DAY_NS = 86400 * 10**9


class MemoryConfig(Protocol):
    """The parameters of the memory (`EngineConfig`)."""

    @property
    def memory_origin(self) -> str: ...
    @property
    def memory_empty_looks(self) -> int: ...
    @property
    def memory_gone_hours(self) -> float: ...
    @property
    def memory_max_days(self) -> float: ...
    @property
    def memory_max_megabytes(self) -> float: ...
    @property
    def memory_pictures(self) -> int: ...
    @property
    def memory_pictures_megabytes(self) -> float: ...


def map_folder(memory_folder: str, name: str) -> Path:
    """The folder of a named map, "" for the memory folder itself.

    Raises NotAvailableError without a memory folder, ConfigError for a name that is none.
    """
    if not memory_folder:
        raise NotAvailableError("maps are saved beneath the parameter memory_folder: set it first")
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,64}", name):
        raise ConfigError(
            f"field name is {name[:80]!r}; it must be up to 64 letters, digits, - and _"
        )
    folder = Path(memory_folder).expanduser()
    return folder / "maps" / name if name else folder


def open_memory(
    folder: Path, config: MemoryConfig, on_events: Callable[[list[Event]], None] = lambda _: None
) -> ObjectMemory:
    """The memory of a folder, for one process at a time; repairs and problems go to the log.

    Raises MemoryFileError if the folder is in use or its schema is newer.
    """
    database = MemoryDatabase(folder)
    for note in (*database.notes, *filter(None, [database.problem])):
        logging.getLogger(__name__).warning(note)
    store = MemoryStore(database)
    newest = max((session.last_ns for session in store.sessions()), default=0)
    oldest = newest - round(config.memory_max_days * _DAY_NS)
    store.prune(max(0, oldest), round(config.memory_max_megabytes * 2**20))
    database.flush()
    settings = MemorySettings(
        empty_looks=config.memory_empty_looks,
        gone_after_s=3600.0 * config.memory_gone_hours,
        same_origin=config.memory_origin == "same",
        pictures=config.memory_pictures,
        picture_bytes=round(config.memory_pictures_megabytes * 2**20),
    )
    return ObjectMemory(store, settings, on_events)
