"""rclpy's action client without a race between sending a request and its response."""

from __future__ import annotations

import threading
from typing import Any

from rclpy.action import ActionClient
from rclpy.task import Future


class ThreadSafeActionClient(ActionClient):
    """An action client that may be called from another thread than the executor's.

    rclpy registers a request only after sending it. If the executor's thread takes the response in
    between, it is dropped as unexpected and the caller waits forever: one goal in a few hundred.
    Here responses are taken only while no request is being sent. Goal handles call the methods with
    an underscore; under an rclpy that names them otherwise the race remains.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._sending = threading.RLock()
        super().__init__(*args, **options)

    def send_goal_async(self, *args: Any, **options: Any) -> Future:
        """See `ActionClient`."""
        with self._sending:
            return super().send_goal_async(*args, **options)

    def _cancel_goal_async(self, goal_handle: Any) -> Future:
        with self._sending:
            return super()._cancel_goal_async(goal_handle)

    def _get_result_async(self, goal_handle: Any) -> Future:
        with self._sending:
            return super()._get_result_async(goal_handle)

    async def execute(self, taken_data: Any) -> None:
        """Handle a response, after the request being sent now is registered."""
        with self._sending:
            pass
        await super().execute(taken_data)
