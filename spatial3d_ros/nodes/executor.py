"""Spinning executors: until a signal, or in a thread."""

from __future__ import annotations

import contextlib
import threading

from rclpy.executors import Executor, ExternalShutdownException

MAX_WAIT_S = 1.0


def spin(executor: Executor) -> None:
    """Run callbacks until SIGINT, SIGTERM or a shutdown of the context.

    `Executor.spin` waits without a timeout. A signal wakes it, but if it checks the context before
    another thread has shut the context down, it waits forever. The timeout here ends that wait.
    """
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        while executor.context.ok():
            executor.spin_once(timeout_sec=MAX_WAIT_S)


def spin_in_thread(executor: Executor) -> threading.Thread:
    """Start a thread that runs callbacks until the executor or the context is shut down."""

    def run() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
