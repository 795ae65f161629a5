"""Asks a running grounding node questions and writes down the answers.

Grounding questions go to `~/ground`, distances to `~/measure_distance`, instructions about the
layout to `~/edit_layout`, and those marked "action" to the action `~/query`. Input and output are
JSON files, so that whoever starts this process needs no ROS.

    python -m spatial3d_ros.nodes.demo_client questions.json answers.json --settle 15
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import threading
import time
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionClient
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from spatial3d_ros.action import Query
from spatial3d_ros.errors import NotAvailableError, StorageError
from spatial3d_ros.srv import EditLayout, GetScene, Ground, MeasureDistance
from spatial3d_ros.storage import write_whole

CALL_S = 20.0


class Asker(Node):
    """A client of one grounding node; every call has a time limit and raises NotAvailableError."""

    def __init__(self, server: str = "grounding_node", limit_s: float = CALL_S) -> None:
        super().__init__("demo_client")
        self.server = server
        self.limit_s = limit_s
        self._ground = self.create_client(Ground, f"{server}/ground")
        self._measure = self.create_client(MeasureDistance, f"{server}/measure_distance")
        self._edit = self.create_client(EditLayout, f"{server}/edit_layout")
        self._get_scene = self.create_client(GetScene, f"{server}/get_scene")
        self._query = ActionClient(self, Query, f"{server}/query")
        self.diagnostics: dict[str, dict[str, str]] = {}
        self.create_subscription(DiagnosticArray, "/diagnostics", self._note, 10)

    def wait_for_server(self, timeout_s: float) -> None:
        """Return when every service and the action are there."""
        deadline = time.monotonic() + timeout_s
        for end in (self._ground, self._measure, self._get_scene):
            if not end.wait_for_service(max(0.1, deadline - time.monotonic())):
                raise NotAvailableError(f"{end.srv_name} is not there after {timeout_s:.0f} s")
        if not self._query.wait_for_server(max(0.1, deadline - time.monotonic())):
            raise NotAvailableError(f"{self.server}/query is not there after {timeout_s:.0f} s")

    def wait_for_scene(self, views: int, timeout_s: float) -> None:
        """Return when the node knows a scene of at least that many views."""
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
        """Return when the object map covers what has been seen until now (or after `timeout_s`)."""
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
        """The object map as plain data."""
        reply = self._call(self._get_scene, GetScene.Request())
        objects = [_object(o) for o in reply.scene.objects]
        return {
            "views": reply.scene.views,
            "version": reply.scene.scene_version,
            "objects": objects,
        }

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Ask one question ({"text", "kind", "via"}); the reply with the time it took, in ms."""
        begin = time.monotonic()
        if question.get("via") == "action":
            answer = self._ask_action(question["text"])
        elif question["kind"] == "distance":
            request = MeasureDistance.Request(query=question["text"])
            answer = _distance(self._call(self._measure, request))
        elif question["kind"] == "layout":
            request = EditLayout.Request(instruction=question["text"])
            answer = _edit(self._call(self._edit, request), "edit")
        else:
            answer = _grounding(self._call(self._ground, Ground.Request(query=question["text"])))
        return {**question, **answer, "latency_ms": 1000 * (time.monotonic() - begin)}

    def _ask_action(self, text: str) -> dict[str, Any]:
        stages: list[str] = []
        goal = Query.Goal(query=text, timeout_s=self.limit_s)
        sent = self._query.send_goal_async(goal, lambda f: stages.append(f.feedback.stage))
        handle = self._wait(sent, "the goal")
        if not handle.accepted:
            return {"success": False, "message": "the goal was rejected: the node is busy"}
        result = self._wait(handle.get_result_async(), "the result").result
        read = {Query.Result.DISTANCE: _distance, Query.Result.LAYOUT: _edit}
        return {**read.get(result.kind, _grounding)(result), "stages": stages}

    def _note(self, message: DiagnosticArray) -> None:
        for status in message.status:
            facts = {value.key: value.value for value in status.values}
            self.diagnostics[status.name] = {"message": status.message, **facts}

    def _call(self, client: Client, request: Any) -> Any:
        return self._wait(client.call_async(request), client.srv_name)

    def _wait(self, future: Future, what: str, limit_s: float = 0.0) -> Any:
        """The result of a future that another thread's executor completes."""
        done, limit_s = threading.Event(), limit_s or self.limit_s
        future.add_done_callback(lambda _: done.set())
        if not done.wait(limit_s):
            raise NotAvailableError(f"no reply from {what} in {limit_s:.0f} s")
        return future.result()


