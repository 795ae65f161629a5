"""A lifecycle node that no transition can end, and that says why it is not active."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from spatial3d_ros.errors import Spatial3DError

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class GuardedLifecycleNode(LifecycleNode):
    """Steps are run by `attempt`, which keeps the reason of a failure for whoever asks later.

    rclpy swallows what a step raises without a word, and ends the node over a transition that is
    not possible in its state; both become replies here.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._failure = self._under_way = ""
        self._guard_transitions()

    def start_by_itself(self) -> None:
        """Configure and activate as soon as the node spins."""
        # Not by the node's clock: with use_sim_time and nobody on /clock that one stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._autostart = self.create_timer(0.0, self._start, clock=steady)

    def on_error(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, from where a person can try again."""
        return SUCCESS

    def attempt(self, name: str, step: Callable[[], None]) -> TransitionCallbackReturn:
        """Run the step of a transition; what it raises is logged and kept."""
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

    def why_inactive(self, next_step: str) -> str:
        """In words, with the `ros2 lifecycle` command that leads on."""
        if self._under_way:
            return f"the node is not active: {self._under_way} is under way. Ask again in a moment."
        return (
            f"the node is not active{': ' * bool(self._failure)}{self._failure}. When that is "
            f"settled: ros2 lifecycle set {self.get_fully_qualified_name()} {next_step}"
        )

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
