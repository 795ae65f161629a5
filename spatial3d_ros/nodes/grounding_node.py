"""The lifecycle node that listens to a camera and answers questions about the room."""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from spatial3d_ros import msg
from spatial3d_ros.errors import (
    ConfigError,
    FrameError,
    NoSceneError,
    NotAvailableError,
    Spatial3DError,
)
from spatial3d_ros.nodes import conversions, diagnostics, qos
from spatial3d_ros.nodes.parameters import Parameters, ParameterTable
from spatial3d_ros.nodes.question_server import QuestionServer
from spatial3d_ros.nodes.sensor_input import SensorInput
from spatial3d_ros.nodes.worker import RefreshWorker, within_memory
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.tasks.placing import Placing

if TYPE_CHECKING:
    from spatial3d_ros.engine import Spatial3D

THREADS = 80  # each waiting question holds one; threads are made when first needed
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


def build_engine(parameters: Parameters, kind: type[Spatial3D] | None = None) -> Spatial3D:
    """The engine of those parameters (or a `kind` of it), loaded.

    Raises CheckpointError or ConfigError.
    """
    from spatial3d_ros.engine import EngineConfig, Spatial3D  # heavy: brings torch

    engine = (kind or Spatial3D)(
        EngineConfig(
            model=parameters.model,
            device=parameters.device,
            dtype=parameters.dtype,
            weights=parameters.weights,
            max_views=parameters.max_views,
            max_seconds=parameters.max_seconds,
            max_bytes=int(parameters.max_megabytes * 2**20),
        )
    )
    engine.load()
    return engine


