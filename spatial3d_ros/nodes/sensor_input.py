"""The sensor side of the grounding node: subscriptions, their timing, and a watch on silence."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.ingest import CandidateGate, Ingest
from spatial3d_ros.nodes.measures import Durations, Rate, Throttle
from spatial3d_ros.nodes.parameters import Parameters
from spatial3d_ros.sensors.frame_builder import FrameBuilder, Topics
from spatial3d_ros.sensors.pose_source import PoseReader, PoseTrack
from spatial3d_ros.sensors.synchronizer import Synchronizer

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.subscription import Subscription

    from spatial3d_ros.scene.frame import Frame

IMAGES = {"raw": Image, "compressed": CompressedImage, "compressedDepth": CompressedImage}
POSES = {"pose": PoseStamped, "odom": Odometry}
# Long enough for half a second in which the machine does something else. What piles up costs
# nothing: a pair is passed over in microseconds unless its view is worth keeping.
IMAGE_QUEUE = 20
POSE_QUEUE = 100
REPEAT_PROBLEM_S = 5.0  # bad data of one topic is logged once in this time
REPEAT_COMPLAINT_S = 30.0  # and what is wrong with a stream as a whole in this
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
        self.look_ms = Durations(500)
        self.last_problem = ""
        self._node = node
        self._logger = node.get_logger()
        self._pairs = Rate()
        self._say_problem = Throttle(REPEAT_PROBLEM_S)
        self._say_complaint = Throttle(REPEAT_COMPLAINT_S)
        self._greeted = self._closed = False
        self._looker = ThreadPoolExecutor(1, thread_name_prefix="look")
        self._add_frame = add_frame
        self._group = MutuallyExclusiveCallbackGroup()
        color = _transported("rgb/image", parameters.color_transport)
        depth = _transported("depth/image", parameters.depth_transport)
        pose = parameters.pose_source
        topics = Topics(*map(node.resolve_topic_name, (color, depth, "rgb/camera_info", pose)))
        self.ingest = Ingest(
            FrameBuilder(
                topics,
                parameters.color_transport,
                parameters.depth_transport,
                parameters.images_rectified,
            ),
            Synchronizer(parameters.sync_slop_s, parameters.sync_queue_size),
            PoseTrack(topics.pose, parameters.max_pose_gap_s),
            PoseReader(topics.pose, pose, parameters.base_T_camera),
            CandidateGate(
                parameters.keyframe_translation_m,
                parameters.keyframe_rotation_rad,
                parameters.keyframe_max_hz,
                parameters.keyframe_still_s,
            ),
            self._take_frame,
            on_problem=self._report,
            on_rewind=on_rewind,
            run=self._run,
            max_pose_wait_s=parameters.max_pose_wait_s,
        )
        take = self.ingest
        self.watched = {
            name: self._subscribe(name, kind, handle, length)
            for name, kind, handle, length in (
                (color, IMAGES[parameters.color_transport], take.take_color, IMAGE_QUEUE),
                (depth, IMAGES[parameters.depth_transport], take.take_depth, IMAGE_QUEUE),
                ("rgb/camera_info", CameraInfo, take.take_camera_info, IMAGE_QUEUE),
                (pose, POSES[pose], take.take_pose, POSE_QUEUE),
            )
        }

    def close(self) -> None:
        """End the subscriptions, and let the frame at hand finish."""
        self._closed = True
        for watched in self.watched.values():
            self._node.destroy_subscription(watched.subscription)
        self._looker.shutdown(wait=True, cancel_futures=True)

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
            if self._say_complaint(text.split(":")[0]):
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
            "look": self.look_ms.summary(),
            "last problem": self.last_problem,
        }

    def why_nothing_seen(self) -> str:
        """The likely reason, for somebody who asks before there are objects."""
        if self.ingest.counts["keyframes"]:
            return "The first views have arrived and are being looked at: ask again in a moment."
        missing = [w.subscription.topic_name for w in self.watched.values() if not w.rate.count]
        if missing:
            return f"Nothing has arrived on {', '.join(missing)}."
        return f"Last problem: {self.last_problem}" if self.last_problem else ""

    def _subscribe(self, name: str, kind: type, take: Callable[[Any], None], depth: int) -> Watched:
        def receive(message: Any) -> None:
            if not self._closed:
                watched.rate.add()
                self._timed(self.callback_ms, name, partial(take, message))

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

    def _run(self, work: Callable[[], None]) -> None:
        """Decode and hand over on a thread of its own, so that callbacks stay short."""
        self._looker.submit(self._timed, self.look_ms, "look", work)

    def _timed(self, durations: Durations, name: str, work: Callable[[], None]) -> None:
        """Never raises: an exception out of a callback ends the node."""
        started = time.perf_counter()
        try:
            work()
        except Exception as error:
            self._report(name, f"{type(error).__name__}: {error}")
        durations.add((time.perf_counter() - started) * 1e3)

    def _take_frame(self, frame: Frame) -> bool:
        if not self._greeted:
            self._greeted = True
            self._logger.info(
                f"first view: {frame.camera.width}x{frame.camera.height}, median depth "
                f"{np.median(frame.depth[frame.depth > 0]):.2f} m, {frame.valid_fraction:.0%} "
                f"valid, poses in frame '{frame.frame_id}'"
            )
        return self._add_frame(frame)

    def _report(self, topic: str, problem: str) -> None:
        self.last_problem = f"{topic}: {problem}"
        if self._say_problem(topic):
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
        sync, topics = self.ingest.sync, self.ingest.topics
        self._pairs.count = sync.counts["matched"]
        self._pairs.tick()
        if sync.offset_s is None or self._pairs.hz > 0:
            return ""
        return (
            f"{topics.depth}: no stamp matches {topics.color}; the newest differ by "
            f"{sync.offset_s:.3f} s and sync_slop_s is {sync.slop / 1e9:g}. Synchronise the clocks "
            "of the two, or raise sync_slop_s."
        )


def _transported(name: str, transport: str) -> str:
    return name if transport == "raw" else f"{name}/{transport}"


def _matches(offered: Any, asked: Any) -> bool:
    reliable = ReliabilityPolicy.RELIABLE
    latched = DurabilityPolicy.TRANSIENT_LOCAL
    return (asked.reliability != reliable or offered.reliability == reliable) and (
        asked.durability != latched or offered.durability == latched
    )
