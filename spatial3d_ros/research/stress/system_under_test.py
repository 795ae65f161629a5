"""A robot's nodes, its camera and a person, as processes of their own, for faults to happen to."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from spatial3d_ros.bags.reader import find_topics
from spatial3d_ros.demo.node_queries import START_S, node_arguments
from spatial3d_ros.demo.processes import NodeGroup
from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.research.stress.json_rpc_client import ORDER_S, JsonRpcClient

Value = TypeVar("Value")
NODE, FAULTY_NODE = "grounding_node", "faulty_grounding_node"
CAMERA, CLIENT, VIEWER = "faulty_bag_player", "load_client", "visualizer_node"
PACKAGE = "research.stress.nodes"
SAME_M = 0.15  # an object whose centre is this near to where one was known is that one
SETTLE_VIEWS = 6
POLL_S = 0.25
STEADY_S = 4.0
STEP_S, STATUS_S = 150.0, 60.0
WAYS = {  # the next step from a state to the wanted one
    "active": {"unconfigured": "configure", "inactive": "activate"},
    "inactive": {"unconfigured": "configure", "active": "deactivate"},
    "unconfigured": {"active": "deactivate", "inactive": "cleanup"},
}


@dataclass(frozen=True)
class Setting:
    """What a world is made of: the recording, its speed, the node, and its parameters.

    With `transforms` poses come as TF; `limit_s` is the person's patience with every call.
    """

    bag: Path
    rate: float = 1.0
    node: str = NODE
    model: str = "tiny"
    parameters: tuple[str, ...] = ()
    transforms: bool = False
    limit_s: float = 15.0


@dataclass
class SystemUnderTest:
    """Starts with `with`, ends with it. Every call has a time limit and raises NotAvailableError.

    `known` are the centres of the objects that were known when `remember` was called.
    """

    setting: Setting
    logs: Path
    known: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))

    def __enter__(self) -> SystemUnderTest:
        self.nodes = NodeGroup(self.logs).__enter__()
        try:
            self.start_node()
            self.start_camera()
            self.person = self._json_rpc_client(CLIENT, "--limit", str(self.setting.limit_s))
            self.await_scene(START_S)
        except BaseException:
            self.nodes.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self.nodes.__exit__(*error)

    def start_node(self) -> None:
        """Start the node that is asked."""
        setting = self.setting
        arguments = node_arguments(setting.bag, find_topics(setting.bag), setting.model)
        parameters = setting.parameters + ("pose_source:=tf", "world_frame:=map") * (
            setting.transforms
        )
        given = [part for text in parameters for part in ("-p", text)]
        if setting.node == NODE:
            self.nodes.start(NODE, *arguments, *given)
        else:
            self.stumbler = self._json_rpc_client(setting.node, *arguments, *given)

    def start_camera(self) -> None:
        """Start the camera."""
        setting = self.setting
        arguments = [str(setting.bag), "--rate", str(setting.rate), *["--tf"] * setting.transforms]
        self.camera = self._json_rpc_client(CAMERA, *arguments)

    def _json_rpc_client(self, name: str, *arguments: str) -> JsonRpcClient:
        process = self.nodes.start(name, *arguments, package=PACKAGE, pipes=True)
        assert process.stdin and process.stdout
        return JsonRpcClient(name, process.stdin, process.stdout)

    @property
    def node(self) -> subprocess.Popen[bytes]:
        """The process of the node."""
        return self.nodes.processes[self.setting.node]

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self.nodes.processes[name]
        process.kill()
        process.wait()

    def alive(self) -> bool:
        """Whether the node's process runs."""
        return self.node.poll() is None

    def spoil(self, name: str = "", **options: Any) -> None:
        """Let the camera spoil its messages in this way, and no other; by default in none."""
        spoilers = [{"name": name, **options}] if name else []
        self.camera.tell("spoil", spoilers=spoilers)

    def ask(self, text: str, kind: str = "attribute", via: str = "service") -> dict[str, Any]:
        """What comes back for a question: an answer, a reason, or "replied": False."""
        begin = time.monotonic()
        try:
            reply = self.person.tell(
                "ask", within_s=2 * self.setting.limit_s, text=text, kind=kind, via=via
            )
        except NotAvailableError as error:
            reply = {"success": False, "message": str(error), "replied": False}
        return {"replied": True, **reply, "seconds": time.monotonic() - begin}

    def stumble(self, **changes: Any) -> None:
        """Change what the engine of a stumbling node stumbles over."""
        self.stumbler.tell("stumble", **changes)

    def status(self, part: str) -> dict[str, str]:
        """What the node says now of a part of itself ("sensors", "memory", "questions")."""
        facts = self.until(lambda: self.person.tell("status"), STATUS_S, "a word of the node")
        inactive = facts.get("grounding_node", {})
        return facts.get(f"grounding_node: {part}", {"message": "", **inactive})

    def frames(self, what: str = "decoded") -> int:
        """Frames that the node has counted so."""
        return int(self.status("sensors").get(f"frames.{what}", 0))

    def await_scene(self, timeout_s: float, views: int = SETTLE_VIEWS) -> None:
        """Return when the node answers from so many views."""
        deadline = time.monotonic() + timeout_s
        problem = NotAvailableError(f"no scene after {timeout_s:.0f} s")
        while (left := deadline - time.monotonic()) > 0:
            try:
                self.person.tell(
                    "await_scene", within_s=2 * left + ORDER_S, views=views, timeout_s=left
                )
                return
            except NotAvailableError as error:  # a call may have gone to a node that was killed
                problem = error
        raise problem

    def objects(self) -> list[dict[str, Any]]:
        """The object map; empty where there is none."""
        return self.person.tell("scene")["objects"]

    def recover(self, timeout_s: float) -> None:
        """Bring everything back to where nothing is wrong, and wait until the node answers."""
        if not self.alive():
            self.start_node()
        if self.nodes.processes[CAMERA].poll() is not None:
            self.start_camera()
        self.spoil()
        if self.setting.node == FAULTY_NODE:
            self.stumble(short_of_memory=[], stage_s=0.0, crowd=0)
        self.bring_to("active")
        self.await_scene(timeout_s)

    def step(self, transition: str) -> bool:
        """Ask for a lifecycle transition; whether it was made."""
        return self.person.tell("transition", within_s=STEP_S, name=transition)

    def bring_to(self, state: str) -> int:
        """Bring the node into a lifecycle state, step by step; how many it took."""
        steps = 0
        while (now := self.person.tell("state")) != state:
            self.step(WAYS[state][now])
            steps += 1
        return steps

    def remember(self) -> int:
        """Note what is known now, and a moment later still; returns how many objects that are."""
        self.known = _centers(self.objects())
        time.sleep(STEADY_S)
        self.known = self.known[self._found()]
        return len(self.known)

    def still_known(self) -> float:
        """The share of the objects remembered that stand where they stood."""
        return float(self._found().mean()) if len(self.known) else 1.0

    def _found(self) -> np.ndarray:
        """Which of the objects remembered are in the map now, (n,) bool."""
        now = _centers(self.objects())
        if not len(now):
            return np.zeros(len(self.known), bool)
        apart = np.linalg.norm(self.known[:, None] - now, axis=2)
        return apart.min(1) < SAME_M

    def until(self, holds: Callable[[], Value], timeout_s: float, what: str = "it") -> Value:
        """Wait until something holds; its value. Raises NotAvailableError after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not (value := holds()):
            if time.monotonic() > deadline:
                raise NotAvailableError(f"{what} did not come in {timeout_s:.0f} s")
            time.sleep(POLL_S)
        return value


def _centers(objects: list[dict[str, Any]]) -> np.ndarray:
    return np.array([o["center"] for o in objects]).reshape(-1, 3)
