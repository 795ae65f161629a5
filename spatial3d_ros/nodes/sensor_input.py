"""The sensor side of the grounding node: subscriptions, their timing, and the decoding thread."""

from __future__ import annotations

import threading
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

from spatial3d_ros.errors import FrameError
from spatial3d_ros.nodes import detection_input, qos
from spatial3d_ros.nodes.optional_messages import have_transform_message, transform_message
from spatial3d_ros.nodes.watchdog import Watchdog, Watched
from spatial3d_ros.runtime.parameters import Parameters
from spatial3d_ros.runtime.runtime_stats import Durations, Throttle
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors.camera_poses import CameraPoses, TopicPoses, TransformPoses
from spatial3d_ros.sensors.detection_pipeline import LiftTask
from spatial3d_ros.sensors.frame_builder import (
    Extrinsics,
    FrameBuilder,
    SyncedFrame,
    Topics,
    no_extrinsics,
)
from spatial3d_ros.sensors.frame_pipeline import FramePipeline, KeyframeGate, Problem, Rewind
from spatial3d_ros.sensors.image_decoding import MILLIMETRES
from spatial3d_ros.sensors.plausibility import check_views, median_depth, unit_problem
from spatial3d_ros.sensors.pose_source import extrinsic_matrix
from spatial3d_ros.sensors.synchronizer import Synchronizer
from spatial3d_ros.sensors.transforms import TransformTree

if TYPE_CHECKING:
    from rclpy.node import Node

IMAGES = {"raw": Image, "compressed": CompressedImage, "compressedDepth": CompressedImage}
POSES = {"pose": PoseStamped, "odom": Odometry}
# Long enough for half a second in which the machine does something else. What piles up costs
# nothing: a pair is skipped in microseconds unless its view is worth keeping.
IMAGE_QUEUE = 20
POSE_QUEUE = FIXED_QUEUE = 100
TF, TF_STATIC, DEPTH_INFO = "/tf", "/tf_static", "depth/camera_info"
GEOMETRY_VIEWS = 8  # decoded views after which their geometry is checked
FIRST_VIEWS = 3  # the first of them may come with the first pose, when the rate is unknown
REPEAT_PROBLEM_S = 5.0  # bad data of one topic is logged once in this time

Update = Frame | list[Detection3D] | Rewind
"""What changes the memory."""


