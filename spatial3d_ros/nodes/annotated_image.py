"""`~/annotated`: the newest view with the boxes of the last answer, while somebody looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import Image

from spatial3d_ros.nodes import conversions, qos
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit, ScoredObject
from spatial3d_ros.visualization.annotation import GREEN, ORANGE, Mark, annotated

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

POSSIBLE = 0.1  # share from which what is not meant is shown all the same


class AnnotatedImage:
    """Draws nothing and costs nothing while nobody subscribes."""

    def __init__(self, node: LifecycleNode) -> None:
        self._publisher = node.create_lifecycle_publisher(Image, "~/annotated", qos.result())
        self._marks: list[Mark] = []
        self._frame: Frame | None = None

    def answered(self, result: Grounding | Distance | Answer | LayoutEdit) -> None:
        """Show this answer, given in the frame of the memory, from now on; on the newest view at
        once.
        """
        self._marks = marks_of(result)
        if self._frame is not None:
            self.show(self._frame)

    def show(self, frame: Frame) -> None:
        """A new view."""
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
    """The boxes of an answer: what is meant in green, what else it could be in orange."""
    if isinstance(result, Grounding):
        if result.no_target:
            return []
        sure = max(1, result.num_targets)
        return [
            _mark(found, GREEN if place < sure else ORANGE)
            for place, found in enumerate(result.objects)
            if place < sure or found.score >= POSSIBLE
        ]
    if isinstance(result, Distance):
        return [_mark(found, GREEN) for found in (result.a, result.b)]
    if isinstance(result, LayoutEdit):
        return [Mark(thing.box, thing.label, ORANGE) for thing in result.after or result.before]
    return [_mark(found, GREEN) for found in result.objects]


def _mark(found: ScoredObject, color: tuple[int, int, int]) -> Mark:
    thing = found.object
    name = " ".join(filter(None, (thing.color, thing.label))) or f"#{thing.id}"
    return Mark(thing.box, f"{name} {found.score:.2f}", color)
