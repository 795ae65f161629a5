"""Typed answers. World frame, metres; stamps are those of the newest view that was used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from spatial3d_ros.scene.objects import SceneObject

Point = tuple[float, float, float]


@dataclass(frozen=True)
class ScoredObject:
    """An object of the map in an answer; `score` 0 .. 1 is its share among all objects and
    "nothing".
    """

    object: SceneObject
    score: float


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What every answer tells about where it comes from: `stages_ms` is the time of each stage."""

    views_used: int
    scene_version: int
    stamp_ns: int
    stages_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Grounding(Provenance):
    """Objects that fit a description, best first; the first `meant` are the answer (several for
    "all chairs"). `no_target`: nothing fits, and the objects are near misses.
    """

    query: str
    objects: tuple[ScoredObject, ...]
    no_target: bool
    text: str
    meant: int


@dataclass(frozen=True)
class Distance(Provenance):
    """Metres from `point_a` to `point_b`: the centres of two objects, or the nearest points of
    their boxes.
    """

    query: str
    metres: float
    kind: Literal["center", "surface"]
    a: ScoredObject
    b: ScoredObject
    point_a: Point
    point_b: Point
    text: str


@dataclass(frozen=True)
class Answer(Provenance):
    """An answer in words, and the objects it speaks of."""

    query: str
    text: str
    objects: tuple[ScoredObject, ...]


@dataclass(frozen=True)
class LayoutEdit(Provenance):
    """A proposed change of the room: objects before and after, or in `text` why it is
    impossible.
    """

    query: str
    possible: bool
    before: tuple[SceneObject, ...]
    after: tuple[SceneObject, ...]
    text: str
