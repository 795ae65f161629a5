"""The reply to one question, from an engine or, as plain data, from a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spatial3d_ros.geometry.box import Box3D

if TYPE_CHECKING:
    from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit


@dataclass(frozen=True)
class Reply:
    """What came back for one question. `boxes` best first, the two ends of a distance, or what a
    layout edit changes; `after` are the new boxes of an edit, `uncertainty_m` is of a distance.
    `possible`: whether there is room for an edit. `kind` is that of the answer: ground, distance,
    ask or layout; "" where there is none.
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
        return cls(
            data["answer"] if data["success"] else data["message"],
            _boxes(data["objects"]),
            data["no_target"],
            data.get("metres") if data["success"] else None,
            data["success"],
            data["latency_ms"],
            _boxes(data.get("after", ())),
            data.get("uncertainty"),
            data.get("answered", "") if data["success"] else "",
            data.get("possible", True),
        )

    @classmethod
    def from_result(
        cls, result: Grounding | Distance | Answer | LayoutEdit, latency_ms: float
    ) -> Reply:
        """From an answer of the engine."""
        if hasattr(result, "after"):
            before, after = (tuple(o.box for o in part) for part in (result.before, result.after))
            return cls(
                result.text, before, latency_ms=latency_ms, after=after, kind="layout",
                possible=result.possible,
            )  # fmt: skip
        if hasattr(result, "metres"):
            ends = (result.a.object.box, result.b.object.box)
            return cls(
                result.text, ends, metres=result.metres, latency_ms=latency_ms,
                uncertainty_m=result.uncertainty_m, kind="distance",
            )  # fmt: skip
        boxes = tuple(scored.object.box for scored in result.objects)
        nothing = getattr(result, "no_target", None)
        kind = "ask" if nothing is None else "ground"
        return cls(result.text, boxes, bool(nothing), latency_ms=latency_ms, kind=kind)


def _boxes(things: Sequence[dict[str, Any]]) -> tuple[Box3D, ...]:
    return tuple(Box3D(tuple(o["center"]), tuple(o["size"]), o["yaw"]) for o in things)
