"""Replies of the grounding node as plain data, for files that are read without ROS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from spatial3d_ros import msg
from spatial3d_ros.action import Query

MEASURES = {msg.DistanceAnswer.CENTER: "center", msg.DistanceAnswer.SURFACE: "surface"}
ACTIONS = {
    getattr(msg.LayoutEdit, name.upper()): name
    for name in ("move", "place", "swap", "remove", "turn")
}


def grounding(reply: Any) -> dict[str, Any]:
    """Of `~/ground`: the objects, best first."""
    answer = reply.grounding
    return _common("ground", reply, answer, answer.objects) | {"no_target": answer.no_target}


def distance(reply: Any) -> dict[str, Any]:
    """Of `~/measure_distance`: metres and both ends."""
    answer = reply.distance
    ends = [answer.object_a, answer.object_b] if reply.success else []
    return _common("distance", reply, answer, ends) | {
        "metres": answer.distance,
        "measure": MEASURES[answer.kind],
        "uncertainty": answer.uncertainty,
    }


def words(reply: Any) -> dict[str, Any]:
    """Of `~/ask`: the answer, and the objects it is about."""
    return _common("ask", reply, reply.answer, reply.answer.objects)


def edit(reply: Any, field: str = "edit") -> dict[str, Any]:
    """Of `~/edit_layout`: what changes, as it stands (objects) and as it would stand (after)."""
    answer = getattr(reply, field)
    return _common("layout", reply, answer, answer.before) | {
        "after": things(answer.after),
        "action": ACTIONS[answer.action],
        "possible": answer.possible,
        "satisfied": answer.satisfied,
    }


def result(reply: Any) -> dict[str, Any]:
    """Of `~/query`: whatever the words asked for."""
    if reply.kind == Query.Result.LAYOUT:
        return edit(reply, "layout")
    read = {Query.Result.DISTANCE: distance, Query.Result.ANSWER: words}
    return read.get(reply.kind, grounding)(reply)


def things(messages: Sequence[Any]) -> list[dict[str, Any]]:
    """Objects with their boxes, metres and rad."""
    return [_thing(message) for message in messages]


def _thing(message: Any) -> dict[str, Any]:
    center, turn, size = message.pose.position, message.pose.orientation, message.size
    return {
        "id": message.id,
        "label": message.label,
        "color": message.color,
        "score": message.score,
        "center": [center.x, center.y, center.z],
        "size": [size.x, size.y, size.z],
        "yaw": 2 * math.atan2(turn.z, turn.w),
    }


def _common(kind: str, reply: Any, answer: Any, objects: Sequence[Any]) -> dict[str, Any]:
    return {
        "answered": kind,
        "success": reply.success,
        "message": reply.message,
        "answer": answer.text,
        "no_target": False,
        "objects": things(objects),
        "server_ms": answer.latency_ms,
        "views": answer.views_used,
        "version": answer.scene_version,
    }
