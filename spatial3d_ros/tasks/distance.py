"""Distances in words: which two things, and the geometry between them (methods 3.4)."""

from __future__ import annotations

from typing import Literal

from spatial3d_ros.errors import NotAvailableError, QueryError
from spatial3d_ros.geometry.box import center_distance, surface_distance
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.distance_words import DistanceQuery, parse_distance
from spatial3d_ros.tasks.grounding import name
from spatial3d_ros.tasks.prompt import clean_query
from spatial3d_ros.tasks.results import Point

_SELF = {"me", "you", "us", "here", "i", "myself", "yourself", "robot", "the robot", "the camera"}


def read_distance(query: str, a: str, b: str, kind: str) -> DistanceQuery:
    """The two phrases and the kind of distance, from a question or from two phrases given apart.

    `kind` "auto" follows the words ("gap" is between surfaces) and is "center" for two phrases.
    Raises QueryError when the two things cannot be told apart in the question.
    """
    if a or b:
        wanted = DistanceQuery(clean_query(a), clean_query(b), "center")
    else:
        wanted = parse_distance(clean_query(query))
        if wanted is None:
            raise QueryError(
                f"query: '{query}' does not name two things; ask 'how far is the chair from the "
                "door?' or fill object_a and object_b"
            )
    for phrase in (wanted.a, wanted.b):
        if phrase.lower().strip(" ?.!") in _SELF:
            raise NotAvailableError(
                f"query: '{phrase}' is no object; this model measures between two objects"
            )
    return wanted if kind == "auto" else DistanceQuery(wanted.a, wanted.b, kind)


def measure(
    a: SceneObject, b: SceneObject, kind: Literal["center", "surface"]
) -> tuple[float, Point, Point, str]:
    """Metres, both end points, and the sentence."""
    if kind == "center":
        metres, start, end = center_distance(a.box, b.box), a.box.center, b.box.center
        text = f"{metres:.2f} m between the centres of {name(a)} and {name(b)}"
    else:
        metres, start, end = surface_distance(a.box, b.box)
        text = f"{metres:.2f} m between the surfaces of {name(a)} and {name(b)}"
    return metres, tuple(map(float, start)), tuple(map(float, end)), text
