"""Distances: which two objects, and the geometry between them (METHODS 3.4).

Two routes give the metres: the geometry between the two grounded boxes, and the number that the
network generates (`ModelRunner.generate_distance`). `ROUTE`, the more accurate one on held-out
rooms, is published, with the disagreement of the two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry.box import Box3D, center_distance, surface_distance
from spatial3d_ros.scene.objects import NO_ID, SceneObject
from spatial3d_ros.tasks.grounding import centers_of, list_alternatives, object_name
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
_SURFACE = re.compile(
    r"\b(?:gap|clearance|space|spacing|room|surface|(?:shortest|minimum) distance)\b"
)
_CENTER = re.compile(r"\b(?:center|centre|middle)s?\b")


@dataclass(frozen=True, eq=False)
class End:
    """One end of a distance: the object chosen, and the probability (N,) of each object of the map
    to be the end; None for the robot and a point.
    """

    chosen: ScoredObject
    shares: np.ndarray | None = None


def kind_of(text: str, kind: str) -> DistanceKind:
    """What is measured: as `kind` says, or with "auto" by the wording: "gap", "clearance" and
    "shortest distance" are between surfaces, all else between centers. Raises QueryError for a
    question in feet or inches: answers are in metres (REP 103).
    """
    unit = FOREIGN_UNIT.search(text.lower())
    if unit:
        raise QueryError(
            f"query: answers are in metres, not in '{unit.group()}'; leave the unit out"
        )
    if kind != "auto":
        return "surface" if kind == "surface" else "center"
    words = text.lower()
    return "surface" if _SURFACE.search(words) and not _CENTER.search(words) else "center"


def fixed_end(phrase: str, point: Point | None, camera_position: np.ndarray | None) -> SceneObject:
    """A given point, or with None the camera, as an end.

    `camera_position` (3,) metres, None before the first pose. Raises QueryError for a point that is
    not finite, and for the robot before its first pose.
    """
    label = "point"
    if point is None:
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
    kind: DistanceKind,
    ends: Sequence[End],
    objects: Sequence[SceneObject],
    alternatives: Sequence[ScoredObject],
    network_m: float | None,
    **provenance: Any,
) -> Distance:
    """The answer, from its two ends and other objects that the phrases fit about as well."""
    a, b = (end.chosen for end in ends)
    metres, start, end, text = measure(a.object, b.object, kind)
    points = [o.box.center for o in (a.object, b.object) if o.id == NO_ID and o.label == "point"]
    published: Route = "geometry" if network_m is None else ROUTE
    return Distance(
        query,
        network_m if network_m is not None and published == "network" else metres,
        kind,
        a,
        b,
        start,
        end,
        text + list_alternatives(alternatives),
        uncertainty_m=uncertainty(ends, objects, metres, kind),
        route=published,
        network_m=network_m,
        disagreement_m=None if network_m is None else abs(network_m - metres),
        alternatives=tuple(alternatives),
        text_points=(*points, *centers_of(alternatives)),
        **provenance,
    )


def uncertainty(
    ends: Sequence[End], objects: Sequence[SceneObject], metres: float, kind: DistanceKind
) -> float:
    """One standard deviation of a distance (m); two variances add up.

    Position of the ends: a face of a box has 2 cm, about a voxel, and 5 % of the size of the object
    for what no view shows; the camera 2 cm. Choice of the objects: the mean square difference to
    the distances between all other pairs, weighted by their probability; nearly 0 if the grounding
    is certain, metres if it is not.
    """
    variance = 0.0
    for end in (one.chosen.object for one in ends):
        if end.label == "robot" and end.id == NO_ID:
            variance += _CAMERA_STD_M**2
        elif end.id != NO_ID:
            faces = 2 if kind == "center" else 1  # a center is the mean of two faces
            variance += (_FACE_STD_M**2 + (_UNSEEN_STD * max(end.box.size)) ** 2) / faces
    centers, halves, probabilities = [], [], []
    for one in ends:
        candidates = [one.chosen.object] if one.shares is None else objects
        bounds = np.array([candidate.box.bounds() for candidate in candidates])
        centers.append(bounds.mean(1))
        halves.append((bounds[:, 1] - bounds[:, 0]) / 2)
        probabilities.append(np.ones(1) if one.shares is None else one.shares)
    gap = np.abs(centers[0][:, None] - centers[1][None])
    if kind == "surface":
        gap = (gap - halves[0][:, None] - halves[1][None]).clip(min=0)
    joint = probabilities[0][:, None] * probabilities[1][None]
    if all(one.shares is not None for one in ends):
        np.fill_diagonal(joint, 0.0)  # the two objects are distinct
    difference = np.linalg.norm(gap, axis=-1) - metres
    variance += float((joint * difference**2).sum() / max(joint.sum(), 1e-12))
    return float(np.sqrt(variance))
