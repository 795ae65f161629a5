"""Responses of the grounding node as dicts, for JSON files that are read without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spatial3d_ros.action import Query
from spatial3d_ros.nodes import conversions

MEASURES = {value: name for name, value in conversions.DISTANCE_KINDS.items()}
ACTIONS = {value: name for name, value in conversions.EDIT_ACTIONS.items()}


def grounding(response: Any) -> dict[str, Any]:
    """Of `~/ground`: the objects, best first."""
    answer = response.grounding
    return _common("ground", response, answer, answer.objects) | {"no_target": answer.no_target}


def distance(response: Any) -> dict[str, Any]:
    """Of `~/measure_distance`: metres and both ends."""
    answer = response.distance
    ends = [answer.object_a, answer.object_b] if response.success else []
    return _common("distance", response, answer, ends) | {
        "metres": answer.distance,
        "measure": MEASURES[answer.kind],
        "uncertainty": answer.uncertainty,
    }


def free_form_answer(response: Any) -> dict[str, Any]:
    """Of `~/ask`: the answer and the objects that it refers to."""
    answer = response.answer
    return _common("ask", response, answer, answer.objects) | {"value": answer.value}


def history(response: Any) -> dict[str, Any]:
    """Of `~/get_history`: the events as sentences."""
    return {
        "answered": "history",
        "success": response.success,
        "message": response.message,
        "answer": "; ".join(event.text for event in response.events),
        "objects": [],
    }


def layout_edit(response: Any, field: str = "edit") -> dict[str, Any]:
    """Of `~/edit_layout`: the edited objects with their boxes before ("objects") and "after"."""
    answer = getattr(response, field)
    return _common("layout", response, answer, answer.before) | {
        "after": objects(answer.after),
        "action": ACTIONS[answer.action],
        "possible": answer.possible,
        "satisfied": answer.satisfied,
    }


def result(response: Any) -> dict[str, Any]:
    """Of `~/query`: the response of the service that answered the query."""
    if response.kind == Query.Result.LAYOUT:
        return layout_edit(response, "layout")
    converters = {Query.Result.DISTANCE: distance, Query.Result.ANSWER: free_form_answer}
    return converters.get(response.kind, grounding)(response)


def objects(messages: Sequence[Any]) -> list[dict[str, Any]]:
    """Objects with their boxes, metres and rad."""
    return [_object(message) for message in messages]


def _object(message: Any) -> dict[str, Any]:
    box = conversions.box(message)
    return {
        "id": message.id,
        "label": message.label,
        "color": message.color,
        "score": message.score,
        "center": list(box.center),
        "size": list(box.size),
        "yaw": box.yaw,
    }


def _common(kind: str, response: Any, answer: Any, messages: Sequence[Any]) -> dict[str, Any]:
    return {
        "answered": kind,
        "success": response.success,
        "message": response.message,
        "answer": answer.text,
        "no_target": False,
        "objects": objects(messages),
        "server_ms": answer.latency_ms,
        "views": answer.views_used,
        "version": answer.scene_version,
        "intent": answer.intent,
        "confidence": answer.confidence,
        "question_back": answer.question_back,
    }
