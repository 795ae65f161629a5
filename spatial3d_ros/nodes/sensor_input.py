"""The sensor side of the grounding node: its cameras, their poses, and the decoding thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.camera_input import CameraInput, Update, Work
from spatial3d_ros.nodes.optional_messages import have_transform_message, transform_message
from spatial3d_ros.nodes.sensor_subscriptions import SensorSubscriptions
from spatial3d_ros.nodes.watchdog import Watched
from spatial3d_ros.runtime.cameras import CameraSource
from spatial3d_ros.sensors.transforms import TransformTree

if TYPE_CHECKING:
    from rclpy.node import Node

POSES = {"pose": PoseStamped, "odom": Odometry}
POSE_QUEUE = FIXED_QUEUE = 100
TF, TF_STATIC = "/tf", "/tf_static"

__all__ = ["SensorInput", "Update"]


class SensorInput:
    """Subscribes to cameras, poses and detectors until `close`; calls `update` with what they give.

    `update` runs on one thread of its own, in order, and returns whether the memory changed (of a
    frame: whether it is a keyframe). Image callbacks of a camera run one after the other, pose
    callbacks too, and neither waits for a question. Poses have a callback group of their own: they
    come more often, and on a busy machine images would starve them otherwise. All cameras have one
    source of poses.
    """

    def __init__(
        self, node: Node, sources: Sequence[CameraSource], update: Callable[[Update], bool]
    ) -> None:
        self._parameters = sources[0].parameters
        self._several_3d = any(source.parameters.detections_3d for source in sources)
        self._aligns = any(source.parameters.depth_alignment == "auto" for source in sources)
        self._subscriptions = SensorSubscriptions(node)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._pose_group = MutuallyExclusiveCallbackGroup()
        self.transforms = self._transform_tree()
        self.cameras = [
            CameraInput(
                node, source, self._pose, self.transforms, self._subscriptions, self._submit, update
            )
            for source in sources
        ]
        self._subscribe_to_poses()

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
        return self._needs_tf or (self._several_3d and have_transform_message())

    def _transform_tree(self) -> TransformTree | None:
        if not (self._uses_tf or (self._aligns and have_transform_message())):
            return None
        transform_message()  # raises before anything is subscribed to
        return TransformTree(self._parameters.max_pose_gap_s, live=True)

    def _subscribe_to_poses(self) -> None:
        pose, watched = self._pose, self.cameras[0].watched
        if pose != TF:
            watched[pose] = self._add(pose, POSES[pose], self._take_pose, qos.sensor(POSE_QUEUE))
        if self.transforms is None:
            return
        add_moving = partial(self.transforms.add, fixed=False)
        if self._uses_tf:
            take = self._take_pose if pose == TF else add_moving
            moving = self._add(TF, transform_message(), take, qos.transforms())
            if self._needs_tf:
                watched[TF] = moving
        add_fixed = partial(self.transforms.add, fixed=True)
        self._add(TF_STATIC, transform_message(), add_fixed, qos.latched(FIXED_QUEUE))

    def _add(self, name: str, kind: type, take: Callable[[Any], None], profile: Any) -> Watched:
        group = self._pose_group
        return self._subscriptions.add(name, kind, take, profile, group, drain=True)

    def _take_pose(self, message: Any) -> None:
        """Give a pose to every camera; one tree of transforms takes it once."""
        for number, camera in enumerate(self.cameras):
            camera.add_pose(message, taken=number > 0 and self._pose == TF)

    def close(self) -> None:
        """End the subscriptions, and let the frame being decoded finish."""
        self._subscriptions.close()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def why_no_objects(self) -> str:
        """The likely reason, for a reply to a question before there are objects."""
        if any(camera.pipeline.counts["keyframes"] for camera in self.cameras):
            return "The first views have arrived and are being processed: ask again shortly."
        missing = [topic for camera in self.cameras for topic in camera.watchdog.silent()]
        if missing:
            return f"Nothing has arrived on {', '.join(missing)}."
        problems = [camera.last_problem for camera in self.cameras if camera.last_problem]
        return f"Last problem: {problems[0]}" if problems else ""

    def _submit(self, work: Work) -> None:
        self._worker.submit(work)
