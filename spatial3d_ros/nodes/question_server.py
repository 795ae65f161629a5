"""The services and the action of the grounding node: questions in, typed answers out.

Every request gets a reply. What goes wrong comes back as success=false and a message; nothing is
raised into the executor, because that would end the node.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from spatial3d_ros import msg, srv
from spatial3d_ros.action import Query
from spatial3d_ros.errors import Cancelled, NoSceneError, QueryError, Spatial3DError
from spatial3d_ros.nodes import conversions, qos
from spatial3d_ros.nodes.measures import Durations, RateLimit
from spatial3d_ros.nodes.parameters import Parameters
from spatial3d_ros.nodes.worker import Busy, Question, QuestionRunner, within_memory
from spatial3d_ros.tasks.limits import check_length
from spatial3d_ros.tasks.placing import Placing
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit
from spatial3d_ros.tasks.stages import timed

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

    from spatial3d_ros.engine import Spatial3D

Result = TypeVar("Result")
KINDS = {
    srv.MeasureDistance.Request.KIND_AUTO: "auto",
    srv.MeasureDistance.Request.KIND_CENTER: "center",
    srv.MeasureDistance.Request.KIND_SURFACE: "surface",
}
RESULT_FIELDS = {
    msg.Grounding: (Query.Result.GROUNDING, "grounding"),
    msg.DistanceAnswer: (Query.Result.DISTANCE, "distance"),
    msg.Answer: (Query.Result.ANSWER, "answer"),
    msg.LayoutEdit: (Query.Result.LAYOUT, "layout"),
}
BY_CLIENT = "cancelled by the client"
LONGEST_S = 3600.0


class QuestionServer:
    """Offers `~/ground`, `~/measure_distance`, `~/ask`, `~/edit_layout`, `~/get_scene`, `~/clear`
    and the action `~/query`, and publishes what they find.

    `engine()` returns the engine, or raises Spatial3DError saying why the node cannot answer now;
    `place(frame_id)` tells in which frame what is known in that one goes out;
    `hint()` tells what is wrong with the sensors, for a question that comes before any frame;
    `on_change(engine)` is called when its memory was emptied or an edit was applied.
    """

    def __init__(
        self,
        node: LifecycleNode,
        engine: Callable[[], Spatial3D],
        parameters: Callable[[], Parameters],
        place: Callable[[str], Placing],
        hint: Callable[[], str],
        on_change: Callable[[Spatial3D], None],
    ) -> None:
        self.runner = QuestionRunner()
        self.latency_ms = Durations(200)
        self._allowed = RateLimit()
        self.stages_ms: dict[str, float] = {}
        self._engine = engine
        self._parameters = parameters
        self._place = place
        self._hint = hint
        self._on_change = on_change
        self._logger = node.get_logger()
        self._goals: dict[bytes, Question] = {}
        group = ReentrantCallbackGroup()
        for kind, name, callback in (
            (srv.Ground, "~/ground", self._ground),
            (srv.MeasureDistance, "~/measure_distance", self._measure_distance),
            (srv.Ask, "~/ask", self._ask),
            (srv.EditLayout, "~/edit_layout", self._edit_layout),
            (srv.GetScene, "~/get_scene", self._get_scene),
            (Trigger, "~/clear", self._clear),
        ):
            node.create_service(
                kind, name, callback, qos_profile=qos.requests(), callback_group=group
            )
        self._action = ActionServer(
            node,
            Query,
            "~/query",
            self._query,
            callback_group=group,
            cancel_callback=self._cancel,
            goal_service_qos_profile=qos.requests(),
            result_service_qos_profile=qos.requests(),
            cancel_service_qos_profile=qos.requests(),
        )
        self._publishers = {
            kind: node.create_lifecycle_publisher(kind, name, qos.result())
            for kind, name in (
                (msg.Grounding, "~/groundings"),
                (msg.DistanceAnswer, "~/distances"),
                (msg.Answer, "~/answers"),
                (msg.LayoutEdit, "~/layout_edits"),
                (PoseStamped, "~/target"),
            )
        }
        self._converters = {
            Grounding: conversions.grounding,
            Distance: conversions.distance,
            Answer: conversions.answer,
            LayoutEdit: conversions.layout_edit,
        }

    def _ground(self, request: Any, response: Any) -> Any:
        count = request.max_objects or self._parameters().max_objects
        with self._replying(response):
            check_length(request.query)
            response.grounding = self._answer(
                lambda engine, question: engine.ground(
                    request.query, max_objects=count, monitor=question
                )
            )
        return response

    def _measure_distance(self, request: Any, response: Any) -> Any:
        with self._replying(response):
            kind = KINDS.get(request.kind)
            if kind is None:
                raise QueryError(
                    f"field kind is {request.kind}; it must be one of KIND_* (0, 1, 2)"
                )
            for text in (request.query, request.object_a, request.object_b):
                check_length(text)
            response.distance = self._answer(
                lambda engine, question: engine.measure_distance(
                    request.query,
                    a=request.object_a,
                    b=request.object_b,
                    kind=kind,
                    monitor=question,
                )
            )
        return response

    def _ask(self, request: Any, response: Any) -> Any:
        with self._replying(response):
            check_length(request.question)
            response.answer = self._answer(
                lambda engine, question: engine.ask(request.question, monitor=question)
            )
        return response

    def _edit_layout(self, request: Any, response: Any) -> Any:
        with self._replying(response):
            check_length(request.instruction)
            response.edit = self._answer(
                lambda engine, question: engine.edit_layout(
                    request.instruction, apply=request.apply, monitor=question
                )
            )
            if response.edit.applied:
                self._on_change(self._engine())
        return response

    def _get_scene(self, _: Any, response: Any) -> Any:
        with self._replying(response):
            scene = self._engine().scene()
            response.scene = conversions.scene_objects(scene, self._place(scene.frame_id))
        return response

    def _clear(self, _: Any, response: Any) -> Any:
        with self._replying(response):
            engine = self._engine()
            engine.clear()
            self._on_change(engine)
            response.message = "the memory is empty"
        return response

    def _query(self, goal: ServerGoalHandle) -> Query.Result:
        def tell(stage: str, progress: float) -> None:
            if goal.is_cancel_requested:  # it came before the goal was known by its question
                raise Cancelled(BY_CLIENT)
            goal.publish_feedback(Query.Feedback(stage=stage, progress=float(progress)))

        result = Query.Result()
        key = bytes(goal.goal_id.uuid)
        question = self._goals[key] = self._new_question(goal.request.timeout_s, tell)
        with self._replying(result):
            check_length(goal.request.query)
            answer = self._answer(
                lambda engine, monitor: engine.answer(goal.request.query, monitor=monitor),
                question,
            )
            result.kind, name = RESULT_FIELDS[type(answer)]
            setattr(result, name, answer)
        del self._goals[key]
        if result.success:
            goal.succeed()
        elif question.reason == BY_CLIENT or goal.is_cancel_requested:
            self._finish_cancel(goal)
        else:
            goal.abort()
        return result

    def _cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        question = self._goals.get(bytes(goal.goal_id.uuid))
        if question is not None:
            question.cancel(BY_CLIENT)
        return CancelResponse.ACCEPT

    def _finish_cancel(self, goal: ServerGoalHandle) -> None:
        """End a cancelled goal; rclpy marks it as cancelling only after our callback returned."""
        deadline = time.monotonic() + 1.0
        while not goal.is_cancel_requested and time.monotonic() < deadline:
            time.sleep(0.001)
        goal.canceled() if goal.is_cancel_requested else goal.abort()

    def _new_question(
        self, timeout_s: float = 0.0, on_stage: Callable[[str, float], None] = lambda *_: None
    ) -> Question:
        usual = self._parameters().question_timeout_s
        return Question(min(timeout_s, LONGEST_S) if timeout_s > 0 else usual, on_stage)

    def _answer(
        self, ask: Callable[[Spatial3D, Question], Any], question: Question | None = None
    ) -> Any:
        """The answer as a message, published too."""
        question = question or self._new_question()
        result, frame_id = self._run(ask, question)
        latency_ms, stages = question.age_s * 1e3, dict(result.stages_ms)
        with timed(stages, "message"):
            message = self._converters[type(result)](result, frame_id, latency_ms)
            self._publishers[type(message)].publish(message)
            if isinstance(message, msg.Grounding) and message.objects:
                self._publishers[PoseStamped].publish(conversions.target(message.objects[0]))
        self.latency_ms.add(latency_ms)
        self.stages_ms = stages
        return message

    def _run(
        self, ask: Callable[[Spatial3D, Question], Result], question: Question
    ) -> tuple[Result, str]:
        """The typed result in the frame in which it goes out, and the name of that."""
        engine = self._engine()
        limits = self._parameters()
        if not self._allowed(limits.max_questions_hz):
            raise Busy(
                f"busy: over {limits.max_questions_hz:g} questions a second (parameter "
                "max_questions_hz). Ask again in a moment."
            )
        pending = limits.max_pending_questions
        with within_memory("the question"):
            result = self.runner.run(question, pending, lambda: ask(engine, question))
        place = self._place(engine.scene().frame_id)
        return place.result(result), place.frame_id

    @contextmanager
    def _replying(self, response: Any) -> Iterator[None]:
        """Turn whatever goes wrong inside into the reply."""
        try:
            yield
            response.success = True
        except NoSceneError as error:
            response.message = " ".join(filter(None, (str(error), self._hint())))
        except Spatial3DError as error:
            response.message = str(error)
        except Exception as error:
            self._logger.error(f"a question failed: {traceback.format_exc()}")
            response.message = f"internal error ({type(error).__name__}: {error}); see the log"
