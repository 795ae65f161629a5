"""The sensor side of the grounding node: subscriptions, their timing, and a watch on silence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.ingest import CandidateGate, Ingest, Topics
from spatial3d_ros.nodes.measures import Durations, Rate, Throttle
from spatial3d_ros.nodes.parameters import Parameters
from spatial3d_ros.nodes.pose_source import PoseReader, PoseTrack
from spatial3d_ros.nodes.synchronizer import Synchronizer

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.subscription import Subscription

    from spatial3d_ros.scene.frame import Frame

REPEAT_S = 5.0  # the same complaint is logged once in this time
LOST_SHARE = 0.7  # fewer images than this share of their camera_infos: the transport loses them


@dataclass
class Watched:
    """A subscription and how often it speaks."""

    subscription: Subscription
    rate: Rate = field(default_factory=Rate)


class SensorInput:
    """Subscribes to camera and poses, and feeds an `Ingest`, until `close`.

    All callbacks share one group: they run one after the other and never wait for a question.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        add_frame: Callable[[Frame], bool],
        on_rewind: Callable[[], None],
    ) -> None:
        self.callback_ms = Durations()
        self.last_problem = ""
        self._node = node
        self._logger = node.get_logger()
        self._pairs = Rate()
        self._say = Throttle(REPEAT_S)
        self._group = MutuallyExclusiveCallbackGroup()
        color = _transported("rgb/image", parameters.color_transport)
        depth = _transported("depth/image", parameters.depth_transport)
        pose = parameters.pose_source
        self._topics = Topics(
            *map(node.resolve_topic_name, (color, depth, "rgb/camera_info", pose))
        )
        self.ingest = Ingest(
            self._topics,
            Synchronizer(parameters.sync_slop_s, parameters.sync_queue_size),
            PoseTrack(self._topics.pose, parameters.max_pose_gap_s),
            PoseReader(self._topics.pose, pose, parameters.base_T_camera),
            CandidateGate(
                parameters.keyframe_translation_m,
                parameters.keyframe_rotation_rad,
                parameters.keyframe_max_hz,
                parameters.keyframe_still_s,
            ),
            add_frame,
            on_problem=self._report,
            on_rewind=on_rewind,
            color_transport=parameters.color_transport,
            depth_transport=parameters.depth_transport,
            rectified=parameters.images_rectified,
            max_pose_wait_s=parameters.max_pose_wait_s,
        )
        image = {"raw": Image}
        take = self.ingest
        self.watched = {
            topic: self._subscribe(topic, kind, handle, depth)
            for topic, kind, handle, depth in (
                (color, image.get(parameters.color_transport, CompressedImage), take.take_color, 5),
                (depth, image.get(parameters.depth_transport, CompressedImage), take.take_depth, 5),
                ("rgb/camera_info", CameraInfo, take.take_camera_info, 5),
                # Poses are small and come faster than images: keep those of a slow moment.
                (pose, {"pose": PoseStamped, "odom": Odometry}[pose], take.take_pose, 100),
            )
        }

    def close(self) -> None:
        """End the subscriptions."""
        for watched in self.watched.values():
            self._node.destroy_subscription(watched.subscription)

    def complaints(self, silence_s: float) -> list[str]:
        """What is wrong with the streams as a whole; logged now and then. Call it once a second."""
        for watched in self.watched.values():
            watched.rate.tick()
        complaints = [
            self._explain_silence(name, watched)
            for name, watched in self.watched.items()
            if watched.rate.silence_s >= silence_s
        ]
        general = (self._explain_loss(), self._explain_offset())
        if not complaints:
            complaints = [text for text in general if text]
        for text in complaints:
            if self._say(text.split(":")[0]):
                self._logger.warning(text)
        return complaints

    def facts(self) -> dict[str, Any]:
        """What arrived and what became of it, for diagnostics."""
        return {
            "received": {w.subscription.topic_name: w.rate.count for w in self.watched.values()},
            "hz": {w.subscription.topic_name: w.rate.hz for w in self.watched.values()},
            "sync": self.ingest.sync.counts,
            "frames": self.ingest.counts,
            "waiting for a pose": self.ingest.pending,
            "callback": self.callback_ms.summary(),
            "last problem": self.last_problem,
        }

    def why_nothing_seen(self) -> str:
        """The likely reason, for somebody who asks before any frame was taken."""
        missing = [w.subscription.topic_name for w in self.watched.values() if not w.rate.count]
        if missing:
            return f"Nothing has arrived on {', '.join(missing)}."
        return f"Last problem: {self.last_problem}" if self.last_problem else ""

    def _subscribe(self, name: str, kind: type, take: Callable[[Any], None], depth: int) -> Watched:
        def receive(message: Any) -> None:
            started = time.perf_counter()
            watched.rate.add()
            try:
                take(message)
            except Exception as error:  # an exception out of a callback ends the node
                self._report(watched.subscription.topic_name, f"{type(error).__name__}: {error}")
            self.callback_ms.add((time.perf_counter() - started) * 1e3)

        watched = Watched(
            self._node.create_subscription(
                kind,
                name,
                receive,
                qos.sensor(depth),
                callback_group=self._group,
                # Event handlers that are destroyed while it waits can end rclpy's executor; what
                # they would tell (incompatible QoS) is in our own complaint about silence.
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=qos.overridable(),
            )
        )
        return watched

    def _report(self, topic: str, problem: str) -> None:
        self.last_problem = f"{topic}: {problem}"
        if self._say(topic):
            self._logger.error(self.last_problem)

    def _explain_silence(self, name: str, watched: Watched) -> str:
        topic = watched.subscription.topic_name
        ours = watched.subscription.qos_profile
        publishers = self._node.get_publishers_info_by_topic(topic)
        silent = f"{topic}: silent for {watched.rate.silence_s:.0f} s, "
        if not publishers:
            return f"{silent}no publisher. Start it, or remap {name} to the topic of your robot."
        offered = [qos.describe(publisher.qos_profile) for publisher in publishers]
        silent += f"{len(publishers)} publisher(s) ({'; '.join(offered)}), we ask for "
        silent += f"{qos.describe(ours)}. "
        if any(_matches(publisher.qos_profile, ours) for publisher in publishers):
            return silent + "These match: nothing is published, or DDS loses it on the way."
        return silent + f"These do not match: set qos_overrides.{topic}.subscription.reliability."

    def _explain_loss(self) -> str:
        """Every image comes with a camera_info; if those come and images do not, DDS lost them."""
        infos = self.watched["rgb/camera_info"].rate.hz
        for name, watched in self.watched.items():
            if "image" in name and infos > 2 and watched.rate.hz < LOST_SHARE * infos:
                return (
                    f"{watched.subscription.topic_name}: {watched.rate.hz:.1f} Hz arrive but "
                    f"camera_info comes at {infos:.1f} Hz: images are lost on the way. Start "
                    "camera and node with FASTRTPS_DEFAULT_PROFILES_FILE=.../resource/fastdds.xml."
                )
        return ""

    def _explain_offset(self) -> str:
        offset = self.ingest.sync.offset_s
        self._pairs.count = self.ingest.sync.counts["matched"]
        self._pairs.tick()
        if offset is None or self._pairs.hz > 0:
            return ""
        return (
            f"{self._topics.depth}: no stamp matches {self._topics.color}; the newest differ by "
            f"{offset:.3f} s and sync_slop_s is {self.ingest.sync.slop / 1e9:g}. Synchronise the "
            "clocks of the two, or raise sync_slop_s."
        )


def _transported(name: str, transport: str) -> str:
    return name if transport == "raw" else f"{name}/{transport}"


def _matches(offered: Any, asked: Any) -> bool:
    reliable = ReliabilityPolicy.RELIABLE
    latched = DurabilityPolicy.TRANSIENT_LOCAL
    return (asked.reliability != reliable or offered.reliability == reliable) and (
        asked.durability != latched or offered.durability == latched
    )
