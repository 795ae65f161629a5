"""Faults of the servers for browsers and agents: floods, hung clients, pages of other sites."""

from __future__ import annotations

import json
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from spatial3d_ros.demo.processes import free_port
from spatial3d_ros.research.stress.fault import Checks, fault
from spatial3d_ros.research.stress.faults.streams import frames_continue
from spatial3d_ros.research.stress.memory_channels import TIMEOUT_S, ask_as_agent, wait_for_page
from spatial3d_ros.research.stress.system_under_test import NODE, START_S, SystemUnderTest

HUNG, REQUESTS, THREADS = 30, 200, 8
MAX_HZ = 5
OK, REFUSED, FLOODED = 200, 403, 429
QUESTION = {"question": "how many things are there?"}


@fault(
    "page: 30 clients that hang, a flood, and a page of another site",
    "more than max_hz requests a second and other origins are refused; the next question of the "
    "page is answered; frames continue",
    setting="memory",
    requires="uvicorn",
)
def page(system: SystemUnderTest, check: Checks) -> None:
    """Clients that send half a request stay connected meanwhile."""
    with _web_node(system) as address, ExitStack() as hung:
        for _ in range(HUNG):
            host, port = address.removeprefix("http://").split(":")
            connection = hung.enter_context(socket.create_connection((host, int(port))))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: local")
        with ThreadPoolExecutor(THREADS) as pool:
            replies = pool.map(lambda _: _status(f"{address}/api/map"), range(REQUESTS))
            statuses = Counter(replies)
        told = ", ".join(f"{count} x {status}" for status, count in statuses.most_common())
        check(statuses[FLOODED] > 0 and statuses[OK] > 0, f"flood: {told}")
        other = _status(address, origin="http://elsewhere.example")
        check(other == REFUSED, f"another origin: {other}")
        asked = lambda: _status(f"{address}/api/ask", QUESTION) == OK  # noqa: E731
        check.within(TIMEOUT_S, asked, "the next question is answered")
        frames_continue(system, check)


@fault(
    "agent: a flood of calls",
    "more than --max-hz calls a second are refused with a reason, others answered; frames continue",
    setting="memory",
    requires="mcp",
)
def agent(system: SystemUnderTest, check: Checks) -> None:
    """The SDK's client, and `spatial3d mcp` in a process of its own."""
    calls = [{"kind": "history", "id": 2**31}] * 4 * MAX_HZ  # no such object: quickly answered
    arguments = ["--node", NODE, "--max-hz", str(MAX_HZ)]
    replies = ask_as_agent(arguments, calls, system.nodes.environment, pause_s=0.0)
    refused = sum("calls a second" in reply["message"] for reply in replies)
    check(0 < refused < len(calls), f"{refused} of {len(calls)} calls refused")
    (reply,) = ask_as_agent(
        arguments, [{"kind": "ask", "text": QUESTION["question"]}], system.nodes.environment
    )
    check(bool(reply["answer"]), "the next question is answered")
    frames_continue(system, check)


@contextmanager
def _web_node(system: SystemUnderTest) -> Iterator[str]:
    """The address of the page of the node under test."""
    port = free_port()
    process = system.nodes.start(
        "web_node", "--ros-args", "-p", f"port:={port}", "-p", f"max_hz:={float(MAX_HZ)}"
    )
    try:
        yield wait_for_page(f"http://127.0.0.1:{port}", START_S)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT_S)
        del system.nodes.processes["web_node"]


def _status(address: str, body: dict[str, str] | None = None, origin: str = "") -> int:
    headers = {"content-type": "application/json"} | ({"origin": origin} if origin else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(address, data, headers), timeout=TIMEOUT_S) as response:
            return response.status
    except HTTPError as error:
        return error.code
