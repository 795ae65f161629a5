"""Typed answers: world frame, metres; stamps are those of the newest view used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from spatial3d_ros.scene.objects import SceneObject

Point = tuple[float, float, float]
DistanceKind = Literal["center", "surface"]
Route = Literal["geometry", "network"]
Action = Literal["move", "place", "swap", "remove", "turn"]


def format_point(point: Point) -> str:
    """A point as answers print it, metres: "(1.00, 2.00, 0.50)"."""
    return "({:.2f}, {:.2f}, {:.2f})".format(*point)


@dataclass(frozen=True)
class ScoredObject:
    """An object of the map in an answer; `score` is its probability, 0 .. 1, among all objects and
    "no target".
    """

    object: SceneObject
    score: float


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Fields of every answer: which version of the scene it is from, and its timing.

    stages_ms: duration of each stage.
    text_points: the points that its text prints, in that order, so that `frame_transform` can
        print them in another frame.
    intent: what was asked, as read; "" for phrases given one by one.
    confidence: calibrated probability, 0 .. 1, that the first object is the one asked about.
    question_back: asked back where several objects fit, else "".
    """

    views_used: int
    scene_version: int
    stamp_ns: int
    stages_ms: dict[str, float] = field(default_factory=dict)
    text_points: tuple[Point, ...] = ()
    intent: str = ""
    confidence: float = 0.0
    question_back: str = ""


@dataclass(frozen=True)
class Grounding(Provenance):
    """Objects that match a description, best first.

    num_targets: so many of the first objects are the answer (several for "all chairs").
    no_target: no object matches, and the objects are the nearest candidates.
    num_ties: so many objects match about equally well; more than 1 if the description is ambiguous.
    """

    query: str
    objects: tuple[ScoredObject, ...]
    no_target: bool
    text: str
    num_targets: int
    num_ties: int = 1


@dataclass(frozen=True)
class Distance(Provenance):
    """Metres from `point_a` to `point_b`: the centers of two objects, or the nearest points of
    their boxes. An end that is the robot's camera or a given point is an object with the id NO_ID
    and a box of size 0.

    metres: by `route`, the one that is more accurate on held-out data: "geometry", between the
        boxes, or "network", the number that the network generates.
    network_m: the generated number, None if there is none; `disagreement_m` is its difference to
        the geometry.
    uncertainty_m: one standard deviation (see `tasks.distance.uncertainty`).
    alternatives: other objects that the phrases match about equally well.
    """

    query: str
    metres: float
    kind: DistanceKind
    a: ScoredObject
    b: ScoredObject
    point_a: Point
    point_b: Point
    text: str
    uncertainty_m: float = 0.0
    route: Route = "geometry"
    network_m: float | None = None
    disagreement_m: float | None = None
    alternatives: tuple[ScoredObject, ...] = ()


@dataclass(frozen=True)
class Answer(Provenance):
    """An answer in words, and the objects that it refers to.

    value: the answer alone: "3", "yes", "red", "1.84 m"; "" where the objects are the answer.
    """

    query: str
    text: str
    objects: tuple[ScoredObject, ...]
    value: str = ""


@dataclass(frozen=True)
class LayoutEdit(Provenance):
    """A proposed change of the layout; the scene is unchanged unless `applied`.

    before, after: the same objects in the same order, the named ones first, then those they carry.
        A new object has no `before` and the id NO_ID, a removed one no `after`; an impossible edit
        has no `after` either.
    possible, reason: whether a free pose exists, and why not.
    satisfied: whether the new pose satisfies the instruction.
    """

    query: str
    action: Action
    possible: bool
    reason: str
    satisfied: bool
    before: tuple[SceneObject, ...]
    after: tuple[SceneObject, ...]
    text: str
    applied: bool = False
