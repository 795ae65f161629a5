"""A person who asks on order, and keeps an eye on the node: what `reliability` tells to ask.

Orders: `ask`, `scene`, `status`, `clear`, `crowd`, `cancel_at`, `transition`, `state`.
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
from spatial3d_ros.nodes.executor import spin_in_thread
from spatial3d_ros.research.stress.nodes.json_rpc import serve
from spatial3d_ros.srv import Ground

LIMIT_S = 15.0  # the node's own is 10
TRANSITION_S = 120.0  # the network is loaded in one of them
SILENCE_S = 3.0  # it speaks once a second
TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
}
ENDS = {
    GoalStatus.STATUS_CANCELED: "cancelled",
    GoalStatus.STATUS_SUCCEEDED: "succeeded",
    GoalStatus.STATUS_ABORTED: "aborted",
}


class LoadClient(QueryClient):
    """Everything that a client can do to a grounding node, each with its time limit."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        super().__init__(limit_s=limit_s)
        self._clear = self.create_client(Trigger, f"{self.server}/clear")
        self._change = self.create_client(ChangeState, f"{self.server}/change_state")
        self._state = self.create_client(GetState, f"{self.server}/get_state")

    def await_scene(self, views: int, timeout_s: float) -> None:
        """Wait until the node is there, then until it knows a scene of so many views."""
        self.wait_for_server(timeout_s)
        self.wait_for_scene(views, timeout_s)

    def status(self) -> dict[str, dict[str, str]]:
        """What the node tells of itself next; empty when it is silent for three seconds."""
        self.diagnostics = {}
        deadline = time.monotonic() + SILENCE_S
        while not self.diagnostics and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.diagnostics

    def clear(self) -> bool:
        """Empty the node's memory."""
        return self._call(self._clear, Trigger.Request()).success

    def state(self) -> str:
        """The node's lifecycle state."""
        return self._call(self._state, GetState.Request()).current_state.label

    def transition(self, name: str) -> bool:
        """Ask for a transition; whether it was made."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[name]))
        return self._wait(self._change.call_async(request), name, TRANSITION_S).success

    def crowd(self, text: str, clients: int) -> list[dict[str, Any]]:
        """So many clients, each a node of its own, ask the same at once; what each hears."""
        quiet = {"start_parameter_services": False, "enable_rosout": False}
        nodes = [Node(f"client_{k}", **quiet) for k in range(clients)]
        # Over DDS a client sees the replies to all: a queue of ten may lose its own among fifty.
        asking = [
            node.create_client(Ground, f"{self.server}/ground", qos_profile=qos.requests())
            for node in nodes
        ]
        executor = SingleThreadedExecutor()
        for node in nodes:
            executor.add_node(node)
        spinner = spin_in_thread(executor)
        ready = threading.Barrier(clients)

        def ask(k: int) -> dict[str, Any]:
            found = asking[k].wait_for_service(self.limit_s)
            ready.wait()
            begin = time.monotonic()
            try:
                if not found:
                    raise NotAvailableError("the service was not found")
                reply = self._wait(asking[k].call_async(Ground.Request(query=text)), "ground")
                heard = {"success": reply.success, "message": reply.message, "replied": True}
            except NotAvailableError as error:
                heard = {"success": False, "message": str(error), "replied": False}
            return {**heard, "seconds": time.monotonic() - begin}

        with ThreadPoolExecutor(clients) as pool:
            heard = list(pool.map(ask, range(clients)))
        executor.shutdown()
        spinner.join()
        for node in nodes:
            node.destroy_node()
        return heard

    def cancel_at(self, stage: str, text: str) -> dict[str, Any]:
        """Ask by the action, cancel as soon as it reports that stage; how it ended, and when."""
        reached = threading.Event()
        stages: list[str] = []

        def hear(feedback: Any) -> None:
            stages.append(feedback.feedback.stage)
            if stages[-1] == stage:
                reached.set()

        goal = Query.Goal(query=text, timeout_s=self.limit_s)
        handle = self._wait(self._query.send_goal_async(goal, hear), "the goal")
        ended = handle.get_result_async()
        reached.wait(self.limit_s)
        begin = time.monotonic()
        self._wait(handle.cancel_goal_async(), "the cancel")
        result = self._wait(ended, "the result")
        return {
            "end": ENDS.get(result.status, str(result.status)),
            "stages": stages,
            "message": result.result.message,
            "seconds": time.monotonic() - begin,
        }


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds to wait for a reply")
    options = parser.parse_args(rclpy.utilities.remove_ros_args(sys.argv)[1:])
    rclpy.init(args=sys.argv)
    executor = SingleThreadedExecutor()
    person = LoadClient(options.limit)
    executor.add_node(person)
    spinner = spin_in_thread(executor)
    orders = (
        person.await_scene, person.scene, person.status, person.clear, person.state,
        person.transition, person.crowd, person.cancel_at,
    )  # fmt: skip
    named = {order.__name__: order for order in orders}
    with contextlib.suppress(KeyboardInterrupt):
        serve({**named, "ask": lambda **question: person.ask(question)})
    rclpy.try_shutdown()
    spinner.join(2)
