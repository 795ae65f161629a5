"""Scan2Cap: one caption for each object that ScanRefer describes (METHODS 5.6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from spatial3d_ros.research.datasets.scanrefer import Description

BEGIN, END = "sos", "eos"


def wrapped(text: str) -> str:
    """A caption or reference between the begin and end word that all are compared with."""
    return f"{BEGIN} {text} {END}"


@dataclass(frozen=True)
class CaptionTarget:
    """An object to caption; `references` are all its descriptions, wrapped."""

    scene_id: str
    object_id: int
    references: tuple[str, ...]


def caption_targets(descriptions: Iterable[Description]) -> list[CaptionTarget]:
    """Every described object once, in the order of its first description."""
    groups: dict[tuple[str, int], list[str]] = defaultdict(list)
    for one in descriptions:
        groups[one.scene_id, one.object_id].append(wrapped(one.description))
    return [CaptionTarget(*key, tuple(texts)) for key, texts in groups.items()]
