"""rclpy's action client, safe to ask from another thread than the one that hears."""

from __future__ import annotations

import threading
from typing import Any

from rclpy.action import ActionClient
from rclpy.task import Future


class SteadyActionClient(ActionClient):
    """Waits with what it hears until the call that asks knows what it waits for.

    rclpy's own notes a request only after sending it. A response that comes in between, heard by
    the thread of the executor, is dropped as unexpected and the caller waits for ever: one goal in
    a few hundred. The methods with an underscore are what goal handles call; where rclpy names them
    otherwise, they are as unsafe as before.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._asking = threading.RLock()
        super().__init__(*args, **options)

    def send_goal_async(self, *args: Any, **options: Any) -> Future:
        """As rclpy's."""
        with self._asking:
            return super().send_goal_async(*args, **options)

    def _cancel_goal_async(self, goal_handle: Any) -> Future:
        with self._asking:
            return super()._cancel_goal_async(goal_handle)

    def _get_result_async(self, goal_handle: Any) -> Future:
        with self._asking:
            return super()._get_result_async(goal_handle)

    async def execute(self, taken_data: Any) -> None:
        """As rclpy's, after whoever asks just now has finished asking."""
        with self._asking:
            pass
        await super().execute(taken_data)
