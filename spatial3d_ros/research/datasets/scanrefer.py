"""ScanRefer: descriptions of single objects (METHODS 5.1), and the unique objects of a scene."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from spatial3d_ros.research.datasets.files import Record, TextList, read_entries


class Description(Record):
    """One entry of `ScanRefer_filtered_*.json`; `name` is `object_name` with spaces."""

    scene_id: str
    object_id: int
    object_name: str
    ann_id: int
    description: str
    token: TextList = ()

    @property
    def name(self) -> str:
        """The class with spaces instead of underscores."""
        return self.object_name.replace("_", " ")


def read_descriptions(path: str | Path) -> list[Description]:
    """All entries. Raises ConfigError naming file, entry and field."""
    return read_entries(path, Description)


def unique_objects(
    descriptions: Iterable[Description], class_of: Callable[[str], str]
) -> set[tuple[str, int]]:
    """(scene, object) without another *annotated* object of its class in the scene.

    As in the official evaluation, only objects that the file describes are counted, so it needs the
    whole file of a split.
    `class_of` maps a name to a class (label_classes.py).
    """
    groups: dict[tuple[str, str], set[int]] = defaultdict(set)
    for one in descriptions:
        groups[one.scene_id, class_of(one.name)].add(one.object_id)
    return {(scene, min(ids)) for (scene, _), ids in groups.items() if len(ids) == 1}
