"""Where a benchmark's boxes come from: a file of boxes, the annotation of scans, a detector."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spatial3d_ros.research.datasets.boxes_only import BoxRoom, read_box_rooms
from spatial3d_ros.research.datasets.other_scans import is_other_scan, read_other_objects
from spatial3d_ros.research.datasets.proposals import ProposalReader
from spatial3d_ros.research.datasets.scan_frames import scenes_in
from spatial3d_ros.research.datasets.scannet_objects import read_scannet_objects


class BoxSource(Protocol):
    """`name` for reports; `rooms` reads those of the wanted scenes that there are, or all."""

    @property
    def name(self) -> str:
        """A file or a folder."""
        ...

    def rooms(self, wanted: Collection[str] | None = None) -> Mapping[str, BoxRoom]:
        """Rooms by scene. Raises ConfigError for files that cannot be used."""
        ...


@dataclass(frozen=True)
class BoxFile:
    """A file of boxes (boxes_only.py)."""

    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def rooms(self, wanted: Collection[str] | None = None) -> Mapping[str, BoxRoom]:
        """All rooms of the file."""
        return read_box_rooms(self.path)


@dataclass(frozen=True)
class ScanBoxes:
    """Annotated objects of the scans below a folder: ScanNet, ARKitScenes, MultiScan."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    def rooms(self, wanted: Collection[str] | None = None) -> Mapping[str, BoxRoom]:
        """The wanted scenes that the folder has."""
        there = _wanted(scenes_in(self.folder), wanted)
        paths = [self.folder / name for name in there]
        return {
            path.name: (read_other_objects if is_other_scan(path) else read_scannet_objects)(path)
            for path in paths
        }


@dataclass(frozen=True)
class Proposals:
    """A detector's boxes of scans."""

    reader: ProposalReader

    @property
    def name(self) -> str:
        """Folder or file, and how many are kept."""
        return f"{self.reader.source} (top {self.reader.top}, IoU below {self.reader.overlap})"

    def rooms(self, wanted: Collection[str] | None = None) -> Mapping[str, BoxRoom]:
        """The wanted scenes whose scans there are."""
        return self.reader.read(_wanted(scenes_in(self.reader.scans), wanted))


def _wanted(there: Iterable[str], wanted: Collection[str] | None) -> list[str]:
    return sorted(there if wanted is None else set(there) & set(wanted))


def as_source(boxes: str | Path | BoxSource) -> BoxSource:
    """A path is a file of boxes."""
    return BoxFile(Path(boxes)) if isinstance(boxes, (str, Path)) else boxes
