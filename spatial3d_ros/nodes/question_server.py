"""The services and the action of the grounding node: questions in, typed answers out.

Every request gets a reply. An error is a reply with success=false and a message.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from spatial3d_ros import msg, srv
from spatial3d_ros.action import Query
from spatial3d_ros.errors import Cancelled, QueryError
from spatial3d_ros.nodes import conversions, qos
from spatial3d_ros.tasks.query_limits import check_length

if TYPE_CHECKING:
    from rclpy.node import Node

    from spatial3d_ros.engine import Spatial3D
    from spatial3d_ros.nodes.query_handler import QueryHandler
    from spatial3d_ros.runtime.worker import Question

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
RESULT_TIMEOUT_S = 60  # rclpy keeps results for 900 s: too much memory at a high question rate
BY_CLIENT = "cancelled by the client"


class QuestionServer:
    """Offers `~/ground`, `~/measure_distance`, `~/ask`, `~/edit_layout`, `~/get_scene`, `~/clear`
    and the action `~/query`.

    `on_change(engine)` is called after the memory was cleared or a layout edit was applied.
    """

    def __init__(
        self, node: Node, handler: QueryHandler, on_change: Callable[[Spatial3D], None]
    ) -> None:
        self._handler = handler
        self._on_change = on_change
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
            result_timeout=RESULT_TIMEOUT_S,
            goal_service_qos_profile=qos.requests(),
            result_service_qos_profile=qos.requests(),
            cancel_service_qos_profile=qos.requests(),
        )

    def _ground(self, request: Any, response: Any) -> Any:
        count = request.max_objects or self._handler.parameters().max_objects
        with self._handler.errors_as_reply(response):
            check_length(request.query)
            response.grounding = self._handler.answer(
                lambda engine, question: engine.ground(
                    request.query,
                    max_objects=count,
                    conversation_id=request.conversation_id,
                    monitor=question,
                )
            )
        return response

    def _measure_distance(self, request: Any, response: Any) -> Any:
        with self._handler.errors_as_reply(response):
            kind = KINDS.get(request.kind)
            if kind is None:
                raise QueryError(
                    f"field kind is {request.kind}; it must be one of KIND_* (0, 1, 2)"
                )
            for text in (request.query, request.object_a, request.object_b):
                check_length(text)
            response.distance = self._handler.answer(
                lambda engine, question: engine.measure_distance(
                    request.query,
                    a=request.object_a,
                    b=request.object_b,
                    kind=kind,
                    conversation_id=request.conversation_id,
                    monitor=question,
                )
            )
        return response

    def _ask(self, request: Any, response: Any) -> Any:
        with self._handler.errors_as_reply(response):
            check_length(request.question)
            response.answer = self._handler.answer(
                lambda engine, question: engine.ask(
                    request.question, conversation_id=request.conversation_id, monitor=question
                )
            )
        return response

    def _edit_layout(self, request: Any, response: Any) -> Any:
        with self._handler.errors_as_reply(response):
            check_length(request.instruction)
            response.edit = self._handler.answer(
                lambda engine, question: engine.edit_layout(
                    request.instruction,
                    apply=request.apply,
                    conversation_id=request.conversation_id,
                    monitor=question,
                )
            )
            if response.edit.applied:
                self._on_change(self._handler.engine())
        return response

    def _get_scene(self, _: Any, response: Any) -> Any:
        with self._handler.errors_as_reply(response):
            scene = self._handler.engine().scene()
            response.scene = conversions.scene_objects(
                scene, self._handler.output_transform(scene.frame_id)
            )
        return response

    def _clear(self, _: Any, response: Any) -> Any:
        with self._handler.errors_as_reply(response):
            engine = self._handler.engine()
            engine.clear()
            self._on_change(engine)
            response.message = "the memory was cleared"
        return response

    def _query(self, goal: ServerGoalHandle) -> Query.Result:
        def publish_stage(stage: str, progress: float) -> None:
            if goal.is_cancel_requested:  # it came before the goal was in self._goals
                raise Cancelled(BY_CLIENT)
            goal.publish_feedback(Query.Feedback(stage=stage, progress=float(progress)))

        result = Query.Result()
        key = bytes(goal.goal_id.uuid)
        question = self._goals[key] = self._handler.new_question(
            goal.request.timeout_s, publish_stage
        )
        with self._handler.errors_as_reply(result):
            check_length(goal.request.query)
            answer = self._handler.answer(
                lambda engine, monitor: engine.answer(
                    goal.request.query,
                    conversation_id=goal.request.conversation_id,
                    monitor=monitor,
                ),
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
        """End a cancelled goal. rclpy marks it as cancelling only after `_cancel` has returned."""
        deadline = time.monotonic() + 1.0
        while not goal.is_cancel_requested and time.monotonic() < deadline:
            time.sleep(0.001)
        goal.canceled() if goal.is_cancel_requested else goal.abort()
