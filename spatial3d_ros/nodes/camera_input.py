"""One camera of the grounding node: from its messages to frames, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from spatial3d_ros.errors import FrameError
from spatial3d_ros.nodes import detection_input, qos
from spatial3d_ros.nodes.sensor_subscriptions import SensorSubscriptions
from spatial3d_ros.nodes.watchdog import Watchdog, Watched
from spatial3d_ros.runtime.cameras import CameraSource
from spatial3d_ros.runtime.runtime_stats import Durations
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.label_voting import ClassImage
from spatial3d_ros.sensors.camera_poses import CameraPoses, TopicPoses, TransformPoses
from spatial3d_ros.sensors.detection_pipeline import LiftTask
from spatial3d_ros.sensors.frame_builder import (
    Extrinsics,
    FrameBuilder,
    SyncedFrame,
    Topics,
    no_extrinsics,
)
from spatial3d_ros.sensors.frame_pipeline import (
    RESTART,
    FramePipeline,
    KeyframeGate,
    Problem,
    Rewind,
)
from spatial3d_ros.sensors.image_decoding import MILLIMETRES
from spatial3d_ros.sensors.plausibility import check_views, median_depth, unit_problem
from spatial3d_ros.sensors.pose_source import extrinsic_matrix
from spatial3d_ros.sensors.synchronizer import Synchronizer
from spatial3d_ros.sensors.transforms import TransformTree

if TYPE_CHECKING:
    from rclpy.node import Node

IMAGES = {"raw": Image, "compressed": CompressedImage, "compressedDepth": CompressedImage}
# Long enough for half a second in which the machine does something else. What piles up costs
# nothing: a pair is skipped in microseconds unless its view is worth keeping.
IMAGE_QUEUE = 20
GEOMETRY_VIEWS = 8  # decoded views after which their geometry is checked
FIRST_VIEWS = 3  # the first of them may come with the first pose, when the rate is unknown

Update = Frame | list[Detection3D] | ClassImage | Rewind
"""What changes the memory."""
Work = Callable[[], Any]


class CameraInput:
    """Subscribes to the images of one camera; its frames and detections go to `update`.

    `submit` does work on the thread that decodes. The poses come from outside: `add_pose` takes
    their messages. `watched` are the topics that must not be silent, by name before remapping.
    """

    def __init__(
        self,
        node: Node,
        source: CameraSource,
        pose_topic: str,
        transforms: TransformTree | None,
        subscriptions: SensorSubscriptions,
        submit: Callable[[Work], None],
        update: Callable[[Update], bool],
    ) -> None:
        self.name = source.name
        self.last_problem = ""
        self.findings: list[str] = []
        self.decode_ms = Durations(500)
        self.watched: dict[str, Watched] = {}
        self._logger = node.get_logger()
        self._source = source
        self._parameters = source.parameters
        self._transforms = transforms
        self._subscriptions = subscriptions
        self._submit_work = submit
        self._update = update
        self._first_view_logged = False
        self._views = 0
        self._first_frames: list[Frame] = []
        self._geometry_checked = False
        self._wrong_unit = ""
        self._make_pipelines(node.resolve_topic_name, pose_topic)
        self.watchdog = Watchdog(node, self.watched, self.pipeline)
        self._subscribe()

    def _make_pipelines(self, resolve: Callable[[str], str], pose_topic: str) -> None:
        source, given = self._source, self._parameters
        names = (source.color, source.depth, source.camera_info, pose_topic, source.depth_info)
        builder = FrameBuilder(
            Topics(*map(resolve, names)),
            given.color_transport,
            given.depth_transport,
            given.images_rectified or None,  # by the topic's name
            given.depth_alignment,
            self._extrinsics(),
            given.depth_unit,
            self.name,
        )
        poses = self._camera_poses(resolve(pose_topic))
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
            given, resolve, builder, poses, self._transforms
        )

    def _camera_poses(self, topic: str) -> CameraPoses:
        given = self._parameters
        if given.pose_source == "tf" and self._transforms is not None:
            return TransformPoses(self._transforms, given.world_frame, topic)
        return TopicPoses(topic, given.pose_source, given.base_T_camera, given.max_pose_gap_s)

    def _extrinsics(self) -> Extrinsics:
        given = extrinsic_matrix("color_T_depth", self._parameters.color_T_depth)
        if given is not None:
            return lambda *_: given
        return self._transforms.latest if self._transforms is not None else no_extrinsics

    def _subscribe(self) -> None:
        source, given, pipeline = self._source, self._parameters, self.pipeline
        group = MutuallyExclusiveCallbackGroup()
        topics: list[tuple[str, str, type, Callable[[Any], Any]]] = [
            ("rgb_image", source.color, IMAGES[given.color_transport], pipeline.add_color),
            ("depth_image", source.depth, IMAGES[given.depth_transport], pipeline.add_depth),
            ("camera_info", source.camera_info, CameraInfo, pipeline.add_camera_info),
        ]
        for key, name, kind, add in topics:
            self.watched[name] = self._subscriptions.add(
                name, kind, partial(self._take, add), qos.sensor(IMAGE_QUEUE), group,
                rename=source.rename(key, name),
            )  # fmt: skip
        if given.depth_alignment == "auto":
            self._subscriptions.add(
                source.depth_info, CameraInfo, partial(self._take, pipeline.add_depth_info),
                qos.sensor(1), group,
            )  # fmt: skip
        if self.detections is None:
            return
        for name, kind, add, profile in detection_input.subscriptions(given, self.detections):
            watched = self._subscriptions.add(name, kind, partial(self._take, add), profile, group)
            watched.may_pause = True
            self.watched[name] = watched

    def add_pose(self, message: Any, *, taken: bool = False) -> None:
        """Take a message of the pose source; `taken`: another camera has put it into the tree."""
        self._dispatch_all(self.pipeline.add_pose(message, taken=taken))

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
            "callback": self._subscriptions.callback_ms.summary(),
            "decode": self.decode_ms.summary(),
            "held": self.pipeline.poses.held,
            "geometry": " ".join(self.findings),
            "last problem": self.last_problem,
        }

    def warnings(self, silence_s: float) -> list[str]:
        """What is wrong with its geometry and its streams."""
        return [*self.findings, *self.watchdog.warnings(silence_s)]

    def _take(self, add: Callable[[Any], Any], message: Any) -> None:
        """Add a message to its pipeline, and pass on what that made ready."""
        self._dispatch_all(add(message) or ())

    def _dispatch_all(self, items: Iterable[SyncedFrame | Rewind | Problem | LiftTask]) -> None:
        for item in items:
            self._dispatch(item)

    def _dispatch(self, item: SyncedFrame | Rewind | Problem | LiftTask) -> None:
        """Decoding goes to the worker, so that callbacks stay short."""
        if isinstance(item, Problem) and item.reason == RESTART:
            self._logger.info(f"{item.topic}: {item.text}")
        elif isinstance(item, Problem):
            self._report(item.topic, item.text)
        elif isinstance(item, Rewind):
            if self.detections is not None:
                self.detections.clear()
            self._submit(partial(self._update, item))
        elif isinstance(item, SyncedFrame):
            if self.detections is not None:
                self._dispatch_all(self.detections.add_frame(item))
            if item.selected:
                self._submit(partial(self._decode, item))
        else:
            self._submit(partial(self._lift, item))

    def _submit(self, work: Work) -> None:
        self._submit_work(
            partial(
                self._subscriptions.timed, self.decode_ms, f"{self.name} decoding".strip(), work
            )
        )

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
            with self._subscriptions.lock:
                problem = self.pipeline.finish(synced, keyframe=keyframe, error=unusable)
            del unusable  # its traceback refers to this frame, with both images
        if problem is not None:
            self._report(problem.topic, problem.text)

    def _check_geometry(self, frame: Frame, synced: SyncedFrame) -> None:
        """Check the first views once. Raises FrameError while depth looks like another unit."""
        given = self._parameters.depth_unit
        encoding = getattr(synced.depth, "encoding", getattr(synced.depth, "format", ""))
        unit = given or (1.0 if encoding.startswith("32FC1") else MILLIMETRES)
        if not self._geometry_checked:
            self._first_frames.append(frame)
            if len(self._first_frames) == GEOMETRY_VIEWS:
                self._check_first_views(synced.color.header.frame_id, unit)
        text = self._wrong_unit or ("" if given else unit_problem(median_depth(frame), unit))
        if text:
            raise FrameError(f"{self.pipeline.topics.depth}: {text}")

    def _check_first_views(self, camera_frame: str, unit: float) -> None:
        self._geometry_checked = True
        given = bool(self._parameters.depth_unit)
        found = check_views(self._first_frames, camera_frame, unit, unit_given=given)
        self._first_frames.clear()
        self._wrong_unit = next((finding.text for finding in found if finding.kind == "unit"), "")
        self.findings += [
            f"{self.pipeline.topics.color}: {finding.text}"
            for finding in found
            if finding.kind != "range"  # of each view, and reported with it
        ]
        for text in self.findings:
            self._logger.warning(text)

    def _lift(self, task: LiftTask) -> None:
        detections, problems = task()
        for problem in problems:
            self._report(problem.topic, problem.text)
        if detections:
            self._update(detections)

    def _log_first_view(self, frame: Frame) -> None:
        self._views += 1
        rate_is_known = self.pipeline.poses.hz > 0 or self._views >= FIRST_VIEWS
        if not self._first_view_logged and rate_is_known:
            self._first_view_logged = True
            self._logger.info(self.watchdog.first_view(frame))

    def _report(self, topic: str, problem: str) -> None:
        self.last_problem = self._subscriptions.report(topic, problem)
