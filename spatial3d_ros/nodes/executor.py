"""Running a node until a signal ends it."""

from __future__ import annotations

import contextlib
import threading

from rclpy.executors import Executor, ExternalShutdownException

LONGEST_WAIT_S = 1.0


def spin(executor: Executor) -> None:
    """Run callbacks until SIGINT, SIGTERM or a shutdown of the context.

    rclpy's own `spin` waits without end. A signal wakes it, but where it looks before the thread
    that shuts the context down has done so, it waits again, for ever. Here it looks again.
    """
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        while executor.context.ok():
            executor.spin_once(timeout_sec=LONGEST_WAIT_S)


def spin_beside(executor: Executor) -> threading.Thread:
    """A thread that runs callbacks until the executor or the context is shut down, while its caller
    waits for replies.
    """

    def run() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
