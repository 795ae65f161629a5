"""Calls over JSON lines: {"id", "method", "params"} on stdin, {"id", "result"} on stdout.

A failed call is answered with {"id", "error"}. Each call runs in a thread of its own, and replies
come in the order in which calls end. The caller needs no ROS.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

THREADS = 16


def serve(methods: Mapping[str, Callable[..., Any]]) -> None:
    """Run the methods that are called, until stdin ends."""
    writing = threading.Lock()

    def send(reply: dict[str, Any]) -> None:
        with writing:
            sys.stdout.write(f"{json.dumps(reply)}\n")
            sys.stdout.flush()

    def run(request: dict[str, Any]) -> None:
        try:
            result = methods[request["method"]](**request["params"])
        except Exception as error:
            send({"id": request["id"], "error": f"{type(error).__name__}: {error}"})
        else:
            send({"id": request["id"], "result": result})

    with ThreadPoolExecutor(THREADS) as pool:
        for line in sys.stdin:
            pool.submit(run, json.loads(line))
