"""Asks a running grounding node questions and writes its answers to a file.

Questions of kind "distance" go to `~/measure_distance`, "layout" to `~/edit_layout`, "ask" to
`~/ask`, "history" with the "id" of an object to `~/get_history`, others to `~/ground`; those with
"via": "action" go to the action `~/query`. Input and output are JSON files, so that the process
that starts this one needs no ROS.

    python -m spatial3d_ros.demo.nodes.query_client questions.json answers.json --settle 15
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python

from spatial3d_ros.action import Query
from spatial3d_ros.demo.nodes import response_dicts
from spatial3d_ros.errors import NotAvailableError, StorageError
from spatial3d_ros.nodes.action_client import ThreadSafeActionClient
from spatial3d_ros.nodes.executor import spin_in_thread, wait_for
from spatial3d_ros.nodes.question_server import KINDS
from spatial3d_ros.runtime.parameters import FIELDS
from spatial3d_ros.srv import Ask, EditLayout, GetHistory, GetScene, Ground, MeasureDistance
from spatial3d_ros.storage import write_whole

CALL_S = 20.0
MEASURES = {name: kind for kind, name in KINDS.items()}


class QueryClient(Node):
    """A client of one grounding node; every call has a time limit and raises NotAvailableError."""

    def __init__(self, server: str = "grounding_node", limit_s: float = CALL_S) -> None:
        super().__init__("query_client")
        self.server = server
        self.limit_s = limit_s
        self._ground = self.create_client(Ground, f"{server}/ground")
        self._measure = self.create_client(MeasureDistance, f"{server}/measure_distance")
        self._edit = self.create_client(EditLayout, f"{server}/edit_layout")
        self._ask = self.create_client(Ask, f"{server}/ask")
        self._get_history = self.create_client(GetHistory, f"{server}/get_history")
        self._get_scene = self.create_client(GetScene, f"{server}/get_scene")
        self._parameter_client = self.create_client(GetParameters, f"{server}/get_parameters")
        self._query = ThreadSafeActionClient(self, Query, f"{server}/query")
        self.diagnostics: dict[str, dict[str, str]] = {}
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def wait_for_server(self, timeout_s: float) -> None:
        """Return when the services and the action are available."""
        deadline = time.monotonic() + timeout_s
        for service in (self._ground, self._measure, self._get_scene):
            if not service.wait_for_service(max(0.1, deadline - time.monotonic())):
                raise NotAvailableError(
                    f"{service.srv_name} is not available after {timeout_s:.0f} s"
                )
        if not self._query.wait_for_server(max(0.1, deadline - time.monotonic())):
            raise NotAvailableError(f"{self.server}/query is not available after {timeout_s:.0f} s")

    def wait_for_scene(self, views: int, timeout_s: float) -> None:
        """Return when the node has a scene of at least `views` views."""
        deadline = time.monotonic() + timeout_s
        message = "no reply"
        while time.monotonic() < deadline:
            reply = self._call(self._get_scene, GetScene.Request())
            message = reply.message or f"{reply.scene.views} views"
            if reply.success and reply.scene.views >= views:
                return
            time.sleep(0.3)
        raise NotAvailableError(f"no scene after {timeout_s:.0f} s: {message}")

    def wait_for_map(self, timeout_s: float) -> None:
        """Return when the object map covers all current views, or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        wanted: int | None = None
        while time.monotonic() < deadline:
            memory = self.diagnostics.get(f"{self.server}: memory", {})
            if wanted is None and "memory_version" in memory:
                wanted = int(memory["memory_version"])
            if wanted is not None and int(memory["answered_version"]) >= wanted:
                return
            time.sleep(0.2)

    def scene(self) -> dict[str, Any]:
        """The object map for JSON."""
        reply = self._call(self._get_scene, GetScene.Request())
        objects = response_dicts.objects(reply.scene.objects)
        return {
            "views": reply.scene.views,
            "version": reply.scene.scene_version,
            "objects": objects,
        }

    def parameters(self) -> dict[str, Any]:
        """The current parameters of the node."""
        reply = self._call(self._parameter_client, GetParameters.Request(names=list(FIELDS)))
        return dict(zip(FIELDS, map(parameter_value_to_python, reply.values), strict=True))

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Ask one question; the reply with its latency in ms.

        A question has "text", "kind" and "via"; a distance may have "measure", "center" or
        "surface".
        """
        start = time.monotonic()
        if question.get("via") == "action":
            answer = self._ask_action(question["text"])
        elif question["kind"] == "distance":
            kind = MEASURES[question.get("measure", "auto")]
            request = MeasureDistance.Request(query=question["text"], kind=kind)
            answer = response_dicts.distance(self._call(self._measure, request))
        elif question["kind"] == "layout":
            request = EditLayout.Request(instruction=question["text"])
            answer = response_dicts.layout_edit(self._call(self._edit, request))
        elif question["kind"] == "history":
            request = GetHistory.Request(id=question["id"])
            answer = response_dicts.history(self._call(self._get_history, request))
        elif question["kind"] == "ask":
            request = Ask.Request(question=question["text"])
            answer = response_dicts.free_form_answer(self._call(self._ask, request))
        else:
            request = Ground.Request(query=question["text"])
            answer = response_dicts.grounding(self._call(self._ground, request))
        return {**question, **answer, "latency_ms": 1000 * (time.monotonic() - start)}

    def _ask_action(self, text: str) -> dict[str, Any]:
        stages: list[str] = []
        goal = Query.Goal(query=text, timeout_s=self.limit_s)
        sent = self._query.send_goal_async(goal, lambda f: stages.append(f.feedback.stage))
        handle = wait_for(sent, "the goal", self.limit_s)
        if not handle.accepted:
            message = "the goal was rejected: the node is busy"
            return {"success": False, "message": message, "no_target": False, "objects": []}
        result = wait_for(handle.get_result_async(), "the result", self.limit_s).result
        return {**response_dicts.result(result), "stages": stages}

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {value.key: value.value for value in status.values}
            self.diagnostics[status.name] = {"message": status.message, **values}

    def _call(self, client: Client, request: Any) -> Any:
        return wait_for(client.call_async(request), client.srv_name, self.limit_s)


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("questions", type=Path, help="JSON list of {text, kind, via, measure}")
    parser.add_argument("answers", type=Path, help="JSON file to write")
    parser.add_argument("--node", default="grounding_node", help="name of the node to ask")
    parser.add_argument("--settle", type=float, default=0.0, help="seconds from scene to questions")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between questions")
    parser.add_argument("--linger", type=float, default=0.0, help="seconds after the questions")
    parser.add_argument("--repeat", type=int, default=1, help="ask the whole list this often")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds to wait for the node")
    options = parser.parse_args(rclpy.utilities.remove_ros_args(sys.argv)[1:])
    rclpy.init(args=sys.argv)
    client = QueryClient(options.node)
    executor = SingleThreadedExecutor()
    executor.add_node(client)
    spinner = spin_in_thread(executor)
    try:
        client.wait_for_server(options.timeout)
        client.wait_for_scene(1, options.timeout)
        time.sleep(options.settle)
        client.wait_for_map(options.timeout)
        answers = []
        for question in json.loads(options.questions.read_text()) * options.repeat:
            answers.append(client.ask(question))
            print(f"{answers[-1]['latency_ms']:6.0f} ms  {question['text']}", flush=True)
            time.sleep(options.pause)
        time.sleep(options.linger)
        result = {
            "answers": answers,
            "scene": client.scene(),
            "diagnostics": client.diagnostics,
            "parameters": client.parameters(),
        }
        write_whole(options.answers, json.dumps(result, indent=2))
    except (NotAvailableError, StorageError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
    finally:
        rclpy.try_shutdown()
        spinner.join(2)


if __name__ == "__main__":
    main()
