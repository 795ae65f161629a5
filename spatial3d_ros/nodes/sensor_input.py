"""The sensor side of the grounding node: subscriptions and their timing."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.detection_input import DetectionInput
from spatial3d_ros.nodes.transform_message import have_transform_message, transform_message
from spatial3d_ros.nodes.watchdog import Watchdog, Watched
from spatial3d_ros.runtime.parameters import Parameters
from spatial3d_ros.runtime.runtime_stats import Durations, Throttle
from spatial3d_ros.sensors.camera_poses import CameraPoses, TopicPoses, TransformPoses
from spatial3d_ros.sensors.frame_builder import Extrinsics, FrameBuilder, Topics, no_extrinsics
from spatial3d_ros.sensors.frame_pipeline import FramePipeline, KeyframeGate
from spatial3d_ros.sensors.pose_source import extrinsic_matrix
from spatial3d_ros.sensors.synchronizer import Synchronizer
from spatial3d_ros.sensors.transforms import TransformTree

if TYPE_CHECKING:
    from rclpy.node import Node

    from spatial3d_ros.scene.detection_tracking import Detection3D
    from spatial3d_ros.scene.frame import Frame

IMAGES = {"raw": Image, "compressed": CompressedImage, "compressedDepth": CompressedImage}
POSES = {"pose": PoseStamped, "odom": Odometry}
# Long enough for half a second in which the machine does something else. What piles up costs
# nothing: a pair is passed over in microseconds unless its view is worth keeping.
IMAGE_QUEUE = 20
POSE_QUEUE = FIXED_QUEUE = 100
TF, TF_STATIC, DEPTH_INFO = "/tf", "/tf_static", "depth/camera_info"
GREET_VIEWS = 3  # the first of them may come with the first pose, which has no rate
REPEAT_PROBLEM_S = 5.0  # bad data of one topic is logged once in this time


class SensorInput:
    """Subscribes to camera and poses, and feeds an `FramePipeline`, until `close`.

    Images run one after the other, poses too, and neither waits for a question. Poses have a group
    of their own: they come more often, and on a busy machine images would starve them otherwise.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        add_frame: Callable[[Frame], bool],
        add_detections: Callable[[list[Detection3D]], None],
        on_rewind: Callable[[], None],
    ) -> None:
        self.callback_ms = Durations()
        self.look_ms = Durations(500)
        self.last_problem = ""
        self._node = node
        self._logger = node.get_logger()
        self._say_problem = Throttle(REPEAT_PROBLEM_S)
        self._greeted = self._closed = False
        self._views = 0
        self._looker = ThreadPoolExecutor(1, thread_name_prefix="look")
        self._add_frame = add_frame
        self._images, self._motion = (MutuallyExclusiveCallbackGroup() for _ in range(2))
        color = _transported("rgb/image", parameters.color_transport)
        depth = _transported("depth/image", parameters.depth_transport)
        pose = TF if parameters.pose_source == "tf" else parameters.pose_source
        names = (color, depth, "rgb/camera_info", pose, DEPTH_INFO)
        topics = Topics(*map(node.resolve_topic_name, names))
        aligning = parameters.depth_alignment == "auto"
        moving = pose == TF or bool(parameters.target_frame)
        # Frames of boxes, and of depth, may be told by TF; where it is not there, they are not.
        asking = bool(parameters.detections_3d) and have_transform_message()
        self.transforms: TransformTree | None = None
        if moving or asking or (aligning and have_transform_message()):
            transform_message()  # raises before anything is subscribed to
            self.transforms = TransformTree(parameters.max_pose_gap_s, live=True)
        builder = FrameBuilder(
            topics,
            parameters.color_transport,
            parameters.depth_transport,
            parameters.images_rectified,
            parameters.depth_alignment,
            self._extrinsics(parameters),
        )
        poses = self._poses(topics.pose, parameters)
        self.detections = DetectionInput(
            parameters, node.resolve_topic_name, builder, poses, self.transforms, add_detections,
            self._report, self._run,
        )  # fmt: skip

        def rewind() -> None:
            self.detections.feed.forget()
            on_rewind()

        self.ingest = FramePipeline(
            builder,
            Synchronizer(parameters.sync_slop_s, parameters.sync_queue_size),
            poses,
            KeyframeGate(
                parameters.keyframe_translation_m,
                parameters.keyframe_rotation_rad,
                parameters.keyframe_max_hz,
                parameters.keyframe_max_interval_s,
            ),
            self._take_frame,
            on_problem=self._report,
            on_rewind=rewind,
            on_moment=self.detections.keep,
            run=self._run,
            max_pose_wait_s=parameters.max_pose_wait_s,
        )
        self.watched: dict[str, Watched] = {}
        self.watchdog = Watchdog(node, self.watched, self.ingest)
        take = self.ingest
        for name, kind, handle, profile in (
            (color, IMAGES[parameters.color_transport], take.take_color, qos.sensor(IMAGE_QUEUE)),
            (depth, IMAGES[parameters.depth_transport], take.take_depth, qos.sensor(IMAGE_QUEUE)),
            ("rgb/camera_info", CameraInfo, take.take_camera_info, qos.sensor(IMAGE_QUEUE)),
        ):
            self.watched[name] = self._subscribe(name, kind, handle, profile)
        if pose != TF:
            profile = qos.sensor(POSE_QUEUE)
            self.watched[pose] = self._subscribe(
                pose, POSES[pose], take.take_pose, profile, self._motion
            )
        # What is sent once, or not needed by all: nobody waits for it to speak.
        self._others = []
        if moving or asking:
            add = take.take_pose if pose == TF else partial(self.transforms.add, fixed=False)
            heard = self._subscribe(TF, transform_message(), add, qos.transforms(), self._motion)
            if moving:
                self.watched[TF] = heard
            else:
                self._others.append(heard)
        for name, kind, handle, profile in self.detections.subscriptions:
            self.watched[name] = self._subscribe(name, kind, handle, profile)
            self.watched[name].patient = True
        if self.transforms is not None:
            keep, latched = partial(self.transforms.add, fixed=True), qos.latched(FIXED_QUEUE)
            self._others += [
                self._subscribe(TF_STATIC, transform_message(), keep, latched, self._motion)
            ]
        if aligning:
            profile = qos.sensor(1)
            self._others += [self._subscribe(DEPTH_INFO, CameraInfo, take.take_depth_info, profile)]

    def _poses(self, topic: str, parameters: Parameters) -> CameraPoses:
        if parameters.pose_source == "tf":
            return TransformPoses(self.transforms, parameters.world_frame, topic)
        return TopicPoses(
            topic, parameters.pose_source, parameters.base_T_camera, parameters.max_pose_gap_s
        )

    def _extrinsics(self, parameters: Parameters) -> Extrinsics:
        given = extrinsic_matrix("color_T_depth", parameters.color_T_depth)
        if given is not None:
            return lambda *_: given
        return self.transforms.latest if self.transforms is not None else no_extrinsics

    def close(self) -> None:
        """End the subscriptions, and let the frame at hand finish."""
        self._closed = True
        for watched in (*self.watched.values(), *self._others):
            self._node.destroy_subscription(watched.subscription)
        self._looker.shutdown(wait=True, cancel_futures=True)

    def facts(self) -> dict[str, Any]:
        """What arrived and what became of it, for diagnostics."""
        return {
            "received": {w.topic: w.rate.count for w in self.watched.values()},
            "hz": {w.topic: w.rate.hz for w in self.watched.values()},
            "sync": self.ingest.sync.counts,
            "frames": self.ingest.counts,
            "waiting for a pose": self.ingest.pending,
            **self.detections.facts(),
            "callback": self.callback_ms.summary(),
            "look": self.look_ms.summary(),
            "last problem": self.last_problem,
        }

    def why_nothing_seen(self) -> str:
        """The likely reason, for somebody who asks before there are objects."""
        if self.ingest.counts["keyframes"]:
            return "The first views have arrived and are being looked at: ask again in a moment."
        missing = self.watchdog.silent()
        if missing:
            return f"Nothing has arrived on {', '.join(missing)}."
        return f"Last problem: {self.last_problem}" if self.last_problem else ""

    def _subscribe(
        self,
        name: str,
        kind: type,
        take: Callable[[Any], None],
        profile: QoSProfile,
        group: CallbackGroup | None = None,
    ) -> Watched:
        def receive(message: Any) -> None:
            if not self._closed:
                watched.rate.add()
                self._timed(self.callback_ms, name, partial(take, message))
                if group is self._motion:
                    self._timed(self.callback_ms, name, partial(self._read_on, watched, take))

        watched = Watched(
            self._node.create_subscription(
                kind,
                name,
                receive,
                profile,
                callback_group=group or self._images,
                event_callbacks=qos.no_events(),
                qos_overriding_options=qos.overridable(),
            )
        )
        return watched

    def _read_on(self, watched: Watched, take: Callable[[Any], None]) -> None:
        """Take all that waits, not one message in a round of the executor: poses come more often
        than images, and on a busy machine would fall behind them until every image is refused.
        """
        subscription = watched.subscription
        for _ in range(POSE_QUEUE):
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is None:
                return
            watched.rate.add()
            take(taken[0])

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
        self._views += 1
        rate_is_known = self.ingest.poses.hz > 0 or self._views >= GREET_VIEWS
        if not self._greeted and rate_is_known:
            self._greeted = True
            self._logger.info(self.watchdog.first_view(frame))
        return self._add_frame(frame)

    def _report(self, topic: str, problem: str) -> None:
        self.last_problem = f"{topic}: {problem}"
        if self._say_problem(topic):
            self._logger.error(self.last_problem)


def _transported(name: str, transport: str) -> str:
    return name if transport == "raw" else f"{name}/{transport}"
