"""Typed answers. World frame, metres; stamps are those of the newest view that was used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from spatial3d_ros.scene.objects import SceneObject

Point = tuple[float, float, float]


def in_words(point: Point) -> str:
    """A place as texts give it, metres: "(1.00, 2.00, 0.50)"."""
    return "({:.2f}, {:.2f}, {:.2f})".format(*point)


@dataclass(frozen=True)
class ScoredObject:
    """An object of the map in an answer; `score` 0 .. 1 is its share among all objects and
    "nothing".
    """

    object: SceneObject
    score: float


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What every answer tells about where it comes from: `stages_ms` is the time of each stage.

    `places` are those that stand in its text, in that order, so that it can be told in another
    frame.
    """

    views_used: int
    scene_version: int
    stamp_ns: int
    stages_ms: dict[str, float] = field(default_factory=dict)
    places: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Grounding(Provenance):
    """Objects that fit a description, best first; the first `num_targets` are the answer (several
    for "all chairs"). `no_target`: nothing fits, and the objects are near misses. `num_ties`: so
    many different things fit about equally well; more than one where the words do not tell them
    apart.
    """

    query: str
    objects: tuple[ScoredObject, ...]
    no_target: bool
    text: str
    num_targets: int
    num_ties: int = 1


@dataclass(frozen=True)
class Distance(Provenance):
    """Metres from `point_a` to `point_b`: the centres of two objects, or the nearest points of
    their boxes. An end may be the robot's camera or a named point: an object with the id NO_ID and
    a box without size.

    `metres` is by the `route` that is more accurate on held-out data: "geometry", between the
    boxes, or "network", the number that the network says itself (`network_m`, None when it said
    none); `disagreement_m` is how far the two are apart. `uncertainty_m` is one standard deviation
    (see `tasks.distance.uncertainty`). `alternatives` are what the words could mean as well.
    """

    query: str
    metres: float
    kind: Literal["center", "surface"]
    a: ScoredObject
    b: ScoredObject
    point_a: Point
    point_b: Point
    text: str
    uncertainty_m: float = 0.0
    route: Literal["geometry", "network"] = "geometry"
    network_m: float | None = None
    disagreement_m: float | None = None
    alternatives: tuple[ScoredObject, ...] = ()


@dataclass(frozen=True)
class Answer(Provenance):
    """An answer in words, and the objects it speaks of."""

    query: str
    text: str
    objects: tuple[ScoredObject, ...]


@dataclass(frozen=True)
class LayoutEdit(Provenance):
    """A proposed change of the room; the memory is as it was unless `applied`.

    `before` and `after` hold the same objects in the same order, what was named first and then what
    it carries. A new object has no `before` and the id NO_ID, a removed one no `after`; an
    impossible edit has no `after` either, and `reason` says why in words. `satisfied`: everything
    stands as it was asked for.
    """

    query: str
    action: Literal["move", "place", "swap", "remove", "turn"]
    possible: bool
    reason: str
    satisfied: bool
    before: tuple[SceneObject, ...]
    after: tuple[SceneObject, ...]
    text: str
    applied: bool = False
