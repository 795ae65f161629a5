"""Distances in words: which two things, and the geometry between them (METHODS 3.4).

Two routes lead to a number: the geometry between the two boxes that the network points at, and the
number that the network says itself (`ModelRunner.read_number`). The one that is more accurate on
held-out rooms is published, `ROUTE`; how far the two are apart is told with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry.box import Box3D, center_distance, surface_distance
from spatial3d_ros.scene.objects import NO_ID, SceneObject
from spatial3d_ros.tasks.distance_parser import (
    DistanceQuery,
    parse_distance,
    read_point,
)
from spatial3d_ros.tasks.grounding import find, is_self, name, placed, places_of
from spatial3d_ros.tasks.prompt import clean_query
from spatial3d_ros.tasks.results import Distance, Point, ScoredObject, in_words
from spatial3d_ros.tasks.unit_parser import FOREIGN_UNIT

Kind = Literal["center", "surface"]
ROUTE: Literal["geometry", "network"] = "geometry"
_SIDE_M = 0.02  # how far a side of a box is off that was seen well: about a voxel
_UNSEEN = 0.05  # and as a share of the thing's size, for what no view shows of it
_POSE_M = 0.02  # of the camera's own position


@dataclass(frozen=True)
class Measured:
    """Metres, both end points, the sentence, and the points that it tells."""

    metres: float
    start: Point
    end: Point
    text: str
    places: tuple[Point, ...]


def read_distance(query: str, a: str, b: str, kind: str) -> DistanceQuery:
    """The two phrases and the kind of distance, from a question or from two phrases given apart.

    `kind` "auto" follows the words ("gap" is between surfaces) and is "center" for two phrases.
    Raises QueryError when the two things cannot be told apart in the question, are the same, or are
    wanted in feet or inches: answers are in metres (REP 103).
    """
    if a or b:
        wanted = DistanceQuery(_phrase(a, "object_a"), _phrase(b, "object_b"), "center")
    else:
        text = clean_query(query)
        parsed = parse_distance(text)
        if parsed is None:
            raise QueryError(
                f"query: '{query}' does not name two things; ask 'how far is the chair from the "
                "door?' or fill object_a and object_b"
            )
        unit = FOREIGN_UNIT.search(text.lower())
        if unit:
            raise QueryError(
                f"query: answers are in metres, not in '{unit.group()}'; leave the unit out"
            )
        wanted = parsed
    if _bare(wanted.a) == _bare(wanted.b) or (is_self(wanted.a) and is_self(wanted.b)):
        raise QueryError(
            f"query: '{wanted.a}' and '{wanted.b}' are the same thing, 0 m from itself; name two"
        )
    return wanted if kind == "auto" else DistanceQuery(wanted.a, wanted.b, kind)


def _phrase(text: str, field: str) -> str:
    if read_point(text) is not None:
        return text
    try:
        return clean_query(text)
    except QueryError as error:
        raise QueryError(f"{field}: {error}") from error


def _bare(phrase: str) -> str:
    words = phrase.lower().strip(" ?!.").split()
    return " ".join(word for word in words if word not in ("the", "a", "an", "this", "that"))


def fixed_end(phrase: str, robot: np.ndarray | None) -> SceneObject | None:
    """The robot's camera or a named point as an end; None for a phrase that means an object.

    `robot` (3,) metres, None where no pose came yet. Raises QueryError for a point that is not
    finite and for a robot that is nowhere.
    """
    point = read_point(phrase)
    label = "point"
    if point is None:
        if not is_self(phrase):
            return None
        if robot is None:
            raise QueryError(
                f"query: '{phrase}': where the robot is is not known, no pose arrived since the "
                "memory was cleared; start the camera and its poses"
            )
        point, label = tuple(map(float, robot)), "robot"
    if not np.isfinite(point).all() or max(map(abs, point)) > 1e5:
        raise QueryError(f"query: '{phrase}' is no point of a room; give x, y, z in metres")
    box = Box3D(point, (0, 0, 0))
    return SceneObject(NO_ID, box, (0, 0, 0), 1.0, 0, 0, np.empty((0, 3), np.float32), label)


def measure(a: SceneObject, b: SceneObject, kind: Kind) -> Measured:
    """From a to b: between the centres, or the nearest points of the surfaces."""
    if kind == "center":
        metres, start, end = center_distance(a.box, b.box), a.box.center, b.box.center
    else:
        metres, start, end = surface_distance(a.box, b.box)
    whole = [_end_name(o) for o in (a, b)]
    part = kind.replace("center", "centre")
    if NO_ID in (a.id, b.id):
        parts = [
            n if o.id == NO_ID else f"the {part} of {n}" for n, o in zip(whole, (a, b), strict=True)
        ]
        text = f"{metres:.2f} m between {parts[0]} and {parts[1]}"
    else:
        text = f"{metres:.2f} m between the {part}s of {whole[0]} and {whole[1]}"
    points = tuple(o.box.center for o in (a, b) if o.id == NO_ID and o.label == "point")
    return Measured(metres, tuple(map(float, start)), tuple(map(float, end)), text, points)


def _end_name(thing: SceneObject) -> str:
    if thing.id != NO_ID:
        return name(thing)
    return "the camera" if thing.label == "robot" else in_words(thing.box.center)


def distance_answer(
    query: str,
    wanted: DistanceQuery,
    fixed: Sequence[SceneObject | None],
    scores: Tensor,
    objects: Sequence[SceneObject],
    network_m: float | None,
    **provenance: Any,
) -> Distance:
    """The answer, from the scores (Q, N + 1) of those phrases that are no `fixed_end`.

    Raises NotFoundError naming the phrase that fits nothing, with the nearest candidates.
    """
    phrases = (wanted.a, wanted.b)
    named = [p for p, end in zip(phrases, fixed, strict=True) if end is None]
    found, alternatives = find(named, scores, objects)
    rest = iter(zip(found, scores, strict=True))
    pairs = [next(rest) if end is None else (ScoredObject(end, 1.0), None) for end in fixed]
    (a, _), (b, _) = pairs
    made = measure(a.object, b.object, wanted.kind)
    spread = uncertainty(
        [a.object, b.object], [row for _, row in pairs], objects, made.metres, wanted.kind
    )
    text = made.text
    if alternatives:
        text += f"; the words could also mean {' or '.join(map(placed, alternatives))}"
    said = ROUTE == "network" and network_m is not None
    return Distance(
        query, network_m if said else made.metres, wanted.kind, a, b, made.start, made.end, text,
        uncertainty_m=spread,
        route="network" if said else "geometry",
        network_m=network_m,
        disagreement_m=None if network_m is None else abs(network_m - made.metres),
        alternatives=alternatives,
        places=(*made.places, *places_of(alternatives)),
        **provenance,
    )  # fmt: skip


def uncertainty(
    ends: Sequence[SceneObject],
    scores: Sequence[Tensor | None],
    objects: Sequence[SceneObject],
    metres: float,
    kind: Kind,
) -> float:
    """One standard deviation of a distance (m), from two doubts that add as squares.

    Where the ends are: a side of a box is off by 2 cm, about a voxel, and by 5 % of the thing's
    size for what no view shows; the camera's position by 2 cm. Which objects are meant: the shares
    of the network over all objects, taken as probabilities, say how far the distance would be off
    if others were meant; of a clear question this is nearly nothing, of an unclear one metres.

    scores: of each end (N + 1,) logits of the objects, "nothing" last and not considered; None for
    an end that is no object.
    """
    place = 0.0
    for end in ends:
        if end.label == "robot" and end.id == NO_ID:
            place += _POSE_M**2
        elif end.id != NO_ID:
            # A centre is the mean of two sides.
            sides = 2 if kind == "center" else 1
            place += (_SIDE_M**2 + (_UNSEEN * max(end.box.size)) ** 2) / sides
    centers, halves, shares = [], [], []
    for end, row in zip(ends, scores, strict=True):
        things = [end] if row is None else objects
        bounds = np.array([thing.box.bounds() for thing in things])
        centers.append(bounds.mean(1))
        halves.append((bounds[:, 1] - bounds[:, 0]) / 2)
        shares.append(np.ones(1) if row is None else row[:-1].float().softmax(-1).numpy())
    gap = np.abs(centers[0][:, None] - centers[1][None])
    if kind == "surface":
        gap = (gap - halves[0][:, None] - halves[1][None]).clip(min=0)
    joint = shares[0][:, None] * shares[1][None]
    if all(row is not None for row in scores):
        np.fill_diagonal(joint, 0.0)  # the two are different things
    off = np.linalg.norm(gap, axis=-1) - metres
    doubt = float((joint * off**2).sum() / max(joint.sum(), 1e-12))
    return float(np.sqrt(place + doubt))
