"""ScanRefer: descriptions of single objects (METHODS 5.1), and the unique objects of a scene.

The files of SceneVerse about single objects (`ssg_ref_*.json`), which describe scans of
ARKitScenes and MultiScan, have the same entries with ReferIt3D's names of the fields:
https://github.com/scene-verse/SceneVerse/blob/main/DATA.md.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field

from spatial3d_ros.research.datasets.files import Record, TextList, read_entries


def _named(*names: str) -> Any:
    return Field(validation_alias=AliasChoices(*names))


class Description(Record):
    """One entry of `ScanRefer_filtered_*.json` or of SceneVerse."""

    scene_id: str = _named("scene_id", "scan_id")
    object_id: int = _named("object_id", "target_id")
    object_name: str = _named("object_name", "instance_type")
    ann_id: str = _named("ann_id", "item_id")
    description: str = _named("description", "utterance")
    token: TextList = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Tokens of the file, which SceneVerse has not, or the words of the description."""
        return self.token or tuple(re.findall(r"[a-z]+", self.description.lower()))

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
