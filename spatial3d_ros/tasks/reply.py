"""The reply to one question, from the engine or, as plain data, from a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit


@dataclass(frozen=True)
class Reply:
    """What was answered to one question.

    boxes: best first, or the two ends of a distance, or those that a layout edit changes.
    after: the new boxes of a layout edit; `possible`: whether it found free poses.
    metres, uncertainty_m: of a distance.
    value: of an answer in words, it alone ("3", "yes"); "" where the objects are the answer.
    kind: ground, distance, ask or layout; "" without an answer. intent, confidence, question_back:
        as in `results.Provenance`.
    objects: names of the boxes, and the ids of those that are objects of the map.
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
    intent: str = ""
    confidence: float = 0.0
    question_back: str = ""
    objects: tuple[tuple[int, str], ...] = ()
    value: str = ""

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
            data.get("intent", ""),
            data.get("confidence", 0.0),
            data.get("question_back", ""),
            tuple((o["id"], o["label"]) for o in data["objects"]),
            data.get("value", ""),
        )

    @classmethod
    def from_result(
        cls, result: Grounding | Distance | Answer | LayoutEdit, latency_ms: float
    ) -> Reply:
        """From an answer of the engine."""
        common: dict[str, Any] = {
            "latency_ms": latency_ms, "intent": result.intent, "confidence": result.confidence,
            "question_back": result.question_back,
        }  # fmt: skip
        if isinstance(result, LayoutEdit):
            after = tuple(o.box for o in result.after)
            return cls(
                result.text, **_named(result.before), after=after, kind="layout",
                possible=result.possible, **common,
            )  # fmt: skip
        if isinstance(result, Distance):
            ends = (result.a.object, result.b.object)
            return cls(
                result.text, **_named(ends), metres=result.metres,
                uncertainty_m=result.uncertainty_m, kind="distance", **common,
            )  # fmt: skip
        objects = _named([scored.object for scored in result.objects])
        if isinstance(result, Grounding):
            if result.no_target:
                return cls(result.text, no_target=True, kind="ground", **common)
            return cls(result.text, **objects, kind="ground", **common)
        return cls(result.text, **objects, kind="ask", value=result.value, **common)


def _named(objects: Sequence[SceneObject]) -> dict[str, Any]:
    """Boxes, ids and labels of objects."""
    return {
        "boxes": tuple(o.box for o in objects),
        "objects": tuple((o.id, o.label) for o in objects),
    }


def _boxes(objects: Sequence[dict[str, Any]]) -> tuple[Box3D, ...]:
    return tuple(Box3D(tuple(o["center"]), tuple(o["size"]), o["yaw"]) for o in objects)
