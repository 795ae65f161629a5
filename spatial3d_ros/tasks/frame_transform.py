"""Answers in another frame than that of the memory (REP 105).

The memory is kept in a frame in which motion is continuous (odom). The origin of the map frame
jumps whenever the localization corrects itself, so the transform from odom to map is applied to
each answer when it is sent, and never to the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.memory.regions import Region
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.results import (
    Answer,
    Distance,
    Grounding,
    LayoutEdit,
    Point,
    ScoredObject,
    format_point,
)

Result = TypeVar("Result", Grounding, Distance, Answer, LayoutEdit)


@dataclass(frozen=True)
class OutputTransform:
    """The frame of the answers: `frame_id`, by the pose `target_T_world` (4, 4); None: identity.

    Both frames have z up, so a box stays upright: its yaw changes by that of the pose.
    """

    frame_id: str
    target_T_world: np.ndarray | None = None

    def objects(self, objects: Sequence[SceneObject]) -> tuple[SceneObject, ...]:
        """The same objects in `frame_id`."""
        pose = self.target_T_world
        if pose is None:
            return tuple(objects)
        return tuple(
            replace(known, box=self.box(known.box), points=transform(pose, known.points))
            for known in objects
        )

    def box(self, box: Box3D) -> Box3D:
        """The same box in `frame_id`."""
        return box if self.target_T_world is None else box.moved(self.target_T_world)

    def regions(self, regions: Sequence[Region]) -> list[Region]:
        """The same regions in `frame_id`."""
        pose = self.target_T_world
        return list(regions) if pose is None else [region.moved(pose) for region in regions]

    def inverse(self, frame_id: str) -> OutputTransform:
        """The transform from the frame of the answers to that of the memory, `frame_id`."""
        pose = self.target_T_world
        return OutputTransform(frame_id, None if pose is None else invert(pose))

    def result(self, result: Result) -> Result:
        """The same answer in `frame_id`, the points in its text included."""
        if self.target_T_world is None:
            return result
        points = tuple(map(self._point, result.text_points))
        changes: dict[str, Any] = {
            "text": _replace_points(result.text, result.text_points, points),
            "text_points": points,
        }
        if isinstance(result, Distance):
            changes["a"], changes["b"] = self._scored((result.a, result.b))
            changes["alternatives"] = self._scored(result.alternatives)
            changes["point_a"] = self._point(result.point_a)
            changes["point_b"] = self._point(result.point_b)
        elif isinstance(result, LayoutEdit):
            changes["before"] = self.objects(result.before)
            changes["after"] = self.objects(result.after)
        else:
            changes["objects"] = self._scored(result.objects)
        return replace(result, **changes)

    def _scored(self, scored: Sequence[ScoredObject]) -> tuple[ScoredObject, ...]:
        objects = self.objects([entry.object for entry in scored])
        pairs = zip(scored, objects, strict=True)
        return tuple(replace(entry, object=moved) for entry, moved in pairs)

    def _point(self, point: Point) -> Point:
        if self.target_T_world is None:
            return point
        x, y, z = map(float, transform(self.target_T_world, np.array(point)))
        return x, y, z


def _replace_points(text: str, before: Sequence[Point], after: Sequence[Point]) -> str:
    """The text with other points, in the order in which it prints them."""
    replaced, rest = "", text
    for old, new in zip(before, after, strict=True):
        start, _, rest = rest.partition(format_point(old))
        replaced += start + format_point(new)
    return replaced + rest