class SensorInput:
    """Subscribes to camera, poses and detectors until `close`; calls `update` with what they give.

    `update` runs on one thread of its own, in order, and returns whether the memory changed (of a
    frame: whether it is a keyframe). Image callbacks run one after the other, pose callbacks too,
    and neither waits for a question. Poses have a callback group of their own: they come more
    often, and on a busy machine images would starve them otherwise.
    """

    def __init__(
        self, node: Node, parameters: Parameters, update: Callable[[Update], bool]
    ) -> None:
        self.callback_ms = Durations()
        self.decode_ms = Durations(500)
        self.last_problem = ""
        self.watched: dict[str, Watched] = {}
        self._node = node
        self._parameters = parameters
        self._update = update
        self._logger = node.get_logger()
        self._may_log = Throttle(REPEAT_PROBLEM_S)
        self._first_view_logged = self._closed = False
        self._views = 0
        self.findings: list[str] = []
        self._first_frames: list[Frame] = []
        self._geometry_checked = False
        self._wrong_unit = ""
        self._lock = threading.Lock()  # one message at a time, and its items handled in order
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._image_group, self._pose_group = (MutuallyExclusiveCallbackGroup() for _ in range(2))
        self._unwatched: list[Watched] = []  # topics that may stay silent
        self.transforms = self._transform_tree()
        self._make_pipelines()
        self.watchdog = Watchdog(node, self.watched, self.pipeline)
        self._subscribe_to_camera()
        self._subscribe_to_poses()
        if self.detections is not None:
            for topic in detection_input.subscriptions(parameters, self.detections):
                self.watched[topic[0]] = self._subscribe(*topic)
                self.watched[topic[0]].may_pause = True

    @property
    def _color(self) -> str:
        return _transported("rgb/image", self._parameters.color_transport)

    @property
    def _depth(self) -> str:
        return _transported("depth/image", self._parameters.depth_transport)

    @property
    def _pose(self) -> str:
        source = self._parameters.pose_source
        return TF if source == "tf" else source

    @property
    def _needs_tf(self) -> bool:
        return self._pose == TF or bool(self._parameters.target_frame)

    @property
    def _uses_tf(self) -> bool:
        """Frames of 3D boxes may be known by TF; without its messages they are not."""
        return self._needs_tf or (bool(self._parameters.detections_3d) and have_transform_message())

    def _transform_tree(self) -> TransformTree | None:
        aligning = self._parameters.depth_alignment == "auto" and have_transform_message()
        if not (self._uses_tf or aligning):
            return None
        transform_message()  # raises before anything is subscribed to
        return TransformTree(self._parameters.max_pose_gap_s, live=True)

    def _make_pipelines(self) -> None:
        given = self._parameters
        resolve = self._node.resolve_topic_name
        names = (self._color, self._depth, "rgb/camera_info", self._pose, DEPTH_INFO)
        builder = FrameBuilder(
            Topics(*map(resolve, names)),
            given.color_transport,
            given.depth_transport,
            given.images_rectified or None,  # by the topic's name
            given.depth_alignment,
            self._extrinsics(),
            given.depth_unit,
        )
        poses = self._camera_poses(resolve(self._pose))
        self.pipeline = FramePipeline(
            builder,
            Synchronizer(given.sync_slop_s, given.sync_queue_size),
            poses,
            KeyframeGate(
                given.keyframe_translation_m,
                given.keyframe_rotation_rad,
                given.keyframe_max_hz,
                given.keyframe_max_interval_s,
            ),
            max_pose_wait_s=given.max_pose_wait_s,
        )
        self.detections = detection_input.detection_pipeline(
            given, resolve, builder, poses, self.transforms
        )

    def _camera_poses(self, topic: str) -> CameraPoses:
        given = self._parameters
        if given.pose_source == "tf" and self.transforms is not None:
            return TransformPoses(self.transforms, given.world_frame, topic)
        return TopicPoses(topic, given.pose_source, given.base_T_camera, given.max_pose_gap_s)

    def _extrinsics(self) -> Extrinsics:
        given = extrinsic_matrix("color_T_depth", self._parameters.color_T_depth)
        if given is not None:
            return lambda *_: given
        return self.transforms.latest if self.transforms is not None else no_extrinsics

    def _subscribe_to_camera(self) -> None:
        given, pipeline = self._parameters, self.pipeline
        topics: list[tuple[str, type, Callable[[Any], Any]]] = [
            (self._color, IMAGES[given.color_transport], pipeline.add_color),
            (self._depth, IMAGES[given.depth_transport], pipeline.add_depth),
            ("rgb/camera_info", CameraInfo, pipeline.add_camera_info),
        ]
        for name, kind, add in topics:
            self.watched[name] = self._subscribe(name, kind, add, qos.sensor(IMAGE_QUEUE))
        if given.depth_alignment == "auto":
            info = self._subscribe(DEPTH_INFO, CameraInfo, pipeline.add_depth_info, qos.sensor(1))
            self._unwatched.append(info)

    def _subscribe_to_poses(self) -> None:
        pose, group = self._pose, self._pose_group
        add = self.pipeline.add_pose
        if pose != TF:
            profile = qos.sensor(POSE_QUEUE)
            self.watched[pose] = self._subscribe(pose, POSES[pose], add, profile, group)
        if self.transforms is None:
            return
        if self._uses_tf:
            add_tf = add if pose == TF else partial(self.transforms.add, fixed=False)
            watched = self._subscribe(TF, transform_message(), add_tf, qos.transforms(), group)
            if self._needs_tf:
                self.watched[TF] = watched
            else:
                self._unwatched.append(watched)
        add_fixed, latched = partial(self.transforms.add, fixed=True), qos.latched(FIXED_QUEUE)
        static = self._subscribe(TF_STATIC, transform_message(), add_fixed, latched, group)
        self._unwatched.append(static)

    def close(self) -> None:
        """End the subscriptions, and let the frame being decoded finish."""
        self._closed = True
        for watched in (*self.watched.values(), *self._unwatched):
            self._node.destroy_subscription(watched.subscription)
        self._worker.shutdown(wait=True, cancel_futures=True)

    def diagnostics(self) -> dict[str, Any]:
        """What arrived and what became of it."""
        facts = {
            "received": {w.topic: w.rate.count for w in self.watched.values()},
            "hz": {w.topic: w.rate.hz for w in self.watched.values()},
            "sync": self.pipeline.sync.counts,
            "frames": self.pipeline.counts,
            "frames waiting for a pose": self.pipeline.pending,
            "account": self.pipeline.account.as_dict(),
        }
        if self.detections is not None:
            facts["detections"] = dict(self.detections.counts)
            facts["detections waiting"] = self.detections.waiting
        return facts | {
            "callback": self.callback_ms.summary(),
            "decode": self.decode_ms.summary(),
            "held": self.pipeline.poses.held,
            "geometry": " ".join(self.findings),
            "last problem": self.last_problem,
        }

    def why_no_objects(self) -> str:
        """The likely reason, for a reply to a question before there are objects."""
        if self.pipeline.counts["keyframes"]:
            return "The first views have arrived and are being processed: ask again shortly."
        missing = self.watchdog.silent()
        if missing:
            return f"Nothing has arrived on {', '.join(missing)}."
        return f"Last problem: {self.last_problem}" if self.last_problem else ""

    def _subscribe(
        self,
        name: str,
        kind: type,
        add: Callable[[Any], Any],
        profile: QoSProfile,
        group: CallbackGroup | None = None,
    ) -> Watched:
        def receive(message: Any) -> None:
            if not self._closed:
                watched.rate.add()
                self._timed(self.callback_ms, name, partial(self._handle, add, message))
                if group is self._pose_group:
                    self._timed(self.callback_ms, name, partial(self._drain, watched, add))

        watched = Watched(
            self._node.create_subscription(
                kind,
                name,
                receive,
                profile,
                callback_group=group or self._image_group,
                event_callbacks=qos.no_events(),
                qos_overriding_options=qos.overridable(),
            )
        )
        return watched

    def _drain(self, watched: Watched, add: Callable[[Any], Any]) -> None:
        """Take all that waits, not one message per round of the executor: poses come more often
        than images, and on a busy machine would fall behind them until every image is refused.
        """
        subscription = watched.subscription
        for _ in range(POSE_QUEUE):
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is None:
                return
            watched.rate.add()
            self._handle(add, taken[0])

    def _handle(self, add: Callable[[Any], Any], message: Any) -> None:
        """Add a message to its pipeline, and pass on what that made ready."""
        with self._lock:
            for item in add(message) or ():
                self._dispatch(item)

    def _dispatch(self, item: SyncedFrame | Rewind | Problem | LiftTask) -> None:
        """Decoding goes to the worker, so that callbacks stay short."""
        if isinstance(item, Problem):
            self._report(item.topic, item.text)
        elif isinstance(item, Rewind):
            if self.detections is not None:
                self.detections.clear()
            self._submit(partial(self._update, item))
        elif isinstance(item, SyncedFrame):
            if self.detections is not None:
                for ready in self.detections.add_frame(item):
                    self._dispatch(ready)
            if item.selected:
                self._submit(partial(self._decode, item))
        else:
            self._submit(partial(self._lift, item))

    def _submit(self, work: Callable[[], Any]) -> None:
        self._worker.submit(self._timed, self.decode_ms, "decoding", work)

    def _decode(self, synced: SyncedFrame) -> None:
        keyframe, unusable = False, None
        try:
            frame = self.pipeline.decode(synced)
            self._check_geometry(frame, synced)
            self._log_first_view(frame)
            keyframe = self._update(frame)
        except FrameError as error:
            unusable = error
        finally:
            with self._lock:
                problem = self.pipeline.finish(synced, keyframe=keyframe, error=unusable)
        if problem is not None:
            self._report(problem.topic, problem.text)

    def _check_geometry(self, frame: Frame, synced: SyncedFrame) -> None:
        """Check the first views once. Raises FrameError while depth looks like another unit."""
        topics, given = self.pipeline.topics, self._parameters
        encoding = getattr(synced.depth, "encoding", getattr(synced.depth, "format", ""))
        unit = given.depth_unit or (1.0 if encoding.startswith("32FC1") else MILLIMETRES)
        text = self._wrong_unit or (
            "" if given.depth_unit else unit_problem(median_depth(frame), unit)
        )
        if text:
            raise FrameError(f"{topics.depth}: {text}")
        if self._geometry_checked:
            return
        self._first_frames.append(frame)
        if len(self._first_frames) < GEOMETRY_VIEWS:
            return
        self._geometry_checked = True
        found = check_views(
            self._first_frames,
            synced.color.header.frame_id,
            unit,
            unit_given=bool(given.depth_unit),
        )
        self._first_frames.clear()
        self._wrong_unit = next((finding.text for finding in found if finding.kind == "unit"), "")
        self.findings += [f"{topics.color}: {finding.text}" for finding in found]
        for text in self.findings:
            self._logger.warning(text)

    def _lift(self, task: LiftTask) -> None:
        detections, problems = task()
        for problem in problems:
            self._report(problem.topic, problem.text)
        if detections:
            self._update(detections)

    def _timed(self, durations: Durations, name: str, work: Callable[[], Any]) -> None:
        """Never raises: an exception out of a callback ends the node."""
        started = time.perf_counter()
        try:
            work()
        except Exception as error:
            self._report(name, f"{type(error).__name__}: {error}")
        durations.add((time.perf_counter() - started) * 1e3)

    def _log_first_view(self, frame: Frame) -> None:
        self._views += 1
        rate_is_known = self.pipeline.poses.hz > 0 or self._views >= FIRST_VIEWS
        if not self._first_view_logged and rate_is_known:
            self._first_view_logged = True
            self._logger.info(self.watchdog.first_view(frame))

    def _report(self, topic: str, problem: str) -> None:
        self.last_problem = f"{topic}: {problem}"
        if self._may_log(topic):
            self._logger.error(self.last_problem)


def _transported(name: str, transport: str) -> str:
    return name if transport == "raw" else f"{name}/{transport}"
