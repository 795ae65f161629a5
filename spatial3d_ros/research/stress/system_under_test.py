"""The nodes of a robot, a bag player and a client, as processes that faults are injected into."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from spatial3d_ros.bags.reader import find_topics
from spatial3d_ros.demo.node_queries import node_arguments
from spatial3d_ros.demo.processes import NodeGroup
from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.research.stress.json_rpc_client import CALL_S, JsonRpcClient

Value = TypeVar("Value")
NODE, FAULTY_NODE = "grounding_node", "faulty_grounding_node"
CAMERA, CLIENT, VIEWER = "faulty_bag_player", "load_client", "visualizer_node"
PACKAGE = "research.stress.nodes"
SAME_M = 0.15  # between the centers of an object and of its box in the map
SETTLE_VIEWS = 14  # what few views show changes with each further one
POLL_S = 0.25
START_S = 300.0  # all processes share a core that may be busy
STEADY_S = 4.0  # only objects that are found for this long are in the snapshot
TRANSITION_S, STATUS_S = 150.0, 60.0
TRANSITIONS = {  # wanted state: the next transition from each other state
    "active": {"unconfigured": "configure", "inactive": "activate"},
    "inactive": {"unconfigured": "configure", "active": "deactivate"},
    "unconfigured": {"active": "deactivate", "inactive": "cleanup"},
}


@dataclass(frozen=True)
class Setting:
    """The recording, its playing rate, the node under test, its model and its parameters.

    With `transforms` poses come as TF; `limit_s` is the time limit of every call of the client;
    `memory` is the folder of the memory across sessions, None without one.
    """

    bag: Path
    rate: float = 1.0
    node: str = NODE
    model: str = "tiny"
    parameters: tuple[str, ...] = ()
    transforms: bool = False
    limit_s: float = 15.0
    memory: Path | None = None


@dataclass
class SystemUnderTest:
    """Runs the processes inside a `with` block. Calls raise NotAvailableError at their time limit.

    `places` (n, 3) are the centers of the objects of the room, `snapshot` (m, 3) those that the map
    had at the last `take_snapshot`; metres.
    """

    setting: Setting
    logs: Path
    places: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    snapshot: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))

    def __enter__(self) -> SystemUnderTest:
        self.nodes = NodeGroup(self.logs).__enter__()
        try:
            self.start_node()
            self.start_camera()
            self.client = self._start_rpc(CLIENT, "--limit", str(self.setting.limit_s))
            self.wait_for_scene(START_S)
        except BaseException:
            self.nodes.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self.nodes.__exit__(*error)

    def node_arguments(self) -> list[str]:
        """The command line of the node under test."""
        setting = self.setting
        parameters = [*setting.parameters]
        if setting.transforms:
            parameters += ["pose_source:=tf", "world_frame:=map"]
        if setting.memory is not None:
            parameters.append(f"memory_folder:={setting.memory}")
        arguments = node_arguments(setting.bag, find_topics(setting.bag), setting.model)
        return [*arguments, *(part for text in parameters for part in ("-p", text))]

    def start_node(self) -> None:
        """Start the node under test."""
        node = self.setting.node
        if node == NODE:
            self.nodes.start(NODE, *self.node_arguments())
        else:
            self.faulty_node = self._start_rpc(node, *self.node_arguments())

    def start_camera(self) -> None:
        """Start the bag player."""
        setting = self.setting
        arguments = [str(setting.bag), "--rate", str(setting.rate), *["--tf"] * setting.transforms]
        self.camera = self._start_rpc(CAMERA, *arguments)

    def _start_rpc(self, name: str, *arguments: str) -> JsonRpcClient:
        process = self.nodes.start(name, *arguments, package=PACKAGE, pipes=True)
        assert process.stdin and process.stdout
        return JsonRpcClient(name, process.stdin, process.stdout)

    @property
    def node(self) -> subprocess.Popen[bytes]:
        """The process of the node under test."""
        return self.nodes.processes[self.setting.node]

    def kill(self, name: str) -> None:
        """Kill a process with SIGKILL."""
        process = self.nodes.processes[name]
        process.kill()
        process.wait()

    def alive(self) -> bool:
        """Whether the node's process runs."""
        return self.node.poll() is None

    def corrupt(self, name: str = "", **options: Any) -> None:
        """Make the bag player apply this corruption only; "" ends it."""
        corruptions = [{"name": name, **options}] if name else []
        self.camera.call("corrupt", corruptions=corruptions)

    def ask(self, text: str, kind: str = "attribute", via: str = "service") -> dict[str, Any]:
        """The reply to a question: an answer, a reason ("success" False), or "replied" False."""
        start = time.monotonic()
        try:
            reply = self.client.call(
                "ask", within_s=2 * self.setting.limit_s, text=text, kind=kind, via=via
            )
        except NotAvailableError as error:
            reply = {"success": False, "message": str(error), "replied": False}
        return {"replied": True, **reply, "seconds": time.monotonic() - start}

    def set_faults(self, **faults: Any) -> None:
        """Set the faults of the engine; see `FaultyEngine`."""
        self.faulty_node.call("set_faults", **faults)

    def status(self, part: str) -> dict[str, str]:
        """The node's current diagnostics of a part ("sensors", "memory", "questions")."""
        parts = self.wait_until(
            lambda: self.client.call("status"), STATUS_S, "a diagnostics message"
        )
        inactive = parts.get("grounding_node", {})
        return parts.get(f"grounding_node: {part}", {"message": "", **inactive})

    def frames(self, what: str = "decoded") -> int:
        """The node's counter of frames with this outcome."""
        return int(self.status("sensors").get(f"frames.{what}", 0))

    def wait_for_scene(self, timeout_s: float) -> None:
        """Return when the node answers from at least SETTLE_VIEWS views."""
        deadline = time.monotonic() + timeout_s
        problem = NotAvailableError(f"no scene after {timeout_s:.0f} s")
        while (left := deadline - time.monotonic()) > 0:
            try:
                self.client.call(
                    "wait_until_ready",
                    within_s=2 * left + CALL_S,
                    views=SETTLE_VIEWS,
                    timeout_s=left,
                )
                return
            except NotAvailableError as error:  # the call may have gone to a node that was killed
                problem = error
        raise problem

    def objects(self) -> list[dict[str, Any]]:
        """The object map; empty if there is none."""
        return self.client.call("scene")["objects"]

    def recover(self, timeout_s: float) -> None:
        """End all faults, restart processes that died, and wait until the node answers."""
        if not self.alive():
            self.start_node()
        if self.nodes.processes[CAMERA].poll() is not None:
            self.start_camera()
        self.corrupt()
        if self.setting.node == FAULTY_NODE:
            self.set_faults(out_of_memory_in=[], stage_s=0.0, extra_objects=0)
        self.bring_to("active")
        self.wait_for_scene(timeout_s)

    def transition(self, name: str) -> bool:
        """Request a lifecycle transition; whether it succeeded."""
        return self.client.call("transition", within_s=TRANSITION_S, name=name)

    def bring_to(self, state: str) -> int:
        """Bring the node into a lifecycle state; the number of transitions that it took."""
        count = 0
        while (now := self.client.call("state")) != state:
            self.transition(TRANSITIONS[state][now])
            count += 1
        return count

    def take_snapshot(self) -> None:
        """Store the objects of the room that the map has now and STEADY_S later.

        Fragments are left out: they change from one update to the next without any fault.
        """
        self.snapshot = self.places[self._found(self.places)]
        time.sleep(STEADY_S)
        self.snapshot = self.snapshot[self._found(self.snapshot)]

    def kept_share(self) -> float:
        """The share of the objects of the snapshot that the map has now; 0 if there were none."""
        return float(self._found(self.snapshot).mean()) if len(self.snapshot) else 0.0

    def _found(self, places: np.ndarray) -> np.ndarray:
        """Which places (n, 3) have an object of the map, (n,) bool."""
        now = np.array([o["center"] for o in self.objects()]).reshape(-1, 3)
        if not len(now):
            return np.zeros(len(places), bool)
        return np.linalg.norm(places[:, None] - now, axis=2).min(1, initial=np.inf) < SAME_M

    def wait_until(
        self, holds: Callable[[], Value], timeout_s: float, what: str = "the condition"
    ) -> Value:
        """Wait until `holds` returns a true value; that value.

        Raises NotAvailableError after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while not (value := holds()):
            if time.monotonic() > deadline:
                raise NotAvailableError(f"{what} did not occur within {timeout_s:.0f} s")
            time.sleep(POLL_S)
        return value
