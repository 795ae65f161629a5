"""Typed results to messages. Metres and quaternions x, y, z, w on both sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3
from std_msgs.msg import Header

from spatial3d_ros import msg
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.nodes.vision_messages import vision_messages
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.frame_transform import OutputTransform
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit, ScoredObject

if TYPE_CHECKING:
    from spatial3d_ros.tasks.scene_state import SceneObjects

SECOND = 1_000_000_000
DISTANCE_KINDS = {
    "center": msg.DistanceAnswer.CENTER,
    "surface": msg.DistanceAnswer.SURFACE,
}
EDIT_ACTIONS = {
    name: getattr(msg.LayoutEdit, name.upper())
    for name in ("move", "place", "swap", "remove", "turn")
}


def header(frame_id: str, stamp_ns: int) -> Header:
    """A header of that frame and time."""
    seconds, nanoseconds = divmod(int(stamp_ns), SECOND)
    return Header(frame_id=frame_id, stamp=Time(sec=seconds, nanosec=nanoseconds))


def pose(box: Box3D) -> Pose:
    """Centre of the box and its turn about z."""
    turn = Quaternion(x=0.0, y=0.0, z=math.sin(box.yaw / 2), w=math.cos(box.yaw / 2))
    return Pose(position=point(box.center), orientation=turn)


def point(xyz: Sequence[float]) -> Point:
    """A point in metres."""
    x, y, z = map(float, xyz)
    return Point(x=x, y=y, z=z)


def grounded_object(thing: SceneObject, score: float, frame_id: str) -> msg.GroundedObject:
    """An object of the scene, with the score that its use here gives it."""
    x, y, z = map(float, thing.box.size)
    return msg.GroundedObject(
        header=header(frame_id, thing.stamp_ns),
        id=int(thing.id),
        label=thing.label,
        color=thing.color,
        score=float(score),
        pose=pose(thing.box),
        size=Vector3(x=x, y=y, z=z),
        views=int(thing.views),
    )


def scored(things: Sequence[ScoredObject], frame_id: str) -> list[msg.GroundedObject]:
    """Objects in the order of an answer."""
    return [grounded_object(thing.object, thing.score, frame_id) for thing in things]


def known(things: Sequence[SceneObject], frame_id: str) -> list[msg.GroundedObject]:
    """Objects of the map with the score of the map."""
    return [grounded_object(thing, thing.score, frame_id) for thing in things]


def grounding(result: Grounding, frame_id: str, latency_ms: float) -> msg.Grounding:
    """The message of a grounding; near misses of a phrase that fits nothing stay out of it."""
    return msg.Grounding(
        objects=[] if result.no_target else scored(result.objects, frame_id),
        no_target=bool(result.no_target),
        num_targets=int(result.num_targets),
        num_ties=int(result.num_ties),
        **_common(result, frame_id, latency_ms),
    )


def distance(result: Distance, frame_id: str, latency_ms: float) -> msg.DistanceAnswer:
    """The message of a distance."""
    object_a, object_b = scored((result.a, result.b), frame_id)
    return msg.DistanceAnswer(
        distance=float(result.metres),
        uncertainty=float(result.uncertainty_m),
        route=result.route,
        network_distance=_or_nan(result.network_m),
        disagreement=_or_nan(result.disagreement_m),
        alternatives=scored(result.alternatives, frame_id),
        kind=DISTANCE_KINDS[result.kind],
        object_a=object_a,
        object_b=object_b,
        point_a=point(result.point_a),
        point_b=point(result.point_b),
        **_common(result, frame_id, latency_ms),
    )


def layout_edit(result: LayoutEdit, frame_id: str, latency_ms: float) -> msg.LayoutEdit:
    """The message of a layout edit."""
    return msg.LayoutEdit(
        action=EDIT_ACTIONS[result.action],
        possible=bool(result.possible),
        reason=result.reason,
        applied=bool(result.applied),
        satisfied=bool(result.satisfied),
        before=known(result.before, frame_id),
        after=known(result.after, frame_id),
        **_common(result, frame_id, latency_ms),
    )


def answer(result: Answer, frame_id: str, latency_ms: float) -> msg.Answer:
    """The message of an answer in words."""
    return msg.Answer(
        objects=scored(result.objects, frame_id), **_common(result, frame_id, latency_ms)
    )


def scene_objects(scene: SceneObjects, place: OutputTransform) -> msg.SceneObjects:
    """The message of everything in memory."""
    return msg.SceneObjects(
        header=header(place.frame_id, scene.stamp_ns),
        scene_version=int(scene.version),
        views=int(scene.views),
        objects=known(place.objects(scene.objects), place.frame_id),
    )


def detections(scene: msg.SceneObjects) -> Any:
    """The same objects as vision_msgs/Detection3DArray; the id of each is that of the object."""
    kinds = vision_messages("~/detections")
    found = []
    for thing in scene.objects:
        hypothesis = kinds.ObjectHypothesis(class_id=thing.label, score=float(thing.score))
        result = kinds.ObjectHypothesisWithPose(hypothesis=hypothesis)
        result.pose.pose = thing.pose
        found.append(
            kinds.Detection3D(
                header=thing.header,
                results=[result],
                bbox=kinds.BoundingBox3D(center=thing.pose, size=thing.size),
                id=str(thing.id),
            )
        )
    return kinds.Detection3DArray(header=scene.header, detections=found)


def target(message: msg.GroundedObject) -> PoseStamped:
    """Where the best object stands, for navigation."""
    return PoseStamped(header=message.header, pose=message.pose)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _common(
    result: Grounding | Distance | Answer | LayoutEdit, frame_id: str, latency_ms: float
) -> dict[str, Any]:
    return {
        "header": header(frame_id, result.stamp_ns),
        "query": result.query,
        "text": result.text,
        "views_used": int(result.views_used),
        "scene_version": int(result.scene_version),
        "latency_ms": float(latency_ms),
    }
