"""Publishes the object map and the last answer, distance or edit as markers (RViz, Foxglove)."""

from __future__ import annotations

from typing import Any

import rclpy
from geometry_msgs.msg import Point, Pose, Vector3
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from spatial3d_ros.msg import DistanceAnswer, GroundedObject, Grounding, LayoutEdit, SceneObjects
from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.executor import spin
from spatial3d_ros.scene.objects import display_name

GREY = ColorRGBA(r=0.7, g=0.7, b=0.75, a=0.25)
GREEN = ColorRGBA(r=0.1, g=0.9, b=0.3, a=0.5)
ORANGE = ColorRGBA(r=1.0, g=0.6, b=0.1, a=0.5)
BLUE = ColorRGBA(r=0.2, g=0.5, b=1.0, a=0.3)
RED = ColorRGBA(r=1.0, g=0.2, b=0.2, a=0.4)
WHITE = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
TEXT_M = 0.12  # height of the text
LINE_M = 0.03  # width of the distance line
ARROW_M = (0.04, 0.1, 0.15)  # diameter of the shaft and of the head, length of the head
MIN_SIZE_M = 0.01  # RViz rejects a scale of 0


class VisualizerNode(Node):
    """Subscribes to the results of a grounding node and publishes `~/markers`.

    The parameter `source` names the grounding node. Every message holds all markers after a
    DELETEALL, so that no old ones remain. The topic is latched.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("visualizer_node", **options)
        source = self.declare_parameter("source", "grounding_node").value
        self._scene = SceneObjects()
        self._answer: list[Marker] = []
        self._publisher = self.create_publisher(MarkerArray, "~/markers", qos.latched())
        for kind, name, receive, profile in (
            (SceneObjects, "objects", self._show_objects, qos.latched()),
            (Grounding, "groundings", self._show_grounding, qos.result()),
            (DistanceAnswer, "distances", self._show_distance, qos.result()),
            (LayoutEdit, "layout_edits", self._show_edit, qos.result()),
        ):
            self.create_subscription(kind, f"{source}/{name}", receive, profile)

    def _show_objects(self, message: SceneObjects) -> None:
        self._scene = message
        self._publish()

    def _show_grounding(self, message: Grounding) -> None:
        self._answer = []
        for rank, item in enumerate(message.objects):
            color = GREEN if rank < message.num_targets else ORANGE
            self._answer += [
                _box(item, "answer", rank, color),
                _label(item, "answer text", rank, f"{display_name(item)} {item.score:.2f}"),
            ]
        self._publish()

    def _show_distance(self, message: DistanceAnswer) -> None:
        ends = [message.point_a, message.point_b]
        line = _marker("distance", 0, Marker.LINE_STRIP, message.header)
        line.points, line.scale.x, line.color = ends, LINE_M, GREEN
        middle = Point(**{axis: sum(getattr(end, axis) for end in ends) / 2 for axis in "xyz"})
        text = _text("distance text", 0, message.header, middle, f"{message.distance:.2f} m")
        self._answer = [
            _box(message.object_a, "answer", 0, GREEN),
            _box(message.object_b, "answer", 1, GREEN),
            line,
            text,
        ]
        self._publish()

    def _show_edit(self, message: LayoutEdit) -> None:
        """Boxes at the new poses with arrows from the old ones; red boxes for removed objects.

        An impossible or applied edit has no markers. The next answer deletes them.
        """
        self._answer = []
        if message.possible and not message.applied:
            color = BLUE if message.after else RED
            for number, item in enumerate(message.after or message.before):
                self._answer += [
                    _box(item, "edit", number, color),
                    _label(item, "edit text", number, display_name(item)),
                ]
            for number, (old, new) in enumerate(zip(message.before, message.after, strict=False)):
                arrow = _marker("edit arrow", number, Marker.ARROW, message.header)
                arrow.points = [old.pose.position, new.pose.position]
                arrow.scale = Vector3(**dict(zip("xyz", ARROW_M, strict=True)))
                arrow.color = ColorRGBA(r=BLUE.r, g=BLUE.g, b=BLUE.b, a=1.0)
                self._answer.append(arrow)
        self._publish()

    def _publish(self) -> None:
        markers = [Marker(action=Marker.DELETEALL)]
        for item in self._scene.objects:
            markers += [
                _box(item, "objects", item.id, GREY),
                _label(item, "names", item.id, display_name(item)),
            ]
        self._publisher.publish(MarkerArray(markers=markers + self._answer))


def _marker(namespace: str, number: int, kind: int, header: Header) -> Marker:
    # Without a stamp a viewer draws it with the newest transform, and it stays when bags loop.
    marker = Marker(header=Header(frame_id=header.frame_id), ns=namespace, id=number, type=kind)
    marker.pose.orientation.w = 1.0
    return marker


def _box(item: GroundedObject, namespace: str, number: int, color: ColorRGBA) -> Marker:
    marker = _marker(namespace, number, Marker.CUBE, item.header)
    marker.pose, marker.color = item.pose, color
    sides = {axis: max(getattr(item.size, axis), MIN_SIZE_M) for axis in "xyz"}
    marker.scale = Vector3(**sides)
    return marker


def _label(item: GroundedObject, namespace: str, number: int, text: str) -> Marker:
    center = item.pose.position
    above = Point(x=center.x, y=center.y, z=center.z + item.size.z / 2 + TEXT_M)
    return _text(namespace, number, item.header, above, text)


def _text(namespace: str, number: int, header: Header, at: Point, text: str) -> Marker:
    marker = _marker(namespace, number, Marker.TEXT_VIEW_FACING, header)
    marker.pose = Pose(position=at, orientation=marker.pose.orientation)
    marker.text, marker.scale.z, marker.color = text, TEXT_M, WHITE
    return marker


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM."""
    rclpy.init(args=args)
    node = VisualizerNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spin(executor)
    node.destroy_node()
    rclpy.try_shutdown()
