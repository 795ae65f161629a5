"""ROS nodes as separate processes with their own logs, in a ROS domain of their own.

ROS is not imported here: nodes are started as modules and stopped with SIGINT.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.resources import resource_path

STOP_S = 5.0
RUN = "from spatial3d_ros.{package}.{node} import main; main()"
ROBOT, DEMO = "nodes", "demo.nodes"  # packages of nodes


def require_ros() -> None:
    """Raise NotAvailableError that names what is missing and the command that installs it."""
    if importlib.util.find_spec("rclpy") is None:
        raise NotAvailableError(
            "ROS 2 is not in this Python (no rclpy): source your ROS, or run `make setup` in a "
            "checkout and use .venv/bin/spatial3d"
        )
    if importlib.util.find_spec("spatial3d_ros.msg") is None:
        raise NotAvailableError(
            "the messages of spatial3d_ros are not built: run `make setup` in a checkout, or "
            "`colcon build` in your workspace and source install/setup.bash"
        )


def ros_environment() -> dict[str, str]:
    """Environment of the nodes: a local ROS domain, and a DDS profile for images."""
    profile = str(resource_path("fastdds.xml"))
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": os.environ.get("SPATIAL3D_DOMAIN_ID", str(50 + os.getpid() % 50)),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
    }
    # Humble reads the first name, later releases the second.
    environment.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", profile)
    environment.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", profile)
    return environment


def free_port() -> int:
    """A port of this computer that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class NodeGroup:
    """Runs nodes as processes inside a `with` block and stops all of them at its end.

    `with NodeGroup(logs) as nodes: nodes.start("grounding_node", ...)`. Each node writes to
    `logs/NAME.log`. `check` reports a node that died.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.environment = ros_environment()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._files = ExitStack()

    def __enter__(self) -> NodeGroup:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + STOP_S
        for process in self.processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._files.close()

    def start(
        self,
        node: str,
        *arguments: str,
        package: str = ROBOT,
        pipes: bool = False,
        log: str = "",
        **environment: str,
    ) -> subprocess.Popen[bytes]:
        """Run `main` of `spatial3d_ros.PACKAGE.NODE` with command line arguments.

        With `pipes`, stdin and stdout are pipes and only stderr goes to the log. `log` is the name
        of the process and its log, where several run the same node. A restarted node appends to its
        log.
        """
        name = log or node
        again = "ab" if name in self.processes else "wb"
        file = self._files.enter_context((self.logs / f"{name}.log").open(again))
        process = subprocess.Popen(
            [sys.executable, "-c", RUN.format(package=package, node=node), *arguments],
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else file,
            stderr=file,
            env={**self.environment, **environment},
            # Background jobs of a shell ignore SIGINT, and child processes inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self.processes[name] = process
        return process

    def wait(
        self, node: str, timeout_s: float, tick: Callable[[float], None] = lambda seconds: None
    ) -> None:
        """Wait until one node ends with exit code 0 while the others keep running; `tick` is called
        with the seconds waited.

        Raises NotAvailableError with the end of the log if any node fails, or after `timeout_s`.
        """
        begin = time.monotonic()
        deadline = begin + timeout_s
        while self.processes[node].poll() is None:
            self.check()
            tick(time.monotonic() - begin)
            if time.monotonic() > deadline:
                raise NotAvailableError(
                    f"{node} did not finish in {timeout_s:.0f} s{self.tail(node)}"
                )
            time.sleep(0.05)
        if self.processes[node].returncode:
            raise NotAvailableError(f"{node} failed{self.tail(node)}")

    def check(self) -> None:
        """Raise NotAvailableError if a node died."""
        for node, process in self.processes.items():
            if process.poll() not in (None, 0):
                raise NotAvailableError(
                    f"{node} ended with code {process.returncode}{self.tail(node)}"
                )

    def tail(self, node: str, lines: int = 15) -> str:
        """The end of a node's log, for an error message."""
        path = self.logs / f"{node}.log"
        text = path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []
        return "".join(f"\n  {line}" for line in [f"({path})", *text])
