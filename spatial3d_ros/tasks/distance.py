"""Distances: which two objects, and the geometry between them (METHODS 3.4).

Two routes give the metres: the geometry between the two grounded boxes, and the number that the
network generates (`ModelRunner.generate_distance`). `ROUTE`, the more accurate one on held-out
rooms, is published, with the disagreement of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry.box import Box3D, center_distance, surface_distance
from spatial3d_ros.scene.objects import NO_ID, SceneObject
from spatial3d_ros.tasks.distance_parser import DistanceQuery, parse_distance, read_point
from spatial3d_ros.tasks.grounding import (
    centers_of,
    is_self,
    list_alternatives,
    match_phrases,
    object_name,
)
from spatial3d_ros.tasks.prompt import clean_query
from spatial3d_ros.tasks.results import (
    Distance,
    DistanceKind,
    Point,
    Route,
    ScoredObject,
    format_point,
)
from spatial3d_ros.tasks.unit_parser import FOREIGN_UNIT

ROUTE: Route = "geometry"
_FACE_STD_M = 0.02  # of a face of a box that was observed: about a voxel
_UNSEEN_STD = 0.05  # of the size of an object, for faces that no view shows
_CAMERA_STD_M = 0.02  # of the camera's position
_MAX_COORDINATE_M = 1e5


def read_distance(query: str, a: str, b: str, kind: str) -> DistanceQuery:
    """The two phrases and the kind of distance, from a question or from two separate phrases.

    `kind` "auto" follows the wording ("gap" is between surfaces) and is "center" for two phrases.
    Raises QueryError if the question does not name two objects, names the same one twice, or asks
    for feet or inches: answers are in metres (REP 103).
    """
    if a or b:
        parsed = DistanceQuery(_clean_phrase(a, "object_a"), _clean_phrase(b, "object_b"), "center")
    else:
        text = clean_query(query)
        found = parse_distance(text)
        if found is None:
            raise QueryError(
                f"query: '{query}' does not name two objects; ask 'how far is the chair from the "
                "door?' or fill object_a and object_b"
            )
        unit = FOREIGN_UNIT.search(text.lower())
        if unit:
            raise QueryError(
                f"query: answers are in metres, not in '{unit.group()}'; leave the unit out"
            )
        parsed = found
    if _bare(parsed.a) == _bare(parsed.b) or (is_self(parsed.a) and is_self(parsed.b)):
        raise QueryError(
            f"query: '{parsed.a}' and '{parsed.b}' are the same object, 0 m apart; name two"
        )
    if kind == "auto":
        return parsed
    return DistanceQuery(parsed.a, parsed.b, "surface" if kind == "surface" else "center")


def _clean_phrase(text: str, field: str) -> str:
    if read_point(text) is not None:
        return text
    try:
        return clean_query(text)
    except QueryError as error:
        raise QueryError(f"{field}: {error}") from error


def _bare(phrase: str) -> str:
    words = phrase.lower().strip(" ?!.").split()
    return " ".join(word for word in words if word not in ("the", "a", "an", "this", "that"))


def fixed_end(phrase: str, camera_position: np.ndarray | None) -> SceneObject | None:
    """The camera or a given point as an end; None for a phrase that refers to an object.

    `camera_position` (3,) metres, None before the first pose. Raises QueryError for a point that is
    not finite, and for the robot before its first pose.
    """
    point = read_point(phrase)
    label = "point"
    if point is None:
        if not is_self(phrase):
            return None
        if camera_position is None:
            raise QueryError(
                f"query: '{phrase}': the position of the robot is unknown, no pose arrived since "
                "the memory was cleared; start the camera and its poses"
            )
        x, y, z = map(float, camera_position)
        point, label = (x, y, z), "robot"
    if not np.isfinite(point).all() or max(map(abs, point)) > _MAX_COORDINATE_M:
        raise QueryError(f"query: '{phrase}' is not a point in a room; give x, y, z in metres")
    no_points = np.empty((0, 3), np.float32)
    return SceneObject(NO_ID, Box3D(point, (0, 0, 0)), (0, 0, 0), 1.0, 0, 0, no_points, label)


def measure(a: SceneObject, b: SceneObject, kind: DistanceKind) -> tuple[float, Point, Point, str]:
    """Metres from a to b, both end points, and the sentence: between the centers, or between the
    nearest points of the surfaces.
    """
    if kind == "center":
        metres, start, end = center_distance(a.box, b.box), a.box.center, b.box.center
    else:
        metres, *nearest = surface_distance(a.box, b.box)
        start, end = ((float(x), float(y), float(z)) for x, y, z in nearest)
    names = [_end_name(o) for o in (a, b)]
    if NO_ID in (a.id, b.id):
        names = [
            name if o.id == NO_ID else f"the {kind} of {name}"
            for name, o in zip(names, (a, b), strict=True)
        ]
        text = f"{metres:.2f} m between {names[0]} and {names[1]}"
    else:
        text = f"{metres:.2f} m between the {kind}s of {names[0]} and {names[1]}"
    return metres, start, end, text


def _end_name(end: SceneObject) -> str:
    if end.id != NO_ID:
        return object_name(end)
    return "the camera" if end.label == "robot" else format_point(end.box.center)


def distance_answer(
    query: str,
    parsed: DistanceQuery,
    fixed: Sequence[SceneObject | None],
    scores: Tensor,
    objects: Sequence[SceneObject],
    network_m: float | None,
    **provenance: Any,
) -> Distance:
    """The answer, from the logits (Q, N + 1) of those phrases that are no `fixed_end`.

    Raises NotFoundError naming the phrase that matches no object, with the nearest candidates.
    """
    phrases = [p for p, end in zip((parsed.a, parsed.b), fixed, strict=True) if end is None]
    matched, alternatives = match_phrases(phrases, scores, objects)
    remaining = iter(zip(matched, scores, strict=True))
    (a, a_scores), (b, b_scores) = (
        next(remaining) if end is None else (ScoredObject(end, 1.0), None) for end in fixed
    )
    metres, start, end, text = measure(a.object, b.object, parsed.kind)
    points = [o.box.center for o in (a.object, b.object) if o.id == NO_ID and o.label == "point"]
    published: Route = "geometry" if network_m is None else ROUTE
    return Distance(
        query,
        network_m if network_m is not None and published == "network" else metres,
        parsed.kind,
        a,
        b,
        start,
        end,
        text + list_alternatives(alternatives),
        uncertainty_m=uncertainty(
            (a.object, b.object), (a_scores, b_scores), objects, metres, parsed.kind
        ),
        route=published,
        network_m=network_m,
        disagreement_m=None if network_m is None else abs(network_m - metres),
        alternatives=alternatives,
        text_points=(*points, *centers_of(alternatives)),
        **provenance,
    )


def uncertainty(
    ends: Sequence[SceneObject],
    scores: Sequence[Tensor | None],
    objects: Sequence[SceneObject],
    metres: float,
    kind: DistanceKind,
) -> float:
    """One standard deviation of a distance (m); two variances add up.

    Position of the ends: a face of a box has 2 cm, about a voxel, and 5 % of the size of the object
    for what no view shows; the camera 2 cm. Choice of the objects: the mean square difference to
    the distances between all other pairs, weighted by their probability; nearly 0 if the grounding
    is certain, metres if it is not.

    scores: (N + 1,) logits per end, "no target" last and ignored; None for a fixed end.
    """
    variance = 0.0
    for end in ends:
        if end.label == "robot" and end.id == NO_ID:
            variance += _CAMERA_STD_M**2
        elif end.id != NO_ID:
            faces = 2 if kind == "center" else 1  # a center is the mean of two faces
            variance += (_FACE_STD_M**2 + (_UNSEEN_STD * max(end.box.size)) ** 2) / faces
    centers, halves, probabilities = [], [], []
    for end, row in zip(ends, scores, strict=True):
        candidates = [end] if row is None else objects
        bounds = np.array([candidate.box.bounds() for candidate in candidates])
        centers.append(bounds.mean(1))
        halves.append((bounds[:, 1] - bounds[:, 0]) / 2)
        probabilities.append(np.ones(1) if row is None else row[:-1].float().softmax(-1).numpy())
    gap = np.abs(centers[0][:, None] - centers[1][None])
    if kind == "surface":
        gap = (gap - halves[0][:, None] - halves[1][None]).clip(min=0)
    joint = probabilities[0][:, None] * probabilities[1][None]
    if all(row is not None for row in scores):
        np.fill_diagonal(joint, 0.0)  # the two objects are distinct
    difference = np.linalg.norm(gap, axis=-1) - metres
    variance += float((joint * difference**2).sum() / max(joint.sum(), 1e-12))
    return float(np.sqrt(variance))
