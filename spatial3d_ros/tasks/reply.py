"""The reply to one question, from the engine or, as plain data, from a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit


@dataclass(frozen=True)
class Reply:
    """What was answered to one question.

    boxes: best first, or the two ends of a distance, or those that a layout edit changes.
    after: the new boxes of a layout edit; `possible`: whether it found free poses.
    metres, uncertainty_m: of a distance.
    kind: ground, distance, ask or layout; "" without an answer.
    """

    text: str
    boxes: tuple[Box3D, ...] = ()
    no_target: bool = False
    metres: float | None = None
    success: bool = True
    latency_ms: float = 0.0
    after: tuple[Box3D, ...] = ()
    uncertainty_m: float | None = None
    kind: str = ""
    possible: bool = True

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Reply:
        """From an entry of the file that the demo client writes."""
        success = data["success"]
        return cls(
            data["answer"] if success else data["message"],
            _boxes(data["objects"]),
            data["no_target"],
            data.get("metres") if success else None,
            success,
            data["latency_ms"],
            _boxes(data.get("after", ())),
            data.get("uncertainty"),
            data.get("answered", "") if success else "",
            data.get("possible", True),
        )

    @classmethod
    def from_result(
        cls, result: Grounding | Distance | Answer | LayoutEdit, latency_ms: float
    ) -> Reply:
        """From an answer of the engine."""
        if isinstance(result, LayoutEdit):
            before, after = (tuple(o.box for o in part) for part in (result.before, result.after))
            return cls(
                result.text, before, latency_ms=latency_ms, after=after, kind="layout",
                possible=result.possible,
            )  # fmt: skip
        if isinstance(result, Distance):
            ends = (result.a.object.box, result.b.object.box)
            return cls(
                result.text, ends, metres=result.metres, latency_ms=latency_ms,
                uncertainty_m=result.uncertainty_m, kind="distance",
            )  # fmt: skip
        boxes = tuple(scored.object.box for scored in result.objects)
        if isinstance(result, Grounding):
            return cls(result.text, boxes, result.no_target, latency_ms=latency_ms, kind="ground")
        return cls(result.text, boxes, latency_ms=latency_ms, kind="ask")


def _boxes(objects: Sequence[dict[str, Any]]) -> tuple[Box3D, ...]:
    return tuple(Box3D(tuple(o["center"]), tuple(o["size"]), o["yaw"]) for o in objects)