class GroundingNode(LifecycleNode):
    """Sensors and questions around one `Spatial3D`.

    configure loads the network; activate subscribes and accepts questions; deactivate keeps the
    network and the memory; cleanup frees both. With the parameter autostart it does the first two
    by itself. Services exist all the time and say what is missing while the node is not active.
    """

    def __init__(
        self, build: Callable[[Parameters], Spatial3D] = build_engine, **options: Any
    ) -> None:
        super().__init__("grounding_node", **options)
        self._build = build
        self._table = ParameterTable(self)
        self._engine: Spatial3D | None = None
        self._sensors: SensorInput | None = None
        self._refresher: RefreshWorker | None = None
        self._failure = self._under_way = self._refresh_problem = ""
        self._publishing = threading.Lock()
        self._guard_transitions()
        self._objects = self.create_lifecycle_publisher(
            msg.SceneObjects, "~/objects", qos.latched()
        )
        self._questions = QuestionServer(
            self,
            self._active_engine,
            lambda: self._table.values,
            self._place,
            self._sensor_hint,
            self._publish_objects,
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.result())
        # Not by the node's clock: with use_sim_time and nobody on /clock that one stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        group = MutuallyExclusiveCallbackGroup()
        self.create_timer(1.0, self._publish_diagnostics, callback_group=group, clock=steady)
        if self._table.values.autostart:
            self._autostart = self.create_timer(0.0, self._start, clock=steady)

    def close(self) -> None:
        """Stop the threads; call it before the node is destroyed."""
        self._stop()
        self._questions.runner.shut_down()

    def on_configure(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Load the network."""
        return self._attempt("configure", self._load)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, and accept questions."""
        super().on_activate(state)
        return self._attempt("activate", self._listen)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and refuse questions; network and memory stay."""
        result = self._attempt("deactivate", self._stop)
        super().on_deactivate(state)
        return result

    def on_cleanup(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Free network and memory."""
        return self._attempt("cleanup", self._unload)

    def on_shutdown(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, from any state."""
        self._attempt("shutdown", self._stop)
        return self._attempt("shutdown", self._unload)

    def on_error(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, from where a person can try again."""
        return SUCCESS

    def _load(self) -> None:
        if self._table.problems:
            raise ConfigError("; ".join(self._table.problems.values()))
        self.get_logger().info(f"configuring with {self._table.values}")
        with within_memory("loading the model"):
            self._engine = self._build(self._table.values)
        self._table.locked = True

    def _listen(self) -> None:
        engine = self._engine
        self._sensors = SensorInput(
            self,
            self._table.values,
            partial(self._add_frame, engine),
            partial(self._rewind, engine),
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
        self._questions.runner.cancel_all("the node was deactivated")
        if self._refresher is not None:
            self._refresher.stop()
            self._refresher = None

    def _unload(self) -> None:
        self._engine = None
        self._table.locked = False

    def _attempt(self, name: str, step: Callable[[], None]) -> TransitionCallbackReturn:
        """Run a transition; rclpy would swallow what it raises without a word."""
        self._under_way, self._failure = name, ""
        try:
            step()
        except Exception as error:
            # In this order: a question in between must not hear that the step is still going on.
            self._under_way, self._failure = "", f"{name} failed: {error}"
            known = isinstance(error, Spatial3DError)
            self.get_logger().error(self._failure if known else traceback.format_exc())
            return FAILURE
        finally:
            self._under_way = ""
        return SUCCESS

    def _start(self) -> None:
        self._autostart.cancel()
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def _guard_transitions(self) -> None:
        """Answer an impossible transition with success=false: rclpy lets it end the node."""
        service = self._service_change_state
        change_state = service.callback

        def guarded(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except Exception as error:
                self.get_logger().error(f"transition refused: {error}")
                response.success = False
                return response

        service.callback = guarded

    def _active_engine(self) -> Spatial3D:
        if self._engine is not None and self._sensors is not None:
            return self._engine
        if self._under_way:
            raise NotAvailableError(
                f"the node is not active: {self._under_way} is under way. Ask again in a moment."
            )
        step = "configure, then activate" if self._engine is None else "activate"
        raise NotAvailableError(
            f"the node is not active{': ' * bool(self._failure)}{self._failure}. When that is "
            f"settled: ros2 lifecycle set {self.get_fully_qualified_name()} {step}"
        )

    def _place(self, frame_id: str) -> Placing:
        """How what is known in that frame goes out now. Raises FrameError, NotAvailableError."""
        target, sensors = self._table.values.target_frame, self._sensors
        if target in ("", frame_id):
            return Placing(frame_id)
        if sensors is None or sensors.transforms is None:
            raise NotAvailableError(f"nobody listens to TF now, so not to {target!r} either")
        return Placing(target, sensors.transforms.latest(target, frame_id))

    def _sensor_hint(self) -> str:
        sensors = self._sensors
        return self._refresh_problem or (sensors.why_nothing_seen() if sensors else "")

    def _add_frame(self, engine: Spatial3D, frame: Frame) -> bool:
        added = engine.add_frame(frame)
        if added.keyframe and self._refresher is not None:
            self._refresher.notify()
        return added.keyframe

    def _rewind(self, engine: Spatial3D) -> None:
        self.get_logger().warning("time went back: views are forgotten, known objects stay")
        engine.forget_views()

    def _refresh(self, engine: Spatial3D) -> None:
        with within_memory("the update"):
            engine.refresh()
        self._refresh_problem = ""
        try:
            self._publish_objects(engine)
        except (FrameError, NotAvailableError) as error:  # the answers' frame is not known
            self._refresh_problem = f"the objects could not be published: {error}"

    def _report_refresh(self, error: Exception) -> None:
        """The object map stays as it was; say so once, and to whoever asks."""
        problem = f"the object map could not be updated: {type(error).__name__}: {error}"
        if problem != self._refresh_problem:
            trace = "".join(traceback.format_exception(error))
            known = isinstance(error, Spatial3DError)
            self.get_logger().error(problem if known else f"{problem}\n{trace}")
        self._refresh_problem = problem

    def _publish_objects(self, engine: Spatial3D) -> None:
        with self._publishing:  # what is read first is published first
            try:
                scene = engine.scene()
                message = conversions.scene_objects(scene, self._place(scene.frame_id))
            except NoSceneError:
                message = msg.SceneObjects()
            self._objects.publish(message)

    def _publish_diagnostics(self) -> None:
        """Never raises: an exception out of a timer ends the node."""
        try:
            self._diagnostics.publish(
                diagnostics.array(self.get_clock().now().to_msg(), self._statuses())
            )
        except Exception:
            self.get_logger().error(f"diagnostics: {traceback.format_exc()}")

    def _statuses(self) -> list[Any]:
        name, sensors, engine = self.get_name(), self._sensors, self._engine
        if sensors is None or engine is None:
            level = diagnostics.ERROR if self._failure else diagnostics.OK
            return [diagnostics.status(name, level, self._failure or "not active", {})]
        complaints = sensors.watchdog.complaints(self._table.values.silence_s)
        questions = self._questions
        return [
            diagnostics.status(
                f"{name}: sensors",
                diagnostics.WARN if complaints else diagnostics.OK,
                " ".join(complaints) or "all topics arrive and match",
                sensors.facts(),
            ),
            diagnostics.status(
                f"{name}: memory",
                diagnostics.ERROR if self._refresh_problem else diagnostics.OK,
                self._refresh_problem,
                engine.stats(),
            ),
            diagnostics.status(
                f"{name}: questions",
                diagnostics.OK,
                f"{questions.runner.open} open",
                {"latency": questions.latency_ms.summary(), "stages_ms": questions.stages_ms},
            ),
        ]


def main(
    args: list[str] | None = None, build: Callable[[Parameters], Spatial3D] = build_engine
) -> None:
    """Run the node until SIGINT or SIGTERM."""
    rclpy.init(args=args)
    node = GroundingNode(build)
    executor = MultiThreadedExecutor(THREADS)
    executor.add_node(node)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        executor.spin()
    node.close()
    executor.shutdown(timeout_sec=2.0)
    node.destroy_node()
    rclpy.try_shutdown()
