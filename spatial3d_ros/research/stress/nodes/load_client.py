"""A client that asks questions on request and reads the node's diagnostics and lifecycle state.

Methods: `ask`, `wait_until_ready`, `scene`, `status`, `clear`, `state`, `transition`,
`ask_concurrently`, `cancel_at`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import rclpy
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from spatial3d_ros.action import Query
from spatial3d_ros.demo.nodes.query_client import QueryClient
from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.executor import spin_in_thread, wait_for
from spatial3d_ros.research.stress.nodes.json_rpc import serve
from spatial3d_ros.srv import Ground

LIMIT_S = 15.0  # the node's own limit is 10 s
TRANSITION_S = 120.0  # `configure` loads the network
STATUS_S = 3.0  # diagnostics are published once a second
TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
}
GOAL_RESULTS = {
    GoalStatus.STATUS_CANCELED: "cancelled",
    GoalStatus.STATUS_SUCCEEDED: "succeeded",
    GoalStatus.STATUS_ABORTED: "aborted",
}


class LoadClient(QueryClient):
    """A client of all services of a grounding node, each call with a time limit."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        super().__init__(limit_s=limit_s)
        self._clear = self.create_client(Trigger, f"{self.server}/clear")
        self._change_state = self.create_client(ChangeState, f"{self.server}/change_state")
        self._get_state = self.create_client(GetState, f"{self.server}/get_state")

    def wait_until_ready(self, views: int, timeout_s: float) -> None:
        """Wait for the node's services, then for a scene of at least `views` views."""
        self.wait_for_server(timeout_s)
        self.wait_for_scene(views, timeout_s)

    def status(self) -> dict[str, dict[str, str]]:
        """The node's next diagnostics; empty if none come within STATUS_S."""
        self.diagnostics = {}
        deadline = time.monotonic() + STATUS_S
        while not self.diagnostics and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.diagnostics

    def clear(self) -> bool:
        """Clear the node's memory; whether it succeeded."""
        return self._call(self._clear, Trigger.Request()).success

    def state(self) -> str:
        """The node's lifecycle state."""
        return self._call(self._get_state, GetState.Request()).current_state.label

    def transition(self, name: str) -> bool:
        """Request a transition; whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[name]))
        return wait_for(self._change_state.call_async(request), name, TRANSITION_S).success

    def ask_concurrently(self, text: str, clients: int) -> list[dict[str, Any]]:
        """Ask the same question from several client nodes at once; the reply to each."""
        options = {"start_parameter_services": False, "enable_rosout": False}
        nodes = [Node(f"client_{k}", **options) for k in range(clients)]
        # DDS delivers each reply to all clients; with a queue of 10, one of 50 may miss its own.
        services = [
            node.create_client(Ground, f"{self.server}/ground", qos_profile=qos.requests())
            for node in nodes
        ]
        executor = SingleThreadedExecutor()
        for node in nodes:
            executor.add_node(node)
        spinner = spin_in_thread(executor)
        ready = threading.Barrier(clients)

        def ask(k: int) -> dict[str, Any]:
            found = services[k].wait_for_service(self.limit_s)
            ready.wait()
            start = time.monotonic()
            try:
                if not found:
                    raise NotAvailableError("the service was not found")
                response = wait_for(
                    services[k].call_async(Ground.Request(query=text)), "ground", self.limit_s
                )
                reply = {"success": response.success, "message": response.message, "replied": True}
            except NotAvailableError as error:
                reply = {"success": False, "message": str(error), "replied": False}
            return {**reply, "seconds": time.monotonic() - start}

        with ThreadPoolExecutor(clients) as pool:
            replies = list(pool.map(ask, range(clients)))
        executor.shutdown()
        spinner.join()
        for node in nodes:
            node.destroy_node()
        return replies

    def cancel_at(self, stage: str, text: str) -> dict[str, Any]:
        """Ask through the action and cancel at `stage`; how it ended, and how long that took."""
        reached = threading.Event()
        stages: list[str] = []

        def on_feedback(feedback: Any) -> None:
            stages.append(feedback.feedback.stage)
            if stages[-1] == stage:
                reached.set()

        goal = Query.Goal(query=text, timeout_s=self.limit_s)
        handle = wait_for(self._query.send_goal_async(goal, on_feedback), "the goal", self.limit_s)
        ended = handle.get_result_async()
        reached.wait(self.limit_s)
        start = time.monotonic()
        wait_for(handle.cancel_goal_async(), "the cancel", self.limit_s)
        result = wait_for(ended, "the result", self.limit_s)
        return {
            "end": GOAL_RESULTS.get(result.status, str(result.status)),
            "stages": stages,
            "message": result.result.message,
            "seconds": time.monotonic() - start,
        }


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds to wait for a reply")
    options = parser.parse_args(rclpy.utilities.remove_ros_args(sys.argv)[1:])
    rclpy.init(args=sys.argv)
    executor = SingleThreadedExecutor()
    client = LoadClient(options.limit)
    executor.add_node(client)
    spinner = spin_in_thread(executor)
    methods = (
        client.wait_until_ready, client.scene, client.status, client.clear, client.state,
        client.transition, client.ask_concurrently, client.cancel_at,
    )  # fmt: skip
    named = {method.__name__: method for method in methods}
    with contextlib.suppress(KeyboardInterrupt):
        serve({**named, "ask": lambda **question: client.ask(question)})
    rclpy.try_shutdown()
    spinner.join(2)
