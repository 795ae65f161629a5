"""The detector side of the grounding node: which topics it takes, and what becomes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.vision_messages import vision_messages
from spatial3d_ros.runtime.parameters import Parameters
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.sensors.camera_poses import CameraPoses
from spatial3d_ros.sensors.detection_feed import DetectionFeed, DetectionTopics, SyncedFrame
from spatial3d_ros.sensors.detections import DetectionReader, class_names
from spatial3d_ros.sensors.frame_builder import FrameBuilder
from spatial3d_ros.sensors.transforms import TransformTree

QUEUE = 10
Subscription = tuple[str, type, Callable[[Any], None], QoSProfile]


class DetectionInput:
    """A `DetectionFeed` by the parameters detections_2d, detections_3d and detection_*.

    `subscriptions` are (topic, type, callback, QoS) to make; none where no topic is named. Raises
    ConfigError where vision_msgs are needed and missing, or a class has no name.
    """

    def __init__(
        self,
        parameters: Parameters,
        resolve: Callable[[str], str],
        builder: FrameBuilder,
        poses: CameraPoses,
        transforms: TransformTree | None,
        deliver: Callable[[list[Detection3D]], None],
        on_problem: Callable[[str, str], None],
        run: Callable[[Callable[[], None]], object],
    ) -> None:
        names = (parameters.detections_2d, parameters.detections_3d, parameters.detection_masks)
        topics = DetectionTopics(*(resolve(name) if name else "" for name in names))
        self.wanted = bool(topics.boxes_2d or topics.boxes_3d)
        counts: Counter[str] = Counter()
        reader = DetectionReader(
            class_names(parameters.detection_classes),
            parameters.detection_min_score,
            parameters.detection_max_count,
            counts,
        )
        self.feed = DetectionFeed(
            topics, reader, builder, poses, transforms, deliver, counts,
            on_problem=on_problem,
            run=run,
            slop_s=parameters.sync_slop_s,
            max_delay_s=parameters.detection_delay_s,
            max_hz=parameters.detection_max_hz,
        )  # fmt: skip
        self.subscriptions: list[Subscription] = []
        if not self.wanted:
            return
        kinds = vision_messages("detections_2d or detections_3d")
        take, profile = self.feed, qos.sensor(QUEUE)
        for name, kind, handle in zip(
            names,
            (kinds.Detection2DArray, kinds.Detection3DArray, Image),
            (take.take_2d, take.take_3d, take.take_mask),
            strict=True,
        ):
            if name:
                self.subscriptions.append((name, kind, handle, profile))

    def keep(self, moment: SyncedFrame) -> None:
        """Images that boxes may be of; where there is no detector none are kept."""
        if self.wanted:
            self.feed.keep(moment)

    def facts(self) -> dict[str, Any]:
        """What detectors said and what became of it, for diagnostics."""
        if not self.wanted:
            return {}
        return {"detections": dict(self.feed.counts), "detections waiting": self.feed.waiting}
