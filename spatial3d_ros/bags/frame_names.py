"""`NAME.frames.json` beside a bag: the stem of the source file of each frame, by its stamp."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from spatial3d_ros.bags.bag import ROS1_SUFFIX, SUFFIXES
from spatial3d_ros.errors import BagError
from spatial3d_ros.storage import write_whole

FORMAT = 1


def frames_json(bag: Path) -> Path:
    """The file of a bag: room.mcap -> room.frames.json."""
    stem = bag.stem if bag.suffix in (*SUFFIXES, ROS1_SUFFIX) else bag.name
    return bag.with_name(f"{stem}.frames.json")


def write_frame_names(bag: Path, sources: Iterable[tuple[int, str]]) -> Path:
    """Writes (stamp in ns, stem) of each frame; returns the file. Raises StorageError."""
    path = frames_json(bag)
    frames = [{"stamp_ns": stamp_ns, "source": stem} for stamp_ns, stem in sources]
    write_whole(path, json.dumps({"format": FORMAT, "frames": frames}, indent=1) + "\n")
    return path


def read_frame_names(bag: Path) -> dict[str, int]:
    """Stamp in ns by stem; {} where the bag has no such file. Raises BagError naming the file."""
    path = frames_json(bag)
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r} is not {FORMAT}")
        return {str(entry["source"]): int(entry["stamp_ns"]) for entry in data["frames"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BagError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); convert the folder again"
        ) from error