def _object(message: Any) -> dict[str, Any]:
    center, turn, size = message.pose.position, message.pose.orientation, message.size
    return {
        "id": message.id,
        "label": message.label,
        "color": message.color,
        "score": message.score,
        "center": [center.x, center.y, center.z],
        "size": [size.x, size.y, size.z],
        "yaw": 2 * math.atan2(turn.z, turn.w),
    }


def _grounding(reply: Any) -> dict[str, Any]:
    return {
        "success": reply.success,
        "message": reply.message,
        "answer": reply.grounding.text,
        "no_target": reply.grounding.no_target,
        "objects": [_object(o) for o in reply.grounding.objects],
        "server_ms": reply.grounding.latency_ms,
        "views": reply.grounding.views_used,
        "version": reply.grounding.scene_version,
    }


def _distance(reply: Any) -> dict[str, Any]:
    answer = reply.distance
    return {
        "success": reply.success,
        "message": reply.message,
        "answer": answer.text,
        "no_target": False,
        "metres": answer.distance,
        "uncertainty": answer.uncertainty,
        "objects": [_object(answer.object_a), _object(answer.object_b)] if reply.success else [],
        "server_ms": answer.latency_ms,
        "views": answer.views_used,
        "version": answer.scene_version,
    }


def _edit(reply: Any, field: str = "layout") -> dict[str, Any]:
    edit = getattr(reply, field)
    return {
        "success": reply.success,
        "message": reply.message,
        "answer": edit.text,
        "no_target": False,
        "objects": [_object(o) for o in edit.before],
        "after": [_object(o) for o in edit.after],
        "possible": edit.possible,
        "server_ms": edit.latency_ms,
        "views": edit.views_used,
        "version": edit.scene_version,
    }


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("questions", type=Path, help="JSON list of {text, kind, via}")
    parser.add_argument("answers", type=Path, help="JSON file to write")
    parser.add_argument("--node", default="grounding_node", help="name of the node to ask")
    parser.add_argument("--settle", type=float, default=0.0, help="seconds from scene to questions")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between questions")
    parser.add_argument("--linger", type=float, default=0.0, help="seconds after the questions")
    parser.add_argument("--repeat", type=int, default=1, help="ask the whole list this often")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds to wait for the node")
    options = parser.parse_args(rclpy.utilities.remove_ros_args(sys.argv)[1:])
    rclpy.init(args=sys.argv)
    asker = Asker(options.node)
    executor = SingleThreadedExecutor()
    executor.add_node(asker)
    spinner = threading.Thread(target=_spin, args=(executor,), daemon=True)
    spinner.start()
    try:
        asker.wait_for_server(options.timeout)
        asker.wait_for_scene(1, options.timeout)
        time.sleep(options.settle)
        asker.wait_for_map(options.timeout)
        answers = []
        for question in json.loads(options.questions.read_text()) * options.repeat:
            answers.append(asker.ask(question))
            print(f"{answers[-1]['latency_ms']:6.0f} ms  {question['text']}", flush=True)
            time.sleep(options.pause)
        time.sleep(options.linger)
        scene = asker.scene()
        result = {"answers": answers, "scene": scene, "diagnostics": asker.diagnostics}
        write_whole(options.answers, json.dumps(result, indent=2))
    except (NotAvailableError, StorageError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
    finally:
        rclpy.try_shutdown()
        spinner.join(2)


def _spin(executor: SingleThreadedExecutor) -> None:
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()


if __name__ == "__main__":
    main()
