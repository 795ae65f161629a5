"""Files that are written whole or not at all: a full disk leaves what was there before."""

from __future__ import annotations

import os
from pathlib import Path

from spatial3d_ros.errors import StorageError


def write_whole(path: Path, text: str) -> None:
    """Write a text file (UTF-8) in place of what was there.

    Raises StorageError, and leaves what was there, when it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # some file systems tell of a full disk only now
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another folder. "
            "What was there before is unchanged"
        ) from error
