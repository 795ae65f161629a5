"""`~/annotated`: the newest view with the boxes of the last answer, while it is subscribed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import Image

from spatial3d_ros.nodes import conversions, qos
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import display_name
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit, ScoredObject
from spatial3d_ros.visualization.annotation import GREEN, ORANGE, Mark, annotated

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

MIN_SCORE = 0.1  # an object that is not a target is drawn from this score


class AnnotatedImage:
    """Draws only while the topic has subscribers."""

    def __init__(self, node: LifecycleNode) -> None:
        self._publisher = node.create_lifecycle_publisher(Image, "~/annotated", qos.result())
        self._marks: list[Mark] = []
        self._frame: Frame | None = None

    def answered(self, result: Grounding | Distance | Answer | LayoutEdit) -> None:
        """Draw this answer, in the frame of the memory, on the newest view and on later ones."""
        self._marks = marks_of(result)
        if self._frame is not None:
            self.show(self._frame)

    def show(self, frame: Frame) -> None:
        """Publish a new view."""
        self._frame = frame
        if not self._publisher.get_subscription_count():
            return
        pixels = annotated(frame, self._marks)
        height, width = pixels.shape[:2]
        self._publisher.publish(
            Image(
                header=conversions.header("", frame.stamp_ns),
                height=height,
                width=width,
                encoding="rgb8",
                step=3 * width,
                data=pixels.tobytes(),
            )
        )


def marks_of(result: Any) -> list[Mark]:
    """The boxes of an answer: targets in green, other candidates and edits in orange."""
    if isinstance(result, Grounding):
        if result.no_target:
            return []
        targets = max(1, result.num_targets)
        return [
            _mark(item, GREEN if rank < targets else ORANGE)
            for rank, item in enumerate(result.objects)
            if rank < targets or item.score >= MIN_SCORE
        ]
    if isinstance(result, Distance):
        return [_mark(item, GREEN) for item in (result.a, result.b)]
    if isinstance(result, LayoutEdit):
        return [Mark(item.box, item.label, ORANGE) for item in result.after or result.before]
    return [_mark(item, GREEN) for item in result.objects]


def _mark(item: ScoredObject, color: tuple[int, int, int]) -> Mark:
    return Mark(item.object.box, f"{display_name(item.object)} {item.score:.2f}", color)
