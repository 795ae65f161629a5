"""Spinning executors and nodes: until a signal, or in a thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from spatial3d_ros.errors import NotAvailableError, Spatial3DError

MAX_WAIT_S = 1.0


class ClosableNode(Node):
    """A node that ends its threads in `close`, before it is destroyed."""

    def close(self) -> None:
        raise NotImplementedError


def spin(executor: Executor) -> None:
    """Run callbacks until SIGINT, SIGTERM or a shutdown of the context.

    `Executor.spin` waits without a timeout. A signal wakes it, but if it checks the context before
    another thread has shut the context down, it waits forever. The timeout here ends that wait.
    """
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        while executor.context.ok():
            executor.spin_once(timeout_sec=MAX_WAIT_S)


def run_node(args: list[str] | None, name: str, make: Callable[[], ClosableNode]) -> None:
    """Run the node that `make` returns in a process of its own, until SIGINT or SIGTERM.

    An error of `make` (a missing model) is one log line and exit code 1.
    """
    rclpy.init(args=args)
    try:
        node = make()
    except Spatial3DError as error:
        rclpy.logging.get_logger(name).fatal(str(error))
        rclpy.try_shutdown()
        raise SystemExit(1) from None
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spin(executor)
    node.close()
    node.destroy_node()
    rclpy.try_shutdown()


def spin_in_thread(executor: Executor) -> threading.Thread:
    """Start a thread that runs callbacks until the executor or the context is shut down."""

    def run() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def wait_for(future: Future, name: str, limit_s: float) -> Any:
    """The result of a future that an executor completes in another thread.

    Raises NotAvailableError if `name` does not reply in time.
    """
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    if not done.wait(limit_s):
        raise NotAvailableError(f"no reply from {name} in {limit_s:.0f} s")
    return future.result()
