"""The detector side of the grounding node: its pipeline and the topics it subscribes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String

from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.optional_messages import vision_messages
from spatial3d_ros.runtime.parameters import Parameters
from spatial3d_ros.sensors.camera_poses import CameraPoses
from spatial3d_ros.sensors.detection_pipeline import DetectionPipeline, DetectionTopics
from spatial3d_ros.sensors.detection_reader import DetectionReader, class_names
from spatial3d_ros.sensors.frame_builder import FrameBuilder
from spatial3d_ros.sensors.transforms import TransformTree

QUEUE = 10
Subscription = tuple[str, type, Callable[[Any], list[Any]], QoSProfile]


def detection_pipeline(
    parameters: Parameters,
    resolve: Callable[[str], str],
    builder: FrameBuilder,
    poses: CameraPoses,
    transforms: TransformTree | None,
) -> DetectionPipeline | None:
    """The pipeline by the parameters detections_* and detection_*; None where no topic is named.

    Raises ConfigError if a class has no name.
    """
    if not (parameters.detections_2d or parameters.detections_3d or parameters.class_images):
        return None
    reader = DetectionReader(
        class_names(parameters.detection_classes),
        parameters.detection_min_score,
        parameters.detection_max_count,
    )
    return DetectionPipeline(
        DetectionTopics(*(resolve(name) if name else "" for name in _names(parameters))),
        reader,
        builder,
        poses,
        transforms,
        slop_s=parameters.sync_slop_s,
        max_delay_s=parameters.detection_delay_s,
        max_hz=parameters.detection_max_hz,
        class_labels=class_names(parameters.detection_classes),
    )


def subscriptions(parameters: Parameters, pipeline: DetectionPipeline) -> list[Subscription]:
    """(topic, type, method of the pipeline, QoS) to subscribe with.

    Raises ConfigError if vision_msgs are not installed.
    """
    kinds: list[Any] = [None, None, Image, Image]
    if parameters.detections_2d or parameters.detections_3d:
        types = vision_messages("detections_2d or detections_3d")
        kinds[:2] = types.Detection2DArray, types.Detection3DArray
    methods = (pipeline.add_2d, pipeline.add_3d, pipeline.add_mask, pipeline.add_classes)
    found: list[Subscription] = [
        (name, kind, method, qos.sensor(QUEUE))
        for name, kind, method in zip(_names(parameters), kinds, methods, strict=True)
        if name
    ]
    if parameters.class_images and not parameters.detection_classes:
        found.append((parameters.class_labels, String, pipeline.add_labels, qos.latched()))
    return found


def _names(parameters: Parameters) -> tuple[str, str, str, str]:
    return (
        parameters.detections_2d,
        parameters.detections_3d,
        parameters.detection_masks,
        parameters.class_images,
    )
