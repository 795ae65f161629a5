"""Why there are no frames: a silent topic, its publishers, their QoS, or stamps that differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from spatial3d_ros.nodes import qos
from spatial3d_ros.runtime.runtime_stats import Rate, Throttle
from spatial3d_ros.sensors.frame_pipeline import FramePipeline
from spatial3d_ros.sensors.synchronizer import SECOND

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.subscription import Subscription

    from spatial3d_ros.scene.frame import Frame

REPEAT_S = 30.0  # the same warning is logged once in this time
LOST_SHARE = 0.7  # fewer images than this share of their camera_infos: the transport loses them
CLOCKS_S = 1.0  # newest image and newest pose further apart than this: two clocks
LISTED = 5  # topics that are listed as alternatives to a silent one


@dataclass
class Watched:
    """A subscription and its rate; one that `may_pause` may be silent after its first message.

    `rename` is how a person gives the topic another name, as in "remap rgb/image".
    """

    subscription: Subscription
    rate: Rate = field(default_factory=Rate)
    may_pause: bool = False
    rename: str = ""

    @property
    def topic(self) -> str:
        """Resolved name."""
        return self.subscription.topic_name


class Watchdog:
    """Watches the subscriptions of a camera (by name before remapping) and its `FramePipeline`."""

    def __init__(self, node: Node, watched: Mapping[str, Watched], pipeline: FramePipeline) -> None:
        self._node = node
        self._logger = node.get_logger()
        self._watched = watched
        self._pipeline = pipeline
        self._pairs = Rate()
        self._may_log = Throttle(REPEAT_S)

    def warnings(self, silence_s: float) -> list[str]:
        """What is wrong with the streams as a whole; also logged. Call it once a second."""
        for watched in self._watched.values():
            watched.rate.tick()
        warnings = [
            self._explain_silence(watched)
            for watched in self._watched.values()
            if watched.rate.idle_s >= silence_s
            and (not watched.rate.count or not watched.may_pause or self._is_gone(watched))
        ]
        general = (self._explain_loss(), self._explain_offset(), self._explain_clocks())
        if not warnings:
            warnings = [text for text in general if text]
        for text in warnings:
            if self._may_log(text.split(":")[0]):
                self._logger.warning(text)
        return warnings

    def silent(self) -> list[str]:
        """Required topics on which nothing has ever arrived."""
        return [w.topic for w in self._watched.values() if not w.rate.count and not w.may_pause]

    def first_view(self, frame: Frame) -> str:
        """One line that shows whether units, alignment and poses are right."""
        measured = frame.depth[frame.depth > 0]
        return (
            f"first view: {frame.camera.width}x{frame.camera.height}, median depth "
            f"{np.median(measured):.2f} m, {frame.valid_fraction:.0%} valid, aligned "
            f"{self._pipeline.aligned}, pose {self._pipeline.poses.hz:.0f} Hz in frame "
            f"'{frame.frame_id}'"
        )

    def _explain_silence(self, watched: Watched) -> str:
        topic = watched.topic
        requested = watched.subscription.qos_profile
        publishers = self._node.get_publishers_info_by_topic(topic)
        silent = f"{topic}: silent for {watched.rate.idle_s:.0f} s, "
        if watched.may_pause and watched.rate.count:
            return f"{silent}its publisher ended: the labels it gave stay. Start it again."
        if not publishers:
            return f"{silent}no publisher. Start it, or {watched.rename}{self._others(watched)}."
        offered = [qos.describe(publisher.qos_profile) for publisher in publishers]
        silent += f"{len(publishers)} publisher(s) ({'; '.join(offered)}), this node asks for "
        silent += f"{qos.describe(requested)}. "
        kinds = {publisher.topic_type for publisher in publishers}
        if _type_name(watched) not in kinds:
            return (
                f"{silent}They publish {', '.join(sorted(kinds))} but this node subscribes to "
                f"{_type_name(watched)}: set color_transport, depth_transport, pose_source, "
                "detections_2d, detections_3d or class_images."
            )
        refused = [_refused(publisher.qos_profile, requested) for publisher in publishers]
        latched = [p.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in publishers]
        if any(latched) and requested.durability != DurabilityPolicy.TRANSIENT_LOCAL:
            option = f"qos_overrides.{topic}.subscription"
            return (
                f"{silent}If it was published once, before this node started: set "
                f"{option}.durability to transient_local and {option}.reliability to reliable."
            )
        if not all(refused):
            return silent + "These match: nothing is published, or DDS loses it."
        return (
            f"{silent}These do not match: set qos_overrides.{topic}.subscription.{refused[0]} to "
            "what is offered."
        )

    def _is_gone(self, watched: Watched) -> bool:
        """Whether nobody publishes a topic that did arrive: a recogniser that died."""
        return not self._node.get_publishers_info_by_topic(watched.topic)

    def _others(self, watched: Watched) -> str:
        """Topics of the same type that other nodes publish: likely alternatives."""
        kind = _type_name(watched)
        own = self._node.get_name(), self._node.get_namespace()
        names = [
            name
            for name, kinds in self._node.get_topic_names_and_types()
            if kind in kinds
            and any(
                (publisher.node_name, publisher.node_namespace) != own
                for publisher in self._node.get_publishers_info_by_topic(name)
            )
        ]
        listed = ", ".join(names[:LISTED]) + ", ..." * (len(names) > LISTED)
        return f" to one of {listed}" if names else f" to a topic of type {kind} (there is none)"

    def _explain_loss(self) -> str:
        """Every image has a camera_info; if those arrive and images do not, DDS lost them."""
        topics = self._pipeline.topics
        rates = {watched.topic: watched.rate.hz for watched in self._watched.values()}
        infos = rates.get(topics.camera_info, 0.0)
        for topic in (topics.color, topics.depth):
            if infos > 2 and topic in rates and rates[topic] < LOST_SHARE * infos:
                return (
                    f"{topic}: {rates[topic]:.1f} Hz arrive but "
                    f"camera_info arrives at {infos:.1f} Hz: DDS loses images. Start "
                    "camera and node with FASTRTPS_DEFAULT_PROFILES_FILE=.../resource/fastdds.xml "
                    "(`spatial3d doctor` prints the whole line)."
                )
        return ""

    def _explain_offset(self) -> str:
        sync, topics = self._pipeline.sync, self._pipeline.topics
        self._pairs.count = sync.counts["matched"]
        self._pairs.tick()
        if sync.late_stream and sync.needed_queue > sync.queue_size:
            late, other = topics.color, topics.depth
            if sync.late_stream == "depth":
                late, other = other, late
            return (
                f"{late}: its images arrive after those of {other} with the same stamp were "
                f"dropped, because more than {sync.queue_size} wait. Set sync_queue_size to "
                f"{sync.needed_queue}, or find what delays {late}."
            )
        if sync.offset_s is None or self._pairs.hz > 0:
            return ""
        return (
            f"{topics.depth}: no stamp matches {topics.color}; the newest differ by "
            f"{sync.offset_s:.3f} s and sync_slop_s is {sync.slop / 1e9:g}. Synchronise the clocks "
            "of the two, or raise sync_slop_s."
        )

    def _explain_clocks(self) -> str:
        image, pose = self._pipeline.sync.newest, self._pipeline.poses.newest
        if image is None or pose is None or abs(image - pose) <= CLOCKS_S * SECOND:
            return ""
        apart = (image - pose) / SECOND
        return (
            f"{self._pipeline.topics.pose}: the newest pose is {abs(apart):.1f} s "
            f"{'older' if apart > 0 else 'newer'} than the newest image. Synchronise the clocks of "
            "camera and localisation (chrony), or set use_sim_time for all nodes or for none."
        )


def _type_name(watched: Watched) -> str:
    """As in "sensor_msgs/msg/Image"."""
    kind: Any = watched.subscription.msg_type
    package, folder = kind.__module__.split(".")[:2]
    return f"{package}/{folder}/{kind.__name__}"


def _refused(offered: Any, requested: Any) -> str:
    """The policy that keeps DDS from connecting a publisher to this node, "" if none does."""
    if requested.reliability == ReliabilityPolicy.RELIABLE != offered.reliability:
        return "reliability"
    if requested.durability == DurabilityPolicy.TRANSIENT_LOCAL != offered.durability:
        return "durability"
    return ""
