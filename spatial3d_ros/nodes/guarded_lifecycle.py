"""A lifecycle node that survives failed transitions and reports why it is not active."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from spatial3d_ros.errors import Spatial3DError

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class GuardedLifecycleNode(LifecycleNode):
    """Runs transitions with `attempt`, which keeps the reason of a failure for later replies.

    rclpy discards an exception of a transition callback without logging it, and an impossible
    transition ends the node. Here both become replies.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._failure = self._in_progress = ""
        self._guard_transitions()

    def autostart(self) -> None:
        """Configure and activate as soon as the node spins."""
        # Not the node's clock: with use_sim_time and no publisher on /clock it stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._autostart_timer = self.create_timer(0.0, self._configure_and_activate, clock=steady)

    def on_error(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured, from where the node can be configured again."""
        return SUCCESS

    def attempt(self, name: str, step: Callable[[], None]) -> TransitionCallbackReturn:
        """Run the work of the transition `name`; an exception is logged and kept as the failure."""
        self._in_progress, self._failure = name, ""
        try:
            step()
        except Exception as error:
            # First, so that a question during the logging gets the failure as its reply.
            self._in_progress, self._failure = "", f"{name} failed: {error}"
            known = isinstance(error, Spatial3DError)
            self.get_logger().error(self._failure if known else traceback.format_exc())
            return FAILURE
        finally:
            self._in_progress = ""
        return SUCCESS

    def inactive_reason(self, next_step: str) -> str:
        """Why the node is not active, with the `ros2 lifecycle` command for `next_step`."""
        if self._in_progress:
            problem, advice = f"{self._in_progress} is in progress", "Ask again in a moment."
        else:
            command = f"ros2 lifecycle set {self.get_fully_qualified_name()} {next_step}"
            problem = self._failure
            advice = f"{'Correct this, then run' if problem else 'Run'}: {command}"
        return f"the node is not active{': ' * bool(problem)}{problem}. {advice}"

    def _configure_and_activate(self) -> None:
        self._autostart_timer.cancel()
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def _guard_transitions(self) -> None:
        """Reply success=false to an impossible transition; rclpy alone would end the node."""
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
