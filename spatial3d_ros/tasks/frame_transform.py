"""Answers in another frame than the memory's (REP 105).

Memory is kept in a frame in which motion is continuous (odom). A map's origin jumps whenever the
localisation corrects itself, so the way from map to odom is applied to what goes out, at that
moment, and never to what is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.pose import transform
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.results import (
    Answer,
    Distance,
    Grounding,
    LayoutEdit,
    Point,
    ScoredObject,
    in_words,
)

Result = TypeVar("Result", Grounding, Distance, Answer, LayoutEdit)


@dataclass(frozen=True)
class OutputTransform:
    """Says in which frame answers go out: `frame_id`, by `target_T_world` (4, 4); None: as is.

    Both frames have z upwards, so a box stays upright: it takes the turn about z.
    """

    frame_id: str
    target_T_world: np.ndarray | None = None

    def objects(self, things: Sequence[SceneObject]) -> tuple[SceneObject, ...]:
        """The same things in `frame_id`."""
        pose = self.target_T_world
        if pose is None:
            return tuple(things)
        yaw = math.atan2(pose[1, 0], pose[0, 0])
        return tuple(
            replace(
                thing,
                box=Box3D(
                    tuple(transform(pose, np.array(thing.box.center))),
                    thing.box.size,
                    thing.box.yaw + yaw,
                ),
                points=transform(pose, thing.points),
            )
            for thing in things
        )

    def result(self, result: Result) -> Result:
        """The same answer in `frame_id`, its words included."""
        if self.target_T_world is None:
            return result
        places = tuple(map(self._point, result.places))
        text = _retold(result.text, result.places, places)
        result = replace(result, text=text, places=places)
        if isinstance(result, Distance):
            a, b = self._scored((result.a, result.b))
            return replace(
                result,
                a=a,
                b=b,
                alternatives=self._scored(result.alternatives),
                point_a=self._point(result.point_a),
                point_b=self._point(result.point_b),
            )
        if isinstance(result, LayoutEdit):
            return replace(
                result, before=self.objects(result.before), after=self.objects(result.after)
            )
        return replace(result, objects=self._scored(result.objects))

    def _scored(self, found: Sequence[ScoredObject]) -> tuple[ScoredObject, ...]:
        things = self.objects([entry.object for entry in found])
        return tuple(
            replace(entry, object=thing) for entry, thing in zip(found, things, strict=True)
        )

    def _point(self, point: Point) -> Point:
        return tuple(map(float, transform(self.target_T_world, np.array(point))))


def _retold(text: str, before: Sequence[Point], after: Sequence[Point]) -> str:
    """The text with other places in the order in which it tells them."""
    told, rest = "", text
    for old, new in zip(before, after, strict=True):
        words, _, rest = rest.partition(in_words(old))
        told += words + in_words(new)
    return told + rest
