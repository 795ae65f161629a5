"""Conversion of typed results to messages. Both use metres and quaternions x, y, z, w."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3
from std_msgs.msg import Header

from spatial3d_ros import msg
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.quaternion import quaternion_from_yaw, yaw_from_quaternion
from spatial3d_ros.nodes.optional_messages import vision_messages
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.sensors.synchronizer import SECOND
from spatial3d_ros.tasks.frame_transform import OutputTransform
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit, ScoredObject

if TYPE_CHECKING:
    from spatial3d_ros.tasks.scene_state import SceneObjects

DISTANCE_KINDS = {
    "center": msg.DistanceAnswer.CENTER,
    "surface": msg.DistanceAnswer.SURFACE,
}
EDIT_ACTIONS = {
    name: getattr(msg.LayoutEdit, name.upper())
    for name in ("move", "place", "swap", "remove", "turn")
}


def header(frame_id: str, stamp_ns: int) -> Header:
    """A header with this frame and time."""
    seconds, nanoseconds = divmod(int(stamp_ns), SECOND)
    return Header(frame_id=frame_id, stamp=Time(sec=seconds, nanosec=nanoseconds))


def stamp_ns(message: Any) -> int:
    """The stamp of a message with a header."""
    stamp = message.header.stamp
    return int(stamp.sec) * SECOND + int(stamp.nanosec)


def pose(upright: Box3D) -> Pose:
    """Center of a box and its yaw."""
    return Pose(position=point(upright.center), orientation=orientation(upright.yaw))


def orientation(yaw: float) -> Quaternion:
    """A rotation about z in radians."""
    x, y, z, w = map(float, quaternion_from_yaw(yaw))
    return Quaternion(x=x, y=y, z=z, w=w)


def point(xyz: Sequence[float]) -> Point:
    """A point in metres."""
    x, y, z = map(float, xyz)
    return Point(x=x, y=y, z=z)


def grounded_object(item: SceneObject, score: float, frame_id: str) -> msg.GroundedObject:
    """The message of an object with the given score."""
    x, y, z = map(float, item.box.size)
    return msg.GroundedObject(
        header=header(frame_id, item.stamp_ns),
        id=int(item.id),
        label=item.label,
        color=item.color,
        score=float(score),
        pose=pose(item.box),
        size=Vector3(x=x, y=y, z=z),
        views=int(item.views),
    )


def answer_objects(items: Sequence[ScoredObject], frame_id: str) -> list[msg.GroundedObject]:
    """The objects of an answer with their scores in it, in the same order."""
    return [grounded_object(item.object, item.score, frame_id) for item in items]


def map_objects(items: Sequence[SceneObject], frame_id: str) -> list[msg.GroundedObject]:
    """Objects of the object map with their scores in it, in the same order."""
    return [grounded_object(item, item.score, frame_id) for item in items]


def grounding(result: Grounding, frame_id: str, latency_ms: float) -> msg.Grounding:
    """The message of a grounding. With no_target it contains no objects."""
    return msg.Grounding(
        objects=[] if result.no_target else answer_objects(result.objects, frame_id),
        no_target=bool(result.no_target),
        num_targets=int(result.num_targets),
        num_ties=int(result.num_ties),
        **_common(result, frame_id, latency_ms),
    )


def distance(result: Distance, frame_id: str, latency_ms: float) -> msg.DistanceAnswer:
    """The message of a distance."""
    object_a, object_b = answer_objects((result.a, result.b), frame_id)
    return msg.DistanceAnswer(
        distance=float(result.metres),
        uncertainty=float(result.uncertainty_m),
        route=result.route,
        network_distance=_or_nan(result.network_m),
        disagreement=_or_nan(result.disagreement_m),
        alternatives=answer_objects(result.alternatives, frame_id),
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
        before=map_objects(result.before, frame_id),
        after=map_objects(result.after, frame_id),
        **_common(result, frame_id, latency_ms),
    )


def answer(result: Answer, frame_id: str, latency_ms: float) -> msg.Answer:
    """The message of a free-form answer."""
    return msg.Answer(
        objects=answer_objects(result.objects, frame_id),
        value=result.value,
        **_common(result, frame_id, latency_ms),
    )


def scene_objects(scene: SceneObjects, transform: OutputTransform) -> msg.SceneObjects:
    """The message of the object map, in the frame of the answers."""
    return msg.SceneObjects(
        header=header(transform.frame_id, scene.stamp_ns),
        scene_version=int(scene.version),
        views=int(scene.views),
        objects=map_objects(transform.objects(scene.objects), transform.frame_id),
    )


def box(message: msg.GroundedObject) -> Box3D:
    """The box of an object, in the frame of its message."""
    center, q, size = message.pose.position, message.pose.orientation, message.size
    yaw = yaw_from_quaternion((q.x, q.y, q.z, q.w))
    return Box3D((center.x, center.y, center.z), (size.x, size.y, size.z), yaw)


def detections(scene: msg.SceneObjects) -> Any:
    """The same objects as vision_msgs/Detection3DArray, with the ids of the objects."""
    vision = vision_messages("~/detections")
    boxes = []
    for item in scene.objects:
        hypothesis = vision.ObjectHypothesis(class_id=item.label, score=float(item.score))
        result = vision.ObjectHypothesisWithPose(hypothesis=hypothesis)
        result.pose.pose = item.pose
        boxes.append(
            vision.Detection3D(
                header=item.header,
                results=[result],
                bbox=vision.BoundingBox3D(center=item.pose, size=item.size),
                id=str(item.id),
            )
        )
    return vision.Detection3DArray(header=scene.header, detections=boxes)


def target_pose(message: msg.GroundedObject) -> PoseStamped:
    """The pose of an object as PoseStamped, for navigation."""
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
        "intent": result.intent,
        "confidence": float(result.confidence),
        "question_back": result.question_back,
    }
