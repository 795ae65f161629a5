"""From a question to a published answer: limits, queue, output frame, message.

Errors become the reply. None is raised into the executor, because that would end the node.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from geometry_msgs.msg import PoseStamped

from spatial3d_ros import msg
from spatial3d_ros.errors import NoSceneError, Spatial3DError
from spatial3d_ros.nodes import conversions, qos
from spatial3d_ros.runtime.parameters import Parameters
from spatial3d_ros.runtime.runtime_stats import Durations, RateLimit
from spatial3d_ros.runtime.worker import Busy, Question, QuestionRunner, convert_out_of_memory
from spatial3d_ros.tasks.frame_transform import OutputTransform
from spatial3d_ros.tasks.results import Answer, Distance, Grounding, LayoutEdit
from spatial3d_ros.tasks.timing import timed

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

    from spatial3d_ros.engine import Spatial3D

Result = TypeVar("Result", Grounding, Distance, Answer, LayoutEdit)
MAX_TIMEOUT_S = 3600.0


class QueryHandler:
    """Runs questions one at a time and publishes the answers on `~/groundings`, `~/distances`,
    `~/answers`, `~/layout_edits` and `~/target`.

    Args:
        engine: returns the engine. Raises Spatial3DError with the reason if the node cannot answer.
        parameters: returns the current parameters.
        output_transform: returns the transform from a memory frame to the frame of the answers.
        sensor_problem: returns what is wrong with the sensors, "" if nothing is. It is added to the
            reply if no frame has arrived yet.
        on_answer: receives every answer, in the frame of the memory.
    """

    def __init__(
        self,
        node: LifecycleNode,
        engine: Callable[[], Spatial3D],
        parameters: Callable[[], Parameters],
        output_transform: Callable[[str], OutputTransform],
        sensor_problem: Callable[[], str],
        on_answer: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.engine = engine
        self.parameters = parameters
        self.output_transform = output_transform
        self.runner = QuestionRunner()
        self.latency_ms = Durations(200)
        self.stages_ms: dict[str, float] = {}
        self._rate_limit = RateLimit()
        self._sensor_problem = sensor_problem
        self._on_answer = on_answer
        self._logger = node.get_logger()
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
        self._converters: dict[type, Callable[[Any, str, float], Any]] = {
            Grounding: conversions.grounding,
            Distance: conversions.distance,
            Answer: conversions.answer,
            LayoutEdit: conversions.layout_edit,
        }

    def new_question(
        self, timeout_s: float = 0.0, on_stage: Callable[[str, float], None] = lambda *_: None
    ) -> Question:
        """A question that expires after `timeout_s`; 0 means the parameter question_timeout_s."""
        default = self.parameters().question_timeout_s
        return Question(min(timeout_s, MAX_TIMEOUT_S) if timeout_s > 0 else default, on_stage)

    def answer(
        self, ask: Callable[[Spatial3D, Question], Any], question: Question | None = None
    ) -> Any:
        """Run `ask` on the engine, publish the answer, and return it as a message."""
        question = question or self.new_question()
        result, frame_id = self._run(ask, question)
        latency_ms, stages = question.age_s * 1e3, dict(result.stages_ms)
        with timed(stages, "message"):
            message = self._converters[type(result)](result, frame_id, latency_ms)
            self._publishers[type(message)].publish(message)
            holds = isinstance(message, msg.Grounding) and not message.question_back
            if holds and message.objects:
                self._publishers[PoseStamped].publish(conversions.target_pose(message.objects[0]))
        self.latency_ms.add(latency_ms)
        self.stages_ms = stages
        return message

    def _run(
        self, ask: Callable[[Spatial3D, Question], Result], question: Question
    ) -> tuple[Result, str]:
        """The typed result in the frame of the answers, and the name of that frame."""
        engine = self.engine()
        limits = self.parameters()
        if not self._rate_limit(limits.max_questions_hz):
            raise Busy(
                f"busy: more than {limits.max_questions_hz:g} questions a second (parameter "
                "max_questions_hz). Ask again in a moment."
            )
        pending = limits.max_pending_questions
        with convert_out_of_memory("the question"):
            result = self.runner.run(question, pending, lambda: ask(engine, question))
        self._on_answer(result)
        transform = self.output_transform(engine.scene().frame_id)
        return transform.result(result), transform.frame_id

    @contextmanager
    def errors_as_reply(self, response: Any) -> Iterator[None]:
        """Set `success` and `message` of the response; an error inside becomes the message."""
        try:
            yield
            response.success = True
        except NoSceneError as error:
            response.message = " ".join(filter(None, (str(error), self._sensor_problem())))
        except Spatial3DError as error:
            response.message = str(error)
        except Exception as error:
            self._logger.error(f"failed to answer a question: {traceback.format_exc()}")
            response.message = f"internal error ({type(error).__name__}: {error}); see the log"
