"""Runs an ASGI application until SIGINT or SIGTERM."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from spatial3d_ros.errors import ConfigError, NotAvailableError

MAX_CONNECTIONS = 100
_END_S = 1  # for open connections at the end: a page holds one for events


def needs_extra(module: str, extra: str) -> NotAvailableError:
    """The error for a library of an extra that is not installed."""
    return NotAvailableError(f"{module} is not installed: pip install 'spatial3d_ros[{extra}]'")


class HttpServer:
    """An application on a port; 0 takes a free one, which `port` tells.

    Raises NotAvailableError without uvicorn, ConfigError if the port cannot be used.
    """

    def __init__(self, app: Any, host: str, port: int) -> None:
        try:
            import uvicorn
        except ModuleNotFoundError:
            raise needs_extra("uvicorn", "web") from None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"--host {host} --port {port}: cannot be used ({error})") from error
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", access_log=False, server_header=False,
                limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=_END_S,
            )
        )  # fmt: skip

    def run(self) -> None:
        """Serve until a signal."""
        self._server.run(sockets=[self._socket])

    def start(self) -> Callable[[], None]:
        """Serve in a thread; returns what ends it."""
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()

        def stop() -> None:
            self._server.should_exit = True
            thread.join(_END_S + 3)

        return stop
