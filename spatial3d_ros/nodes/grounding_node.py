"""The lifecycle node that builds an object map from an RGB-D camera and answers questions."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.executors import MultiThreadedExecutor
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from spatial3d_ros import msg
from spatial3d_ros.errors import (
    ConfigError,
    FrameError,
    NoSceneError,
    NotAvailableError,
    Spatial3DError,
)
from spatial3d_ros.nodes import conversions, diagnostics, qos
from spatial3d_ros.nodes.annotated_image import AnnotatedImage
from spatial3d_ros.nodes.executor import spin
from spatial3d_ros.nodes.guarded_lifecycle import SUCCESS, GuardedLifecycleNode
from spatial3d_ros.nodes.memory_server import MemoryServer
from spatial3d_ros.nodes.optional_messages import have_vision_messages, vision_messages
from spatial3d_ros.nodes.parameter_table import ParameterTable
from spatial3d_ros.nodes.peer_input import PeerInput
from spatial3d_ros.nodes.query_handler import QueryHandler
from spatial3d_ros.nodes.question_server import QuestionServer
from spatial3d_ros.nodes.sensor_input import SensorInput, Update
from spatial3d_ros.runtime.parameters import Parameters, as_yaml
from spatial3d_ros.runtime.worker import RefreshWorker, convert_out_of_memory
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.label_voting import ClassImage
from spatial3d_ros.sensors.frame_pipeline import Rewind
from spatial3d_ros.tasks.frame_transform import OutputTransform

if TYPE_CHECKING:
    from spatial3d_ros.engine import Spatial3D
    from spatial3d_ros.tasks.shared_network import SharedNetworks

SHUTDOWN_TIMEOUT_S = 3.0  # launch sends SIGTERM 5 s after SIGINT
MAX_THREADS = 80  # each waiting question blocks one; they are started when needed


def build_engine(
    parameters: Parameters,
    kind: type[Spatial3D] | None = None,
    networks: SharedNetworks | None = None,
) -> Spatial3D:
    """Build the engine (`kind`: a subclass) and load its network, or take it from `networks`.

    Raises CheckpointError or ConfigError.
    """
    from spatial3d_ros.engine import Spatial3D  # slow: imports torch

    engine = (kind or Spatial3D)(parameters)
    if networks is not None:
        engine.load_network = networks.load
    engine.load()
    return engine


class GroundingNode(GuardedLifecycleNode):
    """The ROS interface of one `Spatial3D` engine.

    configure loads the network; activate subscribes and accepts questions; deactivate keeps the
    network and the memory; cleanup frees both. With the parameter autostart the node configures
    and activates itself. The services always exist; while the node is not active their replies
    name the transition that is missing.
    """

    def __init__(
        self, build: Callable[[Parameters], Spatial3D] = build_engine, **options: Any
    ) -> None:
        super().__init__("grounding_node", **options)
        self._build = build
        self._table = ParameterTable(self)
        for warning in self._table.unknown:
            self.get_logger().warning(warning)
        self._engine: Spatial3D | None = None
        self._sensors: SensorInput | None = None
        self._refresher: RefreshWorker | None = None
        self._peers: PeerInput | None = None
        self._refresh_problem = ""
        self._publish_lock = threading.Lock()
        self._objects = self.create_lifecycle_publisher(
            msg.SceneObjects, "~/objects", qos.latched()
        )
        self._annotated = AnnotatedImage(self)
        self._detections = None
        if have_vision_messages():
            kind = vision_messages("~/detections").Detection3DArray
            self._detections = self.create_lifecycle_publisher(kind, "~/detections", qos.latched())
        self._handler = QueryHandler(
            self,
            self._active_engine,
            lambda: self._table.values,
            self._output_transform,
            self._sensor_problem,
            self._annotated.answered,
        )
        self._server = QuestionServer(self, self._handler, self._publish_objects)
        self._memory_server = MemoryServer(self, self._handler, self._publish_objects)
        diagnostics.publish_regularly(self, self._statuses)
        if self._table.values.autostart:
            self.autostart()

    def close(self) -> None:
        """Stop the threads. Call it before `destroy_node`."""
        self._stop()
        self._handler.runner.shut_down()
        self._unload()

    def on_configure(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Load the network."""
        return self.attempt("configure", self._load)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and accept questions."""
        super().on_activate(state)
        self._table.active = True  # first, so that parameters do not change while they are read
        result = self.attempt("activate", self._start)
        self._table.active = result == SUCCESS
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and refuse questions; network and memory stay loaded."""
        result = self.attempt("deactivate", self._stop)
        super().on_deactivate(state)
        return result

    def on_cleanup(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Free network and memory."""
        return self.attempt("cleanup", self._unload)

    def on_shutdown(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, from any state."""
        self.attempt("shutdown", self._stop)
        return self.attempt("shutdown", self._unload)

    def _load(self) -> None:
        if self._table.problems:
            raise ConfigError("; ".join(self._table.problems.values()))
        values = self._table.values
        if values.memory_peers and not values.memory_folder:
            raise ConfigError("memory_peers: their objects are kept in a memory; set memory_folder")
        self.get_logger().info(f"configuring with\n{as_yaml(values)}")
        with convert_out_of_memory("loading the model"):
            engine = self._engine = self._build(values)
        self._memory_server.attach(engine)
        if values.memory_peers:
            self._peers = PeerInput(self, values.memory_peers, engine)
        self._table.loaded = values

    def _start(self) -> None:
        if outdated := self._table.outdated():
            raise ConfigError(outdated)
        engine = self._engine
        assert engine is not None  # configure precedes activate
        self._sensors = SensorInput(
            self, self._table.cameras(), partial(self._update_memory, engine)
        )
        self._refresher = RefreshWorker(
            partial(self._refresh, engine),
            lambda: self._table.values.refresh_period_s,
            self._report_refresh,
        )
        self._refresher.notify()

    def _stop(self) -> None:
        if self._sensors is not None:
            self._sensors.close()
            self._sensors = None
        self._handler.runner.cancel_all("the node was deactivated")
        if self._refresher is not None:
            self._refresher.stop()
            self._refresher = None
        self._table.active = False

    def _unload(self) -> None:
        if self._peers is not None:
            self._peers.close()
            self._peers = None
        engine, self._engine = self._engine, None
        self._table.loaded = None
        if engine is not None:
            engine.close()

    def _active_engine(self) -> Spatial3D:
        if self._engine is not None and self._sensors is not None:
            return self._engine
        step = "configure, then activate" if self._engine is None else "activate"
        raise NotAvailableError(self.inactive_reason(step))

    def _output_transform(self, frame_id: str) -> OutputTransform:
        """The current transform from `frame_id` to the frame of the answers (target_frame).

        Raises FrameError or NotAvailableError.
        """
        target, sensors = self._table.values.target_frame, self._sensors
        if target in ("", frame_id):
            return OutputTransform(frame_id)
        if sensors is None or sensors.transforms is None:
            raise NotAvailableError(
                f"target_frame {target!r} is unknown: the node subscribes to TF while it is active"
            )
        return OutputTransform(target, sensors.transforms.latest(target, frame_id))

    def _sensor_problem(self) -> str:
        sensors = self._sensors
        return self._refresh_problem or (sensors.why_no_objects() if sensors else "")

    def _update_memory(self, engine: Spatial3D, update: Update) -> bool:
        """Add what the sensors gave; returns whether the objects have to be refreshed."""
        if isinstance(update, Rewind):
            self.get_logger().warning(
                "stamps went back in time: the views are dropped, the object map stays"
            )
            engine.forget_views()
            return False
        if isinstance(update, Frame):
            changed = engine.add_frame(update).keyframe
            self._annotated.show(update)
        elif isinstance(update, ClassImage):
            engine.add_class_image(update)
            changed = True
        else:
            changed = engine.add_detections(update)
        if changed and self._refresher is not None:
            self._refresher.notify()
        return changed

    def _refresh(self, engine: Spatial3D) -> None:
        with convert_out_of_memory("the update of the object map"):
            engine.refresh()
        self._refresh_problem = ""
        try:
            self._publish_objects(engine)
        except (FrameError, NotAvailableError) as error:  # no transform to target_frame yet
            self._refresh_problem = f"the objects could not be published: {error}"

    def _report_refresh(self, error: Exception) -> None:
        """Log the error once and keep it for replies; the object map stays as it was."""
        problem = f"the object map could not be updated: {type(error).__name__}: {error}"
        if problem != self._refresh_problem:
            trace = "".join(traceback.format_exception(error))
            known = isinstance(error, Spatial3DError)
            self.get_logger().error(problem if known else f"{problem}\n{trace}")
        self._refresh_problem = problem

    def _publish_objects(self, engine: Spatial3D) -> None:
        with self._publish_lock:  # scene versions are published in order
            try:
                scene = engine.scene()
                message = conversions.scene_objects(scene, self._output_transform(scene.frame_id))
            except NoSceneError:
                message = msg.SceneObjects()
            self._objects.publish(message)
            if self._detections is not None:
                self._detections.publish(conversions.detections(message))

    def _statuses(self) -> list[DiagnosticStatus]:
        name, sensors, engine = self.get_name(), self._sensors, self._engine
        if sensors is None or engine is None:
            return [diagnostics.inactive_status(name, self._failure)]
        return [
            *(
                diagnostics.sensor_status(name, camera, self._table.values.topic_timeout_s)
                for camera in sensors.cameras
            ),
            diagnostics.memory_status(name, engine, self._refresh_problem),
            diagnostics.question_status(name, self._handler),
        ]


def main(
    args: list[str] | None = None, build: Callable[[Parameters], Spatial3D] = build_engine
) -> None:
    """Run the node until SIGINT or SIGTERM."""
    rclpy.init(args=args)
    serve([GroundingNode(build)])


def serve(nodes: Sequence[GroundingNode]) -> None:
    """Run nodes in one executor until SIGINT or SIGTERM, then end the process."""
    executor = MultiThreadedExecutor(MAX_THREADS * len(nodes))
    for node in nodes:
        executor.add_node(node)
    spin(executor)

    def close() -> None:
        for node in nodes:
            node.close()
        executor.shutdown(timeout_sec=1.0)
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()

    closing = threading.Thread(target=close, daemon=True)
    closing.start()
    closing.join(SHUTDOWN_TIMEOUT_S)
    # A normal exit would wait for the threads. Loading a large network or updating the object map
    # takes longer than launch waits, and neither leaves files behind.
    os._exit(0)
